"""One way to send or to receive datagrams, in a process of its own.

Started by the bench, never imported::

    python datagram_subject.py (send | receive) (ours | bare) PORT SIZE

Everything happens in one process and on the loopback interface. Datagrams are
sent some at a time, as many as every receive buffer holds, and then received;
only the half that was asked for is timed. CPU time is that of the thread.

===================== =========================================================
``send ours``         `MulticastSender.send_readout`
``send bare``         ``sendto(readout.to_bytes())``
``receive ours``      `MulticastReceiver.receive`
``receive bare``      ``recvfrom_into``, ``bytes``, ``from_bytes``
===================== =========================================================
"""

from __future__ import annotations

import sys
import time
from itertools import repeat
from typing import TYPE_CHECKING, Final

import orders
from datagram_loops import GROUP, LOCAL, bare_receiver, bare_sender

from udp_multicast import MulticastReceiver, MulticastSender, RawBytes

if TYPE_CHECKING:
    from collections.abc import Callable

#: Datagrams at a time; 20 of 8 KiB still fit into the buffer that systems grant unasked.
SOME: Final = 20


def sender(whose: str, port: int, readout: RawBytes) -> Callable[[], object]:
    """Return what sends some readouts."""
    if whose == "bare":
        sendto, target = bare_sender().sendto, (GROUP, port)

        def send_bare() -> None:
            for _ in repeat(None, SOME):
                sendto(readout.to_bytes(), target)

        return send_bare
    send_readout = MulticastSender(GROUP, port, 0, interface=LOCAL).send_readout

    def send_ours() -> None:
        for _ in repeat(None, SOME):
            send_readout(readout)

    return send_ours


def receiver(whose: str, port: int) -> Callable[[], object]:
    """Return what receives some readouts."""
    if whose == "bare":
        take, buffer = bare_receiver(port).recvfrom_into, memoryview(bytearray(65535))
        from_bytes = RawBytes.from_bytes

        def receive_bare() -> None:
            for _ in repeat(None, SOME):
                size, _sender = take(buffer)
                from_bytes(bytes(buffer[:size]))

        return receive_bare
    receive = MulticastReceiver(RawBytes, GROUP, port, interface=LOCAL).receive

    def receive_ours() -> None:
        for _ in repeat(None, SOME):
            receive()

    return receive_ours


def main() -> None:
    """Open both ends, say so, follow the orders of the bench."""
    what, whose = sys.argv[1:3]
    port, size = map(int, sys.argv[3:5])
    timed_send = what == "send"
    receive = receiver("bare" if timed_send else whose, port)
    send = sender(whose if timed_send else "bare", port, RawBytes(bytes(size)))

    timed = send if timed_send else receive

    def run(steps: int) -> tuple[int, float, float]:
        times = -(-steps // SOME)
        wall = cpu = 0.0
        for _ in range(times):
            if not timed_send:
                send()
            begin, busy = time.perf_counter(), time.thread_time()
            timed()
            cpu += time.thread_time() - busy
            wall += time.perf_counter() - begin
            if timed_send:
                receive()
        return times * SOME, wall, cpu

    orders.say(ready=True)
    orders.follow(run)


if __name__ == "__main__":
    main()
