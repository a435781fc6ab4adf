"""A hub's life: opening, looking at it, stopping, and what a fork does to it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Literal

from mxl_sockets import mpi
from mxl_sockets._access import parse_allowed
from mxl_sockets._coupling import Coupling
from mxl_sockets._listen import Address, adopt, listen_tcp, listen_unix, unix_path
from mxl_sockets._roster import Roster
from mxl_sockets._settings import HubSettings
from mxl_sockets._snapshot import DirectSnapshots
from mxl_sockets._status_folder import check_system, own_path
from mxl_sockets._status_socket import StatusServer
from mxl_sockets._step_watch import WATCHED, WatchedCoupling
from mxl_sockets.errors import ForeignProcessError, HubStopped
from mxl_sockets.status import HubStatus, ReplyTimes

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Self

    from mxl_sockets._connection import Connection
    from mxl_sockets._roster import Match
    from mxl_sockets._snapshot import Snapshots
    from mxl_sockets._step_watch import OnStep

logger = logging.getLogger(__name__)

DEFAULT_PORT = 31415


class HubLifecycle:
    """What `mxl_sockets.SocketHub` does beside registering, binding and stepping."""

    _on_step: OnStep | None
    _snapshots: Snapshots
    _status_server: StatusServer | None = None
    _status_finalizer: weakref.finalize[[], HubLifecycle]

    def __init__(
        self,
        host: str | None = None,
        port: int | None = DEFAULT_PORT,
        unixsocket: str | None = None,
        timeout: float = 60.0,
        latency: float = 0.01,
        *,
        resume: bool = False,
        allow: Iterable[str] = (),
        match: Match | None = None,
        listener: socket.socket | None = None,
        two_phase: bool = False,
        handshake: Literal["init", "status", "init+status"] = "init",
        handshake_timeout: float = 10.0,
        silence_limit: float | None = None,
        max_extra: int = 16 << 20,
        max_waiting: int = 16384,
        on_step: OnStep | None = None,
        status_socket: bool | str = False,
    ) -> None:
        self.timeout = timeout
        self.latency = latency
        # Empty means none, so that a program may pass on an option that was not given.
        unixsocket = unixsocket or None
        self.unixsocket_path = None if unixsocket is None else unix_path(unixsocket)
        self._owner = os.getpid()
        self._no_hub = threading.Lock()
        self._lineup: tuple[int, ...] = ()
        self._address: Address | None = None
        self._roster: Roster[Connection] = Roster(resume=resume, match=match)
        self._coupling: Coupling | None = None
        self._on_step = on_step
        if status_socket:
            check_system()
        allowed = parse_allowed(allow)
        settings = HubSettings(
            timeout=timeout,
            latency=latency,
            two_phase=two_phase,
            handshake=handshake,
            handshake_timeout=handshake_timeout,
            silence_limit=silence_limit,
            max_extra=max_extra,
            max_waiting=max_waiting,
        )
        if not self._opens_here():
            return
        if listener is not None:
            own = adopt(listener)
        elif unixsocket is not None:
            own = listen_unix(unixsocket)
        else:
            own = listen_tcp(host, DEFAULT_PORT if port is None else port)
        try:
            make = Coupling if on_step is None else WatchedCoupling
            self._coupling = make(self._roster, settings, allowed, latency)
        except BaseException:
            own.close()
            raise
        with self._coupling.lock:
            self._coupling.listen(own)
        self._address = own.address
        # A hub that is forgotten, or alive at exit, still gives up its UNIX path.
        self._finalizer = weakref.finalize(self, self._coupling.close)
        self._snapshots = DirectSnapshots(self._coupling, own.address, time.monotonic())
        self._open_status(status_socket)
        _hubs.add(self)
        logger.info("listening on %s", self._address)

    @property
    def address(self) -> Address | None:
        """Where drivers connect: ``(host, port)`` or the UNIX path; None once stopped."""
        return self._address

    @property
    def status_path(self) -> str | None:
        """Path of the status socket; None without one and once stopped."""
        return self._status_server.path if self._status_server is not None else None

    def status(self) -> HubStatus:
        """Return who is bound, who waits, who is late and what went wrong last.

        Takes its turn with the steps of other threads; see `status_socket` for
        a look from outside.
        """
        with self._held():
            coupling = self._coupling
            roster = self._roster
            if coupling is None:
                return HubStatus(None, {}, sorted(roster.expected), [], {}, False, 0, 0, None, ReplyTimes())
            if not coupling.stopping:
                coupling.loop.look()
            coupling.exchange.settle()
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A forked child that leaves the block has nothing to stop.
        if os.getpid() == self._owner:
            self.stop()

    def _opens_here(self) -> bool:
        """Whether this process of a parallel job is the one that listens."""
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
        self._check_process()
        return self._no_hub if self._coupling is None else self._coupling.lock

    def _running(self) -> Coupling | None:
        """Return the coupling; None on a rank without a hub and once stopped. The lock is held."""
        coupling = self._coupling
        return None if coupling is None or coupling.stopping else coupling

    def _take_turn(self, deadline: float) -> Coupling | None:
        """Return the coupling for a step of this thread; None if that is not possible in time."""
        coupling = self._running()
        if coupling is None or not coupling.loop.take_turn(deadline):
            return None
        if coupling.stopping:
            coupling.loop.give_turn()
            return None
        return coupling

    def _open_status(self, wish: bool | str) -> None:
        """Open the status socket, if one is wanted; the hub is closed if that fails."""
        coupling, address = self._coupling, self._address
        if not wish or coupling is None or address is None:
            return
        try:
            server = StatusServer(own_path(wish, address), coupling.lock, self._snapshots)
        except BaseException:
            self._finalizer()
            raise
        self._status_server = server
        self._status_finalizer = weakref.finalize(self, server.close)

    def _close_status(self) -> None:
        if self._status_server is not None:
            self._status_finalizer()
            self._status_server = None

    def _tell_steps(self) -> None:
        """Call `on_step` for completed steps; the lock is not held."""
        if self._on_step is not None and isinstance(self._coupling, WATCHED):
            self._coupling.step_clock.tell(self._on_step)

    def _check_running(self) -> None:
        if self._coupling is None or self._coupling.stopping:
            raise HubStopped("the hub is stopped, or this process has none")

    def _check_process(self) -> None:
        if os.getpid() != self._owner:
            raise ForeignProcessError("this hub belongs to the process that made it, not to a forked child")


#: Hubs of this process, so that a forked child can let go of them.
_hubs: weakref.WeakSet[HubLifecycle] = weakref.WeakSet()


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
