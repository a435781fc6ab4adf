"""A hub's life, whatever stands behind its molecules: looking at it, stopping, and what a fork does to it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mxl_sockets.errors import ForeignProcessError, HubStopped, StepTimeout
from mxl_sockets.status import HubStatus, ReplyTimes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from mxl_sockets._aggregate_coupling import GroupCoupling
    from mxl_sockets._coupling import Coupling
    from mxl_sockets._listen import Address, Listener
    from mxl_sockets._roster import Roster
    from mxl_sockets._snapshot import Snapshots
    from mxl_sockets._status_socket import StatusServer
    from mxl_sockets._step_watch import OnStep

logger = logging.getLogger(__name__)

CouplingT = TypeVar("CouplingT", "Coupling", "GroupCoupling")


class OpenHub(Generic[CouplingT]):
    """What `mxl_sockets.SocketHub` and `mxl_sockets.AggregatedSocketHub` have in common.

    Parameters
    ----------
    roster : Roster
        Who is registered.
    timeout, latency, on_step, status_socket
        As for the hubs.
    """

    unixsocket_path: str | None = None
    _snapshots: Snapshots
    _status_server: StatusServer | None = None

    def __init__(
        self,
        roster: Roster[Any],
        timeout: float,
        latency: float,
        on_step: OnStep | None,
        status_socket: bool | str,
    ) -> None:
        self.timeout = timeout
        self.latency = latency
        self._owner = os.getpid()
        self._no_hub = threading.Lock()
        self._lineup: tuple[int, ...] = ()
        self._address: Address | None = None
        self._roster = roster
        self._coupling: CouplingT | None = None
        self._on_step = on_step
        if status_socket:
            from mxl_sockets._status_folder import check_system  # here and below: few hubs have one

            check_system()

    @property
    def address(self) -> Address | None:
        """Where drivers connect: ``(host, port)`` or the UNIX path; None once stopped."""
        return self._address

    @property
    def status_path(self) -> str | None:
        """Path of the status socket; None without one and once stopped."""
        return self._status_server.path if self._status_server is not None else None

    @property
    def expected(self) -> set[int]:
        """Registered molecule ids."""
        return set(self._roster.expected)

    @property
    def paused(self) -> bool:
        """Whether a driver or bridge was lost since the last successful `wait_until_bound`."""
        return self._coupling is not None and self._coupling.exchange.paused

    def register_molecule(self, molecule_id: int) -> None:
        """Reserve a molecule id; its driver may come later.

        Raises
        ------
        TypeError, ValueError
            The id is not a 32-bit number, or is registered already.
        """
        with self._held():
            self._roster.register(molecule_id)

    def register_molecule_return_id(self) -> int:
        """Reserve the smallest free molecule id and return it."""
        with self._held():
            return self._roster.register_next()

    def status(self) -> HubStatus:
        """Return who is bound, who waits, who is late and what went wrong last.

        The peer of a molecule is its driver, or the bridge of its group. Takes
        its turn with the steps of other threads; see `status_socket` for a look
        from outside.
        """
        with self._held():
            coupling = self._coupling
            if coupling is None:
                expected = sorted(self._roster.expected)
                return HubStatus(None, {}, expected, [], {}, False, 0, 0, None, ReplyTimes())
            coupling.look()
            return self._snapshots.take(time.monotonic())

    def graceful_shutdown(self, reason: str | None = None, wait: float = 2.0) -> None:
        """Ask all drivers to end, and wait until they have.

        Drivers get STOP; those that have not answered after a quarter of the
        time get EXIT as well, and those that were READY without INIT (ASE) get
        EXIT alone. Then all connections are closed. The hub goes on listening.

        Parameters
        ----------
        reason : str or None
            For the log.
        wait : float
            Seconds at the most; the call returns as soon as all have ended.
        """
        with self._held():
            coupling = self._running()
            if coupling is not None:
                logger.info(
                    "stopping %d drivers: %s", len(coupling.exchange.connections), reason or "no reason given"
                )
                coupling.shut_down(wait)

    def stop(self) -> None:
        """End all drivers, close everything and remove the UNIX path.

        Calls that wait in other threads return at once. A second call does
        nothing.
        """
        wait = max(2.0, 10 * self.latency)
        with self._held():
            coupling = self._running()
            if coupling is None:
                return
            try:
                coupling.interrupt(time.monotonic() + wait)
                coupling.shut_down(wait)
            finally:
                self._finalizer()
                self._close_status()
                self._address = None
        _hubs.discard(self)
        logger.info("stopped")

    def close(self) -> None:
        """Another name of `stop`, for `contextlib.closing` and its like."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A forked child that leaves the block has nothing to stop.
        if os.getpid() == self._owner:
            self.stop()

    def _opens_here(self) -> bool:
        """Whether this process of a parallel job is the one that listens."""
        from mxl_sockets import mpi

        return mpi.am_master()

    def _deadline(self, timeout: float | None) -> float:
        # float(): a numpy scalar would make the clock as coarse as itself.
        deadline = time.monotonic() + float(self.timeout if timeout is None else timeout)
        if math.isnan(deadline):
            raise ValueError(f"a timeout is a number of seconds, not {timeout}")
        return deadline

    def _held(self) -> threading.Lock:
        """Return the lock to hold while the coupling is touched.

        Taken with a plain ``with``, which an exception from a signal handler
        cannot come between, as it can in a context manager of our own.
        """
        if os.getpid() != self._owner:
            raise ForeignProcessError("this hub belongs to the process that made it, not to a forked child")
        return self._no_hub if self._coupling is None else self._coupling.lock

    def _running(self) -> CouplingT | None:
        """Return the coupling; None on a rank without a hub and once stopped. The lock is held."""
        coupling = self._coupling
        return None if coupling is None or coupling.stopping else coupling

    def _take_turn(self, deadline: float) -> CouplingT | None:
        """Return the coupling for a step of this thread; None if that is not possible in time."""
        coupling = self._coupling
        if coupling is None or coupling.stopping or not coupling.loop.take_turn(deadline):
            return None
        if coupling.stopping:
            coupling.loop.give_turn()
            return None
        return coupling

    def _insist_on_turn(self, deadline: float) -> CouplingT:
        """Return the coupling for a step of this thread.

        Raises
        ------
        HubStopped
            There is none.
        StepTimeout
            Another thread's step takes all the time.
        """
        coupling = self._take_turn(deadline)
        if coupling is None:
            self._check_running()
            raise StepTimeout({}, [])
        return coupling

    def _open(
        self,
        listener: Listener,
        make: Callable[[], CouplingT],
        snapshots: Callable[[CouplingT, Address, float], Snapshots],
        status_socket: bool | str,
    ) -> None:
        """Begin to listen; `listener` is closed if that fails."""
        try:
            coupling = make()
        except BaseException:
            listener.close()
            raise
        with coupling.lock:
            coupling.listen(listener)
        self._coupling = coupling
        self._address = listener.address
        # A hub that is forgotten, or alive at exit, still gives up its UNIX path.
        self._finalizer: weakref.finalize[..., Any] = weakref.finalize(self, coupling.close)
        self._snapshots = snapshots(coupling, listener.address, time.monotonic())
        self._open_status(status_socket)
        _hubs.add(self)

    def _open_status(self, wish: bool | str) -> None:
        """Open the status socket, if one is wanted; the hub is closed if that fails."""
        coupling, address = self._coupling, self._address
        if not wish or coupling is None or address is None:
            return
        from mxl_sockets._status_folder import own_path
        from mxl_sockets._status_socket import StatusServer

        try:
            server = StatusServer(own_path(wish, address), coupling.lock, self._snapshots)
        except BaseException:
            self._finalizer()
            raise
        self._status_server = server
        self._status_finalizer: weakref.finalize[..., Any] = weakref.finalize(self, server.close)

    def _close_status(self) -> None:
        if self._status_server is not None:
            self._status_finalizer()
            self._status_server = None

    def _tell_steps(self) -> None:
        """Call `on_step` for completed steps; the lock is not held."""
        clock = None if self._coupling is None else self._coupling.step_clock
        if self._on_step is not None and clock is not None:
            clock.tell(self._on_step)

    def _check_running(self) -> None:
        if self._coupling is None or self._coupling.stopping:
            raise HubStopped("the hub is stopped, or this process has none")


#: Hubs of this process, so that a forked child can let go of them.
_hubs: weakref.WeakSet[OpenHub[Any]] = weakref.WeakSet()


def _close_in_child() -> None:
    for hub in list(_hubs):
        hub._finalizer.detach()
        if hub._status_server is not None:
            hub._status_finalizer.detach()
            hub._status_server.close_in_child()
        if hub._coupling is not None:
            hub._coupling.close_in_child()
    _hubs.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - absent on Windows, which cannot fork
    os.register_at_fork(after_in_child=_close_in_child)
