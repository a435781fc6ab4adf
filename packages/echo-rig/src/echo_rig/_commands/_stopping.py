"""Ending when the user says so: the first SIGINT or SIGTERM cancels a task."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def cancelled_by_signals(task: asyncio.Task[Any]) -> Iterator[list[int]]:
    """Cancel a task at the first signal in here; a second one has its usual effect.

    Yields
    ------
    list of int
        The signal, once it has come.

    Notes
    -----
    Python handles signals in the main thread only; in another one nothing is
    changed. Not with ``loop.add_signal_handler``, which Windows does not have.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, _: FrameType | None) -> None:
        came.append(number)
        restore()
        # The loop may be waiting for the network, and this wakes it.
        loop.call_soon_threadsafe(task.cancel)

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield came
    finally:
        restore()
