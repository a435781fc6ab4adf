"""Ending when the user says so: SIGINT and SIGTERM, and waits that notice."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

#: Seconds after which a wait looks whether it should end.
GLANCE_S: Final = 0.1

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal came while the program waited for something that cannot look for one."""


class Stop:
    """Whether to end, and why.

    Attributes
    ----------
    signal : int
        The signal that came; 0 if none did.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self.signal = 0
        self._clock = clock
        self._sleep = sleep
        self._may_raise = False

    def __bool__(self) -> bool:
        return bool(self.signal)

    def clock(self) -> float:
        """Return seconds that do not go backwards."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until a signal comes."""
        until = self._clock() + seconds
        while not self.signal and (left := until - self._clock()) > 0:
            self._sleep(min(left, GLANCE_S))

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let signals raise `Interrupted` in here, where a read may block for ever."""
        self._may_raise = True
        try:
            if self.signal:
                raise Interrupted
            yield
        finally:
            self._may_raise = False

    @contextlib.contextmanager
    def at_signals(self) -> Iterator[None]:
        """Take signals in here; a second one has its usual effect.

        Python handles signals in the main thread only; in another one nothing is
        changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.getsignal(number) for number in _SIGNALS}

        def handle(number: int, _: FrameType | None) -> None:
            self.signal = number
            for each, handler in previous.items():
                signal.signal(each, handler)
            if self._may_raise:
                raise Interrupted

        for number in _SIGNALS:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
