"""Coroutine callbacks under way: a bounded number of tasks that end with their communicator."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

#: How many may be under way at once; a peer decides how many events it sends.
MAX_COROUTINES: Final = 1024


class CoroutineTasks:
    """Runs coroutines as tasks of the running loop."""

    __slots__ = ("_closed", "_tasks")

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def run(self, coroutine: Coroutine[Any, Any, Any], on_error: Callable[[BaseException], None]) -> None:
        """Start a coroutine.

        Parameters
        ----------
        coroutine : coroutine
        on_error : callable
            Called with what it raises, or with a RuntimeError if it cannot be
            started: no loop is running, too many are under way, or `close` was
            called. A cancellation is no error.
        """
        try:
            loop = asyncio.get_running_loop()
            self._require_room()
        except RuntimeError as error:
            coroutine.close()
            on_error(error)
            return
        task = loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._finished, on_error))

    def close(self) -> None:
        """Cancel what is under way, except the task that calls this."""
        self._closed = True
        for task in tuple(self._tasks):
            # On a loop that is closed nothing can be cancelled any more.
            if task is not _running_task() and not task.get_loop().is_closed():
                task.cancel()

    def _require_room(self) -> None:
        if self._closed:
            raise RuntimeError("the communicator was closed by another callback")
        if len(self._tasks) >= MAX_COROUTINES:
            raise RuntimeError(f"busy with {MAX_COROUTINES} coroutine callbacks")

    def _finished(self, on_error: Callable[[BaseException], None], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            on_error(error)


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop is running in this thread.
        return None
