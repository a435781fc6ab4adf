"""Fragments to messages, with a bound on everything a peer chooses.

Wanted: whatever order fragments come in, a message comes out exactly when all
its fragments are here, once, and only if they tile it exactly. Whatever a
hostile sender sends, memory stays below a limit set here, an honest sender
beside it keeps its share, and each message that is given up is counted once.

Strategy: pieces are kept as they came and joined when the last one is here, so
nothing is ever as large as an announcement, only as large as what arrived. The
books charge each fragment and each message a fixed cost besides its payload;
it covers what Python needs for them, so that empty fragments are not free.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from wireframe.datagram._messages import MAX_SIZE, Fragment, Message

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Bytes the books charge for a fragment besides its payload. Measured with
#: CPython 3.11: at most 300, in messages of very many empty fragments.
FRAGMENT_COST: Final = 320
#: Bytes the books charge for a message in progress, its sender included.
MESSAGE_COST: Final = 2048

#: Fragments of the largest message; the number of the wire has 16 bits.
_MAX_COUNT: Final = 0xFFFF
#: Finished messages that are remembered, for each that may be in progress.
_REMEMBERED: Final = 4
_NEVER: Final = float("inf")


class _Sender:
    """What one sender holds."""

    __slots__ = ("held", "partials")

    def __init__(self) -> None:
        self.held = 0
        self.partials: OrderedDict[int, _Partial] = OrderedDict()


class _Partial:
    """A message of which some fragments are here."""

    __slots__ = ("account", "arrived", "channel", "count", "expires", "key", "pieces", "size")

    def __init__(
        self, key: tuple[Hashable, int], account: _Sender, size: int, count: int, expires: float
    ) -> None:
        self.key = key
        self.account = account
        self.size = size
        self.count = count
        self.expires = expires
        self.channel: str | None = None
        #: Offset and payload by fragment number. Not a list of `count`: the
        #: peer chose that number.
        self.pieces: dict[int, tuple[int, bytes]] = {}
        #: Payload bytes in them.
        self.arrived = 0


class Reassembler:
    """Joins the fragments of any number of senders.

    Parameters
    ----------
    max_size : int
        Payload bytes of the largest message.
    max_bytes : int, optional
        Bytes held for all senders; by default twice `max_bytes_per_sender`. A
        fragment counts its payload and `FRAGMENT_COST`, a message
        `MESSAGE_COST`.
    max_bytes_per_sender : int, optional
        Bytes held for one sender; by default enough for one message of
        `max_size`, in however many fragments.
    max_messages, max_messages_per_sender : int
        Messages in progress, of all senders and of one.
    max_age_s : float
        Seconds from the first fragment that arrived to the last.

    Attributes
    ----------
    complete : int
        Messages returned.
    expired : int
        Messages given up because they were older than `max_age_s`.
    evicted : int
        Messages given up to stay within a limit, the oldest first: of the same
        sender for its limits, of all for the limits of all.
    inconsistent : int
        Messages given up because fragments contradict each other: another
        size or count in one sequence, other bytes for the same fragment, more
        bytes than announced, or together not the message without gap and
        overlap. The fragment that contradicts begins the message anew: its
        sender has started again.
    forgotten : int
        Messages given up because of `forget`.
    refused : int
        Fragments of messages that no limit here could ever hold, and
        fragments that contradict themselves, which `decode` never returns.
    duplicates : int
        Fragments that were here already.
    late : int
        Fragments of messages that were returned or given up before.

    Raises
    ------
    ValueError
        A limit is less than 1, or `max_age_s` not more than 0.

    Notes
    -----
    For one thread at a time. Each fragment is in exactly one message, or
    counted in `refused`, `duplicates` or `late`; each message begun is
    in progress, or counted in `complete` or in `incomplete`.

    Memory is at most `max_bytes`, once more the message that is just being
    joined, and the sequence numbers of ``4 * max_messages`` finished messages,
    which are remembered for `max_age_s` so that a repeated or belated fragment
    does not begin a message that can never be complete. A sender that starts
    again on the same address may use those numbers for new messages: tell it
    by `forget` when a `SequenceCounter` says so.

    Examples
    --------
    >>> from wireframe.datagram import decode, encode_fragments
    >>> first, second = encode_fragments(7, "ADC", bytes(100_000))
    >>> sender = ("192.0.2.1", 40000)
    >>> reassembler = Reassembler()
    >>> reassembler.add(sender, decode(b"".join(second)), now=0.0)
    >>> reassembler.held_messages
    1
    >>> message = reassembler.add(sender, decode(b"".join(first)), now=0.1)
    >>> message.channel, len(message.payload)
    ('ADC', 100000)
    """

    __slots__ = (
        "_finished",
        "_held",
        "_largest",
        "_max_age_s",
        "_max_bytes",
        "_max_bytes_per_sender",
        "_max_finished",
        "_max_messages",
        "_max_messages_per_sender",
        "_max_size",
        "_next_expiry",
        "_partials",
        "_senders",
        "complete",
        "duplicates",
        "evicted",
        "expired",
        "forgotten",
        "inconsistent",
        "late",
        "refused",
    )

    def __init__(
        self,
        max_size: int = MAX_SIZE,
        *,
        max_bytes: int | None = None,
        max_messages: int = 256,
        max_bytes_per_sender: int | None = None,
        max_messages_per_sender: int = 16,
        max_age_s: float = 10.0,
    ) -> None:
        if max_bytes_per_sender is None:
            max_bytes_per_sender = max_size + _MAX_COUNT * FRAGMENT_COST + MESSAGE_COST
        if max_bytes is None:
            max_bytes = 2 * max_bytes_per_sender
        if min(max_size, max_bytes, max_messages, max_bytes_per_sender, max_messages_per_sender) < 1:
            raise ValueError("limits must be at least 1")
        if not max_age_s > 0:
            raise ValueError(f"max_age_s must be more than 0, not {max_age_s}")
        self._max_size = max_size
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._max_bytes_per_sender = max_bytes_per_sender
        self._max_messages_per_sender = max_messages_per_sender
        self._max_age_s = max_age_s
        self._max_finished = _REMEMBERED * max_messages
        self._largest = min(max_bytes, max_bytes_per_sender)
        self._held = 0
        self._next_expiry = _NEVER
        # Both are in order of age: what is added last is the youngest.
        self._partials: OrderedDict[tuple[Hashable, int], _Partial] = OrderedDict()
        self._finished: OrderedDict[tuple[Hashable, int], tuple[int, int, float]] = OrderedDict()
        self._senders: dict[Hashable, _Sender] = {}
        self.complete = 0
        self.expired = 0
        self.evicted = 0
        self.inconsistent = 0
        self.forgotten = 0
        self.refused = 0
        self.duplicates = 0
        self.late = 0

    @property
    def held_bytes(self) -> int:
        """Bytes in the books now, at most `max_bytes`."""
        return self._held

    @property
    def held_messages(self) -> int:
        """Messages in progress now, at most `max_messages`."""
        return len(self._partials)

    @property
    def incomplete(self) -> int:
        """Messages given up, for whatever reason."""
        return self.expired + self.evicted + self.inconsistent + self.forgotten

    def add(self, sender: Hashable, fragment: Fragment, now: float) -> Message | None:
        """Take a fragment; return its message if this was the last one.

        Parameters
        ----------
        sender : hashable
            Who sent it: source address and port.
        fragment : Fragment
            As `decode` returned it.
        now : float
            Seconds, of any clock that does not go backwards.

        Returns
        -------
        Message or None
            None while fragments are missing, and for fragments that were
            refused, repeated or late; see the counters.
        """
        if now >= self._next_expiry:
            self.expire(now)
        size, count, number, offset = fragment.size, fragment.count, fragment.number, fragment.offset
        payload = fragment.payload
        length = len(payload)
        if not 0 <= number < count or not 0 <= offset <= size - length:
            self.refused += 1
            return None
        key = (sender, fragment.sequence)
        partial = self._partials.get(key)
        if partial is not None:
            known = partial.pieces.get(number)
            if known is not None:
                same = known == (offset, payload) and (number != 0 or partial.channel == fragment.channel)
                if same and partial.size == size and partial.count == count:
                    self.duplicates += 1
                    return None
            if (
                known is not None
                or partial.size != size
                or partial.count != count
                or partial.arrived + length > size
            ):
                self._drop(partial)
                self.inconsistent += 1
                partial = None
        elif key in self._finished and self._is_late(key, size, count, now):
            self.late += 1
            return None
        if partial is None:
            partial = self._begin(key, size, count, now)
            if partial is None:
                return None
        account = partial.account
        cost = length + FRAGMENT_COST
        if (
            account.held + cost > self._max_bytes_per_sender or self._held + cost > self._max_bytes
        ) and not self._make_room(cost, partial, now):
            return None
        partial.pieces[number] = (offset, payload)
        partial.arrived += length
        account.held += cost
        self._held += cost
        if number == 0:
            partial.channel = fragment.channel
        if len(partial.pieces) == count:
            return self._join(partial, now)
        return None

    def expire(self, now: float) -> int:
        """Give up the messages that are too old.

        `add` does so itself; call this where no fragments come any more.

        Parameters
        ----------
        now : float
            Seconds, of the clock of `add`.

        Returns
        -------
        int
            How many were given up.
        """
        before = self.expired
        self._next_expiry = _NEVER
        while self._partials:
            partial = next(iter(self._partials.values()))
            if now < partial.expires:
                self._next_expiry = partial.expires
                break
            self._give_up(partial, now)
            self.expired += 1
        return self.expired - before

    def forget(self, sender: Hashable) -> int:
        """Give up all messages of a sender and what is remembered of it: it started again.

        Parameters
        ----------
        sender : hashable
            As given to `add`.

        Returns
        -------
        int
            How many messages in progress were given up.
        """
        account = self._senders.get(sender)
        partials = list(account.partials.values()) if account is not None else []
        for partial in partials:
            self._drop(partial)
        self.forgotten += len(partials)
        for key in [key for key in self._finished if key[0] == sender]:
            del self._finished[key]
        return len(partials)

    def _is_late(self, key: tuple[Hashable, int], size: int, count: int, now: float) -> bool:
        """Tell a belated fragment from one of a new message with an old number."""
        known_size, known_count, until = self._finished[key]
        return known_size == size and known_count == count and now < until

    def _begin(self, key: tuple[Hashable, int], size: int, count: int, now: float) -> _Partial | None:
        """Open the books for a message, unless it could never fit."""
        if size > self._max_size or size + count * FRAGMENT_COST + MESSAGE_COST > self._largest:
            self.refused += 1
            return None
        account = self._senders.get(key[0])
        while account is not None and (
            len(account.partials) >= self._max_messages_per_sender
            or account.held + MESSAGE_COST > self._max_bytes_per_sender
        ):
            self._evict(next(iter(account.partials.values())), now)
            account = self._senders.get(key[0])
        while len(self._partials) >= self._max_messages or self._held + MESSAGE_COST > self._max_bytes:
            self._evict(next(iter(self._partials.values())), now)
        # Looked up again: the last eviction may have closed the account.
        account = self._senders.get(key[0])
        if account is None:
            account = self._senders[key[0]] = _Sender()
        partial = _Partial(key, account, size, count, now + self._max_age_s)
        self._partials[key] = account.partials[key[1]] = partial
        account.held += MESSAGE_COST
        self._held += MESSAGE_COST
        self._next_expiry = min(self._next_expiry, partial.expires)
        return partial

    def _make_room(self, cost: int, partial: _Partial, now: float) -> bool:
        """Evict until `cost` bytes fit; False if that took the message itself."""
        account = partial.account
        oldest: _Partial | None = None
        while account.held + cost > self._max_bytes_per_sender and oldest is not partial:
            oldest = next(iter(account.partials.values()))
            self._evict(oldest, now)
        while self._held + cost > self._max_bytes and oldest is not partial:
            oldest = next(iter(self._partials.values()))
            self._evict(oldest, now)
        return oldest is not partial

    def _join(self, partial: _Partial, now: float) -> Message | None:
        """Close the books on a message of which every number is here."""
        self._give_up(partial, now)
        end = 0
        pieces = []
        for number in range(partial.count):
            offset, payload = partial.pieces[number]
            if offset != end:
                break
            end += len(payload)
            pieces.append(payload)
        channel = partial.channel
        if len(pieces) < partial.count or end != partial.size or channel is None:
            self.inconsistent += 1
            return None
        self.complete += 1
        return Message(partial.key[1], channel, b"".join(pieces))

    def _evict(self, partial: _Partial, now: float) -> None:
        self._give_up(partial, now)
        self.evicted += 1

    def _give_up(self, partial: _Partial, now: float) -> None:
        """Drop a message and remember that it was there."""
        self._drop(partial)
        finished = self._finished
        finished.pop(partial.key, None)
        finished[partial.key] = (partial.size, partial.count, now + self._max_age_s)
        if len(finished) > self._max_finished:
            finished.popitem(last=False)

    def _drop(self, partial: _Partial) -> None:
        sender, sequence = partial.key
        del self._partials[partial.key]
        del partial.account.partials[sequence]
        held = MESSAGE_COST + len(partial.pieces) * FRAGMENT_COST + partial.arrived
        partial.account.held -= held
        self._held -= held
        if not partial.account.partials:
            del self._senders[sender]
