"""The connections of a hub, whoever is on their other end: their output, and how they end.

Everything here runs in whatever thread called the hub, under its lock. What is
said over the connections, and by whom, is in `_links` and `_exchange` for
drivers, and in `_aggregate_links` for bridges.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from mxl_sockets import _poll
from mxl_sockets._accept import Acceptor
from mxl_sockets._losses import Losses
from mxl_sockets._quiet_log import QuietLogger
from mxl_sockets.status import ReplyTimer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sized

    from mxl_sockets._access import Allowed
    from mxl_sockets._poll import Poller

logger = logging.getLogger(__name__)

#: Why a peer is dropped that was being served when a signal handler raised.
INTERRUPTED: Final = "interrupted by an exception while it was served"


class Line(Protocol):
    """A connection."""

    peer: str
    sock: socket.socket
    descriptor: int

    @property
    def outgoing(self) -> Sized:
        """What the peer has not taken yet."""

    @property
    def gone(self) -> bool:
        """Whether it was dropped."""

    def send(self, data: bytes | memoryview, /) -> None:
        """Send what the peer takes now and keep the rest in order; raises OSError."""

    def flush(self) -> None:
        """Send more of what was kept; raises OSError."""

    def expect_end(self) -> None:
        """Note that it was told to stop: it may leave now."""


LineT = TypeVar("LineT", bound=Line)


class Lines(abc.ABC, Generic[LineT]):
    """Connections that come and go, and what a `Loop` needs to run them.

    Parameters
    ----------
    poller : Poller
    allowed : tuple of networks or None
    """

    def __init__(self, poller: Poller, allowed: Allowed) -> None:
        self.connections: dict[int, LineT] = {}
        self.paused = False
        #: A peer that owed an answer was lost since this was last cleared.
        self.interrupted = False
        self.reply_times = ReplyTimer()
        quiet = QuietLogger(logger)
        self.losses = Losses(quiet)
        self.acceptor = Acceptor(poller, allowed, quiet, self.losses)
        self.waker = _poll.Waker()
        poller.register(self.waker.descriptor, _poll.READ)
        self._poller = poller
        #: Connections with output that their peer has not taken.
        self._backlogged: set[LineT] = set()

    # -- for the loop --------------------------------------------------------

    @abc.abstractmethod
    def dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        """Handle what the poller reported."""

    @property
    @abc.abstractmethod
    def has_timers(self) -> bool:
        """Whether anything may come due without an event."""

    @abc.abstractmethod
    def next_due(self, now: float) -> float:
        """Return seconds until `expire` has something to do."""

    @abc.abstractmethod
    def expire(self, now: float) -> None:
        """Do what has come due: listen again, give up on the silent."""

    # -- coming, sending, going ------------------------------------------------

    def _enter(self, connection: LineT) -> bool:
        """Watch a newcomer and own it; False if that is not possible, and it is closed."""
        try:
            self._poller.register(connection.descriptor, _poll.READ)
        except OSError as error:
            reason = f"it cannot be watched: {error.strerror or error}"
            self.acceptor.refuse(connection.peer, "watch", reason)
            connection.sock.close()
            return False
        self.connections[connection.descriptor] = connection
        logger.debug("%s connected", connection.peer)
        return True

    def send(self, connection: LineT, data: bytes | memoryview) -> None:
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

    def flush(self, connection: LineT) -> None:
        """Send more of what was kept; a broken connection is dropped."""
        try:
            connection.flush()
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        self._watch_output(connection)

    def _watch_output(self, connection: LineT) -> None:
        """Have the poller say when a peer takes more, if something waits."""
        waits = bool(connection.outgoing)
        if waits is (connection in self._backlogged):
            return
        if waits:
            self._backlogged.add(connection)
            self._poller.modify(connection.descriptor, _poll.READ | _poll.WRITE)
        else:
            self._backlogged.discard(connection)
            self._poller.modify(connection.descriptor, _poll.READ)

    @abc.abstractmethod
    def drop(self, connection: LineT, reason: str) -> None:
        """Close a connection, whoever it was, and tell the pure parts."""

    def _let_go(self, connection: LineT) -> None:
        """Close a connection and forget it; the part of `drop` that is always the same.

        May be done again after an exception in between.
        """
        self._backlogged.discard(connection)
        if connection.descriptor in self.connections:
            with contextlib.suppress(KeyError, FileNotFoundError):  # it was unregistered before the exception
                self._poller.unregister(connection.descriptor)
            del self.connections[connection.descriptor]
        connection.sock.close()

    # -- ending ------------------------------------------------------------

    @abc.abstractmethod
    def stop_all(self) -> list[LineT]:
        """Tell every peer to end, and return them; each is forgotten when it says BYE or closes."""

    @property
    def last_words(self) -> tuple[tuple[float, Callable[[Iterable[LineT]], None]], ...]:
        """What is done to peers that do not end, each after a share of the time that they are given."""
        return ((1.0, self.drop_all),)

    def drop_all(self, connections: Iterable[LineT]) -> None:
        """Close connections as if they had been told to stop."""
        for connection in connections:
            if not connection.gone:
                connection.expect_end()
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


LinesT = TypeVar("LinesT", bound=Lines[Any])
