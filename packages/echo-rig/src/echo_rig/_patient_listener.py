"""A listener of asyncio that accepts again soon after descriptors were short.

asyncio waits a second after each attempt that fails, which makes newcomers wait for several when many are in
line. Here each attempt is a tenth of a second after the one before, and the log tells of the shortage once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds until the next attempt when no connection can be accepted.
ACCEPT_AGAIN_S: Final = 0.1
#: What a system says that is short of descriptors or memory.
SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class PatientListener(socket.socket):
    """A listening socket to hand to `loop.create_server` of a loop with a selector; made by `of`.

    The loop accepts from it until that fails for want of descriptors. From then
    on the listener has the loop call itself instead.
    """

    _event_loop: asyncio.AbstractEventLoop
    _factory: Callable[[], asyncio.Protocol]
    _tell: Callable[[OSError], object]
    _options: dict[str, Any]
    _tasks: set[asyncio.Task[Any]]
    _again: asyncio.TimerHandle | None = None

    @classmethod
    def of(
        cls,
        original: Any,
        factory: Callable[[], asyncio.Protocol],
        tell: Callable[[OSError], object],
        options: dict[str, Any],
    ) -> PatientListener:
        """Return a listener at the address of another one, which may then be closed.

        Parameters
        ----------
        original : socket-like
            What to listen with; it is duplicated.
        factory : callable
            Makes the protocol object of each connection.
        tell : callable
            ``tell(error)`` is called with each shortage.
        options : dict
            For `loop.connect_accepted_socket`.
        """
        listener = cls(fileno=original.dup().detach())
        listener._event_loop = asyncio.get_running_loop()
        listener._factory = factory
        listener._tell = tell
        listener._options = options
        listener._tasks = set()
        return listener

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; a shortage looks as if nobody were there, and is waited for."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in SHORT:
                raise
            self._tell(error)
            # It would be ready, and fail, all the time.
            self._event_loop.remove_reader(self.fileno())
            self._again = self._event_loop.call_later(ACCEPT_AGAIN_S, self._watch)
            raise BlockingIOError(errno.EAGAIN, "no descriptors") from error

    def close(self) -> None:
        """Close it; connections that were accepted stay."""
        if self._again is not None:
            self._again.cancel()
        super().close()

    def _watch(self) -> None:
        self._event_loop.add_reader(self.fileno(), self._accept_one)

    def _accept_one(self) -> None:
        try:
            connection, _ = self.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # it has gone again, or there is a shortage
        connection.setblocking(False)
        task = self._event_loop.create_task(self._connect(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._event_loop.connect_accepted_socket(self._factory, connection, **self._options)
        except OSError:
            connection.close()  # it was gone before its transport was made
