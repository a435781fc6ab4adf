"""The floor: what moving the bytes of one step costs in Python, and nothing else.

The cheapest honest way to make a step with N connections in pure Python:

* once: one block of N prepared requests (196 bytes each), one block of N
  replies, memory views cut out of both, all connections non-blocking and
  registered with one level-triggered epoll object, bound methods looked up;
* per step: the N fields are written into the block of requests by one strided
  numpy assignment; N times ``send(view)``; then ``epoll.poll``, and for every
  ready connection ``recv_into(view)``, until N replies are whole. A reply in
  two pieces is handled, anything else (short send, end of stream) raises.

It does not look at the replies: no header is checked, no amplitude unpacked,
no dictionary built, and there is no deadline, no registration of molecules
and no recovery. A hub that costs little more than this has little left to save.
"""

from __future__ import annotations

import json
import select
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import socket

    from numpy.typing import NDArray

#: Bytes of the combined request, and where its field vector starts.
REQUEST_SIZE: Final = 196
FIELD_OFFSET: Final = 160

#: Bytes of a reply without extra.
REPLY_SIZE: Final = 124


def prepared_request() -> bytes:
    """Return one combined request with a field of zero."""
    identity = struct.pack("<9d", 1, 0, 0, 0, 1, 0, 0, 0, 1)
    return (
        b"POSDATA".ljust(12)
        + identity
        + identity
        + struct.pack("<i3d", 1, 0.0, 0.0, 0.0)
        + b"GETFORCE".ljust(12)
    )


def init_message(molecule: int) -> bytes:
    """Return the ``INIT`` that makes a driver ready."""
    text = json.dumps({"molecule_id": molecule, "dt_au": 1.0}).encode()
    return b"INIT".ljust(12) + struct.pack("<ii", molecule, len(text)) + text


class BareLoop:
    """Steps over accepted connections; see the module for what it does and does not.

    Parameters
    ----------
    connections : list of socket
        One per molecule; made non-blocking and kept by the caller.
    extra : int
        Bytes of extra that every reply carries.

    Raises
    ------
    OSError
        A connection could not take its ``INIT``.
    """

    def __init__(self, connections: list[socket.socket], extra: int) -> None:
        count = len(connections)
        self._reply_size = REPLY_SIZE + extra
        requests = bytearray(prepared_request() * count)
        self._fields: NDArray[np.float64] = np.ndarray(
            (count, 3), dtype="<f8", buffer=requests, offset=FIELD_OFFSET, strides=(REQUEST_SIZE, 8)
        )
        cut = memoryview(requests)
        self._sends = [
            (connection.send, cut[index * REQUEST_SIZE : (index + 1) * REQUEST_SIZE])
            for index, connection in enumerate(connections)
        ]
        replies = memoryview(bytearray(self._reply_size * count))
        self._receives = {
            connection.fileno(): (
                connection.recv_into,
                replies[index * self._reply_size : (index + 1) * self._reply_size],
            )
            for index, connection in enumerate(connections)
        }
        self._partial: dict[int, int] = {}
        self._epoll = select.epoll()
        for index, connection in enumerate(connections):
            connection.sendall(init_message(index))
            connection.setblocking(False)
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def step(self, fields: NDArray[np.float64]) -> None:
        """Send every field, wait for every reply."""
        self._fields[...] = fields
        for send, request in self._sends:
            if send(request) != REQUEST_SIZE:
                raise BlockingIOError("a request of 196 bytes did not fit into the socket")
        missing = len(self._sends)
        poll, receives, size = self._epoll.poll, self._receives, self._reply_size
        while missing:
            for number, _ in poll():
                receive, reply = receives[number]
                got = receive(reply)
                if got == size or self._is_whole(number, got):
                    missing -= 1

    def _is_whole(self, number: int, got: int) -> bool:
        if not got:
            raise ConnectionError("a driver closed its connection")
        whole = self._partial.pop(number, 0) + got
        # A piece lands at the start of the view: its bytes are counted, not read.
        if whole < self._reply_size:
            self._partial[number] = whole
        return whole >= self._reply_size

    def close(self) -> None:
        """Close the epoll object; the connections are the caller's."""
        self._epoll.close()
