"""The books of a reassembler: what is held for whom, and who goes first when it is too much.

The books charge each fragment and each message a fixed cost besides its
payload; it covers what Python needs for them, so that empty fragments are not
free and a limit in bytes is one of memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wireframe.datagram._messages import FULL_FRAGMENT
from wireframe.datagram._partial import Account, Key, Partial
from wireframe.datagram._spares import Spares

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from wireframe.datagram._memory import Memory

#: Bytes the books charge for a fragment besides 9/8 of its payload. Measured
#: with CPython 3.11 to 3.13: at most 250, for tiny ones that wait for fragment 0.
FRAGMENT_COST: Final = 320
#: Bytes the books charge for a message in progress, its sender included.
MESSAGE_COST: Final = 2048

_FULL_COST: Final = FULL_FRAGMENT + (FULL_FRAGMENT >> 3) + FRAGMENT_COST

#: Bytes of memory lent to messages before they arrive; never more than an eighth of `max_bytes`.
SPARE_BYTES: Final = 8 << 20


def largest_cost(size: int, count: int) -> int:
    """Return what the books of a `Reassembler` charge for a whole message at most.

    Parameters
    ----------
    size : int
        Bytes of its payload.
    count : int
        Datagrams it comes in.

    Returns
    -------
    int
        Bytes: a limit below this refuses the message.
    """
    return size + (size >> 3) + count * FRAGMENT_COST + MESSAGE_COST


@dataclass(frozen=True)
class Limits:
    """Bounds of the books; all at least 1."""

    max_bytes: int
    max_messages: int
    max_bytes_per_sender: int
    max_messages_per_sender: int


class Holdings:
    """Messages in progress, in order of age, within their limits.

    Attributes
    ----------
    held : int
        Bytes in the books.
    partials : OrderedDict
        Messages in progress by key, the oldest first; only to be read.
    accounts : dict
        What each sender holds; only to be read.
    """

    __slots__ = ("_latest", "_limits", "_spares", "accounts", "held", "partials")

    def __init__(self, limits: Limits, make_memory: Callable[[int], Memory]) -> None:
        self._limits = limits
        self._spares = Spares(min(SPARE_BYTES, limits.max_bytes >> 3), make_memory)
        self.held = 0
        self.partials: OrderedDict[Key, Partial] = OrderedDict()
        self.accounts: dict[Hashable, Account] = {}
        #: The message of the last fragment, if it is in progress.
        self._latest: Partial | None = None

    def admits(self, size: int, count: int) -> bool:
        """Say whether such a message would fit if it were alone."""
        largest = min(self._limits.max_bytes, self._limits.max_bytes_per_sender)
        return largest_cost(size, count) <= largest

    def open(self, key: Key, size: int, count: int, expires: float) -> tuple[Partial, list[Partial]]:
        """Enter a message that is admitted; return it and those that had to go."""
        limits = self._limits
        evicted = []
        account = self.accounts.get(key[0])
        while account is not None and (
            len(account.partials) >= limits.max_messages_per_sender
            or account.held + MESSAGE_COST > limits.max_bytes_per_sender
        ):
            evicted.append(self.drop(next(iter(account.partials.values()))))
            account = self.accounts.get(key[0])
        while len(self.partials) >= limits.max_messages or self.held + MESSAGE_COST > limits.max_bytes:
            evicted.append(self.drop(next(iter(self.partials.values()))))
        # Looked up again: the last eviction may have closed the account.
        account = self.accounts.get(key[0])
        if account is None:
            account = self.accounts[key[0]] = Account()
        partial = Partial(key, account, size, count, expires, *self._spares.lend(size))
        self.partials[key] = account.partials[key[1]] = partial
        partial.held = MESSAGE_COST
        account.held += MESSAGE_COST
        self.held += MESSAGE_COST
        return partial, evicted

    def put(self, partial: Partial, number: int, offset: int, payload: bytes | memoryview) -> list[Partial]:
        """Enter a fragment, whose payload is copied; return the messages that had to go.

        If its own message is one of them, nothing was entered.
        """
        limits, account = self._limits, partial.account
        length = len(payload)
        # The eighth is what growing memory takes in advance.
        cost = length + (length >> 3) + FRAGMENT_COST
        evicted: list[Partial] = []
        if account.held + cost > limits.max_bytes_per_sender or self.held + cost > limits.max_bytes:
            evicted = self._make_room(partial, cost)
            if evicted[-1] is partial:
                return evicted
        partial.put(number, offset, payload)
        partial.held += cost
        account.held += cost
        self.held += cost
        self._latest = partial
        return evicted

    def room(self, most: int) -> memoryview | None:
        """Return the memory where the next full fragments belong; see `Reassembler.room`."""
        partial = self._latest
        if partial is None or partial.waiting or not partial.ends:
            return None
        limits, account, filled = self._limits, partial.account, partial.filled
        count = min(
            most,
            partial.count - 1 - len(partial.ends),
            (min(partial.lent, partial.size) - filled) // FULL_FRAGMENT,
            (limits.max_bytes_per_sender - account.held) // _FULL_COST,
            (limits.max_bytes - self.held) // _FULL_COST,
        )
        return partial.view[filled : filled + count * FULL_FRAGMENT] if count > 0 else None

    def enter(self, sender: Hashable, heads: Sequence[bytes]) -> int:
        """Enter full fragments whose payloads are in `room`; see `Reassembler.enter`."""
        partial = self._latest
        if partial is None or partial.key[0] != sender:
            return 0
        entered = 0
        for expected, head in zip(partial.next_heads(), heads, strict=False):
            if head != expected:
                break
            entered += 1
        filled = partial.filled
        partial.filled += entered * FULL_FRAGMENT
        partial.ends += range(filled + FULL_FRAGMENT, partial.filled + 1, FULL_FRAGMENT)
        cost = entered * _FULL_COST
        partial.arrived += entered * FULL_FRAGMENT
        partial.held += cost
        partial.account.held += cost
        self.held += cost
        return entered

    def drop(self, partial: Partial) -> Partial:
        """Take a message out of the books; unless it was handed out, its payload is gone."""
        sender, sequence = partial.key
        account = partial.account
        held = partial.held
        if partial is self._latest:
            self._latest = None
        del self.partials[partial.key]
        del account.partials[sequence]
        account.held -= held
        self.held -= held
        partial.view.release()
        if partial.is_handed_out:
            self._spares.earn(partial.size, partial.earned)
        else:
            self._spares.take_back(partial.buffer, partial.earned)
        if not account.partials:
            del self.accounts[sender]
        return partial

    def _make_room(self, partial: Partial, cost: int) -> list[Partial]:
        """Evict the oldest until `cost` bytes fit, or until that is `partial` itself."""
        limits, account = self._limits, partial.account
        evicted: list[Partial] = []
        while account.held + cost > limits.max_bytes_per_sender and partial not in evicted:
            evicted.append(self.drop(next(iter(account.partials.values()))))
        while self.held + cost > limits.max_bytes and partial not in evicted:
            evicted.append(self.drop(next(iter(self.partials.values()))))
        return evicted
