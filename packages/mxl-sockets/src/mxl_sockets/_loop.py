"""Waiting for sockets without a thread of our own.

Whichever thread calls the hub waits for its sockets itself, so a step costs no
hand-over between threads, and a process that forks has no thread to lose.
While one thread waits (the leader), others that come wait for the leader to
bring news and take over when it has what it wanted.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mxl_sockets._exchange import Exchange
    from mxl_sockets._poll import Poller


class Loop:
    """Runs an `Exchange` in the threads that call.

    Parameters
    ----------
    poller : Poller
    exchange : Exchange

    Attributes
    ----------
    lock : threading.Lock
        Held by whoever touches the exchange; released only while polling.
    """

    def __init__(self, poller: Poller, exchange: Exchange) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._poller = poller
        self._exchange = exchange
        self._leading = False
        self._inside = 0
        self._waiting = 0

    def run_until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Move bytes until `done` or the deadline; the lock is held.

        The sockets are looked at once at least, also with a deadline in the past.

        Parameters
        ----------
        done : callable
            Asked after every batch of events.
        deadline : float
            Seconds, monotonic.

        Returns
        -------
        bool
            The last answer of `done`.
        """
        self._inside += 1
        looked = False
        try:
            while not done():
                now = time.monotonic()
                remaining = deadline - now
                if remaining <= 0:
                    if looked:
                        return False
                    remaining = 0.0
                looked = True
                if self._leading:
                    self._follow(remaining)
                else:
                    self._lead(min(remaining, self._exchange.next_due(now)))
            return True
        finally:
            self._inside -= 1
            if self._waiting:
                self._changed.notify_all()

    def look(self) -> None:
        """Handle what has arrived; wait for nothing. The lock is held."""
        if not self._leading:
            self._lead(0.0)

    def wake(self) -> None:
        """Make the leader look up; the lock is held."""
        if self._leading:
            self._exchange.waker.wake()
        self._changed.notify_all()

    def wait_until_free(self, deadline: float) -> None:
        """Wait until no thread waits in here; the lock is held."""
        while self._inside:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._wait(remaining)

    def _lead(self, timeout: float) -> None:
        self._leading = True
        self.lock.release()
        try:
            events = self._poller.poll(timeout)
        finally:
            self.lock.acquire()
            self._leading = False
            if self._waiting:
                self._changed.notify_all()
        now = time.monotonic()
        self._exchange.dispatch(events, now)
        self._exchange.expire(now)

    def _follow(self, remaining: float) -> None:
        # The leader may be in a long wait that knows nothing of what we did.
        self._exchange.waker.wake()
        self._wait(remaining)

    def _wait(self, remaining: float) -> None:
        self._waiting += 1
        try:
            self._changed.wait(min(remaining, 3600.0))
        finally:
            self._waiting -= 1
