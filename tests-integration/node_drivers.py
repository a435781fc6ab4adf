"""The drivers of one node, in one process, with a diary: for the tests that kill bridges.

Started by the tests::

    python node_drivers.py UNIX_PATH CONNECTIONS DIARY

Every connection is a driver that connects again whenever its bridge goes away. Each INIT it gets makes a new
*instance* of a molecule, with a number of its own. A step's field is ``(step, _, _)``; its amplitude
``(step, instance, molecule)``. The diary says for each instance which molecule it was and which steps it has
committed, in order; it is written when every connection was told to stop.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from pathlib import Path

from wireframe import NEED_DATA, ipi

RETRY_S = 0.02
BYE = ipi.encode_header(ipi.BYE)


class Connection:
    """One driver's connection."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(path)
        except BaseException:
            self.sock.close()
            raise
        self.sock.setblocking(False)
        self._decoder = ipi.Decoder(accept=ipi.FROM_SERVER, nat=1)
        self._staged: bytes | None = None
        self._molecule = self._instance = -1
        self.stopped = False

    def serve(self, diary: list[tuple[int, list[int]]]) -> bool:
        """Answer what has come; False at the end of the stream."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        try:
            self._decoder.feed(data)
            while (event := self._decoder.next_event()) is not NEED_DATA:
                self._handle(event, diary)
        except OSError:
            return False
        return not self.stopped

    def _handle(self, event: ipi.Event, diary: list[tuple[int, list[int]]]) -> None:
        if isinstance(event, ipi.Init):
            self._molecule, self._instance, self._staged = event.bead, len(diary), None
            diary.append((event.bead, []))
        elif isinstance(event, ipi.PosData):
            self._staged = event.positions
        elif event == ipi.GETFORCE and self._staged is not None:
            step = struct.unpack_from("<d", self._staged)[0]
            self._staged = None
            diary[self._instance][1].append(int(step))
            self.sock.send(ipi.encode_forceready((step, self._instance, self._molecule)))
        elif event == ipi.STOP:
            self.stopped = True
            self.sock.send(BYE)


def main() -> None:
    """Connect, serve, connect again, until all are told to stop."""
    path, count, target = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    diary: list[tuple[int, list[int]]] = []
    poller = select.epoll()
    connections: dict[int, Connection] = {}
    missing = count
    while missing or connections:
        try:
            while missing:
                made = Connection(path)
                connections[made.sock.fileno()] = made
                poller.register(made.sock.fileno(), select.EPOLLIN)
                missing -= 1
        except (BlockingIOError, ConnectionError, FileNotFoundError):
            time.sleep(RETRY_S)
        for descriptor, _ in poller.poll(RETRY_S if missing else 5.0):
            one = connections[descriptor]
            if not one.serve(diary):
                poller.unregister(descriptor)
                connections.pop(descriptor).sock.close()
                missing += not one.stopped
    poller.close()
    target.write_text(json.dumps(diary), encoding="utf-8")


if __name__ == "__main__":
    main()
