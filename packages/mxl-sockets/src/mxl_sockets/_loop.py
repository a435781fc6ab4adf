"""Waiting for sockets without a thread of our own.

Whichever thread calls the hub waits for its sockets itself, so a step costs no
hand-over between threads, and a process that forks has no thread to lose.
While one thread waits (the leader), others that come wait for the leader to
bring news and take over when it has what it wanted.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from mxl_sockets import _poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from mxl_sockets._lines import Lines
    from mxl_sockets._poll import Poller

#: Batches of events that one look takes after the first.
MOST_BATCHES: Final = 64

#: Seconds. Waits are cut into slices of this length, so that an endless
#: deadline overflows nothing.
LONGEST_WAIT: Final = 3600.0


class Loop:
    """Runs the connections of a hub in the threads that call.

    Parameters
    ----------
    poller : Poller
    exchange : Lines

    Attributes
    ----------
    lock : threading.Lock
        Held by whoever touches the exchange; released only while polling.
    """

    def __init__(self, poller: Poller, exchange: Lines[Any]) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._poller = poller
        self._exchange = exchange
        self._leading = False
        self._inside = 0
        self._waiting = 0
        #: The thread whose step it is.
        self._stepper: int | None = None

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
        exchange = self._exchange
        self._inside += 1
        looked = told = False
        now = time.monotonic()
        try:
            while not done():
                remaining = deadline - now
                if remaining <= 0:
                    if looked:
                        return False
                    remaining = 0.0
                looked = True
                if self._leading:
                    if not told:
                        # The leader may be in a long wait that knows nothing of our timers. Once
                        # is enough: to wake it every time would keep two threads awake for ever.
                        told = True
                        exchange.waker.wake()
                    self._wait(remaining)
                    now = time.monotonic()
                else:
                    if exchange.has_timers:
                        remaining = min(remaining, exchange.next_due(now))
                    now = self._lead(remaining)
            return True
        finally:
            self._inside -= 1
            if self._waiting:
                self._changed.notify_all()

    def take_turn(self, deadline: float) -> bool:
        """Let this thread make a step, or say that there is no turn before the deadline; the lock is held.

        A thread that was interrupted in its turn still has it.
        """
        me = threading.get_ident()
        while self._stepper is not None and self._stepper != me:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._wait(remaining)
        self._stepper = me
        return True

    def give_turn(self) -> None:
        """Let other threads make steps; the lock is held."""
        self._stepper = None
        if self._waiting:
            self._changed.notify_all()

    def look(self) -> None:
        """Handle what has arrived; wait for nothing. The lock is held."""
        # A leader may be polling too: whoever comes second finds nothing more to read.
        events = self._poller.poll(0)
        exchange = self._exchange
        if events or exchange.has_timers:
            now = time.monotonic()
            exchange.dispatch(events, now)
            # A full batch hides what is behind it; looking on is bounded, whoever floods us.
            for _ in range(MOST_BATCHES):
                if len(events) < _poll.BATCH:
                    break
                events = self._poller.poll(0)
                exchange.dispatch(events, now)
            exchange.expire(now)
            # What was handled here may be what others wait for.
            self.wake()

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

    def _lead(self, timeout: float) -> float:
        """Wait for the sockets and handle what they have; return the time after the wait."""
        lock, exchange = self.lock, self._exchange
        self._leading = True
        # An exception of a signal handler may come wherever a call returns. Here it
        # finds the lock released, and below `_leading` cleared, or it comes later.
        try:
            lock.release()
            events = self._poller.poll(min(LONGEST_WAIT, timeout))
        finally:
            self._leading = False
            lock.acquire()
            if self._waiting:
                self._changed.notify_all()
        now = time.monotonic()
        exchange.dispatch(events, now)
        if exchange.has_timers:
            exchange.expire(now)
        return now

    def _wait(self, remaining: float) -> None:
        self._waiting += 1
        try:
            self._changed.wait(min(remaining, LONGEST_WAIT))
        finally:
            self._waiting -= 1
