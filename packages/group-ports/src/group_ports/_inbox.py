"""Where the worker leaves what the user is to have: bounded, for threads and for asyncio.

Messages and news of the group have a queue each, so that nobody who floods a
group with messages can push out the news that its leader is gone. When the
messages are too many, the latest are dropped; when the news are too many, the
oldest are, since the latest say how things stand. Both are counted.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from group_ports._events import Message
from group_ports.errors import PortError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from group_ports._actions import Event
    from group_ports._events import GroupEvent, MessageFailed

#: News that wait at the most.
MAX_NEWS: Final = 1000


class Inbox:
    """Messages and news, in the order they came.

    Parameters
    ----------
    max_messages : int
        Messages that wait at the most.
    bell : callable
        Called, with the lock held, when the inbox was empty and is not any more.

    Attributes
    ----------
    dropped_messages, dropped_news : int

    Notes
    -----
    For any number of threads and event loops; each event goes to one of them.
    """

    def __init__(self, max_messages: int, bell: Callable[[], None]) -> None:
        self._changed = threading.Condition()
        self._messages: deque[tuple[int, Message]] = deque()
        self._news: deque[tuple[int, Event | MessageFailed]] = deque()
        self._max_messages = max_messages
        self._bell = bell
        self._number = 0
        self._closed: PortError | None = None
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self.dropped_messages = 0
        self.dropped_news = 0

    def put(self, event: GroupEvent) -> None:
        """Add an event; never waits."""
        with self._changed:
            was_empty = not self._messages and not self._news
            self._number += 1
            if isinstance(event, Message):
                if len(self._messages) >= self._max_messages:
                    self.dropped_messages += 1
                    return
                self._messages.append((self._number, event))
            else:
                if len(self._news) >= MAX_NEWS:
                    self.dropped_news += 1
                    self._news.popleft()
                self._news.append((self._number, event))
            if was_empty:
                self._bell()
            self._wake()

    def close(self, error: PortError) -> None:
        """Let nobody wait any more; what is here can still be taken, then `error` is raised."""
        with self._changed:
            self._closed = error
            self._bell()
            self._wake()

    def take(self, wait_s: float, *, only_messages: bool = False) -> GroupEvent | None:
        """Return the next event; None if none came in time.

        Parameters
        ----------
        wait_s : float
            Seconds, at the most.
        only_messages : bool
            Leave news where they are.

        Raises
        ------
        PortError
            There is nothing left, and nothing will come.
        """
        deadline = time.monotonic() + wait_s
        with self._changed:
            while (event := self._next(only_messages)) is None:
                rest = deadline - time.monotonic()
                if rest <= 0:
                    return None
                self._changed.wait(rest)
            return event

    async def take_async(self, wait_s: float) -> GroupEvent | None:
        """Return the next event as `take` does, without holding up the event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + wait_s
        while True:
            waiter: asyncio.Future[None] = loop.create_future()
            with self._changed:
                event = self._next(only_messages=False)
                if event is not None:
                    return event
                self._waiters.append((loop, waiter))
            try:
                # Not wait_for: on Python 3.11 it swallows a cancellation that comes together with an event.
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await waiter
            except TimeoutError:
                return None
            finally:
                with self._changed, contextlib.suppress(ValueError):
                    self._waiters.remove((loop, waiter))

    def settle(self, quiet: Callable[[], None]) -> None:
        """Call `quiet` with the lock held, if there is nothing to take and more may come."""
        with self._changed:
            if not self._messages and not self._news and self._closed is None:
                quiet()

    def _next(self, only_messages: bool) -> GroupEvent | None:
        news = None if only_messages or not self._news else self._news[0]
        if self._messages and (news is None or self._messages[0][0] < news[0]):
            return self._messages.popleft()[1]
        if news is not None:
            return self._news.popleft()[1]
        if self._closed is not None:
            raise PortError(self._closed.message, self._closed.errno or 0) from self._closed
        return None

    def _wake(self) -> None:
        self._changed.notify_all()
        for loop, waiter in self._waiters:
            # A loop that is closed by now has nobody who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_release, waiter)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
