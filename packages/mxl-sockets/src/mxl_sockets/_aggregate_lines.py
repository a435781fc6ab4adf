"""The sockets of an aggregated hub: what is sent over them, and how they end.

Everything here runs in whatever thread called the hub, under its lock. What is
said, and by whom, is in `_aggregate_links`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mxl_sockets import _poll
from mxl_sockets._accept import Acceptor
from mxl_sockets._aggregate_barrier import GroupBarrier
from mxl_sockets._aggregate_link import LinkPhase
from mxl_sockets._links import INTERRUPTED
from mxl_sockets._losses import Losses
from mxl_sockets._quiet_log import QuietLogger
from wireframe import aggregate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mxl_sockets._access import Allowed
    from mxl_sockets._aggregate_connection import BridgeConnection
    from mxl_sockets._aggregate_roster import GroupRoster
    from mxl_sockets._aggregate_settings import AggregateSettings
    from mxl_sockets._aggregate_shares import Answer, GroupShare
    from mxl_sockets._poll import Poller

logger = logging.getLogger(__name__)

_STOP: Final = aggregate.encode_header(aggregate.STOP)


class BridgeLines:
    """The connections of an aggregated hub, their output and their end.

    Parameters
    ----------
    poller : Poller
    roster : GroupRoster
    settings : AggregateSettings
    allowed : tuple of networks or None
    """

    def __init__(
        self,
        poller: Poller,
        roster: GroupRoster[BridgeConnection],
        settings: AggregateSettings,
        allowed: Allowed,
    ) -> None:
        self.roster = roster
        self.barrier: GroupBarrier[GroupShare, Answer] = GroupBarrier()
        self.connections: dict[int, BridgeConnection] = {}
        self.paused = False
        #: A bridge that owed an answer was lost since this was last cleared.
        self.interrupted = False
        self.waker = _poll.Waker()
        poller.register(self.waker.descriptor, _poll.READ)
        quiet = QuietLogger(logger)
        self.losses = Losses(quiet)
        self.acceptor = Acceptor(poller, allowed, quiet, self.losses)
        self._poller = poller
        self._settings = settings
        self._backlogged: set[BridgeConnection] = set()
        #: When newcomers must have said hello; in that order, as all have the same time.
        self._hellos: dict[BridgeConnection, float] = {}

    def send(self, connection: BridgeConnection, data: bytes | memoryview) -> None:
        """Send or queue; a broken connection is dropped."""
        try:
            connection.send(data)
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        except BaseException:
            self.drop(connection, INTERRUPTED)
            raise
        self._watch_output(connection)

    def _flush(self, connection: BridgeConnection) -> None:
        try:
            connection.flush()
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        self._watch_output(connection)

    def _watch_output(self, connection: BridgeConnection) -> None:
        """Have the poller say when a bridge takes more, if something waits."""
        waits = bool(connection.outgoing)
        if waits is (connection in self._backlogged):
            return
        (self._backlogged.add if waits else self._backlogged.discard)(connection)
        self._poller.modify(connection.descriptor, _poll.READ | _poll.WRITE if waits else _poll.READ)

    def drop(self, connection: BridgeConnection, reason: str) -> None:
        """Close a connection and forget it."""
        stranger = connection.group_id is None
        expected = connection.phase is LinkPhase.STOPPING
        connection.phase = LinkPhase.GONE
        self._hellos.pop(connection, None)
        self._backlogged.discard(connection)
        del self.connections[connection.descriptor]
        self._poller.unregister(connection.descriptor)
        connection.sock.close()
        connection.outgoing.clear()
        group = self.roster.leave(connection)
        if group is not None:
            self.interrupted = self.barrier.lose(group.group_id) or self.interrupted
        if expected or (stranger and reason == "closed"):
            logger.debug("%s: %s", connection.peer, reason)
            return
        if group is None:
            self.losses.note(connection.peer, None, reason)
            return
        self.paused = True
        self.losses.remember(f"{connection.peer} (group {group.group_id!r}): {reason}")
        logger.warning("lost %s", self.losses.last)

    def stop_bridges(self) -> list[BridgeConnection]:
        """Tell every bridge to end, and return them; each is forgotten when it says BYE or closes."""
        told = list(self.connections.values())
        for connection in told:
            self._hellos.pop(connection, None)
            connection.phase = LinkPhase.STOPPING
            self.send(connection, _STOP)
        return told

    def drop_all(self, connections: Iterable[BridgeConnection]) -> None:
        """Close connections as if they had been told to stop."""
        for connection in connections:
            if connection.phase is not LinkPhase.GONE:
                connection.phase = LinkPhase.STOPPING
                self.drop(connection, "closed by the hub")

    def close(self) -> None:
        """Close everything."""
        self.drop_all(list(self.connections.values()))
        self.acceptor.close()
        self._poller.unregister(self.waker.descriptor)
        self.waker.close()
        self._poller.close()

    def close_in_child(self) -> None:
        """Let go of all descriptors in a forked child; the parent goes on with its own.

        Nothing is unregistered: the parent shares the kernel's event source.
        """
        for connection in self.connections.values():
            connection.sock.close()
        for listener in self.acceptor.listeners.values():
            listener.close_in_child()
        self.waker.close()
        self._poller.close()
