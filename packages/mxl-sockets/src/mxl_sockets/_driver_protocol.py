"""The driver's half of the protocol, without I/O: a message in, an answer out.

====================  =========  ================================  ==========
message               state      what happens                      new state
====================  =========  ================================  ==========
``STATUS``            any        answer the state's name           same
``INIT``              any        initialise, drop a staged step    READY
``POSDATA``           NEEDINIT   error: no molecule yet            --
``POSDATA``           other      stage, replacing a staged step    HAVEDATA
``GETFORCE``          HAVEDATA   commit, answer ``FORCEREADY``     READY
``GETFORCE``          other      answer zeros and the last extra   same
``GETFORCE``          other      error, if it is a force field     --
``STOP``              any        answer ``BYE``, end               --
``EXIT``              any        end                               --
====================  =========  ================================  ==========

The states' names are what they are on the wire. ``GETFORCE`` with nothing
staged follows MaxwellLink's driver (0.5.0), which answers rather than leaving
the hub waiting; nothing is committed for it. Zeros in place of forces on atoms
would pass for forces, so a force field refuses.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from mxl_sockets._arrays import vectors_of
from mxl_sockets._force_wire import encode_force_reply, read_cell
from mxl_sockets._model import Model, Parameters, call_model, encode_amplitude, encode_extra, split_result
from mxl_sockets.forces import ForceField
from wireframe import BadHeader, BadPayload
from wireframe.ipi import (
    BYE,
    EXIT,
    GETFORCE,
    HAVEDATA,
    NEEDINIT,
    READY,
    STATUS,
    STOP,
    Event,
    Init,
    PosData,
    encode_forceready,
    encode_header,
)

_BATCH: Final = re.compile(rb"batch_size\s*:\s*(\d+)")


class End(enum.Enum):
    """Why a driver ended.

    Attributes
    ----------
    STOP, EXIT
        The hub said so (MaxwellLink's and i-PI's way).
    STOPPED
        `Driver.stop` was called.
    LOST
        The hub went away and did not come back in time.
    IDLE
        The hub said nothing for the driver's ``silence_timeout``.
    """

    STOP = "stop"
    EXIT = "exit"
    STOPPED = "stopped"
    LOST = "lost"
    IDLE = "idle"


@dataclass(slots=True)
class Answer:
    """What to do after a message.

    Attributes
    ----------
    message : bytes
        To be sent in one piece; may be empty.
    end : End or None
        Not None when the conversation is over.
    """

    message: bytes = b""
    end: End | None = None


_SILENCE: Final = Answer()
_STATES: Final = {name: Answer(encode_header(name)) for name in (NEEDINIT, READY, HAVEDATA)}


class DriverProtocol:
    """The conversations with a hub, one after the other.

    It calls the model and nothing else: no socket, clock or log.

    Parameters
    ----------
    model : Model or ForceField
        The molecule.

    Attributes
    ----------
    state : bytes
        ``NEEDINIT``, ``READY`` or ``HAVEDATA``.
    molecule_id : int or None
        From the last ``INIT``.
    nat : int or None
        The only atom count that is accepted; None for any.
    steps : int
        Steps committed so far, over all connections.
    """

    __slots__ = ("_atoms", "_extra", "_model", "_nat", "molecule_id", "nat", "state", "steps")

    def __init__(self, model: Model | ForceField) -> None:
        self._model = model
        self._nat: int | None = getattr(model, "nat", None)
        self.nat = 1 if self._nat is None and not isinstance(model, ForceField) else self._nat
        self._extra = b""
        #: How many atoms a force field was given last.
        self._atoms = 0
        self.state = NEEDINIT
        self.molecule_id: int | None = None
        self.steps = 0

    def begin(self) -> None:
        """Start a conversation on a new connection: the hub must send ``INIT`` again."""
        self.state = NEEDINIT
        self._extra = b""

    def receive(self, event: Event) -> Answer:
        """Take one message of the hub.

        Parameters
        ----------
        event : wireframe.ipi.Event
            A decoded message.

        Returns
        -------
        Answer
            What to send, and whether to end.

        Raises
        ------
        wireframe.FrameError
            The hub may not send this, or not now.
        ModelError
            The model raised, or returned what cannot be sent.
        """
        if isinstance(event, PosData):
            return self._stage(event)
        if event == GETFORCE:
            return self._commit()
        if event == STATUS:
            return _STATES[self.state]
        if isinstance(event, Init):
            return self._initialize(event)
        if event == STOP:
            return Answer(encode_header(BYE), End.STOP)
        if event == EXIT:
            return Answer(b"", End.EXIT)
        raise BadHeader(f"a hub does not send {event!r}")

    def _initialize(self, message: Init) -> Answer:
        params = Parameters.from_text(message.text)
        batch = None if params else _BATCH.search(message.text)
        if batch is not None and int(batch[1]) != 1:
            raise BadPayload(
                f"INIT asks for batches of {batch[1].decode()}, this driver is one system", message.text
            )
        given = params.get("dt_au", 0.0)
        try:
            dt_au = float(given)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadPayload(f"INIT has dt_au {given!r:.60}, want a number", message.text) from error
        self.begin()  # what it stays at if the model refuses
        call_model("initialize", self._model, self._model.initialize, message.bead, dt_au, params)
        self.molecule_id = message.bead
        self.state = READY
        return _SILENCE

    def _stage(self, message: PosData) -> Answer:
        if self.state == NEEDINIT:
            raise BadHeader("POSDATA before INIT")
        positions = vectors_of(message.positions)
        atoms = len(positions)
        if not atoms or (atoms != self.nat and self.nat is not None):
            raise BadPayload(f"POSDATA has {atoms} atoms, want {self.nat or 'at least one'}")
        model = self._model
        if isinstance(model, ForceField):
            self._atoms = atoms
            call_model("stage", model, model.stage, positions, read_cell(message))
        else:
            field_au = positions[0] if self._nat is None else positions
            call_model("stage", model, model.stage, field_au)
        self.state = HAVEDATA
        return _SILENCE

    def _commit(self) -> Answer:
        model = self._model
        if isinstance(model, ForceField):
            if self.state != HAVEDATA:
                raise BadHeader("GETFORCE before POSDATA")
            message = encode_force_reply(call_model("commit", model, model.commit), self._atoms)
        elif self.state != HAVEDATA:
            return Answer(encode_forceready(bytes(24 * (self._nat or 1)), extra=self._extra))
        else:
            amplitude, extra = split_result(call_model("commit", model, model.commit))
            self._extra = encode_extra(extra)
            message = encode_forceready(encode_amplitude(amplitude, self._nat), extra=self._extra)
        self.state = READY
        self.steps += 1
        return Answer(message)
