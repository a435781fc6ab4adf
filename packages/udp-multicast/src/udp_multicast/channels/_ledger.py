"""Datagrams in, messages out, and an account of every sender; no I/O, no clock.

Every datagram is counted exactly once: as foreign, broken, refused, a late or
repeated fragment, or in the message it is of. A message is in the account of its
sender, as itself or as a duplicate, when it is whole, so one that misses a fragment
is a number that never arrived: lost, like one that was dropped altogether.

Senders are what their source addresses say, and anybody can make those up, so
the number of accounts is bounded; the sender that was silent for longest goes
first, and its counts stay in the sums.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from udp_multicast.channels._message import ChannelMessage
from udp_multicast.channels._statistics import ChannelStatistics, SenderStatistics
from wireframe.datagram import (
    FRAGMENT_MAGIC,
    FULL_FRAGMENT,
    MAX_SIZE,
    SMALL_MAGIC,
    Arrival,
    Fragment,
    Message,
    Reassembler,
    SequenceCounter,
    decode,
    largest_cost,
    split_small,
)
from wireframe.errors import FrameError, FrameTooLarge

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from udp_multicast.channels._message import Address
    from wireframe.datagram import Event

#: Senders with an account at the same time.
MAX_SENDERS: Final = 1024
#: Seconds of silence after which a number that does not advance means that
#: the sender began anew. No network keeps a datagram that long.
RESTART_AFTER_S: Final = 1.0

_NUMBERS: Final = 1 << 32
_NEXT: Final = Arrival.NEXT
_DUPLICATE: Final = Arrival.DUPLICATE
_RESTART: Final = Arrival.RESTART
_MAGICS: Final = (SMALL_MAGIC, FRAGMENT_MAGIC)


class _Account:
    """What is known of one sender."""

    __slots__ = ("bytes", "counter", "heard", "last", "messages", "quiet", "time")

    def __init__(self, now: float) -> None:
        self.counter = SequenceCounter(restart_after_s=RESTART_AFTER_S)
        self.messages = 0
        self.bytes = 0
        #: Number of the last message, -1 before the first.
        self.last = -1
        self.heard = now
        # A large message takes its time, and that is not silence: the counter
        # is told a time of its own, in which only the longest pause between
        # datagrams passes from one message to the next.
        self.quiet = 0.0
        self.time = 0.0

    def statistics(self, now: float) -> SenderStatistics:
        counter = self.counter
        return SenderStatistics(
            messages=self.messages,
            bytes=self.bytes,
            lost=counter.lost,
            gaps=counter.gaps,
            late=counter.late,
            duplicates=counter.duplicates,
            restarts=counter.restarts,
            silent_s=max(0.0, now - self.heard),
        )


class ChannelLedger:
    """Judges the datagrams of all senders.

    Parameters
    ----------
    channels : collection of str, optional
        Names of the channels whose messages are returned; all if None.
    max_size : int, optional
        Payload bytes of the largest message; 2^28 unless given.
    max_age_s : float
        Seconds within which all fragments of a message have to arrive.
    max_bytes : int, optional
        Bytes held for messages in progress, see `wireframe.datagram.Reassembler`.
    max_senders : int
        Senders with an account at the same time.

    Raises
    ------
    ValueError
        A limit is out of range, or half of `max_bytes` cannot hold a message of
        the `max_size` that is given.

    Notes
    -----
    For one thread at a time. `now` is seconds of any clock that does not go
    backwards.
    """

    def __init__(
        self,
        channels: Collection[str] | None = None,
        *,
        max_size: int | None = None,
        max_age_s: float = 10.0,
        max_bytes: int | None = None,
        max_senders: int = MAX_SENDERS,
    ) -> None:
        if max_senders < 1:
            raise ValueError(f"max_senders must be at least 1, not {max_senders}")
        per_sender = None if max_bytes is None else max(1, max_bytes // 2)
        self._per_sender = per_sender or 0
        if max_size is None:
            max_size = MAX_SIZE
        elif per_sender is not None and (least := least_cost(max_size)) > per_sender:
            raise ValueError(
                f"half of max_bytes, {per_sender}, must be at least {least} for messages of {max_size}"
            )
        self._reassembler = Reassembler(
            max_size, max_bytes=max_bytes, max_bytes_per_sender=per_sender, max_age_s=max_age_s
        )
        self._channels = None if channels is None else frozenset(channels)
        self._max_size = max_size
        self._max_senders = max_senders
        #: By address, the last one heard at the end.
        self._accounts: OrderedDict[Address, _Account] = OrderedDict()
        self._latest: Address | None = None
        self._forgotten = 0
        self._past = SenderStatistics()
        self.datagrams = 0
        self.foreign = 0
        self.broken = 0
        self.ignored = 0
        self.unreadable = 0

    def take(self, data: bytes | memoryview, sender: Address, now: float) -> ChannelMessage[bytes] | None:
        """Take a datagram; return its message if it completes one that is wanted.

        Nothing of `data` is kept: its memory may be reused.

        Raises
        ------
        FrameError
            It is not LCM's, or breaks its rules or our limits, that of memory
            included. It is counted; the next one may be good.
        """
        self.datagrams += 1
        small = split_small(data, self._max_size) if type(data) is bytes else None
        if small is not None:
            return self._count(self._account(sender, now), sender, *small)
        event = self._decode(data)
        account = self._account(sender, now)
        whole = self._join(event, account, sender, now) if isinstance(event, Fragment) else event
        if whole is None:
            return None
        return self._count(account, sender, whole.sequence, whole.channel, whole.payload)

    def take_ahead(self, datagrams: list[bytes], sender: Address, now: float) -> list[ChannelMessage[bytes]]:
        """Take datagrams as `take` would, as long as each is a message in order that is wanted.

        Nothing is counted by this but the messages that are returned.
        """
        messages: list[ChannelMessage[bytes]] = []
        account = self._account(sender, now)
        counter, channels, size = account.counter, self._channels, 0
        account.time += account.quiet
        account.quiet = 0.0
        for data in datagrams:
            small = split_small(data, self._max_size)
            if small is None:
                break
            sequence, channel, payload = small
            if sequence != counter.next or not (channels is None or channel in channels):
                break
            counter.update(sequence, account.time)
            account.last = sequence
            size += len(payload)
            messages.append(ChannelMessage(channel, payload, sequence, sender))
        account.messages += len(messages)
        account.bytes += size
        self.datagrams += len(messages)
        return messages

    def _count(
        self, account: _Account, sender: Address, sequence: int, channel: str, payload: bytes
    ) -> ChannelMessage[bytes] | None:
        """Count a whole message; return it if it is wanted, and no duplicate."""
        account.time += account.quiet
        account.quiet = 0.0
        arrival = account.counter.update(sequence, account.time)
        if arrival is not _NEXT:
            if arrival is _DUPLICATE:
                return None
            if arrival is _RESTART:
                self._reassembler.forget(sender)
        account.last = sequence
        account.messages += 1
        account.bytes += len(payload)
        if self._channels is not None and channel not in self._channels:
            self.ignored += 1
            return None
        return ChannelMessage(channel, payload, sequence, sender)

    def _decode(self, data: bytes | memoryview) -> Event:
        try:
            return decode(data, max_size=self._max_size, copy=False)
        except FrameError:
            if data[:4] in _MAGICS:
                self.broken += 1
            else:
                self.foreign += 1
            raise

    def room(self, most: int) -> memoryview | None:
        """Return where the payloads of the next fragments belong; see `Reassembler.room`."""
        return self._reassembler.room(most)

    def enter(self, heads: Sequence[bytes], sender: Address, now: float) -> int:
        """Take the fragments that are in `room` already; return how many; see `Reassembler.enter`."""
        account = self._accounts.get(sender)
        # After a silence it may have begun anew: `take` knows what that means.
        if account is None or now - account.heard >= RESTART_AFTER_S:
            return 0
        entered = self._reassembler.enter(sender, heads, now)
        if entered:
            self.datagrams += entered
            self._account(sender, now)
        return entered

    def statistics(
        self,
        now: float,
        *,
        ahead: Collection[ChannelMessage[bytes]] = (),
        strangers: int = 0,
        kernel_drops: int | None = None,
        granted_buffer: int = 0,
    ) -> ChannelStatistics:
        """Return all counts as they are now, with those of the socket and without messages in `ahead`."""
        self._reassembler.expire(now)
        senders = {address: account.statistics(now) for address, account in self._accounts.items()}
        for message in ahead:
            one = senders[message.sender]
            senders[message.sender] = replace(
                one, messages=one.messages - 1, bytes=one.bytes - len(message.readout)
            )
        every = [self._past, *senders.values()]
        return ChannelStatistics(
            datagrams=self.datagrams - len(ahead),
            foreign=self.foreign,
            broken=self.broken,
            strangers=strangers,
            messages=sum(one.messages for one in every),
            bytes=sum(one.bytes for one in every),
            ignored=self.ignored,
            unreadable=self.unreadable,
            incomplete=self._reassembler.incomplete,
            refused=self._reassembler.refused,
            late_fragments=self._reassembler.late,
            repeated_fragments=self._reassembler.duplicates,
            lost=sum(one.lost for one in every),
            gaps=sum(one.gaps for one in every),
            late=sum(one.late for one in every),
            duplicates=sum(one.duplicates for one in every),
            restarts=sum(one.restarts for one in every),
            senders=senders,
            forgotten=self._forgotten,
            kernel_drops=kernel_drops,
            granted_buffer=granted_buffer,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes held for messages in progress."""
        return self._reassembler.held_bytes

    def _account(self, sender: Address, now: float) -> _Account:
        """Return the account of a sender that was heard now."""
        account = self._accounts.get(sender)
        if account is None:
            if len(self._accounts) >= self._max_senders:
                self._forget_one(now)
            account = self._accounts[sender] = _Account(now)
            self._latest = sender
            return account
        if sender != self._latest:
            self._accounts.move_to_end(sender)
            self._latest = sender
        quiet = now - account.heard
        if quiet > account.quiet:
            account.quiet = quiet
        account.heard = now
        return account

    def _join(self, fragment: Fragment, account: _Account, sender: Address, now: float) -> Message | None:
        if account.quiet >= RESTART_AFTER_S and not _is_ahead(fragment.sequence, account.last):
            # It began anew, maybe with a message that looks like an old one.
            self._reassembler.forget(sender)
            account.last = -1
        refused = self._reassembler.refused
        whole = self._reassembler.add(sender, fragment, now)
        if self._reassembler.refused != refused:
            cost = largest_cost(fragment.size, fragment.count)
            raise FrameTooLarge(f"a message of {fragment.size} bytes, in memory", cost, self._per_sender)
        return whole

    def _forget_one(self, now: float) -> None:
        """Close the account that was silent for longest; its counts stay in the sums."""
        address, account = self._accounts.popitem(last=False)
        self._reassembler.forget(address)
        one, past = account.statistics(now), self._past
        self._forgotten += 1
        self._past = SenderStatistics(
            messages=past.messages + one.messages,
            bytes=past.bytes + one.bytes,
            lost=past.lost + one.lost,
            gaps=past.gaps + one.gaps,
            late=past.late + one.late,
            duplicates=past.duplicates + one.duplicates,
            restarts=past.restarts + one.restarts,
        )


def least_cost(size: int) -> int:
    """Return the bytes of memory that a message needs at least, in datagrams as large as can be."""
    # The first fragment has the name besides.
    return largest_cost(size, size // FULL_FRAGMENT + 1)


def _is_ahead(number: int, last: int) -> bool:
    """Say whether a number follows `last`, by less than half of all numbers."""
    return last < 0 or 0 < (number - last) % _NUMBERS < _NUMBERS >> 1
