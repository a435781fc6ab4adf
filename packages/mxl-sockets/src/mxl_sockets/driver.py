"""The driver: connects a molecular model to a hub and serves it until told to stop."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mxl_sockets._connect import parse_target
from mxl_sockets._conversation import Conversation
from mxl_sockets._driver_protocol import DriverProtocol, End
from mxl_sockets._hub_client import HubClient
from mxl_sockets._model import as_model
from mxl_sockets.errors import HubProtocolError, ModelError
from mxl_sockets.forces import ForceField
from wireframe import FrameError, TruncatedFrame
from wireframe.ipi import FROM_SERVER, Decoder

if TYPE_CHECKING:
    import socket

    from mxl_sockets._model import Model, ModelFunction
    from mxl_sockets._stop import StopSignal

_log = logging.getLogger(__name__)


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


class Driver(HubClient):
    """Serves one molecule to a hub.

    Parameters
    ----------
    model : Model, callable or ForceField
        An object with ``initialize``, ``stage`` and ``commit``, or a function
        ``field -> amplitude`` or ``field -> (amplitude, extra)``; for forces
        on atoms a `ForceField`.
    address : str or (str, int), optional
        ``"HOST:PORT"``, ``"[::1]:PORT"`` or ``(host, port)``;
        ``127.0.0.1:31415`` if neither this nor `unixsocket` is given.
    unixsocket : str, optional
        Path of a UNIX socket, or a name behind the prefix ``/tmp/socketmxl_``.
    connect_timeout : float
        Seconds to wait for the hub to appear in the beginning.
    reconnect : bool
        Whether to look for the hub again after it vanished without a word.
        ``STOP`` and ``EXIT`` always end the driver. Attempts are spaced by 0.05
        to 1 s, growing until a hub has taken a step's answer and asked for
        another step, so that a hub that refuses each answer is not stormed.
    reconnect_timeout : float
        Seconds to look for it, counted from the loss of a connection on which
        it had said something.
    silence_timeout : float, optional
        Seconds without a message after which to give up. None, the default,
        waits for ever: a solver may think for days. Dead machines are found by
        TCP keepalive within about a minute all the same.
    frame_timeout : float
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
        unixsocket: str | None = None,
        connect_timeout: float = 600.0,
        reconnect: bool = True,
        reconnect_timeout: float = 60.0,
        silence_timeout: float | None = None,
        frame_timeout: float = 60.0,
        max_init: int = 16 << 20,
    ) -> None:
        self._protocol = DriverProtocol(model if isinstance(model, ForceField) else as_model(model))
        target = parse_target(address, unixsocket)
        super().__init__(f"the driver of {target}", target, connect_timeout, reconnect, reconnect_timeout)
        self._silence_timeout = silence_timeout
        self._frame_timeout = frame_timeout
        self._max_init = max_init

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
        reason = self._serve()
        summary = DriverSummary(reason, self.steps, self._connections, self.molecule_id)
        _log.info("driver of %s ended (%s) after %d steps", self.hub, reason.value, summary.steps)
        return summary

    def __getstate__(self) -> Any:
        raise TypeError("a Driver cannot be pickled: pickle its model and make a new Driver")

    def _converse(self, sock: socket.socket, stop: StopSignal) -> tuple[End, bool]:
        """Serve one connection; return why it ended and whether the hub has said anything."""
        protocol = self._protocol
        protocol.begin()
        decoder = Decoder(accept=FROM_SERVER, nat=protocol.nat, max_init=self._max_init)
        conversation = Conversation(
            sock,
            decoder,
            protocol,
            is_stopped=self._is_stopped,
            silence_timeout=self._silence_timeout,
            frame_timeout=self._frame_timeout,
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
        return reason, conversation.messages > 0
