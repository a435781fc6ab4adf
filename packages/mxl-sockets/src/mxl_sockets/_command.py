"""What the commands have in common: exit codes, errors, and the end by a signal."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXIT_MODEL: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_HUB: Final = 3
EXIT_PROTOCOL: Final = 4
EXIT_SIGNAL: Final = 128


class Stoppable(Protocol):
    """A driver or a bridge."""

    def stop(self) -> None:
        """End it; called by a signal handler."""


def fail(code: int, error: Exception) -> int:
    """Say why on standard error; return the code."""
    if sys.stderr is not None:  # closed by whoever started us
        sys.stderr.write(f"mxl-sockets: {error}\n")
    return code


@contextlib.contextmanager
def stopped_by_signals(running: Stoppable) -> Iterator[list[int]]:
    """Stop what runs at SIGTERM or SIGINT; a second one has its usual effect.

    Yields the list of signals that came. Python handles signals in the main
    thread only; in another one nothing is changed. A signal that we were
    started to ignore, as a shell does for jobs in the background, stays ignored.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, previous[signal.Signals(number)])
        running.stop()

    previous = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGINT)
        # None: set by something that is not Python, and not to be restored by us.
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    for number in previous:
        signal.signal(number, handle)
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
