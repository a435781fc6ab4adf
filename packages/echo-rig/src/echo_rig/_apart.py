"""Messages in a stream with a pause behind each echo, so that an old end reads them apart.

An old end takes all that it reads at once for one message. When the echo that it
waits for and an answer, or an error, come together, it finds neither, and closes.
Writing them one after the other is not enough; it must have read the first one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

#: Seconds for an old end to read one piece before the next comes. One that is busy for longer may still read
#: both at once.
APART_S: Final = 0.01
#: Messages kept back; beyond that they go out together.
MAX_KEPT: Final = 64


class ApartWriter:
    """Writes echoes at once, and messages a little later if one has just been written.

    Parameters
    ----------
    put : callable
        ``put(data)`` writes to the stream.
    loop : asyncio.AbstractEventLoop
    """

    __slots__ = ("_echoed_at", "_kept", "_loop", "_put", "_timer")

    def __init__(self, put: Callable[[bytes], object], loop: asyncio.AbstractEventLoop) -> None:
        self._put = put
        self._loop = loop
        self._echoed_at = -APART_S
        self._kept: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def echo(self, data: bytes) -> None:
        """Write an echo, also if messages are kept back: somebody waits for it."""
        self._echoed_at = self._loop.time()
        self._put(data)

    def write(self, data: bytes) -> None:
        """Write a message, behind those that are kept back."""
        now = self._loop.time()
        if not self._kept and now - self._echoed_at >= APART_S:
            self._put(data)
            return
        self._kept.append(data)
        if len(self._kept) > MAX_KEPT:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(APART_S, self._on_time)

    def flush(self) -> None:
        """Write all that is kept back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            self._put(self._kept.popleft())

    def forget(self) -> None:
        """Drop all that is kept back, because the stream is gone."""
        self._kept.clear()
        self.flush()

    def _on_time(self) -> None:
        self._timer = None
        self._put(self._kept.popleft())
        if self._kept:
            self._timer = self._loop.call_later(APART_S, self._on_time)
