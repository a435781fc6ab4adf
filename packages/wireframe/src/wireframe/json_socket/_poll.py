"""Waiting for sockets, with as few calls as the system allows."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: What to wait for; the bits of epoll.
READ: Final = 1
WRITE: Final = 4

#: Has `send` and `recv` return at once whatever the mode of the socket: nobody has to tell the system how
#: long to wait before each of them, which is a call of its own, and then one more to wait. Without it, on
#: Windows, sockets are non-blocking.
AT_ONCE: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)


class Poll(Protocol):
    """As much of `select.epoll` as is needed here."""

    def register(self, thing: int | socket.socket, event: int, /) -> None:
        """Watch a descriptor, or a socket, for READ or WRITE."""

    def modify(self, number: int, event: int, /) -> None:
        """Watch it for something else."""

    def unregister(self, thing: int | socket.socket, /) -> None:
        """Watch it no more."""

    def poll(self, seconds: float, most: int, /) -> list[tuple[int, int]]:
        """Return descriptors and what they are ready for; what is not returned now is so next time."""

    def close(self) -> None:
        """Give the descriptor back, if it is one."""


class SelectorPoll:
    """The same by `selectors`, for systems without epoll; takes 1 microsecond more."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.close = self._selector.close

    def register(self, thing: int | socket.socket, event: int, /) -> None:
        """Watch a descriptor, or a socket, for READ or WRITE."""
        self._selector.register(thing, _of_selectors(event))

    def modify(self, number: int, event: int, /) -> None:
        """Watch it for something else."""
        self._selector.modify(number, _of_selectors(event))

    def unregister(self, thing: int | socket.socket, /) -> None:
        """Watch it no more."""
        self._selector.unregister(thing)

    def poll(self, seconds: float, _most: int, /) -> list[tuple[int, int]]:
        """Return descriptors and what they are ready for."""
        return [
            (key.fd, READ if events == selectors.EVENT_READ else WRITE)
            for key, events in self._selector.select(seconds)
        ]


def _of_selectors(event: int) -> int:
    return selectors.EVENT_READ if event == READ else selectors.EVENT_WRITE


new_poll: Final[Callable[[], Poll]] = getattr(select, "epoll", SelectorPoll)


def is_ready(sock: socket.socket, event: int, seconds: float | None) -> bool:
    """Wait for one socket; an error or the end is something to read, or to write, too.

    Parameters
    ----------
    sock : socket.socket
    event : {READ, WRITE}
    seconds : float, optional
        Never cut short by a signal. None waits for ever.

    Raises
    ------
    OSError
        The socket is closed.
    """
    number = sock.fileno()
    if number < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if hasattr(select, "poll"):  # a list in this process, which costs no descriptor and has no largest one
        poll = select.poll()
        poll.register(number, event)
        return bool(poll.poll(None if seconds is None else seconds * 1000))
    with selectors.SelectSelector() as selector:
        selector.register(number, _of_selectors(event))
        return bool(selector.select(seconds))
