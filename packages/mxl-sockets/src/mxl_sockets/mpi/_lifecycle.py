"""A hub's life: opening, looking at it, stopping, and waiting for what is under way."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from mxl_sockets._roster import Roster
from mxl_sockets.errors import ForeignProcessError, ModelError
from mxl_sockets.mpi._activity import Activity, DeadlinePassed, ResultT
from mxl_sockets.mpi._book import HubBook
from mxl_sockets.mpi._talk import HubTalk, Outcome
from mxl_sockets.mpi._world import World
from mxl_sockets.mpi.errors import CommunicatorBroken, RanksLate
from mxl_sockets.status import HubStatus, ReplyTimer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from mxl_sockets._client import Client

logger = logging.getLogger(__name__)

#: Seconds that `MPIHubLifecycle.stop` waits, as `SocketHub.stop` does.
STOP_WAIT_S = 2.0


class _Turn:
    """Lets one thread in, and no other meanwhile; a context manager."""

    def __init__(self, busy: threading.Lock) -> None:
        self._busy = busy

    def __enter__(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("another thread uses this MPIHub")

    def __exit__(self, *_: object) -> None:
        self._busy.release()


class MPIHubLifecycle:
    """What `mxl_sockets.mpi.MPIHub` does beside binding and stepping."""

    def __init__(
        self, comm: Any = None, *, timeout: float = 60.0, extras: bool = False, resume: bool = False
    ) -> None:
        self.timeout = timeout
        self._deadline(None)  # raises for what is no time
        self._owner = os.getpid()
        self._busy = threading.Lock()
        self._only = _Turn(self._busy)
        self._world = World(comm, hub=True)
        self._book = HubBook(self._world.ranks[1:], extras=extras, resume=resume)
        self._talk = HubTalk(self._world, self._book)
        self._roster: Roster[Client] = Roster()
        self._initialising: Activity[None] | None = None
        self._stepping: Activity[Outcome | None] | None = None
        self._stopping: Activity[None] | None = None
        self._stopped = False
        self._steps = 0
        self._last_error: str | None = None
        self._timer = ReplyTimer()

    # -- who is there --------------------------------------------------------

    @property
    def expected(self) -> set[int]:
        """Registered molecule ids."""
        return set(self._roster.expected)

    @property
    def paused(self) -> bool:
        """Whether ranks have died and the survivors are not yet gathered."""
        return self._talk.repairing

    @property
    def generation(self) -> int:
        """How often models have begun afresh since the first `wait_until_bound`."""
        return self._book.generation

    @property
    def lost_ranks(self) -> list[int]:
        """Ranks that have died, in the order in which they did."""
        return list(self._book.lost)

    def register_molecule(self, molecule_id: int) -> None:
        """Reserve a molecule id; raises as `SocketHub.register_molecule`."""
        self._roster.register(molecule_id)

    def register_molecule_return_id(self) -> int:
        """Reserve the smallest free molecule id and return it."""
        return self._roster.register_next()

    def all_bound(self, molecule_ids: Iterable[int], require_init: bool = True) -> bool:
        """Whether all these molecules have a driver rank, as far as is known now.

        Parameters
        ----------
        molecule_ids : iterable of int
        require_init : bool
            Count only those whose rank has taken its INIT.
        """
        ready = not self._stopped and not (require_init and (self._book.stale or self._book.failures))
        return ready and set(self._book.ids).issuperset(molecule_ids)

    def status(self) -> HubStatus:
        """Return what is going on; peers are ``"rank 3"``, waiting ranks have no molecules."""
        book = self._book
        holders = {rank: book.ids_of(rank) for rank in book.ranks}
        bound = {one: f"rank {rank}" for rank, ids in holders.items() for one in ids}
        return HubStatus(
            address=None,
            bound=bound,
            missing=sorted(self._roster.expected - bound.keys()),
            waiting=[f"rank {rank}" for rank, ids in holders.items() if not ids],
            late={one: age for rank, age in self._late().items() for one in holders[rank]},
            paused=self.paused,
            steps=self._steps,
            dropped=len(book.lost),
            last_error=self._last_error,
            reply_times=self._timer.figures(),
        )

    # -- the end -------------------------------------------------------------

    def stop(self, wait: float = STOP_WAIT_S) -> None:
        """End all drivers; any number of times.

        Parameters
        ----------
        wait : float
            Seconds for them to answer.

        Raises
        ------
        RanksLate
            Some have not answered in time, and may have heard nothing. `stop`
            may be repeated; `abort` ends the job.
        CommunicatorBroken
            MPI failed: drivers cannot be told. `abort` ends the job.
        """
        deadline = self._deadline(wait)
        with self._turn():
            if (self._stopped and self._stopping is None) or not self._book.ranks:
                self._stopped = True
                return
            if self._stopping is None:
                self._finish_init(deadline)
                self._finish_step(deadline)
                self._stopping = Activity(self._talk.stop(), self._world.test)
            self._stopped = True
            self._run(self._stopping, deadline, "the end")
            self._stopping = None

    def close(self) -> None:
        """Another name of `stop`, for `contextlib.closing` and its like."""
        self.stop()

    def graceful_shutdown(self, reason: str | None = None, wait: float = STOP_WAIT_S) -> None:
        """End all drivers, as `stop`; the reason is logged."""
        if reason:
            logger.info("stopping: %s", reason)
        self.stop(wait)

    def abort(self, code: int = 1) -> None:
        """End all processes of the job at once, this one too, whatever they do.

        Parameters
        ----------
        code : int
            What ``mpiexec`` shall exit with, if it can; not 0, with which Open
            MPI's launcher (5.0.11) waits for ever.

        Raises
        ------
        ValueError
            The code is 0.
        """
        self._check_process()
        if not code:
            raise ValueError("an aborted job cannot end with 0")
        logger.critical("aborting the MPI job: %s", self._last_error or "as the program wants")
        self._world.abort(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.stop()
        except (RanksLate, CommunicatorBroken) as late:
            if kind is None:
                raise
            logger.error("drivers were not stopped: %s", late)  # noqa: TRY400 - the first error is on its way

    # -- inside --------------------------------------------------------------

    def _deadline(self, timeout: float | None) -> float:
        # float(): a numpy scalar would make the clock as coarse as itself.
        seconds = float(self.timeout if timeout is None else timeout)
        if math.isnan(seconds):
            raise ValueError(f"a timeout is a number of seconds, not {seconds}")
        return time.monotonic() + seconds

    def _check_process(self) -> None:
        if os.getpid() != self._owner:
            raise ForeignProcessError(
                f"this MPIHub belongs to process {self._owner}, not to its child {os.getpid()}"
            )

    def _turn(self) -> _Turn:
        """Return what to hold during a call, if it is allowed here."""
        self._check_process()
        return self._only

    def _finish_init(self, deadline: float) -> None:
        """Go on with an INIT that an earlier call left."""
        if self._initialising is not None:
            self._run(self._initialising, deadline, "INIT")
            self._initialising = None

    def _finish_step(self, deadline: float) -> None:
        """Go on with a step that an earlier call left; its result waits for whoever repeats it."""
        if self._stepping is not None and self._run(self._stepping, deadline, "the step") is None:
            self._stepping = None  # models have failed: it is to be sent again

    def _run(self, activity: Activity[ResultT], deadline: float, name: str) -> ResultT:
        try:
            return activity.run(deadline)
        except DeadlinePassed:
            ranks = self._late()
            late = {one: age for rank, age in ranks.items() for one in self._book.ids_of(rank)}
            raise RanksLate(ranks, late, name) from None
        except CommunicatorBroken as error:
            self._last_error = str(error)
            raise

    def _late(self) -> dict[int, float]:
        if self._talk.asked_at is None:
            return {}
        return dict.fromkeys(self._book.late_ranks(), time.monotonic() - self._talk.asked_at)

    def _check_models(self) -> None:
        if self._book.failures:
            said = "; ".join(f"rank {rank}: {text}" for rank, text in self._book.failures.items())
            self._last_error = said
            raise ModelError(said)
