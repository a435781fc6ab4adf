"""One bridge's socket: what arrived goes to `BridgeLink`, what must go out waits here."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mxl_sockets._aggregate_link import BridgeLink

if TYPE_CHECKING:
    import socket


class BridgeConnection(BridgeLink):
    """A non-blocking socket with its undelivered output.

    Parameters
    ----------
    sock : socket.socket
        Connected; made non-blocking and owned from here on.
    peer, max_extras
        As for `BridgeLink`.
    """

    __slots__ = ("descriptor", "outgoing", "sock")

    def __init__(self, sock: socket.socket, peer: str, *, max_extras: int) -> None:
        super().__init__(peer, max_extras=max_extras)
        sock.setblocking(False)
        self.sock = sock
        self.descriptor = sock.fileno()
        #: What the peer has not taken yet, not copied. It holds at most an AGGINIT,
        #: a step and STOP: nothing more is sent before the peer has answered.
        self.outgoing: deque[memoryview] = deque()

    def send(self, data: bytes | memoryview) -> None:
        """Send what the peer takes now and keep the rest in order; `data` must not change meanwhile.

        Raises
        ------
        OSError
            The connection is broken.
        """
        self.outgoing.append(memoryview(data))
        if len(self.outgoing) == 1:
            self.flush()

    def flush(self) -> None:
        """Send more of what was kept.

        Raises
        ------
        OSError
            The connection is broken.
        """
        outgoing = self.outgoing
        while outgoing:
            try:
                sent = self.sock.send(outgoing[0])
            except BlockingIOError:
                return
            if sent < len(outgoing[0]):
                outgoing[0] = outgoing[0][sent:]
            else:
                outgoing.popleft()
