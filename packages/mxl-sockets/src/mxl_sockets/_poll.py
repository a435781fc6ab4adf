"""Waiting for sockets: epoll where the system has it, `selectors` elsewhere.

Both answer ``(descriptor, mask)`` pairs. On Linux the kernel's own call is
used directly: `selectors` would build two more objects for every event.
"""

from __future__ import annotations

import select
import selectors
import socket
from typing import Final, Protocol

#: Masks as epoll has them; anything beyond them means an error or a hang-up.
READ: Final = 1
WRITE: Final = 4

#: Events that epoll answers at most when it is not told a number; in a batch
#: of that size there may be more behind it.
BATCH: Final = 1023


class Poller(Protocol):
    """What the hub needs of an event source."""

    def register(self, descriptor: int, mask: int) -> None:
        """Watch a descriptor."""

    def modify(self, descriptor: int, mask: int) -> None:
        """Watch a registered descriptor for something else."""

    def unregister(self, descriptor: int) -> None:
        """Stop watching a descriptor."""

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """Wait at most `timeout` seconds; 0 only looks."""

    def close(self) -> None:
        """Release the event source."""


class SelectorPoller:
    """A `Poller` over `selectors.DefaultSelector`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    @staticmethod
    def _events(mask: int) -> int:
        return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)

    def register(self, descriptor: int, mask: int) -> None:
        """Watch a descriptor."""
        self._selector.register(descriptor, self._events(mask))

    def modify(self, descriptor: int, mask: int) -> None:
        """Watch a registered descriptor for something else."""
        self._selector.modify(descriptor, self._events(mask))

    def unregister(self, descriptor: int) -> None:
        """Stop watching a descriptor."""
        self._selector.unregister(descriptor)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """Wait at most `timeout` seconds; 0 only looks."""
        ready = []
        for key, events in self._selector.select(timeout):
            mask = (READ if events & selectors.EVENT_READ else 0) | (
                WRITE if events & selectors.EVENT_WRITE else 0
            )
            ready.append((key.fd, mask))
        return ready

    def close(self) -> None:
        """Release the event source."""
        self._selector.close()


def make_poller() -> Poller:
    """Return the best event source of this system."""
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()


class Waker:
    """Ends another thread's wait: a socket pair, which works on every system."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.descriptor = self._reader.fileno()

    def wake(self) -> None:
        """Make the descriptor readable."""
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            pass  # it is readable already
        except OSError:
            pass  # closed meanwhile: nobody waits any more

    def clear(self) -> None:
        """Make the descriptor unreadable again."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Release both ends."""
        self._reader.close()
        self._writer.close()
