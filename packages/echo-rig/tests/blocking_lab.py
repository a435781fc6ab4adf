"""Other ends for the blocking calls of a test: each one in a thread of its own, ended with the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

#: Seconds for anything that must happen.
LIMIT_S = 10.0


def free_port(scheme, host="127.0.0.1"):
    """Return a port that nobody uses at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def free_uri(scheme, host="127.0.0.1"):
    """Return a URI where nobody listens yet."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{free_port(scheme, host)}"


def until(condition, limit_s=LIMIT_S):
    """Wait until something is true."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


@contextlib.contextmanager
def loop_thread():
    """Give a function that runs a coroutine in the loop of another thread and returns its result."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(LIMIT_S)
    finally:

        async def rest():
            await asyncio.sleep(0.01)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(rest(), loop).result(LIMIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT_S)
        loop.close()


@contextlib.contextmanager
def served(end):
    """Serve an end of the package in another thread."""
    stop = threading.Event()

    def serve():
        while not stop.is_set() and end.is_connected:
            end.serve(0.01)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield end
    finally:
        stop.set()
        thread.join(LIMIT_S)
        end.close()


@contextlib.contextmanager
def in_thread(function, *arguments):
    """Run a function in another thread until the test is over; what it raises fails the test."""
    failures = []

    def run():
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again by the test
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


class Relay:
    """Carries datagrams between a client and a server, and loses or doubles some of them."""

    def __init__(self, server_port, fate):
        self._fate = fate  # of the n-th datagram: how many copies go on
        self._count = 0
        self._stop = threading.Event()
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.connect(("127.0.0.1", server_port))
        for one in (self._front, self._back):
            one.settimeout(0.02)
        self._client = None
        self.port = self._front.getsockname()[1]
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._forth, self._home)]
        for thread in self._threads:
            thread.start()

    def _copies(self):
        self._count += 1
        return self._fate(self._count)

    def _forth(self):
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                data, self._client = self._front.recvfrom(65536)
                for _ in range(self._copies()):
                    self._back.send(data)

    def _home(self):
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                data = self._back.recv(65536)
                for _ in range(self._copies()):
                    self._front.sendto(data, self._client)

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self._stop.set()
        for thread in self._threads:
            thread.join(LIMIT_S)
        self._front.close()
        self._back.close()
