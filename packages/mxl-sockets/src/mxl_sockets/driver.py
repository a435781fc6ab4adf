"""The driver: connects a molecular model to a hub and serves it until told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mxl_sockets._connect import Backoff, connect, parse_target
from mxl_sockets._conversation import Conversation
from mxl_sockets._driver_protocol import DriverProtocol, End
from mxl_sockets._model import as_model
from mxl_sockets._stop import StopSignal
from mxl_sockets.errors import ForeignProcessError, HubProtocolError, ModelError
from mxl_sockets.forces import ForceField
from wireframe import FrameError, TruncatedFrame
from wireframe.ipi import FROM_SERVER, Decoder

if TYPE_CHECKING:
    from typing import Self

    from mxl_sockets._model import Model, ModelFunction

_log = logging.getLogger(__name__)

#: Drivers that may hold a connection, for `_close_in_child`.
_live: weakref.WeakSet[Driver] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class DriverSummary:
    """How a driver ended.

    Attributes
    ----------
    reason : End
        Why.
    steps : int
        Steps committed, over all connections.
    connections : int
        Connections made.
    molecule_id : int or None
        From the last ``INIT``; None if there was none.
    """

    reason: End
    steps: int
    connections: int
    molecule_id: int | None


class Driver:
    """Serves one molecule to a hub.

    Parameters
    ----------
    model : Model, callable or ForceField
        An object with ``initialize``, ``stage`` and ``commit``, or a function
        ``field -> amplitude`` or ``field -> (amplitude, extra)``; for forces
        on atoms a `ForceField`.
    address : str or (str, int), optional
        ``"HOST:PORT"``, ``"[::1]:PORT"`` or ``(host, port)``;
        ``127.0.0.1:31415`` if neither this nor `unix` is given.
    unix : str, optional
        Path of a UNIX socket, or a name behind the prefix ``/tmp/socketmxl_``.
    connect_timeout : float
        Seconds to wait for the hub to appear in the beginning.
    reconnect : bool
        Whether to look for the hub again after it vanished without a word.
        ``STOP`` and ``EXIT`` always end the driver.
    reconnect_timeout : float
        Seconds to look for it, counted from the loss of a connection on which
        it had said something.
    idle_timeout : float, optional
        Seconds without a message after which to give up. None, the default,
        waits for ever: a solver may think for days. Dead machines are found by
        TCP keepalive within about a minute all the same.
    message_timeout : float
        Seconds for the rest of a message that has begun, and for the hub to
        take an answer. After it the hub counts as vanished.
    max_init : int
        Largest ``INIT`` text accepted, bytes.

    Raises
    ------
    TypeError, ValueError
        A wrong argument.

    Notes
    -----
    `run` belongs to one thread; `stop` may be called by any thread and by a
    signal handler. Each answer is sent in one piece. Not for use in a forked
    child: the child closes its copy of the connection, so that the hub notices
    the death of the parent, and `run` raises there.

    After a reconnect the hub sends ``INIT`` again. Whether the model then goes
    on where it was is the model's and the hub's agreement; `TwoLevelSystem`
    shows one that cannot lose or repeat a step.

    Examples
    --------
    >>> driver = Driver(lambda field_au: -0.1 * field_au, "127.0.0.1:31415")
    >>> driver.hub
    '127.0.0.1:31415'
    """

    def __init__(
        self,
        model: Model | ModelFunction | ForceField,
        address: str | tuple[str, int] | None = None,
        *,
        unix: str | None = None,
        connect_timeout: float = 600.0,
        reconnect: bool = True,
        reconnect_timeout: float = 60.0,
        idle_timeout: float | None = None,
        message_timeout: float = 60.0,
        max_init: int = 16 << 20,
    ) -> None:
        self._protocol = DriverProtocol(model if isinstance(model, ForceField) else as_model(model))
        self._target = parse_target(address, unix)
        self._connect_timeout = connect_timeout
        self._reconnect = reconnect
        self._reconnect_timeout = reconnect_timeout
        self._idle_timeout = idle_timeout
        self._message_timeout = message_timeout
        self._max_init = max_init
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

    @property
    def steps(self) -> int:
        """Steps committed so far."""
        return self._protocol.steps

    @property
    def molecule_id(self) -> int | None:
        """The molecule this driver is, once a hub has said so."""
        return self._protocol.molecule_id

    def run(self) -> DriverSummary:
        """Connect and serve until the hub or `stop` ends it.

        Returns
        -------
        DriverSummary
            Why it ended, and what it did.

        Raises
        ------
        TimeoutError
            No hub was there within `connect_timeout`.
        HubProtocolError
            The hub sent something illegal.
        ModelError
            The model failed. The connection is closed, so that the hub knows
            at once.
        RuntimeError
            It is running already.
        ForeignProcessError
            This is a forked child.
        """
        self._check_process()
        if not self._running.acquire(blocking=False):
            raise RuntimeError(f"the driver of {self.hub} is running already")
        try:
            with contextlib.closing(StopSignal()) as stop:
                self._stop_signal = stop
                _live.add(self)
                reason = self._run(stop)
        finally:
            _live.discard(self)
            self._stop_signal = None
            self._running.release()
        summary = DriverSummary(reason, self.steps, self._connections, self.molecule_id)
        _log.info("driver of %s ended (%s) after %d steps", self.hub, reason.value, summary.steps)
        return summary

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
            self._running.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> Any:
        raise TypeError("a Driver cannot be pickled: pickle its model and make a new Driver")

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ForeignProcessError(
                f"this Driver belongs to process {self._process}, not to its child {os.getpid()}"
            )

    def _is_stopped(self) -> bool:
        return self._stopped

    def _run(self, stop: StopSignal) -> End:
        backoff = Backoff()
        deadline = time.monotonic() + self._connect_timeout
        met = False  # whether any hub has said anything yet
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
            try:
                self._socket = sock
                reason, messages = self._serve(sock)
            finally:
                self._socket = None
                sock.close()
            if reason is not End.LOST:
                return reason
            self._check_process()
            # A connection on which the hub never said a word is a failed
            # attempt at connecting: the old deadline and delays go on.
            if messages:
                met = True
                backoff.reset()
                deadline = time.monotonic() + self._reconnect_timeout
            if met and not self._reconnect:
                return End.LOST
            remaining = deadline - time.monotonic()
            if remaining <= 0 and met:
                return End.LOST
            if remaining <= 0:
                raise TimeoutError(f"hub {self.hub} closed every connection without a word")
            stop.wait(min(backoff.next_s(), remaining))
        return End.STOPPED

    def _serve(self, sock: socket.socket) -> tuple[End, int]:
        """Serve one connection; return why it ended and how many messages came."""
        protocol = self._protocol
        protocol.begin()
        decoder = Decoder(accept=FROM_SERVER, nat=protocol.nat, max_text=self._max_init)
        conversation = Conversation(
            sock,
            decoder,
            protocol,
            is_stopped=self._is_stopped,
            idle_timeout=self._idle_timeout,
            message_timeout=self._message_timeout,
        )
        _log.info("connected to hub %s", self.hub)
        try:
            reason = conversation.run()
            if reason is End.LOST:
                _log.warning("hub %s closed the connection", self.hub)
        except ModelError:
            _log.exception("closing the connection to hub %s: the model failed", self.hub)
            raise
        except TruncatedFrame as error:
            _log.warning("hub %s went away inside a message: %s", self.hub, error)
            reason = End.LOST
        except FrameError as error:
            _log.warning("closing the connection to hub %s: %s (%r)", self.hub, error, error.excerpt)
            raise HubProtocolError(self.hub, str(error), error.excerpt) from error
        except OSError as error:
            reason = End.STOPPED if self._is_stopped() else End.LOST
            _log.warning("lost hub %s: %s", self.hub, error)
        return reason, conversation.messages

    def _close_copies(self) -> None:
        """Close a forked child's copies. They share the connection, so nothing is shut down or sent."""
        for copy in (self._socket, self._stop_signal):
            if copy is not None:
                copy.close()


def _close_in_child() -> None:
    """Let go of the parent's connections, or its hub would not notice its death."""
    for driver in list(_live):
        driver._close_copies()
    _live.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_close_in_child)
