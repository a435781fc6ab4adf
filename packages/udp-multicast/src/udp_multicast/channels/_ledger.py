"""Datagrams in, messages out, and an account of every sender; no I/O, no clock.

Every datagram is counted exactly once: as foreign, broken, refused, a late or
repeated fragment, or in the message it is of. A message is in the account of its
sender, as itself or as a duplicate, when it is whole, so one that misses a fragment
is a number that never arrived: lost, like one that was dropped altogether.

Datagrams come several at a time, of any senders, good and bad ones mixed, and
are judged in one go: a sender beside another costs it nothing but its turn.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Final

from udp_multicast.channels._accounts import MAX_SENDERS, Accounts
from udp_multicast.channels._message import ChannelMessage
from udp_multicast.channels._statistics import ChannelStatistics
from wireframe.datagram import (
    FULL_FRAGMENT,
    MAX_SIZE,
    Arrival,
    Fault,
    Fragment,
    Message,
    Reassembler,
    decode,
    examine,
    largest_cost,
    split_small,
)
from wireframe.errors import FrameError, FrameTooLarge

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Collection, Iterable, Sequence

    from udp_multicast.channels._accounts import Account
    from udp_multicast.channels._message import Address, Arrived
    from udp_multicast.channels._statistics import SenderStatistics
    from wireframe.datagram import Small

# Bound once: looking up a member of an Enum costs as much as the rest of a datagram.
_NEXT: Final = Arrival.NEXT
_DUPLICATE: Final = Arrival.DUPLICATE
_RESTART: Final = Arrival.RESTART
#: Bytes of a datagram that hold its header and any name.
_HEAD_STOP: Final = 128


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
        per_sender = None if max_bytes is None else max(1, max_bytes // 2)
        self._per_sender = per_sender or 0
        if max_size is None:
            max_size = MAX_SIZE
        elif per_sender is not None and (least := least_cost(max_size)) > per_sender:
            raise ValueError(
                f"half of max_bytes, {per_sender}, must be at least {least} for messages of {max_size}"
            )
        self._reassembler = Reassembler(
            max_size,
            max_bytes=max_bytes,
            max_bytes_per_sender=per_sender,
            max_age_s=max_age_s,
            make_memory=_make_memory,
        )
        self._accounts = Accounts(max_senders, self._reassembler.forget)
        self._no_memory = Fault(FrameTooLarge, self._too_large)
        self._channels = None if channels is None else frozenset(channels)
        self._max_size = max_size
        self.datagrams = 0
        self.foreign = 0
        self.broken = 0
        self.ignored = 0
        self.unreadable = 0

    def take(
        self,
        arrived: Iterable[Arrived],
        now: float,
        ready: deque[ChannelMessage[bytes]],
        told: Collection[tuple[str, type[Exception]]] = (),
    ) -> tuple[int, FrameError | None]:
        """Take datagrams, in order; return how many, and what is wrong with the last of these.

        That may be fewer than there are: a datagram that has to be told about is the last
        one, and so is one that makes a message of some length, which is better
        returned before there is memory for another one.

        Parameters
        ----------
        arrived : iterable of bytes or memoryview, and address
            Datagrams and their senders. Nothing of them is kept: their memory may
            be reused.
        now : float
            When they came.
        ready : deque
            Messages that are whole and wanted are added to it.
        told : collection of str and type
            Hosts, and errors of theirs, that are only counted.

        Returns
        -------
        count : int
            How many were taken.
        error : FrameError or None
            Why the last of them, which is counted, is not LCM's, or breaks its rules
            or our limits, that of memory included. The next one may be good.
        """
        max_size, channels = self._max_size, self._channels
        error: FrameError | None = None
        latest: Address | None = None
        account: Account | None = None
        count = 0
        for data, sender in arrived:
            count += 1
            self.datagrams += 1
            # A quick look first: most are small messages.
            is_short = isinstance(data, bytes)
            small = split_small(data, max_size) if isinstance(data, bytes) else _split_view(data, max_size)
            if small is not None:
                sequence, channel, payload = small
            else:
                found: Small | Message | Fault | None
                event = examine(data, max_size=max_size, copy=False)
                if type(event) is Fault:
                    found = event
                    if event.is_foreign:
                        self.foreign += 1
                    else:
                        self.broken += 1
                else:
                    found = self._join(event, sender, now) if isinstance(event, Fragment) else event
                    latest = None  # the account of another one was opened, perhaps in its place
                    if found is None:
                        continue
                if type(found) is Fault:
                    if (sender[0], found.kind) in told:
                        continue
                    error = found.error(data, max_size)
                    break
                sequence, channel, payload = found.sequence, found.channel, found.payload
                is_short = False
            if account is None or sender is not latest:
                account, latest = self._accounts.hear(sender, now), sender
                account.time += account.quiet
                account.quiet = 0.0
            arrival = account.counter.update(sequence, account.time)
            if arrival is not _NEXT:
                if arrival is _DUPLICATE:
                    continue
                if arrival is _RESTART:
                    self._reassembler.forget(sender)
            account.last = sequence
            account.messages += 1
            account.bytes += len(payload)
            if channels is None or channel in channels:
                ready.append(ChannelMessage(channel, payload, sequence, sender))
            else:
                self.ignored += 1
            if not is_short:
                break
        return count, error

    def _join(self, fragment: Fragment, sender: Address, now: float) -> Message | Fault | None:
        account, reassembler = self._accounts.hear(sender, now), self._reassembler
        if account.began_anew(fragment.sequence):
            # Maybe with a message that looks like an old one.
            reassembler.forget(sender)
            account.last = -1
        refused = reassembler.refused
        whole = reassembler.add(sender, fragment, now)
        return whole if reassembler.refused == refused else self._no_memory

    def _too_large(self, head: bytes, _: int, max_size: int) -> FrameError:
        """Say why a fragment was refused."""
        fragment = decode(head, max_size=max_size)
        if type(fragment) is not Fragment:
            raise TypeError("only fragments are refused for want of memory")
        cost = largest_cost(fragment.size, fragment.count)
        return FrameTooLarge(f"a message of {fragment.size} bytes, in memory", cost, self._per_sender)

    def room(self, most: int) -> memoryview | None:
        """Return where the payloads of the next fragments belong; see `Reassembler.room`."""
        return self._reassembler.room(most)

    def enter(self, heads: Sequence[bytes], sender: Address, now: float) -> int:
        """Take the fragments that are in `room` already; return how many; see `Reassembler.enter`."""
        # After a silence it may have begun anew: `take` knows what that means.
        if self._accounts.is_silent(sender, now):
            return 0
        entered = self._reassembler.enter(sender, heads, now)
        if entered:
            self.datagrams += entered
            self._accounts.hear(sender, now)
        return entered

    def statistics(
        self,
        now: float,
        *,
        ahead: Sequence[ChannelMessage[bytes]] = (),
        strangers: int = 0,
        kernel_drops: int | None = None,
        granted_buffer: int = 0,
    ) -> ChannelStatistics:
        """Return all counts as they are now, with those of the socket and without messages in `ahead`."""
        self._reassembler.expire(now)
        senders, past = self._accounts.statistics(now), self._accounts.past
        # The last ones first: those before may be of an account that was closed.
        for message in reversed(ahead):
            one = senders.get(message.sender)
            if one is not None and one.messages:
                senders[message.sender] = _without(one, message)
            else:
                past = _without(past, message)
        every = [past, *senders.values()]
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
            forgotten=self._accounts.forgotten,
            kernel_drops=kernel_drops,
            granted_buffer=granted_buffer,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes held for messages in progress."""
        return self._reassembler.held_bytes


def _split_view(data: memoryview, max_size: int) -> tuple[int, str, bytes] | None:
    """Do what `split_small` does, and copy nothing but the payload."""
    head = data[:_HEAD_STOP].tobytes()
    small = split_small(head)
    if small is None:
        return None
    sequence, channel, begun = small
    payload = data[len(head) - len(begun) :]
    return (sequence, channel, payload.tobytes()) if len(payload) <= max_size else None


class _Joined(BytesIO):
    """Memory that may be collected while a view of it is: since Python 3.13 that would be told on stderr."""

    __slots__ = ()

    def close(self) -> None:
        """Give it up, unless there is a view, which goes with it."""
        with suppress(BufferError):
            super().close()


def _make_memory(size: int) -> BytesIO:
    # It takes bytes that nobody else has over, and gives them away again, without a copy.
    return _Joined(bytes(size))


def least_cost(size: int) -> int:
    """Return the bytes of memory that a message needs at least, in datagrams as large as can be."""
    # The first fragment has the name besides.
    return largest_cost(size, size // FULL_FRAGMENT + 1)


def _without(counts: SenderStatistics, message: ChannelMessage[bytes]) -> SenderStatistics:
    return replace(counts, messages=counts.messages - 1, bytes=counts.bytes - len(message.readout))
