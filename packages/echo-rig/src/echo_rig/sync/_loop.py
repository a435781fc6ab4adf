"""The wait: one selector for the sockets of an end, or of several ends that belong together."""

from __future__ import annotations

import contextlib
import selectors
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from echo_rig._forked import foreign

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds. On Windows a wait cannot be interrupted from the keyboard, so none is longer.
LONGEST_WAIT_S: Final = 0.5
#: What may still be taken from the sockets when the time is over: an answer that came in time may stand in
#: line behind other messages, because a callback took long.
LATE_TURNS: Final = 1024
#: Calls of callbacks that may stand in line, and bytes of their messages. They stand there while a callback
#: itself waits for something.
MAX_CALLS: Final = 4096
MAX_CALL_BYTES: Final = 16 * 1024 * 1024


class Member(Protocol):
    """The sockets of one end."""

    @property
    def read_blocking(self) -> Callable[[], bool] | None:
        """Waits for a message, for `LONGEST_WAIT_S`, takes it and tells whether there was one.

        None if there is not exactly one socket, or the system cannot do that.
        """


class Timed(Protocol):
    """Something with a deadline of its own."""

    def on_time(self) -> None:
        """Do what is due, and set or drop the deadline."""


class _Right(Protocol):
    """The right to be inside: a lock, or none in a forked child."""

    def acquire(self, blocking: bool = ...) -> bool:
        """Take it, if it is free."""
        ...

    def release(self) -> None:
        """Give it back."""


class _Foreign:
    """What a loop has for a lock in a forked child."""

    def acquire(self, blocking: bool = True) -> bool:
        raise foreign("this end")

    def release(self) -> None:
        """Let out who was inside when the process was forked."""


class Loop:
    """Waits for sockets and deadlines, takes what comes, then runs callbacks.

    As a context it is the right to use the ends: whoever enters while another
    thread is inside gets an error. The same thread may enter again, from a callback.

    Attributes
    ----------
    selector : selectors.BaseSelector
        The data of each key is called with the events when the socket is ready.
    deadlines : dict
        Monotonic seconds by what is then due.
    members : list of Member
        The ends; nobody in a forked child. When the last one leaves, the selector is closed.
    dropped : int
        Calls of callbacks that did not find room in the line.

    Raises
    ------
    RuntimeError
        On entering: another thread is inside.
    ForeignProcessError
        On entering: this is a forked child.
    """

    __slots__ = (
        "_call_bytes",
        "_calls",
        "_in_callback",
        "_lock",
        "_read_blocking",
        "deadlines",
        "dropped",
        "members",
        "selector",
    )

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.deadlines: dict[Timed, float] = {}
        self.members: list[Member] = []
        #: Spares the selector, which costs more than to read, where there is one socket only.
        self._read_blocking: Callable[[], bool] | None = None
        self.dropped = 0
        self._lock: _Right = threading.RLock()
        self._calls: deque[tuple[int, Callable[..., object], tuple[Any, ...]]] = deque()
        self._call_bytes = 0
        self._in_callback = False

    def __enter__(self) -> Self:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "another thread is using this: one thread at a time, or one connection for each"
            )
        return self

    def __exit__(self, *details: object) -> None:
        self._lock.release()

    @property
    def is_foreign(self) -> bool:
        """Whether this is a forked child, and the sockets are the parent's."""
        return isinstance(self._lock, _Foreign)

    def abandon(self) -> None:
        """Let nobody in any more, because this is a forked child; safe to call twice."""
        self._lock = _Foreign()
        self.members.clear()
        self._calls.clear()
        # Nothing is unregistered: some selectors are one and the same as the parent's.
        with contextlib.suppress(OSError):  # others are gone in a child
            self.selector.close()

    def join(self, member: Member) -> None:
        """Take note of an end whose sockets are registered."""
        self.members.append(member)
        self._read_blocking = member.read_blocking if len(self.members) == 1 else None

    def leave(self, member: Member) -> None:
        """Take note that an end has closed its sockets; safe to call twice."""
        if member in self.members:
            self.members.remove(member)
        if not self.members:
            self.selector.close()

    def call_later(self, size: int, function: Callable[..., object], *arguments: Any) -> bool:
        """Have a callback run in this turn, or behind the one that runs now; tell whether there is room.

        Parameters
        ----------
        size : int
            Bytes of the message that it is about.
        function, *arguments
            What to call.
        """
        if len(self._calls) >= MAX_CALLS or self._call_bytes + size > MAX_CALL_BYTES:
            self.dropped += 1
            return False
        self._calls.append((size, function, arguments))
        self._call_bytes += size
        return True

    def wait_until(self, is_done: Callable[[], object], deadline: float) -> bool:
        """Wait for something, and tell whether it happened.

        Parameters
        ----------
        is_done : callable
        deadline : float
            Monotonic seconds. What is in the sockets by then is taken in any case.
        """
        late = 0
        while not is_done():
            wait_s = deadline - time.monotonic()
            taken = self.turn(wait_s)
            if wait_s <= 0:
                late += 1
                if not taken or late > LATE_TURNS:
                    return bool(is_done())
        return True

    def turn(self, wait_s: float) -> int:
        """Wait until something comes or is due, or for so many seconds; return how much came."""
        if not self.members:
            if self.is_foreign:  # forked by a callback
                raise foreign("this end")
            raise ConnectionAbortedError("closed")
        if self.deadlines:
            wait_s = min(wait_s, min(self.deadlines.values()) - time.monotonic())
        if wait_s >= LONGEST_WAIT_S and self._read_blocking is not None:
            taken = int(self._read_blocking())
        else:
            ready = self.selector.select(min(max(wait_s, 0.0), LONGEST_WAIT_S))
            for key, events in ready:
                key.data(events)
            taken = len(ready)
        if self.deadlines:
            self._on_time()
        if self._calls and not self._in_callback:
            self._run_callbacks()
        return taken

    def _on_time(self) -> None:
        now = time.monotonic()
        for timed, deadline in tuple(self.deadlines.items()):
            if deadline <= now and timed in self.deadlines:
                timed.on_time()

    def _run_callbacks(self) -> None:
        """Run those that stand in line now; what arrives while one of them waits comes behind."""
        self._in_callback = True
        try:
            for _ in range(len(self._calls)):
                size, function, arguments = self._calls.popleft()
                self._call_bytes -= size
                function(*arguments)
        finally:
            self._in_callback = False
