"""The receive buffer under every stream decoder of this package.

Wanted: a frame that arrived whole costs one slice; a frame that arrives in
many pieces costs linear time; memory is what arrived and not yet taken.

Strategy: received ``bytes`` are kept as they are and read through an offset.
What is left of them when more arrives is joined to the new piece. Joining is
cheap while the rest is small; from `JOIN_LIMIT` on it would be quadratic for a
frame in many pieces, so the rest moves to a growing ``bytearray`` until the
frame is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Bytes. A rest shorter than this is joined by copying: even one byte at a
#: time that copies 8 MB at most per frame, and the common case stays a slice.
JOIN_LIMIT: Final = 4096


class ReceiveBuffer:
    """Bytes that arrived and were not taken yet.

    Attributes
    ----------
    data : bytes or bytearray
        Where the bytes are; read it, never keep it or write to it.
    start : int
        Offset in `data` of the first byte that was not taken.
    """

    __slots__ = ("data", "start")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self.start = 0

    def __len__(self) -> int:
        return len(self.data) - self.start

    def feed(self, piece: Buffer) -> None:
        """Append a piece. The caller may reuse its buffer afterwards."""
        data, start = self.data, self.start
        rest = len(data) - start
        if rest == 0:
            self.data, self.start = bytes(piece), 0
        elif isinstance(data, bytearray):
            if start:
                del data[:start]
                self.start = 0
            data += piece
        elif rest < JOIN_LIMIT:
            self.data, self.start = b"".join((memoryview(data)[start:], piece)), 0
        else:
            grown = bytearray(memoryview(data)[start:])
            grown += piece
            self.data, self.start = grown, 0

    def take(self, size: int) -> bytes:
        """Remove and return `size` bytes; the caller knows that they are here."""
        data, start = self.data, self.start
        end = start + size
        if isinstance(data, bytes):
            taken = data[start:end]
            if end == len(data):
                self.data, self.start = b"", 0
            else:
                self.start = end
            return taken
        # A frame in pieces is complete: back to bytes, so that the frames
        # behind it are cheap slices again.
        with memoryview(data) as view:
            taken = bytes(view[start:end])
            self.data, self.start = bytes(view[end:]), 0
        return taken

    def skip(self, size: int) -> None:
        """Drop `size` bytes; the caller knows that they are here."""
        self.start += size
        if self.start == len(self.data):
            self.data, self.start = b"", 0

    def peek(self, size: int) -> bytes:
        """Return at most `size` bytes without removing them."""
        return bytes(self.data[self.start : self.start + size])

    def clear(self) -> None:
        """Forget everything; used when a decoder has failed for good."""
        self.data, self.start = b"", 0
