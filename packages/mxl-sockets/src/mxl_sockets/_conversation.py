"""One connection of a driver: bytes between a socket and the protocol.

The socket is used with a short timeout, so that the limits are looked at even
while nothing arrives; each limit counts from a moment, never from one read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from mxl_sockets._driver_protocol import End
from mxl_sockets._quick_ack import acknowledger
from wireframe import NEED_DATA, ipi

if TYPE_CHECKING:
    from collections.abc import Callable

    from mxl_sockets._driver_protocol import DriverProtocol
    from wireframe.ipi import Decoder

#: Bytes per read: a request is 196, so this is for large INIT texts.
READ_SIZE: Final = 1 << 16
#: Bytes. A rest of a message up to this, such as ASE's matrices and the atom
#: count behind them, is read in one call, however many pieces it comes in.
#: Linux waits for all of them, and acknowledges small pieces by itself as soon
#: as we have done so for what came before.
SHORT: Final = ipi.REQUEST_FIELD_OFFSET if sys.platform == "linux" else 0
_WHOLE: Final[int] = getattr(socket, "MSG_WAITALL", 0)
#: Seconds between looks at the limits while nothing arrives.
TICK_S: Final = 1.0
#: Seconds to wait for the hub to close after BYE. Closing at once while EXIT
#: is still on its way would reset the connection and could destroy the BYE.
LINGER_S: Final = 0.5


class Conversation:
    """Serves one connection until it ends; belongs to one thread.

    Parameters
    ----------
    sock : socket.socket
        Connected. It is not closed here.
    decoder : wireframe.ipi.Decoder
        For what the hub sends.
    protocol : DriverProtocol
        What to do about it.
    is_stopped : callable
        Whether to end after the message at hand; looked at after each, and
        when reading ends.
    silence_timeout : float or None
        Seconds without a message after which to give up.
    frame_timeout : float
        Seconds for the rest of a message, and for the hub to take an answer.

    Attributes
    ----------
    messages : int
        Messages received so far.
    """

    def __init__(
        self,
        sock: socket.socket,
        decoder: Decoder,
        protocol: DriverProtocol,
        *,
        is_stopped: Callable[[], bool],
        silence_timeout: float | None,
        frame_timeout: float,
    ) -> None:
        self.messages = 0
        self._sock = sock
        self._acknowledge = acknowledger(sock)
        self._decoder = decoder
        self._protocol = protocol
        self._is_stopped = is_stopped
        self._silence_timeout = silence_timeout
        self._frame_timeout = frame_timeout
        self._last_message = time.monotonic()
        self._begun: float | None = None
        limits = (TICK_S, frame_timeout, TICK_S if silence_timeout is None else silence_timeout)
        # Zero would mean no wait at all, or one without end, which is something else.
        _bound_waits(sock, max(min(limits), 0.001))

    def run(self) -> End:
        """Serve until the end.

        Returns
        -------
        End
            Why; `End.LOST` when the hub closed between two messages.

        Raises
        ------
        OSError
            The connection broke, or a limit on a message was passed (`TimeoutError`).
        wireframe.FrameError
            The hub sent something illegal, or closed inside a message (`TruncatedFrame`).
        ModelError
            The model failed.
        """
        decoder, receive = self._decoder, self._sock.recv
        while not self._is_stopped():
            try:
                rest = READ_SIZE if self._begun is None else decoder.needed
                short = rest <= SHORT
                data = receive(rest, _WHOLE) if short else receive(READ_SIZE)
            except (TimeoutError, BlockingIOError):
                if self._is_idle():
                    return End.IDLE
                continue
            if not data:
                if self._is_stopped():
                    break
                decoder.feed_eof()
                decoder.next_event()  # raises if this was inside a message
                return End.LOST
            decoder.feed(data)
            end = self._answer_all(acknowledged=short)
            if end is not None:
                return end
            if self._begun is not None and self._is_idle():  # a trickle of bytes is no message
                return End.IDLE
        return End.STOPPED

    def _answer_all(self, *, acknowledged: bool) -> End | None:
        """Answer what has come; return the end, if this is it."""
        decoder = self._decoder
        while (event := decoder.next_event()) is not NEED_DATA:
            self.messages += 1
            answer = self._protocol.receive(event)
            if answer.end is not None:
                self._say_goodbye(answer.message)
                return answer.end
            if answer.message:
                self._send(answer.message)
                acknowledged = True  # by the answer
            self._begun = None
            self._last_message = time.monotonic()
            if self._is_stopped():
                return End.STOPPED
        if self._begun is None and decoder.buffered:
            self._begun = time.monotonic()
            acknowledged = False  # an answer makes the system wait again before it acknowledges the rest
        if self._acknowledge is not None and not acknowledged:
            self._acknowledge()
        return None

    def _is_idle(self) -> bool:
        """Whether the hub was silent for too long; raises if it was so inside a message."""
        now = time.monotonic()
        if self._begun is not None and now - self._begun >= self._frame_timeout:
            raise TimeoutError(f"a message was not complete after {self._frame_timeout} s")
        return self._silence_timeout is not None and now - self._last_message >= self._silence_timeout

    def _send(self, message: bytes) -> None:
        """Send in one piece if the hub takes it so; give up after a while if it takes nothing."""
        rest: bytes | memoryview = message
        deadline = time.monotonic() + self._frame_timeout
        while True:
            try:
                sent = self._sock.send(rest)
            except (TimeoutError, BlockingIOError):
                sent = 0
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]
            if self._is_stopped():
                raise ConnectionAbortedError("stopped while the hub was not reading")
            if time.monotonic() >= deadline:
                raise TimeoutError(f"the hub did not take an answer within {self._frame_timeout} s")

    def _say_goodbye(self, message: bytes) -> None:
        """Send the last message, if any, and give the hub a moment to read it."""
        if not message:
            return
        with contextlib.suppress(OSError):  # it may have closed already: it is the end either way
            self._send(message)
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(LINGER_S)
            deadline = time.monotonic() + LINGER_S
            while self._sock.recv(READ_SIZE) and time.monotonic() < deadline:
                pass


def _bound_waits(sock: socket.socket, limit_s: float) -> None:
    """Let reads and writes wait so long at most.

    By the system itself, where it can: Python's own timeouts ask it twice for each.
    """
    sock.settimeout(limit_s)
    if sys.platform != "linux":
        return
    whole = int(limit_s)
    limit = struct.pack("@ll", whole, int(1e6 * (limit_s - whole)))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, limit)
    sock.setblocking(True)
