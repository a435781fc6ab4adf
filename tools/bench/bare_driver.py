"""The floor of a driver: a bare socket that looks at each header and sends prepared bytes.

Started by the bench, never imported::

    python bare_driver.py PORT

Whatever the server's way through the states is (ours sends positions and
``GETFORCE`` together, ASE's asks for the ``STATUS`` in between, i-PI's after
each step), it is followed; nothing is unpacked but the numbers of atoms and
bytes, and the forces are the same every time. It ends with its server.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import Final

import orders

from wireframe import ipi

#: Seconds, longer than others take their turns.
PATIENCE_S: Final = 600.0
HEADER: Final = ipi.HEADER_LENGTH
CELLS: Final = 144
_COUNT: Final = struct.Struct("<i")
_INIT: Final = struct.Struct("<ii")


def serve(sock: socket.socket) -> None:
    """Answer until the server ends it.

    Raises
    ------
    EOFError
        It has closed the connection.
    """
    headers = {
        name: ipi.encode_header(name)
        for name in (ipi.STATUS, ipi.INIT, ipi.POSDATA, ipi.GETFORCE, ipi.READY, ipi.HAVEDATA, ipi.EXIT)
    }
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    unread = b""

    def read(size: int) -> bytes:
        nonlocal unread
        while len(unread) < size:
            piece = sock.recv(4096)
            if not piece:
                raise EOFError
            # ASE writes in pieces and waits for this after each.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            unread += piece
        data, unread = unread[:size], unread[size:]
        return data

    state, reply, atoms = headers[ipi.READY], b"", -1
    while True:
        header = read(HEADER)
        if header == headers[ipi.STATUS]:
            sock.sendall(state)
        elif header == headers[ipi.POSDATA]:
            (count,) = _COUNT.unpack_from(read(CELLS + 4), CELLS)
            read(24 * count)
            if count != atoms:
                atoms, reply = count, ipi.encode_forceready(bytes(24 * count), extra=b"\0")
            state = headers[ipi.HAVEDATA]
        elif header == headers[ipi.GETFORCE]:
            sock.sendall(reply)
            state = headers[ipi.READY]
        elif header == headers[ipi.INIT]:
            read(_INIT.unpack(read(8))[1])
        else:
            raise EOFError  # EXIT, or BYE


def main() -> None:
    """Be a driver until the end."""
    orders.say(ready=True)
    with (
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), PATIENCE_S) as sock,
        contextlib.suppress(EOFError, ConnectionError),
    ):
        serve(sock)


if __name__ == "__main__":
    main()
