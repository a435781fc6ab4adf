"""The side of a process that plays for `players.Player`: it reports lines of JSON, and hears when to end."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


def report(kind: str, **facts: Any) -> None:
    """Report something that `players.Player` understands."""
    sys.stdout.write(json.dumps({"kind": kind, **facts}) + "\n")
    sys.stdout.flush()


def timed_report(kind: str, **facts: Any) -> None:
    """Report with ``seconds``, monotonic: now, unless given."""
    report(kind, **{"seconds": time.monotonic(), **facts})


def read_orders(loop: asyncio.AbstractEventLoop, orders: asyncio.Queue[dict[str, Any] | None]) -> None:
    """Put orders, lines of JSON from standard input, into a queue, and None at its end; for a thread.

    Not through sys.stdin, whose lock an ending interpreter would trip over.
    """
    rest = b""
    while chunk := os.read(0, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            loop.call_soon_threadsafe(orders.put_nowait, json.loads(line))
    loop.call_soon_threadsafe(orders.put_nowait, None)


def end_of_input() -> threading.Event:
    """Return an event that is set when the demo closes our standard input, also by its own death."""
    over = threading.Event()

    def wait() -> None:
        # Not through sys.stdin, whose lock this thread would hold when the process ends by an error.
        while os.read(0, 4096):
            pass
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    return over
