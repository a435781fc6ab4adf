"""Memory that messages are joined in.

Whoever uses a `Reassembler` may bring it: `io.BytesIO` gives the bytes that it
is made of away without a copy, which nothing that a codec may import can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Memory(Protocol):
    """What a `Reassembler` needs of `io.BytesIO`; other methods than these are never called."""

    def getbuffer(self) -> memoryview:
        """Return a view of all of it, to be written to; it is released before anything else is called."""
        ...

    def seek(self, position: int, /) -> int:
        """Go to a position, within it or at its end, to write there."""
        ...

    def write(self, data: Buffer, /) -> int:
        """Write there, to beyond its end."""
        ...

    def truncate(self, size: int, /) -> int:
        """Forget everything behind."""
        ...

    def getvalue(self) -> bytes:
        """Return all of it; nothing is called after this."""
        ...


class OwnMemory:
    """What a `Reassembler` takes unless it is told otherwise.

    Parameters
    ----------
    size : int
        Bytes, all 0.
    """

    __slots__ = ("_bytes", "_position")

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)
        self._position = 0

    def getbuffer(self) -> memoryview:
        """Return a view, see `Memory`."""
        return memoryview(self._bytes)

    def seek(self, position: int, /) -> int:
        """Go there, see `Memory`."""
        self._position = position
        return position

    def write(self, data: Buffer, /) -> int:
        """Write there, see `Memory`."""
        before = self._position
        del self._bytes[before:]
        self._bytes += data
        self._position = len(self._bytes)
        return self._position - before

    def truncate(self, size: int, /) -> int:
        """Forget what is behind, see `Memory`."""
        del self._bytes[size:]
        return size

    def getvalue(self) -> bytes:
        """Return a copy, see `Memory`."""
        return bytes(self._bytes)
