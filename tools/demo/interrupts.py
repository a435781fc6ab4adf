"""Interrupts held back while a process is started, so that none is started and forgotten.

Between the fork of a process and the line that notes it down, a Ctrl-C would
leave a process that nobody ends. Blocking the signals is no way out: the new
process would inherit that.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

#: What ends the demo from outside.
INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Deliver interrupts that come inside of the block at its end.

    Python runs signal handlers in the main thread only; in another one there
    is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)

    previous = {number: signal.signal(number, remember) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def interrupt_on_sigterm() -> None:
    """Let a polite kill clean up like a Ctrl-C: as an exception on its way out."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
