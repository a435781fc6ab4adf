"""`MPIDriver`: serves a block of molecules to an `MPIHub` on rank 0."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mxl_sockets._driver_protocol import End
from mxl_sockets.errors import ModelError
from mxl_sockets.mpi._activity import Activity
from mxl_sockets.mpi._keeper import Keeper
from mxl_sockets.mpi._models import ModelPerBlock, ModelPerMolecule
from mxl_sockets.mpi._rows import HEADER, WIDTH, Order
from mxl_sockets.mpi._world import HUB, RankFailed, World
from mxl_sockets.mpi.errors import CommunicatorBroken

if TYPE_CHECKING:
    from mxl_sockets.mpi._activity import Steps
    from mxl_sockets.mpi._models import BlockMaker, ModelMaker
    from mxl_sockets.mpi._rows import Words

__all__ = ["MPIDriver", "MPIDriverSummary"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MPIDriverSummary:
    """How a driver rank ended.

    Attributes
    ----------
    reason : End
        ``STOP``, or ``LOST`` if the hub's process died.
    rank : int
        Which it was.
    steps : int
        Different steps that its models made.
    molecules : int
        How many molecules it had in the end.
    """

    reason: End
    rank: int
    steps: int
    molecules: int


class MPIDriver:
    """Serves a block of molecules to an `MPIHub`; made by every rank but 0.

    Parameters
    ----------
    model : callable, optional
        Makes the model of one molecule: a class such as `TwoLevelSystem`, a
        `functools.partial` of one, or any callable without arguments that
        returns a `Model` or a function ``field -> amplitude``.
    comm : mpi4py.MPI.Intracomm, optional
        The communicator that the hub was made with; ``COMM_WORLD`` if None.
    block : callable, optional
        Instead of `model`, makes one function for all molecules of a block:
        ``block({id: parameters, ...})`` returns a callable that takes fields
        of shape (n, 3), atomic units, and returns amplitudes of the same
        shape, or a tuple of them and a sequence of n extras. Rows are in the
        order of the mapping. The fields may be used during the call only.

    Raises
    ------
    TypeError
        Not exactly one of `model` and `block` is given, or it cannot be called.
    ValueError
        This is rank 0, or the communicator has no other ranks.
    ImportError
        There is no mpi4py, or no MPI library.

    Notes
    -----
    A rank has one block in the beginning. After a death it may get another,
    made in the same way, while those that it has live on. A step that is asked
    for twice is made once: the kept answer is sent again.

    A model that fails does not end its rank at once: the hub is told, in each
    further step too, and `run` raises when the hub stops.

    While it waits it uses its core fully, as MPI's own calls do. It belongs to
    one thread.
    """

    def __init__(
        self, model: ModelMaker | None = None, comm: Any = None, *, block: BlockMaker | None = None
    ) -> None:
        if (model is None) == (block is None):
            raise TypeError("an MPIDriver needs either a model (of one molecule) or a block (of them)")
        if not callable(model or block):
            raise TypeError(f"{model or block!r} cannot be called: pass what makes models")
        if model is not None:
            self._keeper = Keeper(partial(ModelPerMolecule, model))
        elif block is not None:
            self._keeper = Keeper(partial(ModelPerBlock, block))
        self._world = World(comm, hub=False)

    def run(self) -> MPIDriverSummary:
        """Serve until the hub stops; to be called once.

        Returns
        -------
        MPIDriverSummary

        Raises
        ------
        ModelError
            The models failed; the hub has been told, and has stopped since.
        CommunicatorBroken
            MPI failed, or `run` was called before.
        """
        reason = Activity(self._serve(), self._world.test).run()
        keeper = self._keeper
        _log.info("driver rank %d ended (%s) after %d steps", self._world.rank, reason.value, keeper.steps)
        if keeper.failure is not None and reason is not End.LOST:
            raise ModelError(str(keeper.failure)) from keeper.failure
        return MPIDriverSummary(reason, self._world.rank, keeper.steps, keeper.count)

    def _serve(self) -> Steps[End]:
        world = self._world
        yield [world.opening]
        world.open()
        words = np.empty((1, WIDTH), np.int64)  # for the next message
        while True:
            try:
                while True:
                    order = yield from self._serve_one(words)
                    if len(words) != 1 + self._keeper.count:
                        words = np.empty((1 + self._keeper.count, WIDTH), np.int64)
                    if order == Order.STOP:
                        world.close()
                        return End.STOP
            except RankFailed as error:
                _log.warning("another rank has died: %s", error)
                shrinking = world.shrink()
                yield [shrinking]
                world.settle(shrinking)
                if HUB not in world.ranks:
                    _log.warning("the hub has died")
                    return End.LOST
                # A header alone, until the hub has told the survivors their blocks.
                words = np.empty((1, WIDTH), np.int64)

    def _serve_one(self, words: Words) -> Steps[int]:
        """Take an order, answer it, and return it."""
        world, keeper = self._world, self._keeper
        yield [world.receive_rows(words)]
        order, number, length = HEADER.unpack_from(words.data)
        if order == Order.STEP:
            keeper.answer(number, words[1:].view(np.float64))
        elif order == Order.INIT:
            text = bytearray(length)
            yield [world.receive_text(text)]
            keeper.initialise(bytes(text), number)
        elif order == Order.STOP:
            keeper.acknowledge(number)
        else:
            raise CommunicatorBroken(f"the hub said {order}, which is no order")
        requests = [world.send_rows(keeper.reply)]
        if keeper.tail:
            requests.append(world.send_tail(keeper.tail))
        yield requests
        world.all_complete()
        return int(order)
