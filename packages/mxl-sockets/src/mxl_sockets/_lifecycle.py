"""How a hub of single drivers is opened; its life is that of every hub."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from mxl_sockets._access import parse_allowed
from mxl_sockets._coupling import Coupling
from mxl_sockets._listen import DEFAULT_PORT, adopt, listen_tcp, listen_unix, unix_path
from mxl_sockets._roster import Roster
from mxl_sockets._settings import HubSettings
from mxl_sockets._snapshot import DirectSnapshots
from mxl_sockets._stepping import SteppingHub

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from mxl_sockets._connection import Connection
    from mxl_sockets._roster import Match
    from mxl_sockets._step_watch import OnStep

logger = logging.getLogger(__name__)


class HubLifecycle(SteppingHub[Coupling]):
    """What `mxl_sockets.SocketHub` does beside binding and stepping."""

    _roster: Roster[Connection]

    def __init__(
        self,
        host: str | None = None,
        port: int | None = DEFAULT_PORT,
        unixsocket: str | None = None,
        timeout: float = 60.0,
        latency: float = 0.01,
        *,
        resume: bool = False,
        allow: Iterable[str] | None = None,
        match: Match | None = None,
        listener: socket.socket | None = None,
        two_phase: bool = False,
        handshake: Literal["init", "status", "init+status"] = "init",
        handshake_timeout: float = 10.0,
        silence_timeout: float | None = None,
        max_extra: int = 16 << 20,
        max_waiting: int = 16384,
        on_step: OnStep | None = None,
        status_socket: bool | str = False,
    ) -> None:
        super().__init__(Roster(resume=resume, match=match), timeout, latency, on_step, status_socket)
        # Empty means none, so that a program may pass on an option that was not given.
        unixsocket = unixsocket or None
        if unixsocket is not None:
            self.unixsocket_path = unix_path(unixsocket)
        allowed = parse_allowed(allow)
        settings = HubSettings(
            timeout=timeout,
            latency=latency,
            two_phase=two_phase,
            handshake=handshake,
            handshake_timeout=handshake_timeout,
            silence_timeout=silence_timeout,
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
        kind: type[Coupling] = Coupling
        if on_step is not None:
            from mxl_sockets._step_watch import WatchedCoupling  # few hubs are watched

            kind = WatchedCoupling
        self._open(
            own, lambda: kind(self._roster, settings, allowed, latency), DirectSnapshots, status_socket
        )
        logger.info("listening on %s", self._address)
