"""The status socket of a hub: whoever connects is told the status once, and nothing is heard.

A thread of its own serves it: between steps nobody runs the hub's loop, and a
step that hangs is what people want to look at. The thread

* touches nothing of the hub's but to take its status under its lock. It waits
  for the lock for a moment only, else it tells the last status and its age,
  and takes at most a fiftieth of the hub's time, however many look;
* never reads: nothing that is sent can have an effect;
* never waits for a reader. Few are served at a time, each for a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from mxl_sockets import _poll
from mxl_sockets._access import foreign_user
from mxl_sockets._listen import listen_unix
from mxl_sockets._status_document import encode_document

if TYPE_CHECKING:
    from mxl_sockets._snapshot import Snapshots

logger = logging.getLogger(__name__)

#: Readers at a time.
MOST_READERS: Final = 8
#: Others that may wait in the system's queue.
BACKLOG: Final = 64
#: Seconds that a reader has to take its document.
READER_PATIENCE: Final = 1.0
#: Seconds without newcomers after some were served: a flood of them shall not
#: keep this thread, and so the solver's, busy.
PAUSE: Final = 0.05
#: Seconds that the thread waits for the hub's lock.
LOCK_PATIENCE: Final = 0.05
#: Seconds for which a status is news, at the least.
FRESH: Final = 0.1
#: The status is news for so many times what it took to take it.
THRIFT: Final = 50
#: Seconds between two looks whether the program's main thread has ended
#: without stopping the hub: the program then waits for this thread.
HEARTBEAT: Final = 0.5
#: Seconds to wait for the end of the thread.
JOIN_TIMEOUT: Final = 5.0


class StatusServer:
    """Serves a status socket until it is closed.

    Parameters
    ----------
    path : str
        Absolute; mode 0600.
    lock : threading.Lock
        The hub's.
    snapshots : Snapshots

    Raises
    ------
    OSError
        The path cannot be bound, or there is no more thread or descriptor.
    RuntimeError
        Somebody listens there, or there are no more threads.
    """

    def __init__(self, path: str, lock: threading.Lock, snapshots: Snapshots) -> None:
        self._lock = lock
        self._snapshots = snapshots
        self._stopping = False
        self._readers: dict[int, _Reader] = {}
        self._fresh_until = 0.0
        self._document = b""
        with contextlib.ExitStack() as stack:
            self._listener = listen_unix(path)
            stack.callback(self._listener.close)
            self._listener.sock.listen(BACKLOG)
            self._waker = _poll.Waker()
            stack.callback(self._waker.close)
            self._poller = _poll.make_poller()
            stack.callback(self._poller.close)
            self._poller.register(self._waker.descriptor, _poll.READ)
            #: When to take newcomers again; None while they are taken.
            self._pause_end: float | None = 0.0
            self._taken_at = time.monotonic()
            with lock:
                self._status = snapshots.take(self._taken_at)
            self.path = path
            self._thread = threading.Thread(target=self._run, name=f"status of a hub at {path}")
            self._thread.start()
            stack.pop_all()

    def close(self) -> None:
        """End the thread and remove the path; any number of times, from any thread."""
        self._stopping = True
        self._waker.wake()
        # The collector of garbage may end a forgotten hub in this very thread.
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_TIMEOUT)

    def close_in_child(self) -> None:
        """Let go of the descriptors in a forked child, which has no such thread."""
        self._stopping = True
        for reader in list(self._readers.values()):
            reader.sock.close()
        self._listener.close_in_child()
        self._waker.close()
        self._poller.close()

    def _run(self) -> None:
        try:
            # The interpreter waits for this thread before it ends the hub.
            while not self._stopping and threading.main_thread().is_alive():
                now = time.monotonic()
                if (
                    self._pause_end is not None
                    and now >= self._pause_end
                    and len(self._readers) < MOST_READERS
                ):
                    self._pause_end = None
                    self._poller.register(self._listener.descriptor, _poll.READ)
                for descriptor, _ in self._poller.poll(self._patience(now)):
                    if descriptor == self._listener.descriptor:
                        self._welcome()
                    elif descriptor == self._waker.descriptor:
                        self._waker.clear()
                    else:
                        self._serve(self._readers[descriptor])
                self._expire(time.monotonic())
        finally:
            self._release()

    def _patience(self, now: float) -> float:
        """Return how long nothing can come due."""
        ends = [reader.deadline for reader in self._readers.values()]
        if self._pause_end is not None and len(self._readers) < MOST_READERS:
            ends.append(self._pause_end)
        return max(0.0, min([HEARTBEAT, *(end - now for end in ends)]))

    def _welcome(self) -> None:
        """Take newcomers in and tell each the status."""
        self._poller.unregister(self._listener.descriptor)
        self._pause_end = time.monotonic() + PAUSE
        while len(self._readers) < MOST_READERS:
            try:
                sock, _ = self._listener.sock.accept()
            except OSError:
                return  # nobody is left, or no descriptor: after the pause we look again
            try:
                if foreign_user(sock) is not None:
                    sock.close()
                    continue
                sock.setblocking(False)
                sock.shutdown(socket.SHUT_RD)
            except OSError:
                sock.close()
                continue
            reader = _Reader(sock, self._news(), time.monotonic() + READER_PATIENCE)
            if reader.send():
                sock.close()
            else:
                self._readers[sock.fileno()] = reader
                self._poller.register(sock.fileno(), _poll.WRITE)

    def _serve(self, reader: _Reader) -> None:
        """Send more to a reader."""
        if reader.send():
            self._drop(reader)

    def _expire(self, now: float) -> None:
        """Give up on readers that do not read."""
        for reader in list(self._readers.values()):
            if now >= reader.deadline:
                self._drop(reader)

    def _drop(self, reader: _Reader) -> None:
        descriptor = reader.sock.fileno()
        del self._readers[descriptor]
        self._poller.unregister(descriptor)
        reader.sock.close()

    def _news(self) -> bytes:
        """Return the status as it is now, or as it was a moment ago."""
        now = time.monotonic()
        if now < self._fresh_until:
            return self._document
        cost = 0.0
        if self._lock.acquire(timeout=LOCK_PATIENCE):
            try:
                self._taken_at = begin = time.monotonic()
                self._status = self._snapshots.take(begin)
            finally:
                self._lock.release()
            cost = time.monotonic() - begin
        now = time.monotonic()
        self._fresh_until = now + max(FRESH, THRIFT * cost)
        self._document = encode_document(self._status, now - self._taken_at, os.getpid())
        return self._document

    def _release(self) -> None:
        for reader in self._readers.values():
            reader.sock.close()
        self._readers.clear()
        self._listener.close()
        self._waker.close()
        self._poller.close()


class _Reader:
    """Somebody who is being told the status."""

    def __init__(self, sock: socket.socket, document: bytes, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self._rest = memoryview(document)

    def send(self) -> bool:
        """Send what is taken now; return whether that was all, or the reader is gone."""
        try:
            while self._rest:
                self._rest = self._rest[self.sock.send(self._rest) :]
        except BlockingIOError:
            return False
        except OSError:
            pass  # it has left, and that is all right
        return True
