"""Fragments to messages, with a bound on everything a peer chooses.

Wanted: whatever order fragments come in, a message comes out exactly when all
its fragments are here, once, and only if they tile it exactly. Whatever a
hostile sender sends, memory stays below a limit set here, an honest sender
beside it keeps its share, and each message that is given up is counted once.

Strategy: memory grows with what arrives, and nothing is ever as large as an
announcement; as much as finished messages had may be lent to the next ones in
advance, within a bound.
What is held for whom stands in `Holdings`; here is what fragments mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wireframe.datagram._finished import Finished
from wireframe.datagram._holdings import Holdings, Limits, largest_cost
from wireframe.datagram._memory import OwnMemory
from wireframe.datagram._messages import MAX_SIZE, Fragment, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from wireframe.datagram._memory import Memory
    from wireframe.datagram._partial import Key, Partial

#: Fragments of the largest message; the number on the wire has 16 bits.
_MAX_COUNT: Final = 0xFFFF
#: Finished messages that are remembered, for each that may be in progress.
_REMEMBERED: Final = 4
_NEVER: Final = float("inf")


class Reassembler:
    """Joins the fragments of any number of senders.

    Parameters
    ----------
    max_size : int
        Payload bytes of the largest message.
    max_bytes : int, optional
        Bytes held for all senders; by default twice `max_bytes_per_sender`. A
        fragment counts 9/8 of its payload and `FRAGMENT_COST`, a message
        `MESSAGE_COST`.
    max_bytes_per_sender : int, optional
        Bytes held for one sender; by default enough for one message of
        `max_size`, in however many fragments.
    max_messages, max_messages_per_sender : int
        Messages in progress, of all senders and of one.
    max_age_s : float
        Seconds from the first fragment that arrived to the last.
    make_memory : callable
        Given a number of bytes, returns memory of that size, with the methods of
        `io.BytesIO` that `Memory` names. One of these itself, as in
        ``lambda size: BytesIO(bytes(size))``, saves a copy of each message.
        From Python 3.13 on, take a subclass whose `close` suppresses
        `BufferError`: what is collected together with a view of it is told
        about on standard error otherwise.

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

    A fragment is copied, so its payload may be a view of memory that is reused.

    Memory is at most `max_bytes`, once more the message that is just being joined, what is lent
    to messages in advance because earlier ones needed it (8 MiB, at most an
    eighth of `max_bytes`), and the sequence numbers of ``4 * max_messages``
    finished messages, which are remembered for `max_age_s` so that a repeated
    or belated fragment does not begin a message that can never be complete. A sender that starts
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
        "_holdings",
        "_max_age_s",
        "_max_size",
        "_next_expiry",
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
        make_memory: Callable[[int], Memory] = OwnMemory,
    ) -> None:
        if max_bytes_per_sender is None:
            max_bytes_per_sender = largest_cost(max_size, _MAX_COUNT)
        if max_bytes is None:
            max_bytes = 2 * max_bytes_per_sender
        if min(max_size, max_bytes, max_messages, max_bytes_per_sender, max_messages_per_sender) < 1:
            raise ValueError("limits must be at least 1")
        if not max_age_s > 0:
            raise ValueError(f"max_age_s must be more than 0, not {max_age_s}")
        self._max_size = max_size
        self._max_age_s = max_age_s
        self._holdings = Holdings(
            Limits(max_bytes, max_messages, max_bytes_per_sender, max_messages_per_sender),
            make_memory,
        )
        self._next_expiry = _NEVER
        self._finished = Finished(_REMEMBERED * max_messages, max_age_s)
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
        return self._holdings.held

    @property
    def held_messages(self) -> int:
        """Messages in progress now, at most `max_messages`."""
        return len(self._holdings.partials)

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
        number, count = fragment.number, fragment.count
        if not 0 <= number < count or not 0 <= fragment.offset <= fragment.size - len(fragment.payload):
            self.refused += 1
            return None
        key = (sender, fragment.sequence)
        partial = self._holdings.partials.get(key)
        if partial is not None:
            known = partial.is_repeated_by(fragment)
            if known:
                self.duplicates += 1
                return None
            if known is not None or partial.contradicts(fragment):
                self._holdings.drop(partial)
                self.inconsistent += 1
                partial = None
        elif self._finished.is_late(key, fragment, now):
            self.late += 1
            return None
        if partial is None:
            partial = self._begin(key, fragment, now)
            if partial is None:
                return None
        evicted = self._holdings.put(partial, number, fragment.offset, fragment.payload)
        if evicted:
            self._count_evicted(evicted, now)
            if evicted[-1] is partial:
                return None
        if number == 0:
            partial.channel = fragment.channel
        if len(partial) == count:
            return self._join(partial, now)
        return None

    def room(self, most: int) -> memoryview | None:
        """Return the memory where the payloads of the next fragments belong, to receive them there.

        Large messages come in full datagrams, in order, so the next ones are
        known before they are here. What is received into this memory and turns
        out to be what was expected is entered by `enter`, and never copied; if
        it is anything else, this memory means nothing, and it goes to `add`.

        Parameters
        ----------
        most : int
            Fragments to make room for.

        Returns
        -------
        memoryview or None
            `FULL_FRAGMENT` bytes for each of them, one after the other: those
            behind the fragment that was added last. None if there are none, or
            the message has no memory in advance. The last
            fragment of a message is never among them. To be dropped before
            the next call of `add`.
        """
        return self._holdings.room(most)

    def enter(self, sender: Hashable, heads: Sequence[bytes], now: float) -> int:
        """Take full fragments whose payloads were received into `room`, as `add` would.

        Nothing may have been added since.

        Parameters
        ----------
        sender, now : hashable, float
            As for `add`.
        heads : sequence of bytes
            The headers of datagrams of `MAX_DATAGRAM` bytes, in the order of
            their places.

        Returns
        -------
        int
            How many of them, from the first on, were what was expected; the
            others were not touched.
        """
        if now >= self._next_expiry:
            self.expire(now)
        return self._holdings.enter(sender, heads)

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
        partials = self._holdings.partials
        before = self.expired
        self._next_expiry = _NEVER
        while partials:
            partial = next(iter(partials.values()))
            if now < partial.expires:
                self._next_expiry = partial.expires
                break
            self._finished.remember(self._holdings.drop(partial), now)
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
        account = self._holdings.accounts.get(sender)
        partials = list(account.partials.values()) if account is not None else []
        for partial in partials:
            self._holdings.drop(partial)
        self.forgotten += len(partials)
        self._finished.forget(sender)
        return len(partials)

    def _begin(self, key: Key, fragment: Fragment, now: float) -> Partial | None:
        """Open the books for a message, unless it could never fit."""
        size, count = fragment.size, fragment.count
        if size > self._max_size or not self._holdings.admits(size, count):
            self.refused += 1
            return None
        partial, evicted = self._holdings.open(key, size, count, now + self._max_age_s)
        self._count_evicted(evicted, now)
        self._next_expiry = min(self._next_expiry, partial.expires)
        return partial

    def _join(self, partial: Partial, now: float) -> Message | None:
        """Close the books on a message of which every number is here."""
        payload, channel = partial.payload(), partial.channel
        self._finished.remember(self._holdings.drop(partial), now)
        if payload is None or channel is None:
            self.inconsistent += 1
            return None
        self.complete += 1
        return Message(partial.key[1], channel, payload)

    def _count_evicted(self, evicted: list[Partial], now: float) -> None:
        self.evicted += len(evicted)
        for partial in evicted:
            self._finished.remember(partial, now)
