"""The replies of one step, side by side, judged and read all at once.

A hub spends most of its own time on replies. So each is received straight
into a row of one block, and when all are there, numpy looks at the fixed
fields of all rows together. Rows that do not hold exactly one whole reply are
left to `wireframe.ipi`, whose decoder is the authority on the format.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from wireframe import ipi

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bytes of a row: a reply with up to 388 bytes of extra. Longer ones are read
#: in pieces by the decoder.
ROOM: Final = 512

_WORD: Final = 4
#: Where, in 32-bit words, header, atom count and extra length stand.
_COLUMNS: Final = np.array([0, 1, 2, 20 // _WORD, 120 // _WORD])
_HEADER: Final = struct.unpack("<3I", ipi.encode_header(ipi.FORCEREADY))
_FIXED: Final = struct.Struct("<3Iii")
_FORCE_OFFSET: Final = 24
_FORCE_WORDS: Final = 3


class ReplyBlock:
    """Room for one reply of each molecule.

    Parameters
    ----------
    count : int
        Number of molecules, at least 1.

    Attributes
    ----------
    rows : list of memoryview
        Where to receive each molecule's reply.
    """

    def __init__(self, count: int) -> None:
        block = bytearray(ROOM * count)
        view = memoryview(block)
        self.rows = [view[start : start + ROOM] for start in range(0, len(block), ROOM)]
        self._count = count
        self._expected = (0, b"")
        self._firsts: NDArray[np.uint8] = np.frombuffer(block, np.uint8)[::ROOM]
        self._words: NDArray[np.uint32] = np.frombuffer(block, "<u4")
        # Where the fixed fields of all rows are: to take words costs less than to take columns.
        self._fixed = ROOM // _WORD * np.arange(count)[:, None] + _COLUMNS
        strides = (ROOM, 8)
        self._forces: NDArray[np.float64] = np.ndarray(
            (count, _FORCE_WORDS), "<f8", block, _FORCE_OFFSET, strides
        )

    def clear(self) -> None:
        """Make all rows begin with a zero."""
        self._firsts.fill(0)

    def read_all(self, sizes: list[int], max_extra: int) -> tuple[bytes, list[bytes]] | None:
        """Read all replies, if every row holds exactly one, with extras of one length.

        Parameters
        ----------
        sizes : list of int
            Bytes in each row.
        max_extra : int
            Largest extra, bytes.

        Returns
        -------
        tuple of (bytes, list of bytes) or None
            One block of forces, 24 bytes each, and the extras.
        """
        size, count = sizes[0], self._count
        length = size - ipi.REPLY_LENGTH
        if length > max_extra or sizes.count(size) != count:
            return None
        if self._expected[0] != size:
            self._expected = (size, _FIXED.pack(*_HEADER, 1, length) * count)
        if self._words[self._fixed].tobytes() != self._expected[1]:
            return None
        extras = [bytes(row[ipi.REPLY_LENGTH : size]) for row in self.rows] if length else [b""] * count
        return self._forces.tobytes(), extras
