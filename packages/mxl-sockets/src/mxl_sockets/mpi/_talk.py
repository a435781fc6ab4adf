"""The hub's side of each exchange with the drivers, deaths included, as generators for `Activity`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mxl_sockets.mpi._rows import Order
from mxl_sockets.mpi._tails import decode_extras
from mxl_sockets.mpi._world import HUB, RankFailed
from mxl_sockets.mpi.errors import CommunicatorBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from mxl_sockets._arrays import Fields
    from mxl_sockets.mpi._activity import ResultT, Steps
    from mxl_sockets.mpi._book import HubBook
    from mxl_sockets.mpi._world import World

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """A step.

    Attributes
    ----------
    amplitudes : ndarray, shape (N, 3), float64
    extras : list of bytes
        One for each row, or empty if the drivers send none.
    """

    amplitudes: Fields
    extras: list[bytes]


class HubTalk:
    """What the hub says to its drivers.

    Parameters
    ----------
    world : World
    book : HubBook

    Attributes
    ----------
    asked_at : float or None
        Since when the drivers owe a reply, monotonic; None if they owe none.
    repairing : bool
        Whether the survivors of a death are being gathered.
    """

    def __init__(self, world: World, book: HubBook) -> None:
        self._world = world
        self._book = book
        self._opened = False
        self.asked_at: float | None = None
        self.repairing = False

    def initialise(self) -> Steps[None]:
        """Tell all drivers of their blocks, if there is news."""
        yield from self._open()
        yield from self._repaired(self._tell)

    def step(self) -> Steps[Outcome | None]:
        """Make the frozen step; None if models have failed."""
        return (yield from self._repaired(self._make_step))

    def stop(self) -> Steps[None]:
        """End all drivers.

        Those that have heard it are gone and cannot help to repair anything.
        So all are asked for a sign of life first, and deaths repaired.
        """
        yield from self._open()
        self._book.stale = True
        try:
            yield from self._repaired(self._tell)
        except CommunicatorBroken:
            if self._book.ranks:
                raise
            return  # the last has died, which is an end too
        try:
            yield from self._exchange(Order.STOP)
        except RankFailed as error:
            raise CommunicatorBroken(f"a rank died while it was told to stop: {error}") from error
        self._world.close()

    def _open(self) -> Steps[None]:
        if not self._opened:
            yield [self._world.opening]
            self._world.open()
            self._opened = True

    def _repaired(self, steps: Callable[[], Steps[ResultT]]) -> Steps[ResultT]:
        """Do something; after a death, repair the communicator and do it again."""
        while True:
            try:
                return (yield from steps())
            except RankFailed as error:
                self.asked_at = None
                logger.warning("a driver rank has died: %s", error)
                yield from self._repair()

    def _tell(self) -> Steps[None]:
        if not self._book.stale:
            return
        texts = self._book.initial_texts()
        yield from self._exchange(Order.INIT, texts)
        self._book.told()

    def _make_step(self) -> Steps[Outcome | None]:
        yield from self._tell()
        if self._book.failures:
            return None
        tails = yield from self._exchange(Order.STEP)
        if self._book.failures:
            return None
        extras: list[bytes] = []
        if self._book.extras:
            extras = [b""] * len(self._book.ids)
            for rank, tail in zip(self._book.ranks, tails, strict=True):
                rows = self._book.rows_of(rank)
                for row, extra in zip(rows, decode_extras(tail, len(rows)), strict=True):
                    extras[row] = extra
        return Outcome(self._book.incoming.read(), extras)

    def _exchange(self, order: Order, texts: list[bytes] | None = None) -> Steps[list[bytes]]:
        """Say something to all drivers and wait for all replies; return what followed them."""
        book, world = self._book, self._world
        outgoing, incoming = book.outgoing, book.incoming
        outgoing.set_headers(order, book.number, 0 if texts is None else [len(text) for text in texts])
        self.asked_at = time.monotonic()
        requests = [world.scatter(outgoing)]
        # The drivers are at work from here on, so what else there is to prepare takes no time.
        book.expect()
        if texts is not None:
            requests.append(world.scatter_texts(texts))
        requests.append(world.gather(incoming))
        yield requests
        tails = [b""] * len(book.ranks)
        failures: dict[int, str] = {}
        if not book.all_done():
            failures = yield from self._hear_more(tails)
        book.failures = failures
        world.all_complete()
        self.asked_at = None
        return tails

    def _hear_more(self, tails: list[bytes]) -> Steps[dict[int, str]]:
        """Receive what follows the replies into `tails`; return the ranks whose models failed, and how."""
        book = self._book
        try:
            lengths = book.lengths()
        except ValueError as error:
            raise CommunicatorBroken(str(error)) from error
        buffers = {index: bytearray(length) for index, length in enumerate(lengths) if length}
        if buffers:
            yield [self._world.receive_tail(index, buffer) for index, buffer in buffers.items()]
            for index, buffer in buffers.items():
                tails[index] = bytes(buffer)
        return {
            book.ranks[index]: tails[index].decode(errors="replace")
            for index in range(len(lengths))
            if book.failed(index)
        }

    def _repair(self) -> Steps[None]:
        """Go on with the survivors, and give them the molecules of the dead."""
        world, book = self._world, self._book
        self.repairing = True
        shrinking = world.shrink()
        yield [shrinking]
        world.settle(shrinking)
        before = len(book.lost)
        gained = book.lose(rank for rank in world.ranks if rank != HUB)
        self.repairing = False
        if not book.ranks:
            raise CommunicatorBroken("no driver rank is left")
        logger.warning(
            "lost %s; their molecules begin afresh with %s",
            ", ".join(f"rank {rank}" for rank in book.lost[before:]) or "nobody",
            ", ".join(f"rank {rank} ({sum(b - a for a, b in runs)})" for rank, runs in gained.items())
            or "nobody, there were none",
        )
