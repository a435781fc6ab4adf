"""One of two programs that ask and answer, in a process of its own.

Started by the bench, never imported::

    python group_round_trip_subject.py (ours | bare) (answer | ask) PORT SIZE

The one that answers does so until its input ends. A step of the other is a query and
its answer; the wall time told is the median round trip times the number of
steps, the CPU time that of the process. See `group_ends` for the kinds.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

import orders
import zmq
from group_kinds import ends

from group_ports import PortTimeout


def answer(whose: str, port: int) -> None:
    """Answer queries until the end of the input."""

    def serve() -> None:
        receive_query, send_answer = ends(whose).answer(port)
        ready.set()
        while True:
            try:
                query = receive_query()
            except (PortTimeout, zmq.Again):  # nobody asked in time
                continue
            send_answer(query)

    ready = threading.Event()
    threading.Thread(target=serve, daemon=True).start()
    ready.wait(10.0)
    orders.say(ready=ready.is_set())
    sys.stdin.read()


def ask(whose: str, port: int, payload: bytes) -> None:
    """Ask as often as the bench says."""
    send_query, receive_answer = ends(whose).ask(port)

    def run(steps: int) -> tuple[int, float, float]:
        taken = []
        busy = time.process_time()
        for _ in range(steps):
            begin = time.perf_counter()
            send_query(payload)
            received = receive_answer()
            taken.append(time.perf_counter() - begin)
        if received != payload:
            raise RuntimeError("not what was asked came back")
        return steps, steps * statistics.median(taken), time.process_time() - busy

    run(1)
    orders.say(ready=True)
    orders.follow(run)


def main() -> None:
    """Open one end, say so, follow the orders of the bench."""
    whose, role = sys.argv[1:3]
    port, size = map(int, sys.argv[3:5])
    if role == "answer":
        answer(whose, port)
    else:
        ask(whose, port, bytes(range(64)) * (size // 64))


if __name__ == "__main__":
    main()
