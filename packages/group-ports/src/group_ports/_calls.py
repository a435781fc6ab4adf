"""Calls from other threads to the worker: bounded, each with an answer, none for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from group_ports._port_settings import LONGEST_WAIT_S
from group_ports.errors import PortError, PortTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

#: Calls that wait at the most.
MAX_CALLS: Final = 1000


class Calls:
    """A queue of functions that the worker is to run.

    Attributes
    ----------
    bell : socket.socket
        Readable while calls wait; for the worker to poll.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[Future[Any]], None], Future[Any]]] = deque()
        self._error: PortError | None = None
        try:
            self.bell, self._button = socket.socketpair()
        except OSError as error:
            raise PortError(f"the member cannot begin: {error}", error.errno or 0) from error
        self.bell.setblocking(False)
        self._button.setblocking(False)

    def call(self, function: Callable[[], _Result], wait_s: float = LONGEST_WAIT_S) -> _Result:
        """Let the worker run a function; return or raise what it does.

        Raises
        ------
        PortTimeout
            The worker did not come to it in time; then it is not run at all.
        PortError
            The worker has ended.
        """

        def run(future: Future[_Result]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - it is raised where it belongs, at the caller's
                future.set_exception(error)

        return self.post(run, wait_s)

    def post(self, function: Callable[[Future[_Result]], None], wait_s: float) -> _Result:
        """Let the worker run a function that sees to the answer itself, perhaps later; see `call`."""
        future: Future[_Result] = Future()
        with self._lock:
            self._check()
            if len(self._waiting) >= MAX_CALLS:
                raise PortTimeout("too many calls wait for the group", PortError.EAGAIN)
            self._waiting.append((function, future))
            self._ring()
        try:
            return future.result(wait_s)
        except TimeoutError as error:
            # Of the wait, or of the function itself: that ends as it did.
            if not future.cancel():
                # It is being run right now, or has been.
                wait((future,), LONGEST_WAIT_S)
            if future.cancelled() or not future.done():
                raise PortTimeout("the group did not come to it in time", PortError.EAGAIN) from error
        return future.result()

    def wake(self) -> None:
        """Let the worker make a round, because something it reads elsewhere is new; from any thread."""
        with self._lock:
            if self._error is None:
                self._ring()

    def run(self) -> None:
        """Run what waits; in the worker."""
        with contextlib.suppress(BlockingIOError):
            self.bell.recv(4096)
        for _ in range(MAX_CALLS):
            with self._lock:
                if not self._waiting:
                    return
                function, future = self._waiting.popleft()
            function(future)
        with self._lock:
            self._ring()

    def close(self, error: PortError) -> None:
        """Answer what waits, and all later calls, with an error; in the worker, at its end."""
        with self._lock:
            self._error = error
            waiting, self._waiting = self._waiting, deque()
            self.bell.close()
            self._button.close()
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(_again(error))

    def _check(self) -> None:
        if self._error is not None:
            raise _again(self._error) from self._error

    def _ring(self) -> None:
        # If there is no room, the bell is ringing already.
        with contextlib.suppress(BlockingIOError):
            self._button.send(b"\0")


def _again(error: PortError) -> PortError:
    return PortError(error.message, error.errno or 0)
