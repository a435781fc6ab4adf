"""What one bridge connection owes us, without its socket.

A bridge speaks only when spoken to, but for its hello, and a result carries no
number. So we know at every moment what may come: anything else costs the
bridge its connection.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import numpy as np

from mxl_sockets.errors import UnexpectedMessage
from wireframe import NEED_DATA, aggregate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer


class LinkPhase(enum.Enum):
    """What a bridge is doing, as far as we told it; the value completes "a bridge that ..."."""

    NEW = "has not said its group"
    PARKED = "waits until its group is wanted"
    STARTING = "was sent its molecules"
    READY = "was asked nothing"
    ASKED = "was sent a step"
    STOPPING = "was told to stop"
    GONE = "is gone"


_LEGAL: Final = {
    LinkPhase.NEW: frozenset({aggregate.AGGHELLO}),
    LinkPhase.STARTING: frozenset({aggregate.AGGREADY}),
    LinkPhase.ASKED: frozenset({aggregate.AGGRESULT}),
    # Whatever it owed before STOP may still be on its way.
    LinkPhase.STOPPING: aggregate.FROM_BRIDGE,
}
_NOTHING: Final = frozenset[bytes]()


def take_column(data: bytes, first: int, stride: int, count: int) -> bytes:
    """Take a column of int32 out of records, as `wireframe.aggregate.Decoder` wants it."""
    return np.ndarray((count,), np.int32, data, first, (stride,)).tobytes() if count else b""


class BridgeLink:
    """One bridge connection: its phase, its group and its undecoded bytes.

    Parameters
    ----------
    peer : str
        Name for logs and errors.
    max_extras : int
        Most bytes of extras in one result.
    """

    __slots__ = ("_phase", "decoder", "group_id", "peer")

    def __init__(self, peer: str, *, max_extras: int) -> None:
        self.peer = peer
        self.group_id: str | None = None
        self.decoder = aggregate.Decoder(max_extras=max_extras, column=take_column)
        self.phase = LinkPhase.NEW

    @property
    def phase(self) -> LinkPhase:
        """What it is doing; the decoder takes what is legal then."""
        return self._phase

    @phase.setter
    def phase(self, phase: LinkPhase) -> None:
        self._phase = phase
        self.decoder.accept = _LEGAL.get(phase, _NOTHING)

    @property
    def gone(self) -> bool:
        """Whether its connection was dropped."""
        return self._phase is LinkPhase.GONE

    def expect_end(self) -> None:
        """Note that it was told to stop: it may leave now."""
        self.phase = LinkPhase.STOPPING

    def expect_answers(self, count: int) -> None:
        """Note that it is sent a step of so many molecules."""
        self.decoder.max_records = count
        self.phase = LinkPhase.ASKED

    def receive(self, data: Buffer) -> Iterator[aggregate.Event]:
        """Yield the messages that are complete with `data`.

        The caller handles each message, and so moves the phase, before it
        takes the next.

        Raises
        ------
        wireframe.FrameError
            The bytes are illegal or come at a moment when nothing is due.
        """
        decoder = self.decoder
        decoder.feed(data)
        # Whoever was dropped for a message has sent what is behind it to nobody.
        while decoder.buffered and self._phase is not LinkPhase.GONE:
            if self._phase not in _LEGAL:
                raise UnexpectedMessage(f"bridge sent bytes although it {self._phase.value}")
            event = decoder.next_event()
            if event is NEED_DATA:
                return
            yield event
