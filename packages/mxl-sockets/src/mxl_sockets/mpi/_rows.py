"""Messages for all ranks in one array of rows, as collectives want them; no MPI."""

from __future__ import annotations

import enum
import itertools
import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mxl_sockets._arrays import Fields

#: 64-bit words, shape (n,) or (n, 3): counted in by MPI, whatever they stand for.
Words: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

#: Words of a row: a header, or the vector of a molecule.
WIDTH: Final = 3

#: A header.
HEADER: Final = struct.Struct("=3q")

#: A step number that no step has: "no answer yet".
NONE: Final = -1


class Order(enum.IntEnum):
    """What the hub wants; the first word of its header."""

    STEP = 1
    INIT = 2
    STOP = 3


class Reply(enum.IntEnum):
    """What came of it; the first word of a driver's header."""

    DONE = 1
    FAILED = 2


class Rows:
    """A header row for each rank, each followed by the rows of its molecules.

    Parameters
    ----------
    runs : sequence of sequences of (int, int)
        For each rank, the rows (start, stop) of its blocks in the hub's array.

    Attributes
    ----------
    words : ndarray, shape (n,), int64
        All of it.
    counts, offsets : list of int
        Words of each rank and where they begin; the hub, with none, first.
    """

    def __init__(self, runs: Sequence[Sequence[tuple[int, int]]]) -> None:
        sizes = [1 + sum(stop - start for start, stop in blocks) for blocks in runs]
        heads = [0, *itertools.accumulate(sizes)][: len(sizes)]
        self.words: Words = np.zeros(WIDTH * sum(sizes), np.int64)
        self.counts = [0, *(WIDTH * size for size in sizes)]
        self.offsets = [0, *(WIDTH * head for head in heads)]
        # Where the words of the headers stand: to take words costs a third of taking rows.
        self._firsts, self._steps, self._lengths = columns = (
            WIDTH * np.array(heads, np.intp) + np.arange(WIDTH)[:, None]
        )
        self._headers = columns.T.copy()
        floats = self.words.view(np.float64).reshape(-1, WIDTH)
        self._parts: list[tuple[Fields, slice]] = []
        for head, blocks in zip(heads, runs, strict=True):
            here = head + 1
            for start, stop in blocks:
                self._parts.append((floats[here : here + stop - start], slice(start, stop)))
                here += stop - start
        self._count = sum(sizes) - len(sizes)

    @property
    def headers(self) -> Words:
        """The header of each rank, a copy; shape (ranks, 3)."""
        headers: Words = self.words[self._headers]
        return headers

    def set_headers(self, first: int, step: int, lengths: Sequence[int] | int = 0) -> None:
        """Write all headers."""
        self.words[self._firsts] = first
        self.words[self._steps] = step
        self.words[self._lengths] = lengths

    def write(self, values: Fields) -> None:
        """Spread an array over the ranks; shape (N, 3)."""
        for part, rows in self._parts:
            part[...] = values[rows]

    def read(self) -> Fields:
        """Return the ranks' rows as a new array, shape (N, 3)."""
        values = np.empty((self._count, WIDTH), np.float64)
        for part, rows in self._parts:
            values[rows] = part
        return values
