"""One driver's socket: what arrived goes to `Client`, what must go out waits here."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from mxl_sockets._client import Client

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Connection(Client):
    """A non-blocking socket with its undelivered output.

    Parameters
    ----------
    sock : socket.socket
        Connected; made non-blocking and owned from here on.
    peer, since, endpoint, max_extra
        As for `Client`.
    """

    __slots__ = ("descriptor", "outgoing", "receive_into", "send_now", "sock")

    def __init__(
        self, sock: socket.socket, peer: str, since: float, *, endpoint: int | None = None, max_extra: int
    ) -> None:
        super().__init__(peer, since, endpoint=endpoint, max_extra=max_extra)
        sock.setblocking(False)
        self.sock = sock
        self.descriptor = sock.fileno()
        #: Bytes that the peer has not taken yet. It holds at most an INIT and
        #: one request: nothing more is sent before the peer has answered.
        self.outgoing = bytearray()
        # Bound once: they are called for every molecule in every step.
        self.send_now = sock.send
        self.receive_into = sock.recv_into

    def send(self, data: Buffer) -> None:
        """Send what the peer takes now and keep the rest in order.

        Raises
        ------
        OSError
            The connection is broken.
        """
        if not self.outgoing:
            try:
                sent = self.send_now(data)
            except BlockingIOError:
                sent = 0
            data = memoryview(data)[sent:]
        self.outgoing += data

    def peek(self) -> bytes | None:
        """Return the next byte without taking it: ``b""`` at the end, None if nothing has come.

        Raises
        ------
        OSError
            The connection is broken.
        """
        try:
            return self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def flush(self) -> None:
        """Send more of what was kept.

        Raises
        ------
        OSError
            The connection is broken.
        """
        try:
            sent = self.send_now(self.outgoing)
        except BlockingIOError:
            return
        del self.outgoing[:sent]
