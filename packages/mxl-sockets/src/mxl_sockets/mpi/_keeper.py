"""A driver rank's blocks: each makes each step once, and keeps its answer; no MPI.

After ranks have died the hub asks for the same step again. A block that has
made it gives the answer it kept; one that has not, because its fields had not
come or because it is new, makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mxl_sockets.errors import ModelError
from mxl_sockets.mpi._initial import decode_initial
from mxl_sockets.mpi._rows import HEADER, NONE, WIDTH, Reply
from mxl_sockets.mpi._tails import encode_extras

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mxl_sockets._arrays import Fields
    from mxl_sockets._model import Parameters
    from mxl_sockets.mpi._models import ModelPerBlock, ModelPerMolecule
    from mxl_sockets.mpi._rows import Words

#: Most of an error that is told to the hub, bytes.
LONGEST_ERROR = 4096


@dataclass(slots=True)
class _Kept:
    """A block, which molecules of the rank are its own, and what it did last."""

    model: ModelPerBlock | ModelPerMolecule
    rows: slice
    extras: list[bytes]
    step: int = NONE


class Keeper:
    """All blocks of a driver rank.

    Parameters
    ----------
    make : callable
        Makes the model of a block from its molecules' INIT parameters.

    Attributes
    ----------
    reply : ndarray, shape (1 + n, 3), int64
        What is to be sent: a header row and the amplitudes. The amplitudes in
        it are the kept answers.
    tail : bytes
        What follows: extras, or the text of an error.
    count : int
        Molecules.
    steps : int
        Different steps made so far.
    failure : ModelError or None
        Why the models are of no use any more.
    """

    def __init__(self, make: Callable[[Mapping[int, Parameters]], ModelPerBlock | ModelPerMolecule]) -> None:
        self._make = make
        self._blocks: dict[int, _Kept] = {}
        self._extras = False
        self._last = NONE
        self.reply: Words = np.zeros((1, WIDTH), np.int64)
        self._amplitudes: Fields = self.reply[1:].view(np.float64)
        self.tail = b""
        self.count = 0
        self.steps = 0
        self.failure: ModelError | None = None

    def initialise(self, text: bytes, number: int) -> None:
        """Take an INIT order: keep the blocks it names, make the new ones, drop the others."""
        self._extras, wanted = decode_initial(text)
        old_blocks, old_amplitudes = self._blocks, self._amplitudes
        self.count = sum(block.count for block in wanted)
        self.reply = np.zeros((1 + self.count, WIDTH), np.int64)
        self._amplitudes = self.reply[1:].view(np.float64)
        self._blocks = {}
        if not any(block.key in old_blocks or block.molecules is None for block in wanted):
            self.failure = None  # everything begins afresh
        start = 0
        for block in wanted:
            rows = slice(start, start + block.count)
            start += block.count
            kept = old_blocks.get(block.key)
            if kept is not None:
                self._amplitudes[rows] = old_amplitudes[kept.rows]
                kept.rows = rows
                self._blocks[block.key] = kept
            elif block.molecules is None:
                self.failure = self.failure or ModelError(
                    f"no block {block.key} here, which the hub counts on"
                )
            elif self.failure is None:
                try:
                    self._blocks[block.key] = _Kept(self._make(block.molecules), rows, [])
                except ModelError as error:
                    self.failure = error
        self._finish(number)

    def answer(self, number: int, fields: Fields) -> None:
        """Make a step, or repeat what came of it.

        Parameters
        ----------
        number : int
            Of the step.
        fields : ndarray, shape (n, 3), float64
        """
        amplitudes = self._amplitudes
        if self.failure is None:
            try:
                for block in self._blocks.values():
                    if block.step != number:
                        amplitudes[block.rows], block.extras = block.model.step(
                            fields[block.rows], extras=self._extras
                        )
                        block.step = number
            except ModelError as error:
                self.failure = error
        if self.failure is None and number != self._last:
            self._last = number
            self.steps += 1
        extras = None
        if self._extras:
            extras = [extra for block in self._blocks.values() for extra in block.extras]
        self._finish(number, extras)

    def acknowledge(self, number: int) -> None:
        """Prepare a reply to an order that needs nothing else."""
        self.tail = b""
        self._conclude(Reply.DONE, number)

    def _finish(self, number: int, extras: list[bytes] | None = None) -> None:
        if self.failure is not None:
            self.tail = str(self.failure).encode(errors="replace")[:LONGEST_ERROR]
            self._conclude(Reply.FAILED, number)
        else:
            self.tail = encode_extras(extras) if extras and any(extras) else b""
            self._conclude(Reply.DONE, number)

    def _conclude(self, reply: Reply, number: int) -> None:
        HEADER.pack_into(self.reply.data, 0, reply, number, len(self.tail))
