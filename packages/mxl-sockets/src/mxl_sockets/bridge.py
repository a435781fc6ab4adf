"""The bridge: stands for the molecules of one node towards an aggregated hub."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mxl_sockets._bridge_drivers import NodeHub, Restart
from mxl_sockets._bridge_protocol import BridgeProtocol, Work
from mxl_sockets._bridge_upstream import Upstream
from mxl_sockets._connect import parse_target
from mxl_sockets._driver_protocol import End
from mxl_sockets._hub_client import HubClient
from mxl_sockets.errors import HubProtocolError
from wireframe import FrameError, TruncatedFrame, aggregate

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from mxl_sockets._listen import Address
    from mxl_sockets._stop import StopSignal
    from mxl_sockets.status import HubStatus

__all__ = ["Bridge", "BridgeSummary"]

_log = logging.getLogger(__name__)

_BYE: Final = aggregate.encode_header(aggregate.BYE)

#: Seconds that drivers are waited for before the hub is looked at.
SLICE_S: Final = 0.2
#: Seconds between looks at the stop flag while nothing is to be done.
IDLE_S: Final = 3600.0
#: Seconds that drivers have to end before the hub is told that they have.
GRACE_S: Final = 1.0
#: Seconds after which a connection counts although the hub has said nothing on
#: it: it had no use for this group yet.
HELD_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class BridgeSummary:
    """How a bridge ended.

    Attributes
    ----------
    reason : End
        Why.
    steps : int
        Results sent, over all connections.
    connections : int
        Connections to the hub.
    """

    reason: End
    steps: int
    connections: int


class Bridge(HubClient):
    """Stands for a group of molecules: one connection to the hub, an ordinary hub for their drivers.

    Parameters
    ----------
    group_id : str
        The group, as in ``"aggregate_group"`` of its molecules.
    address : str or (str, int), optional
        Of the aggregated hub: ``"HOST:PORT"`` or ``(host, port)``;
        ``127.0.0.1:31415`` if not given.
    host : str or None
        Where drivers connect: None is 127.0.0.1, ``""`` all IPv4 interfaces.
    port : int
        0 takes a free one (see `local_address`).
    unixsocket : str, optional
        Path of a UNIX socket for the drivers, or a name behind the prefix
        ``/tmp/socketmxl_``, instead of `host` and `port`.
    allow : iterable of str, optional
        Addresses and networks from which drivers may connect over TCP; None, the
        default, for all. An empty list is a list too: nobody is in it.
    resume : bool
        Give the last state of a molecule to a replacement of its driver, also
        if the hub (which says so when it does it itself) does not.
    restart : {"init", "reconnect"}
        How drivers are started again when the hub gives the molecules anew:
        with another INIT, or by closing their connections, for drivers that
        cannot take a second INIT but connect again (LAMMPS).
    connect_timeout : float
        Seconds to wait for the hub to appear in the beginning.
    reconnect : bool
        Whether to look for the hub again after it vanished without a word.
    reconnect_timeout : float
        Seconds to look for it.
    max_extra : int
        Largest extra of a driver's reply, bytes.
    handshake, handshake_timeout, silence_timeout
        For the drivers, as for `SocketHub`: who is silent loses its molecule to a waiting one.
        Without a `silence_timeout` a driver that hangs holds its whole group up, also in a step
        whose hub was lost meanwhile.

    Raises
    ------
    OSError, RuntimeError
        The drivers' address cannot be bound.
    ValueError, TypeError
        A wrong argument.

    Notes
    -----
    `run` belongs to one thread; `stop` may be called by any thread and by a
    signal handler. There is no limit on how long a hub may think: a hub on a
    dead machine is found by TCP keepalive within about a minute. Not for use in
    a forked child, where `run` raises.

    Examples
    --------
    >>> with Bridge("node-0", "127.0.0.1:31415") as bridge:
    ...     bridge.hub, bridge.local_address[0]
    ('127.0.0.1:31415', '127.0.0.1')
    """

    def __init__(
        self,
        group_id: str,
        address: str | tuple[str, int] | None = None,
        *,
        host: str | None = None,
        port: int = 0,
        unixsocket: str | None = None,
        allow: Iterable[str] | None = None,
        resume: bool = False,
        restart: Restart = "init",
        connect_timeout: float = 600.0,
        reconnect: bool = True,
        reconnect_timeout: float = 60.0,
        max_extra: int = 16 << 20,
        handshake: Literal["init", "status", "init+status"] = "init",
        handshake_timeout: float = 10.0,
        silence_timeout: float | None = None,
    ) -> None:
        if restart not in ("init", "reconnect"):
            raise ValueError(f"restart is 'init' or 'reconnect', not {restart!r}")
        self.group_id = group_id
        self._protocol = BridgeProtocol(group_id)
        super().__init__(
            f"the bridge of group {group_id!r}",
            parse_target(address),
            connect_timeout,
            reconnect,
            reconnect_timeout,
        )
        self._resume = resume
        self._restart: Restart = restart
        self._drivers = NodeHub(
            host,
            port,
            unixsocket,
            allow=allow,
            max_extra=max_extra,
            handshake=handshake,
            handshake_timeout=handshake_timeout,
            silence_timeout=silence_timeout,
        )

    @property
    def local_address(self) -> Address | None:
        """Where drivers connect: ``(host, port)`` or the UNIX path; None once it has ended."""
        return self._drivers.address

    @property
    def steps(self) -> int:
        """Results made so far."""
        return self._protocol.steps

    def status(self) -> HubStatus:
        """Return what the drivers do: who is bound, waits, is late, and what went wrong last."""
        return self._drivers.status()

    def run(self) -> BridgeSummary:
        """Connect and serve until the hub or `stop` ends it; the drivers are stopped then.

        Returns
        -------
        BridgeSummary
            Why it ended, and what it did.

        Raises
        ------
        TimeoutError
            No hub was there within `connect_timeout`.
        HubProtocolError
            The hub sent something illegal.
        RuntimeError
            It is running already, or has ended.
        ForeignProcessError
            This is a forked child.
        """
        reason = self._serve()
        summary = BridgeSummary(reason, self.steps, self._connections)
        _log.info("bridge of group %r ended (%s) after %d steps", self.group_id, reason.value, summary.steps)
        return summary

    def _check_ready(self) -> None:
        if self.local_address is None:
            raise RuntimeError(f"the bridge of group {self.group_id!r} has ended; make another one")

    def _end(self) -> None:
        self._drivers.stop()

    def _converse(self, sock: socket.socket, stop: StopSignal) -> tuple[End, bool]:
        """Serve one connection; return why it ended and whether the hub had a use for this group."""
        began = time.monotonic()
        with Upstream(sock, stop) as upstream:
            reason = self._end_of(upstream)
        return reason, upstream.messages > 0 or time.monotonic() - began >= HELD_S

    def _end_of(self, upstream: Upstream) -> End:
        """Talk to the hub; return why that ended."""
        _log.info("group %r: connected to hub %s", self.group_id, self.hub)
        try:
            return self._talk(upstream)
        except (EOFError, TruncatedFrame) as error:
            if not self._stopped:
                _log.warning("group %r: lost hub %s: %s", self.group_id, self.hub, error)
        except FrameError as error:
            _log.warning("closing the connection to hub %s: %s (%r)", self.hub, error, error.excerpt)
            raise HubProtocolError(self.hub, str(error), error.excerpt) from error
        except OSError as error:
            _log.warning("group %r: lost hub %s: %s", self.group_id, self.hub, error)
        return End.STOPPED if self._stopped else End.LOST

    def _talk(self, upstream: Upstream) -> End:
        protocol = self._protocol
        upstream.send(protocol.begin())
        while not self._stopped:
            if protocol.can_receive:
                for event in upstream.receive(IDLE_S if protocol.work is Work.NOTHING else 0.0):
                    protocol.receive(event)
            if protocol.work is Work.END:
                self._drivers.graceful_shutdown("the hub said stop", GRACE_S)
                upstream.send(_BYE)
                return End.STOP
            for message in self._do(protocol.work):
                upstream.send(message)
        return End.STOPPED

    def _do(self, work: Work) -> list[bytes]:
        """Go on with what is to be done, for a moment; return what to tell the hub."""
        protocol, drivers = self._protocol, self._drivers
        wanted = protocol.wanted
        if work is Work.STEP and not protocol.ids:
            return [b"".join(protocol.stepped(b"", []))]  # nobody is asked, and that is answered too
        if work is Work.STEP and protocol.is_stale:
            if drivers.let_go(SLICE_S):
                protocol.stepped(b"", [])
        elif work is Work.STEP:
            result = drivers.advance(protocol.ids, protocol.fields, SLICE_S)
            if result is not None:
                return [b"".join(protocol.stepped(result.amplitudes, result.extras))]
        elif work is Work.START and wanted is not None:
            _log.info("group %r: starting %d molecules", self.group_id, len(wanted.payloads))
            drivers.begin_again(wanted.payloads, self._restart, resume=self._resume or wanted.resume)
            protocol.started()
        elif work is Work.BIND and wanted is not None and drivers.bind(list(wanted.payloads), SLICE_S):
            return [protocol.bound()]
        return []
