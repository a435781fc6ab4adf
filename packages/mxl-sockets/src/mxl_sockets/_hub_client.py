"""What serves a hub: finding it, serving it, finding it again, and ending when told to.

`mxl_sockets.Driver` and `mxl_sockets.Bridge` differ in what they say over a
connection; when there is one, and what a stop or a fork does to it, is here.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from mxl_sockets._connect import Backoff, connect
from mxl_sockets._driver_protocol import End
from mxl_sockets._stop import StopSignal
from mxl_sockets.errors import ForeignProcessError

if TYPE_CHECKING:
    from typing import Self

    from mxl_sockets._connect import Target

_log = logging.getLogger(__name__)

#: Clients that may hold a connection, for `_close_in_child`.
_live: weakref.WeakSet[HubClient] = weakref.WeakSet()


class HubClient(abc.ABC):
    """Serves one hub in the thread that runs it, over one connection after another.

    Parameters
    ----------
    name : str
        For errors: what it is.
    target : TcpTarget or UnixTarget
    connect_timeout, reconnect, reconnect_timeout
        As for `mxl_sockets.Driver`.
    """

    def __init__(
        self, name: str, target: Target, connect_timeout: float, reconnect: bool, reconnect_timeout: float
    ) -> None:
        self._name = name
        self._target = target
        self._connect_timeout = connect_timeout
        self._reconnect = reconnect
        self._reconnect_timeout = reconnect_timeout
        self._process = os.getpid()
        self._running = threading.Lock()
        self._stopped = False
        self._stop_signal: StopSignal | None = None
        self._socket: socket.socket | None = None
        self._connections = 0

    @property
    def hub(self) -> str:
        """Where the hub is expected, for a person."""
        return str(self._target)

    def stop(self) -> None:
        """End `run`, for good, after the message at hand; it closes the connection.

        Any thread and any signal handler may call it, any number of times,
        before `run` too.
        """
        self._stopped = True
        # No lock here: a handler may interrupt the very thread that holds it.
        # `run` publishes the signal and the socket before it looks at the
        # flag, so either it sees the flag or we see them.
        signal, sock = self._stop_signal, self._socket
        if signal is not None:
            signal.set()
        if sock is not None:
            # Only the reading half: an answer that is on its way still arrives.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RD)

    def close(self, timeout: float = 5.0) -> None:
        """Stop, and wait at most `timeout` seconds for `run` to return in its thread."""
        self.stop()
        if self._running.acquire(timeout=timeout):
            try:
                self._end()
            finally:
                self._running.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A forked child that leaves the block has nothing to stop.
        if os.getpid() == self._process:
            self.close()

    def __getstate__(self) -> Any:
        raise TypeError(f"{self._name} cannot be pickled: its connection belongs to this process")

    # -- inside --------------------------------------------------------------

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """Steps made so far, over all connections."""

    @abc.abstractmethod
    def _converse(self, sock: socket.socket, stop: StopSignal) -> tuple[End, bool]:
        """Serve one connection; return why it ended, and whether the hub had a use for us."""

    def _check_ready(self) -> None:  # noqa: B027 - nothing to check, unless somebody has
        """Raise if it cannot run any more."""

    def _end(self) -> None:  # noqa: B027 - nothing to let go of, unless somebody has
        """Let go of what the client has beside its connection; it may be called several times."""

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ForeignProcessError(
                f"{self._name} belongs to process {self._process}, not to its child {os.getpid()}"
            )

    def _is_stopped(self) -> bool:
        return self._stopped

    def _serve(self) -> End:
        """Serve until the hub or `stop` ends it; raises as `run`."""
        self._check_process()
        if not self._running.acquire(blocking=False):
            raise RuntimeError(f"{self._name} is running already")
        try:
            self._check_ready()
            try:
                with contextlib.closing(StopSignal()) as stop:
                    self._stop_signal = stop
                    _live.add(self)
                    return self._find_and_serve(stop)
            finally:
                _live.discard(self)
                self._stop_signal = None
                self._end()
        finally:
            self._running.release()

    def _find_and_serve(self, stop: StopSignal) -> End:
        backoff = Backoff()
        deadline = time.monotonic() + self._connect_timeout
        met = False  # whether any hub has had a use for us yet
        while not self._is_stopped():
            try:
                sock = connect(self._target, deadline=deadline, stop=stop, backoff=backoff)
            except TimeoutError as error:
                if not met:
                    raise
                _log.warning("%s", error)
                return End.LOST
            if sock is None:
                break
            self._connections += 1
            steps_before = self.steps
            try:
                self._socket = sock
                reason, useful = self._converse(sock, stop)
            finally:
                self._socket = None
                sock.close()
            if reason is not End.LOST:
                return reason
            self._check_process()
            # A connection on which the hub never said a word is a failed
            # attempt at connecting: the old deadline and delays go on.
            if useful:
                met = True
                deadline = time.monotonic() + self._reconnect_timeout
            # The answer to a first step may be what the hub hung up for, each
            # time again; a second one was asked for after the first was taken.
            if self.steps - steps_before > 1:
                backoff.reset()
            if met and not self._reconnect:
                return End.LOST
            remaining = deadline - time.monotonic()
            if remaining <= 0 and met:
                return End.LOST
            if remaining <= 0:
                raise TimeoutError(f"hub {self.hub} closed every connection without a word")
            stop.wait(min(backoff.next_s(), remaining))
        return End.STOPPED

    def _close_copies(self) -> None:
        """Close a forked child's copies. They share the connection, so nothing is shut down or sent."""
        for copy in (self._socket, self._stop_signal):
            if copy is not None:
                copy.close()


def _close_in_child() -> None:
    """Let go of the parent's connections, or its hub would not notice its death."""
    for client in list(_live):
        client._close_copies()
    _live.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_close_in_child)
