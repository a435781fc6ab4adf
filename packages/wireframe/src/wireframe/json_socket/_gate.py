"""Who may be inside a server, and how others wake or stop him."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from wireframe.json_socket._errors import SocketClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Gate:
    """Lets one thread in at a time, and can call it out.

    Attributes
    ----------
    bell : socket.socket
        Readable after `ring`; who is inside watches it and calls `answer`.
    stopped : bool
        `stop` was called.
    """

    def __init__(self) -> None:
        self.bell, self._button = socket.socketpair()
        self.bell.setblocking(False)
        self._button.setblocking(False)
        self.stopped = False
        self._busy = threading.Lock()
        self._owner: int | None = None

    @property
    def mine(self) -> bool:
        """Whether this thread is inside."""
        return self._owner == threading.get_ident()

    @contextlib.contextmanager
    def entered(self, close: Callable[[], None]) -> Iterator[None]:
        """Be inside; on the way out of a stopped gate, call `close`.

        Raises
        ------
        RuntimeError
            Another thread is inside.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("another thread is receiving from this server")
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            if self.stopped:
                close()
            self._owner = None
            self._busy.release()

    def check(self) -> None:
        """Raise `SocketClosed` after `stop`."""
        if self.stopped:
            raise SocketClosed("the server was shut down")

    def ring(self) -> None:
        """Wake who is inside."""
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody waits
            self._button.send(b"\0")

    def answer(self) -> None:
        """Take note of all ringing so far."""
        with contextlib.suppress(BlockingIOError):
            self.bell.recv(4096)

    def stop(self, close: Callable[[], None], patience: float) -> None:
        """Have `close` called by who is inside, or here if nobody is.

        Returns when that has happened, or after `patience` seconds.
        """
        self.stopped = True
        if self.mine:
            return  # from a handler, or a signal: on its way out
        self.ring()
        if self._busy.acquire(timeout=patience):
            close()
            self._busy.release()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Be inside for a moment if nobody else is; tells whether that worked."""
        if self.mine:
            yield True
        elif self._busy.acquire(blocking=False):
            try:
                yield True
            finally:
                self._busy.release()
        else:
            yield False

    def close(self) -> None:
        """Close the descriptors."""
        self.bell.close()
        self._button.close()
