"""Ends of both kinds, in an event loop and with blocking calls, for tests that drive them from outside."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading

from echo_rig import EchoProtocol, ExpMessage, sync

from .blocking_lab import LIMIT_S, loop_thread

KINDS = ("asyncio", "blocking")


class InLoop:
    """An end in the event loop of another thread."""

    def __init__(self, run, end):
        self.run = run
        self.end = end

    def begin(self, function):
        """Call a function with the end, await what it returns, and return a future of it."""

        async def work():
            result = function(self.end)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(work(), self.end._loop)

    def do(self, function):
        """Call a function with the end, and return or raise what came of it."""
        return self.begin(function).result(LIMIT_S)


class InThread:
    """A blocking end that serves in another thread whenever it has nothing else to do."""

    def __init__(self, end):
        self.end = end
        self._jobs = queue.SimpleQueue()
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        while not self._stops.is_set():
            try:
                future, function = self._jobs.get(block=not self.end.is_connected, timeout=0.01)
            except queue.Empty:
                with contextlib.suppress(ConnectionError):
                    self.end.serve(0.005)
                continue
            try:
                future.set_result(function(self.end))
            except Exception as error:  # noqa: BLE001 - told to who asked
                future.set_exception(error)

    def begin(self, function):
        future = concurrent.futures.Future()
        self._jobs.put((future, function))
        return future

    def do(self, function):
        return self.begin(function).result(LIMIT_S)

    def stop(self):
        self._stops.set()
        self._thread.join(LIMIT_S)
        self.end.close()


def note(end, heard):
    """Write down all events that come, and what is reported, as pairs of number and data."""
    end.assign_callback(ExpMessage.any(), lambda data, addr, event: heard.append((int(event), data)))
    end.assign_callback(0, lambda data, addr: heard.append((0, data)))


@contextlib.contextmanager
def running(kind, role, uri, heard=None, **options):
    """An end in the role of the server or the client."""
    if kind == "blocking":
        end = (sync.listen if role == "server" else sync.connect)(uri, **options)
        if heard is not None:
            note(end, heard)
        side = InThread(end)
        try:
            yield side
        finally:
            side.stop()
        return
    with loop_thread() as run:
        end = run(getattr(EchoProtocol, role)(uri, **options))
        if heard is not None:
            note(end, heard)
        side = InLoop(run, end)
        try:
            yield side
        finally:
            side.do(lambda end: end.close())
