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
        # Reentrant, because a signal may call `stop` while this thread holds it,
        # and only ever held by `with`, which no interrupt can tear apart.
        self._guard = threading.RLock()
        self._left = threading.Condition(self._guard)
        self._owner: int | None = None

    @property
    def mine(self) -> bool:
        """Whether this thread is inside."""
        return self._owner == threading.get_ident()

    def enter(self) -> int | None:
        """Be inside; give what this returns to `leave`, in any case.

        A thread may come in once more, also after an interrupt that came
        between entering and what it wanted to do.

        Raises
        ------
        RuntimeError
            Another thread is inside.
        """
        me = threading.get_ident()
        with self._guard:
            before = self._owner
            if before is not None and before != me:
                raise RuntimeError("another thread is receiving from this server")
            self._owner = me
        return before

    def leave(self, before: int | None, close: Callable[[], None]) -> None:
        """Be outside, if this thread is inside; on the way out of a stopped gate, call `close`."""
        if self._owner != threading.get_ident():
            return
        try:
            if self.stopped:
                close()
        finally:
            with self._guard:
                self._owner = before
                if self.stopped:  # set before anybody waits for this
                    self._left.notify_all()

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
        self.ring()  # also for this thread: a signal may have come while it waits
        if self.mine:
            return  # from a handler, or a signal: on its way out
        with self._guard:
            if self._left.wait_for(lambda: self._owner is None, patience):
                close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Be inside for a moment if nobody is; tells whether that worked.

        Not even if this thread is: a signal may have come in the middle of things.
        """
        with self._guard:
            yield self._owner is None

    def close(self) -> None:
        """Close the descriptors."""
        self.bell.close()
        self._button.close()
