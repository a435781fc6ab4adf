"""The receive buffer under every stream decoder of this package.

Wanted: a frame that arrived whole costs one slice; a frame that arrives in
many pieces costs linear time; memory is what arrived and not yet taken.

Strategy: received ``bytes`` are kept as they are and read through an offset.
What is left of them when more arrives is joined to the new piece. Joining is
cheap while the rest is small; from `JOIN_LIMIT` on it would be quadratic for a
frame in many pieces, so the rest moves to a growing ``bytearray`` until the
frame is complete. What stands behind it then goes back to ``bytes``, so that
the next frames are cheap slices again, unless that is so much (somebody feeds
without asking) that moving it for every frame would be quadratic too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Bytes. A rest shorter than this is joined by copying: even one byte at a
#: time that copies 8 MB at most per frame, and the common case stays a slice.
JOIN_LIMIT: Final = 4096

#: Bytes. A rest up to this, or up to the frame before it, moves back to
#: ``bytes``: the size of one generous read from a socket.
RETURN_LIMIT: Final = 65536


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
        """Append a piece. The caller may reuse its buffer afterwards.

        Parameters
        ----------
        piece : bytes-like
            The bytes in its memory; the type of its elements does not matter.

        Raises
        ------
        TypeError
            It is not bytes-like: a mistake of the caller, never of the peer.
        """
        # Through a memoryview, because bytes() alone would turn the number 5
        # into five zeros.
        new = piece if type(piece) is bytes else bytes(memoryview(piece))
        data, start = self.data, self.start
        rest = len(data) - start
        if rest == 0:
            self.data, self.start = new, 0
        elif isinstance(data, bytearray):
            del data[:start]  # moves a pointer, not the bytes behind
            data += new
            self.start = 0
        elif rest < JOIN_LIMIT:
            self.data, self.start = data[start:] + new, 0
        else:
            grown = bytearray(memoryview(data)[start:])
            grown += new
            self.data, self.start = grown, 0

    def take(self, size: int) -> bytes:
        """Remove and return `size` bytes; the caller knows that they are here."""
        taken = self.copy(0, size)
        self.skip(size)
        return taken

    def skip(self, size: int) -> None:
        """Drop `size` bytes; the caller knows that they are here."""
        data, start = self.data, self.start + size
        rest = len(data) - start
        if rest == 0:
            self.data, self.start = b"", 0
        elif type(data) is bytes or rest > max(size, RETURN_LIMIT):
            self.start = start
        else:
            with memoryview(data) as view:
                self.data, self.start = bytes(view[start:]), 0

    def copy(self, begin: int, end: int) -> bytes:
        """Return bytes `begin` to `end`, counted from the first not taken; they stay."""
        data, start = self.data, self.start
        if isinstance(data, bytes):
            return data[start + begin : start + end]
        with memoryview(data) as view:
            return bytes(view[start + begin : start + end])

    def peek(self, size: int) -> bytes:
        """Return at most `size` bytes without removing them."""
        return self.copy(0, size)

    def clear(self) -> None:
        """Forget everything; used when a decoder has failed for good."""
        self.data, self.start = b"", 0
