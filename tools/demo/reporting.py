"""The side of a process that plays for `players.Player`: it reports lines of JSON, and hears when to end."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any


def report(kind: str, **facts: Any) -> None:
    """Report something that `players.Player` understands."""
    sys.stdout.write(json.dumps({"kind": kind, **facts}) + "\n")
    sys.stdout.flush()


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
