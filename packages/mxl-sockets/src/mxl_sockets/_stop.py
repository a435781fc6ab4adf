"""A stop signal that a thread waiting for a socket can hear.

A `threading.Event` will not do: a signal handler may run inside its `wait`,
in the same thread, and setting it there can deadlock. A byte in a socket pair
can be sent from anywhere and ends any wait for sockets.
"""

from __future__ import annotations

import contextlib
import selectors
import socket


class StopSignal:
    """A flag, and a socket that becomes readable with it.

    `set` may be called by any thread and by signal handlers, any number of
    times, also after `close`. The waits belong to one thread.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def set(self) -> None:
        """Raise the flag and end every wait, for good: the byte is never read."""
        self.is_set = True
        with contextlib.suppress(OSError):  # full (already set) or closed (nobody waits)
            self._writer.send(b"\0")

    def wait(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds; return whether the flag is up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            selector.select(max(0.0, timeout_s))
        return self.is_set

    def wait_writable(self, other: socket.socket, timeout_s: float) -> bool:
        """Wait until `other` is writable; return False after the time or the flag."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            selector.register(other, selectors.EVENT_WRITE)
            ready = selector.select(max(0.0, timeout_s))
        return not self.is_set and any(key.fileobj is other for key, _ in ready)

    def close(self) -> None:
        """Close both sockets. May be called again."""
        self._reader.close()
        self._writer.close()
