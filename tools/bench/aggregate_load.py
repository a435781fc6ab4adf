"""The load of the aggregated hubs: one process that plays all bridges.

Started by the bench, never imported::

    python aggregate_load.py HOST:PORT BRIDGES

Bridge k says that it is group ``bench-k``, answers AGGINIT by AGGREADY at once,
and every AGGSTEP by an AGGRESULT for the molecules of the step, always with the
same amplitudes and without extras, made once and kept. It has no drivers. STOP
is answered by BYE. It is one tight loop, the same for every hub, so that
differences are the hubs'.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from typing import Final

import numpy as np

HEADER_SIZE: Final = 12
CONNECT_TIMEOUT_S: Final = 30.0
READ_SIZE: Final = 1 << 20


def header(name: bytes) -> bytes:
    """Return a padded header."""
    return name.ljust(HEADER_SIZE)


def connect(address: str, group: str) -> socket.socket:
    """Connect, for which the hub may need a moment, and say hello."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            connection = socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    text = json.dumps({"group_id": group, "version": 1}, separators=(",", ":"), sort_keys=True).encode()
    connection.sendall(header(b"AGGHELLO") + struct.pack("<i", len(text)) + text)
    return connection


class Bridge:
    """One connection and its answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._frame = bytearray(READ_SIZE)
        self._records = b""
        self._result = b""

    def _read(self, begin: int, end: int) -> bool:
        """Fill the frame from `begin` to `end`; False if the hub has closed."""
        if end > len(self._frame):
            self._frame.extend(bytes(end - len(self._frame)))
        with memoryview(self._frame) as view:
            while begin < end:
                got = self.connection.recv_into(view[begin:end])
                if not got:
                    return False
                begin += got
        return True

    def serve(self) -> bool:
        """Answer one message; return False when the hub has said STOP or closed."""
        if not self._read(0, HEADER_SIZE):
            return False
        name = bytes(self._frame[:HEADER_SIZE]).rstrip()
        if name == b"AGGINIT":
            if not self._read(12, 16):
                return False
            size = int(struct.unpack_from("<i", self._frame, 12)[0])
            if not self._read(16, 16 + size):
                return False
            self.connection.sendall(header(b"AGGREADY"))
            return True
        if name == b"AGGSTEP":
            if not self._read(12, 20):
                return False
            requests, fields = struct.unpack_from("<ii", self._frame, 12)
            begin = 20 + 24 * fields
            if not self._read(20, begin + 8 * requests):
                return False
            records = bytes(self._frame[begin : begin + 8 * requests])
            self.connection.sendall(self._answer(records, requests))
            return True
        if name == b"STOP":
            self.connection.sendall(header(b"BYE"))
        return False

    def _answer(self, records: bytes, count: int) -> bytes:
        """Return the result for these records; the same as before if they are."""
        if records != self._records:
            answers = np.zeros(count, [("id", "<i4"), ("amplitude", "<f8", 3), ("extra", "<i4")])
            answers["id"] = np.frombuffer(records, "<i4")[0::2]
            answers["amplitude"][:, 2] = 1e-3
            self._records = records
            self._result = header(b"AGGRESULT") + struct.pack("<i", count) + answers.tobytes()
        return self._result


def main() -> None:
    """Connect, say so, serve until all hubs have ended."""
    address, count = sys.argv[1], int(sys.argv[2])
    bridges = {}
    for number in range(count):
        connection = connect(address, f"bench-{number}")
        bridges[connection.fileno()] = Bridge(connection)
    print("connected", flush=True)
    epoll = select.epoll()
    for descriptor in bridges:
        epoll.register(descriptor, select.EPOLLIN)
    while bridges:
        for descriptor, _ in epoll.poll():
            try:
                living = bridges[descriptor].serve()
            except OSError:
                living = False
            if not living:
                epoll.unregister(descriptor)
                bridges.pop(descriptor).connection.close()
    epoll.close()


if __name__ == "__main__":
    main()
