"""One driver's socket: what arrived goes to `Client`, what must go out waits here.

Nothing waits for a socket here but a read that is told to. Where the system
can do that per call, the socket is left in blocking mode with a short limit on
its reads, and every other call says `NO_WAIT`; elsewhere no call waits. To let
the read of the next reply wait is cheaper than to ask who is ready and read
then: by 0.4 of 3.9 us per reply over UNIX sockets, of 6.4 over TCP.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from mxl_sockets._client import Client
from mxl_sockets._quick_ack import acknowledger

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Flag of a call that must not wait; 0 where sockets do not wait anyway.
NO_WAIT: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)

#: Microseconds that a read without the flag waits at most. The system rounds
#: up to its own clock, whose slowest ticks are of 10 ms.
READ_WAIT_US: Final = 4000


class Connection(Client):
    """A socket with its undelivered output.

    Parameters
    ----------
    sock : socket.socket
        Connected; owned from here on.
    peer, since, endpoint, max_extra
        As for `Client`.

    Attributes
    ----------
    send_now : callable
        ``send`` of the socket, to be called with `NO_WAIT`.
    receive_into : callable
        ``recv_into`` of the socket: ``receive_into(buffer, 0, NO_WAIT)``, or
        ``receive_into(buffer)``, which may wait for `READ_WAIT_US`.
    acknowledge : callable or None
        To be called after a part of a message was read.
    """

    __slots__ = ("acknowledge", "descriptor", "outgoing", "receive_into", "send_now", "sock")

    def __init__(
        self, sock: socket.socket, peer: str, since: float, *, endpoint: int | None = None, max_extra: int
    ) -> None:
        super().__init__(peer, since, endpoint=endpoint, max_extra=max_extra)
        sock.setblocking(_limit_reads(sock))
        self.sock = sock
        self.acknowledge = acknowledger(sock)
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
                sent = self.send_now(data, NO_WAIT)
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
            return self.sock.recv(1, socket.MSG_PEEK | NO_WAIT)
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
            sent = self.send_now(self.outgoing, NO_WAIT)
        except BlockingIOError:
            return
        del self.outgoing[:sent]


def _limit_reads(sock: socket.socket) -> bool:
    """Bound the reads of a socket in blocking mode; whether that is possible here."""
    if not NO_WAIT:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, READ_WAIT_US))
    except OSError:
        return False
    return True
