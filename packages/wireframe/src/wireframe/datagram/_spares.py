"""Memory for messages that are large, known before they are here.

A fragment is received where it belongs if its message has memory already, and
a message is handed out in the memory that it was joined in. Memory is never
made for a mere announcement, but for as many messages as really arrived, each
as large as one of these at the most, and within a bound. What a message that was
given up has left is for the next one: nobody can have it made again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from wireframe.datagram._memory import Memory

#: Bytes from which a message gets memory in advance: less is quickly copied.
SMALLEST: Final = 1 << 14


class Spares:
    """Memory that messages may have before they arrive, and an account of what is lent.

    Parameters
    ----------
    limit : int
        Bytes of all that may be lent at the same time. What a lent buffer grows
        by is not counted.
    make : callable
        Returns memory of so many bytes.
    """

    __slots__ = ("_kept", "_limit", "_make", "_total")

    def __init__(self, limit: int, make: Callable[[int], Memory]) -> None:
        self._limit = limit
        self._make = make
        #: Bytes that were earned, lent ones included.
        self._total = 0
        #: What nobody uses: how much was earned, and the memory if it was made.
        self._kept: list[tuple[int, Memory | None]] = []

    def lend(self, size: int) -> tuple[Memory, int]:
        """Return a buffer for a message that says it has `size` bytes, and what was earned for it.

        Empty, and 0, if nothing is kept.
        """
        if size < SMALLEST or not self._kept:
            return self._make(0), 0
        earned, buffer = self._kept.pop()
        return self._make(min(size, earned)) if buffer is None else buffer, earned

    def take_back(self, buffer: Memory, earned: int) -> None:
        """Take a buffer back that is not used any more, and of which there are no views."""
        if earned:
            with buffer.getbuffer() as view:
                has_grown = len(view) > earned
            self._kept.append((earned, None if has_grown else buffer))

    def earn(self, size: int, earned: int) -> None:
        """Keep as much as a message had that arrived and was handed out in its buffer.

        Parameters
        ----------
        size : int
            Bytes of the message.
        earned : int
            As it was lent.
        """
        self._total -= earned
        for most in (max(size, earned), earned):
            if most >= SMALLEST and self._total + most <= self._limit:
                self._total += most
                self._kept.append((most, None))
                return
