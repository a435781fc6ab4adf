"""The load: one process that plays N drivers.

Started by the bench, never imported::

    python reply_load.py (HOST:PORT | PATH) CONNECTIONS EXTRA [LIBRARY]

Every connection takes ``INIT``, then answers each combined request of 196
bytes by one reply of 124 bytes and EXTRA more in one write, always the same
bytes. ``STATUS`` is answered, ``STOP`` by ``BYE``. It ends when all
connections have ended. It is one tight epoll loop, the same for every hub, so
that differences are the hubs'. With LIBRARY, which ``epoll_hub.c`` was built
to, that loop is in C.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from typing import Final

from compiled import CompiledLoad
from descriptors import allow_many_descriptors

REQUEST_SIZE: Final = 196
HEADER_SIZE: Final = 12
FIRST_OF_REQUEST: Final = ord("P")
CONNECT_TIMEOUT_S: Final = 30.0


def whole_reply(extra: int) -> bytes:
    """Return a ``FORCEREADY`` with one amplitude and so many bytes of extra."""
    return (
        b"FORCEREADY".ljust(HEADER_SIZE)
        + struct.pack("<di3d9d", 0.0, 1, 0.0, 0.0, 1e-3, *[0.0] * 9)
        + struct.pack("<i", extra)
        + b"x" * extra
    )


def connect(address: str) -> socket.socket:
    """Connect to ``HOST:PORT`` or to a UNIX path, for which the hub may need a moment."""
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        if address.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            target: str | tuple[str, int] = address
        else:
            host, _, port = address.rpartition(":")
            connection = socket.socket(socket.AF_INET)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target = (host, int(port))
        try:
            connection.connect(target)
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            connection.setblocking(False)
            return connection


class Dialogue:
    """What a connection says outside of the tight loop: handshake, pieces, the end."""

    def __init__(self, connection: socket.socket, reply: bytes) -> None:
        self._connection = connection
        self._reply = reply
        self._pending = b""

    def feed(self, data: bytes) -> bool:
        """Answer everything that is whole; return False when the hub said STOP."""
        self._pending += data
        while len(self._pending) >= HEADER_SIZE:
            header = self._pending[:HEADER_SIZE].rstrip()
            size = HEADER_SIZE
            if header == b"POSDATA":
                size = REQUEST_SIZE
            elif header == b"INIT":
                if len(self._pending) < HEADER_SIZE + 8:
                    break
                size += 8 + int(struct.unpack_from("<i", self._pending, HEADER_SIZE + 4)[0])
            if len(self._pending) < size:
                break
            self._pending = self._pending[size:]
            if header == b"POSDATA":
                self._connection.send(self._reply)
            elif header == b"STATUS":
                self._connection.send(b"READY".ljust(HEADER_SIZE))
            elif header == b"STOP":
                self._connection.send(b"BYE".ljust(HEADER_SIZE))
                return False
            elif header != b"INIT":
                message = f"the hub sent {header!r}"
                raise ValueError(message)
        return True

    @property
    def idle(self) -> bool:
        """Whether no message has begun."""
        return not self._pending


def serve(connections: list[socket.socket], reply: bytes) -> None:
    """Answer until all connections have ended."""
    buffer = bytearray(65536)
    view = memoryview(buffer)
    epoll = select.epoll()
    by_number = {
        connection.fileno(): (connection.recv_into, connection.send, Dialogue(connection, reply), connection)
        for connection in connections
    }
    for number in by_number:
        epoll.register(number, select.EPOLLIN)
    poll = epoll.poll
    while by_number:
        for number, _ in poll():
            receive, send, dialogue, connection = by_number[number]
            try:
                got = receive(view)
                # The one case that is measured: a whole request, and nothing begun before it.
                if got == REQUEST_SIZE and buffer[0] == FIRST_OF_REQUEST and dialogue.idle:
                    send(reply)
                    continue
                living = got > 0 and dialogue.feed(bytes(view[:got]))
            except OSError:
                living = False
            if not living:
                epoll.unregister(number)
                del by_number[number]
                connection.close()
    epoll.close()


def serve_compiled(library: str, connections: list[socket.socket], reply: bytes) -> None:
    """Answer until all connections have ended; whole requests in C."""
    load = CompiledLoad(library, connections, reply)
    dialogues = [Dialogue(connection, reply) for connection in connections]
    living = len(connections)
    while living:
        index, data = load.serve()
        try:
            lives = bool(data) and dialogues[index].feed(data)
        except OSError:
            lives = False
        if not lives:
            connections[index].close()  # which ends watching it
            living -= 1
    load.close()


def main() -> None:
    """Connect, say so, serve."""
    address, count, extra = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    library = "".join(sys.argv[4:])
    allow_many_descriptors(count + 64)
    connections = [connect(address) for _ in range(count)]
    print("connected", flush=True)
    if library:
        serve_compiled(library, connections, whole_reply(extra))
    else:
        serve(connections, whole_reply(extra))


if __name__ == "__main__":
    main()
