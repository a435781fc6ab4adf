"""Confirmed round trips of programs that block, in a process of its own.

Started by the bench, never imported::

    python blocking_subject.py (echo | ours | bare) (udp | tcp) PORT

``echo`` sends back what comes until its input ends; it is the other end of the
others, which make round trips as `echo_subject` does.

======== ======================================================
``ours`` `echo_rig.sync.Endpoint.confirmed_send`
``bare`` ``send`` and ``recv`` of a socket, without any timeout
======== ======================================================
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import orders

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL: Final = "127.0.0.1"
EXPINFO: Final = 64
RUNNING: Final = 20
MAX_SIZE: Final = 65_535


def echo(transport: str, port: int) -> None:
    """Send back what comes to a port, of one other end."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        here.bind((LOCAL, port))
        if transport == "tcp":
            here.listen()
        orders.say(ready=True)
        threading.Thread(target=_send_back, args=(here, transport), daemon=True).start()
        sys.stdin.read()


def _send_back(here: socket.socket, transport: str) -> None:
    if transport == "udp":
        while True:
            data, sender = here.recvfrom(MAX_SIZE)
            here.sendto(data, sender)
    stream, _ = here.accept()
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := stream.recv(MAX_SIZE):
        stream.sendall(data)


def connect(kind: str, transport: str, port: int) -> Callable[[int], object]:
    """Return what makes a round trip with the message of a number."""
    if kind == "ours":
        from echo_rig import sync

        confirmed_send = sync.connect(f"{transport}://{LOCAL}:{port}").confirmed_send
        return lambda number: confirmed_send([EXPINFO, RUNNING, number])
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    here.connect((LOCAL, port))
    if transport == "tcp":
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(number: int) -> None:
        here.send(b"[%d, %d, %d]" % (EXPINFO, RUNNING, number))
        here.recv(MAX_SIZE)

    return send


def main() -> None:
    """Open one end, say so, follow the orders of the bench."""
    kind, transport = sys.argv[1:3]
    port = int(sys.argv[3])
    if kind == "echo":
        echo(transport, port)
        return
    send = connect(kind, transport, port)
    done = 0

    def run(steps: int) -> tuple[int, float, float]:
        nonlocal done
        taken = []
        busy = time.process_time()
        for number in range(done, done + steps):
            begin = time.perf_counter()
            send(number)
            taken.append(time.perf_counter() - begin)
        done += steps
        return steps, steps * statistics.median(taken), time.process_time() - busy

    orders.say(ready=True)
    orders.follow(run)


if __name__ == "__main__":
    main()
