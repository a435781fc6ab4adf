"""Memory of finished messages, kept for the next ones.

Memory that is asked for and given back with every message costs more than all
copying: the system clears each page anew (measured with 1 MiB in 17 fragments:
1.3 ms a message, 0.1 ms with memory that is kept). It is kept only as large as
messages were that really arrived, and within a bound.
"""

from __future__ import annotations

from typing import Final

#: Bytes from which a message gets, and leaves, memory: less is quickly asked for.
SMALLEST: Final = 1 << 14


class Spares:
    """Buffers that nobody uses, and an account of those that were lent.

    Parameters
    ----------
    limit : int
        Bytes of all buffers, kept and lent. What a lent buffer grows by is not
        counted until it comes back.
    """

    __slots__ = ("_kept", "_limit", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._kept: list[bytearray] = []

    def lend(self, size: int) -> bytearray:
        """Return a buffer for a message that says it has `size` bytes; empty if none is kept."""
        if size < SMALLEST or not self._kept:
            return bytearray()
        return self._kept.pop()

    def take_back(self, buffer: bytearray, lent: int) -> None:
        """Keep a buffer, unless it is too much.

        Parameters
        ----------
        buffer : bytearray
            Nobody else may use it any more.
        lent : int
            Its length when it was lent, 0 if it was not.
        """
        self._total -= _memory(lent)
        size = len(buffer)
        if size >= SMALLEST and self._total + _memory(size) <= self._limit:
            self._total += _memory(size)
            self._kept.append(buffer)


def _memory(size: int) -> int:
    """Return what a buffer of this length takes at most: it grew by an eighth in advance."""
    return size + (size >> 3)
