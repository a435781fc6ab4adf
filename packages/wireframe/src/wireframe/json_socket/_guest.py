"""One connection of a server, and what may be decided about it without I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from wireframe._decoder import NEED_DATA
from wireframe.errors import TruncatedFrame
from wireframe.json_socket._errors import cut_short
from wireframe.json_socket._link import Link
from wireframe.lenjson import HEADER_LENGTH

if TYPE_CHECKING:
    import socket

    from wireframe.errors import FrameError
    from wireframe.lenjson import Decoder

#: Bytes. Frames up to this size are read as they come; the longer ones share a
#: budget.
SMALL_FRAME: Final = 64 << 10


class Guest(Link):
    """A connection that a server accepted.

    Attributes
    ----------
    message : Any
        The complete message that nobody took yet, or `NEED_DATA`.
    outgoing : memoryview
        What is left to send of replies.
    since : float
        When the step began that the peer is at, on the clock of the server.
    rest : int
        Bytes in the decoder, which takes two calls to ask.
    served : int
        Messages taken from it.
    share : int
        Bytes of a long frame that arrived, as far as the budget knows.
    held : bool
        Its long frame waits for the budget; it is not read from.
    held_since : float
        Since when, on the same clock, if it is held.
    interest : int
        What it is polled for: READ, WRITE or 0.
    number : int
        Its descriptor.
    """

    __slots__ = (
        "held",
        "held_since",
        "interest",
        "message",
        "number",
        "outgoing",
        "rest",
        "served",
        "share",
        "since",
    )

    def __init__(self, sock: socket.socket, decoder: Decoder, peer: str, now: float) -> None:
        super().__init__(sock, decoder, peer)
        self.message: Any = NEED_DATA
        self.outgoing = memoryview(b"")
        self.since = now
        self.rest = 0
        self.served = 0
        self.share = 0
        self.held = False
        self.held_since = now
        self.interest = 0
        self.number = sock.fileno()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way in either direction."""
        return self.message is NEED_DATA and not self.rest and not self.outgoing

    @property
    def wants_to_read(self) -> bool:
        """Whether its bytes are welcome now; a peer that does not read is not read."""
        return self.message is NEED_DATA and not self.held and not self.outgoing

    @property
    def frame_size(self) -> int:
        """Bytes of the frame under way as far as its header is here, else 0."""
        buffered = self.rest
        return self.decoder.needed + buffered if buffered >= HEADER_LENGTH else 0

    def hold(self, now: float, *, held: bool) -> None:
        """Stop or go on reading from it; its clock stands still in between."""
        if held and not self.held:
            self.held_since = now
        elif self.held and not held:
            self.since += now - self.held_since
        self.held = held

    def explained(self, error: FrameError) -> Exception:
        """Return what an error of the decoder means for the connection."""
        if isinstance(error, TruncatedFrame):
            failure = cut_short(self.peer, error)
            failure.__cause__ = error
            return failure
        error.add_note(f"received from {self.peer}")
        return error

    def due(self, header_timeout: float, frame_timeout: float) -> float:
        """When the peer must have made its next step, on the clock of the server."""
        if self.outgoing:
            return self.since + frame_timeout
        if not self.wants_to_read:
            return math.inf
        buffered = self.rest
        if buffered >= HEADER_LENGTH:
            return self.since + frame_timeout
        if buffered or not self.served:
            return self.since + header_timeout
        return math.inf

    def lateness(self) -> str:
        """Say what the peer has not done in time."""
        if self.outgoing:
            return f"{self.peer} left {len(self.outgoing)} bytes of its reply unread for too long"
        buffered = self.rest
        if buffered:
            return f"{self.peer} sent {buffered} bytes of a frame and then fell silent or was too slow"
        return f"{self.peer} connected and said nothing"
