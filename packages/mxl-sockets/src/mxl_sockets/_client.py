"""What one driver connection owes us, without its socket.

A driver speaks only when spoken to, and a reply carries no number. So the one
thing that keeps replies and requests together is to know at every moment what
may come: anything else costs the driver its connection.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from mxl_sockets.errors import UnexpectedMessage
from wireframe import NEED_DATA, ipi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer


class Phase(enum.Enum):
    """What a driver is doing, as far as we told it; the value completes "a driver that ..."."""

    WAITING = "waits for a molecule"
    CHECKING = "was asked for its status before INIT"
    CONFIRMING = "was sent INIT and asked for its status"
    #: The hub also leaves drivers here whose whole reply it awaits; it asks the barrier then.
    IDLE = "is bound and was asked nothing"
    STAGING = "was sent a field and asked for its status"
    STAGED = "has staged a step"
    ASKED = "was asked for its amplitude"
    STOPPING = "was told to stop"
    GONE = "is gone"


_LEGAL: Final = {
    Phase.CHECKING: (ipi.READY, ipi.NEEDINIT),
    Phase.CONFIRMING: (ipi.READY,),
    Phase.STAGING: (ipi.HAVEDATA,),
    Phase.ASKED: (ipi.FORCEREADY,),
    # Whatever it owed before STOP may still be on its way.
    Phase.STOPPING: (ipi.READY, ipi.NEEDINIT, ipi.HAVEDATA, ipi.FORCEREADY, ipi.BYE),
}


class Client:
    """One driver connection: its phase and its undecoded bytes.

    Parameters
    ----------
    peer : str
        Name for logs and errors.
    since : float
        When it connected, seconds, monotonic.
    endpoint : int, optional
        The molecule whose own endpoint it connected to.
    max_extra : int
        Largest extra it may send, bytes.
    """

    __slots__ = (
        "decoder",
        "endpoint",
        "initialized",
        "max_extra",
        "molecule_id",
        "nat",
        "partial",
        "peer",
        "phase",
        "since",
        "slot",
        "wants_init",
    )

    def __init__(self, peer: str, since: float, *, endpoint: int | None = None, max_extra: int) -> None:
        self.peer = peer
        self.since = since
        self.endpoint = endpoint
        self.max_extra = max_extra
        self.phase = Phase.WAITING
        self.molecule_id: int | None = None
        self.initialized = False
        #: False for a driver that said READY before any INIT (ASE's client,
        #: which takes an unasked INIT as a fatal error, and STOP too).
        self.wants_init = True
        #: Position in the frozen step, valid in STAGING, STAGED and ASKED.
        self.slot = -1
        #: Whether the decoder holds an unfinished message.
        self.partial = False
        #: How many atoms it was asked for; None before. It can serve no other number.
        self.nat: int | None = None
        self.decoder = ipi.Decoder(accept=ipi.FROM_DRIVER, nat=1, max_extra=max_extra)

    def expect_atoms(self, nat: int) -> None:
        """Accept replies for so many atoms only; nothing is owed at the moment."""
        if nat != (self.nat or 1):
            self.decoder = ipi.Decoder(accept=ipi.FROM_DRIVER, nat=nat, max_nat=nat, max_extra=self.max_extra)
        self.nat = nat

    @property
    def gone(self) -> bool:
        """Whether its connection was dropped."""
        return self.phase is Phase.GONE

    def expect_end(self) -> None:
        """Note that it was told to stop: it may leave now."""
        self.phase = Phase.STOPPING

    @property
    def owes_answer(self) -> bool:
        """Whether it was asked something, as far as its phase tells."""
        return self.phase in _LEGAL and self.phase is not Phase.STOPPING

    def receive(self, data: Buffer) -> Iterator[ipi.Event]:
        """Yield the messages that are complete with `data`, each checked against the phase.

        The caller handles each message, and so moves the phase, before it
        takes the next.

        Raises
        ------
        wireframe.FrameError
            The bytes are illegal or come at a moment when nothing is due.
        """
        decoder = self.decoder
        decoder.feed(data)
        while (event := decoder.next_event()) is not NEED_DATA:
            self.admit(event)
            yield event
        self.partial = decoder.buffered > 0
        # Do not wait for the rest of what is not due in the first place.
        if self.partial and self.phase not in _LEGAL:
            raise UnexpectedMessage(f"driver sent bytes although it {self.phase.value}")

    def admit(self, event: ipi.Event) -> None:
        """Raise `UnexpectedMessage` unless this message is due."""
        name = event if isinstance(event, bytes) else ipi.FORCEREADY
        if name not in _LEGAL.get(self.phase, ()):
            raise UnexpectedMessage(f"driver sent {name.decode()} although it {self.phase.value}", name)
