"""Which driver rank has which molecules; no MPI.

Molecules are rows of the hub's arrays. In the beginning each rank gets one
contiguous block of them. When a rank dies, the survivors keep their blocks,
with the models in them, and each gets one more: a share of what was lost.
A block has a key that is never used again, so both sides can tell a block that
has lived from one that begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class Block:
    """Contiguous molecules with one driver rank.

    Attributes
    ----------
    key : int
        Its name, unique in a hub's life.
    start, stop : int
        Its rows in the hub's arrays.
    known : bool
        Whether the rank has said that it has it.
    """

    key: int
    start: int
    stop: int
    known: bool = False


def partition(start: int, stop: int, parts: int) -> list[tuple[int, int]]:
    """Cut rows into contiguous runs whose lengths differ by one at most, the longer ones first.

    Examples
    --------
    >>> partition(0, 7, 3)
    [(0, 3), (3, 5), (5, 7)]
    >>> partition(4, 5, 2)
    [(4, 5), (5, 5)]
    """
    length, longer = divmod(stop - start, parts)
    runs = []
    for part in range(parts):
        end = start + length + (part < longer)
        runs.append((start, end))
        start = end
    return runs


class Assignment:
    """The blocks of all driver ranks.

    Parameters
    ----------
    count : int
        Number of molecules.
    ranks : iterable of int
        The driver ranks.
    keys : iterator of int
        Where keys come from.
    """

    def __init__(self, count: int, ranks: Iterable[int], keys: Iterator[int]) -> None:
        self._keys = keys
        ranks = list(ranks)
        self._blocks: dict[int, list[Block]] = {}
        for rank, (start, stop) in zip(ranks, partition(0, count, len(ranks)), strict=True):
            self._blocks[rank] = self._new([(start, stop)])

    @property
    def ranks(self) -> list[int]:
        """The driver ranks, in order."""
        return list(self._blocks)

    def blocks(self, rank: int) -> list[Block]:
        """Return a rank's blocks, in the order of its rows."""
        return self._blocks[rank]

    def runs(self) -> list[list[tuple[int, int]]]:
        """Return the rows of all blocks, rank by rank."""
        return [[(block.start, block.stop) for block in blocks] for blocks in self._blocks.values()]

    def rows(self, rank: int) -> Iterator[int]:
        """Return the rows of a rank."""
        for block in self._blocks[rank]:
            yield from range(block.start, block.stop)

    def hand_over(self, survivors: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
        """Divide the blocks of all other ranks among these.

        Returns
        -------
        dict of int to list of (int, int)
            The rows that each survivor gets.
        """
        living = {rank: self._blocks[rank] for rank in survivors}
        lost = [block for rank, blocks in self._blocks.items() if rank not in living for block in blocks]
        gained: dict[int, list[tuple[int, int]]] = {}
        for block in lost:
            # Those with the fewest molecules get the longer parts.
            order = sorted(living, key=lambda rank: sum(one.stop - one.start for one in living[rank]))
            for rank, run in zip(order, partition(block.start, block.stop, len(order)), strict=True):
                if run[0] < run[1]:
                    living[rank].extend(self._new([run]))
                    gained.setdefault(rank, []).append(run)
        self._blocks = living
        return gained

    def renew(self, rank: int) -> None:
        """Let all blocks of a rank begin afresh."""
        self._blocks[rank] = self._new([(block.start, block.stop) for block in self._blocks[rank]])

    def acknowledge(self) -> None:
        """Note that every rank has all its blocks."""
        for blocks in self._blocks.values():
            for block in blocks:
                block.known = True

    def _new(self, runs: Iterable[tuple[int, int]]) -> list[Block]:
        return [Block(next(self._keys), start, stop) for start, stop in runs if start < stop]
