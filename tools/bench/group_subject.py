"""One way to send and to receive messages of groups, both ends of it, in a process of its own.

Started by the bench, never imported::

    python group_subject.py (ours | bare | plain | pyre) (publish SUBSCRIBERS | ask PORT) SIZE SOME

Messages are sent some at a time, as many as fit into every queue, and then
received. A step is one message that all subscribers have, or one query and its
answer; the CPU time told is that of the process, threads of ZeroMQ included.
See `group_ends` for the kinds.
"""

from __future__ import annotations

import sys
import time
from itertools import repeat
from typing import TYPE_CHECKING

import orders
from group_kinds import ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_kinds import Ends


def publishing(kind: Ends, subscribers: int, payload: bytes, some: int) -> Callable[[], None]:
    """Return what publishes some messages, all of which every subscriber receives."""
    send, receives = kind.publish(subscribers)

    def run() -> None:
        for _ in repeat(None, some):
            send(payload)
        for receive in receives:
            for _ in repeat(None, some):
                received = receive()
        check(received, payload)

    return run


def asking(kind: Ends, port: int, payload: bytes, some: int) -> Callable[[], None]:
    """Return what asks some questions, and gives and takes the answers to them."""
    receive_query, send_answer = kind.answer(port)
    send_query, receive_answer = kind.ask(port)

    def run() -> None:
        for _ in repeat(None, some):
            send_query(payload)
        for _ in repeat(None, some):
            send_answer(receive_query())
        for _ in repeat(None, some):
            received = receive_answer()
        check(received, payload)

    return run


def check(received: bytes, payload: bytes) -> None:
    """Raise if what came is not what was sent."""
    if received != payload:
        message = f"{len(received)} bytes came, not the {len(payload)} that were sent"
        raise RuntimeError(message)


def main() -> None:
    """Open both ends, say so, follow the orders of the bench."""
    whose, what = sys.argv[1:3]
    number, size, some = map(int, sys.argv[3:6])
    make = publishing if what == "publish" else asking
    step = make(ends(whose), number, bytes(range(64)) * (size // 64), some)

    def run(steps: int) -> tuple[int, float, float]:
        times = -(-steps // some)
        begin, busy = time.perf_counter(), time.process_time()
        for _ in range(times):
            step()
        return times * some, time.perf_counter() - begin, time.process_time() - busy

    orders.say(ready=True)
    orders.follow(run)


if __name__ == "__main__":
    main()
