"""Which messages are done with, so that a belated fragment does not begin one anew."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from wireframe.datagram._messages import Fragment
    from wireframe.datagram._partial import Key, Partial


class Finished:
    """Remembers the numbers of messages that were returned or given up.

    Parameters
    ----------
    max_messages : int
        How many; the oldest goes first.
    max_age_s : float
        How long, seconds.
    """

    __slots__ = ("_max_age_s", "_max_messages", "_of", "_until")

    def __init__(self, max_messages: int, max_age_s: float) -> None:
        self._max_messages = max_messages
        self._max_age_s = max_age_s
        #: Size, count and until when to remember, by key, the oldest first.
        self._until: OrderedDict[Key, tuple[int, int, float]] = OrderedDict()
        #: The numbers in it by sender: anybody can make a receiver forget one,
        #: so that must not cost a look at all of them.
        self._of: dict[Hashable, set[int]] = {}

    def remember(self, partial: Partial, now: float) -> None:
        """Keep in mind that this number is done with."""
        until, key = self._until, partial.key
        until.pop(key, None)
        until[key] = (partial.size, partial.count, now + self._max_age_s)
        self._of.setdefault(key[0], set()).add(key[1])
        if len(until) > self._max_messages:
            (sender, number), _ = until.popitem(last=False)
            numbers = self._of[sender]
            numbers.remove(number)
            if not numbers:
                del self._of[sender]

    def is_late(self, key: Key, fragment: Fragment, now: float) -> bool:
        """Tell a belated fragment from one of a new message, perhaps with an old number."""
        known = self._until.get(key)
        if known is None:
            return False
        size, count, until = known
        return size == fragment.size and count == fragment.count and now < until

    def forget(self, sender: Hashable) -> None:
        """Forget the messages of a sender."""
        for number in self._of.pop(sender, ()):
            del self._until[sender, number]
