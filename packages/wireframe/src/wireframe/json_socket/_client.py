"""The client's side: one connection per message, or one for all."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from wireframe._decoder import NEED_DATA
from wireframe.errors import FrameError
from wireframe.json_socket._address import connect
from wireframe.json_socket._errors import BrokenConnection, SocketClosed
from wireframe.json_socket._link import Link

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from wireframe.lenjson import Decoder


class Client:
    """Opens connections, and knows all that are open.

    Attributes
    ----------
    last : socket.socket or None
        The last connection opened.
    """

    def __init__(self, decoder: Callable[[], Decoder], frame_timeout: float, *, persistent: bool) -> None:
        self.last: socket.socket | None = None
        self._decoder = decoder
        self._frame_timeout = frame_timeout
        self._persistent = persistent
        self._closed = False
        self._link: Link | None = None  # the conversation of send and receive
        self._links: set[Link] = set()
        self._guard = threading.RLock()  # a signal may call `close` while this thread holds it
        self._busy = threading.Lock()

    def send(self, host: str, port: int, frame: bytes) -> None:
        """Write a frame on a new connection, or on the kept one."""
        link = self._link
        if link is not None and not (self._persistent and link.is_alive()):
            self._end(link)
        deadline = time.monotonic() + self._frame_timeout
        link = self._link or self._open(host, port, deadline)
        self._link = link
        try:
            link.send(frame, deadline)
        except BaseException:
            self._end(link)
            raise

    def receive(self, deadline: float) -> Any:
        """Read a frame from the connection `send` opened."""
        link = self._link
        if link is None:
            raise BrokenConnection("no connection is open, send something first")
        try:
            return link.receive(deadline, self._frame_timeout)
        except TimeoutError:
            # On a kept connection the late reply would answer the next message.
            if self._persistent:
                self._end(link)
            raise
        except (FrameError, ConnectionError):
            self._end(link)
            raise

    def command(self, host: str, port: int, frame: bytes, deadline: float) -> Any:
        """Write a frame and read one, on a connection of its own or the kept one."""
        if not self._persistent:  # commands on connections of their own need no queue
            return self._exchange_one(host, port, frame, deadline)
        if not self._busy.acquire(blocking=False):
            self._queue_up(deadline)
        try:
            return self._exchange_one(host, port, frame, deadline)
        finally:
            self._busy.release()

    def _queue_up(self, deadline: float) -> None:
        """Keep commands on one kept connection apart."""
        patience = deadline - time.monotonic()
        if not self._busy.acquire(timeout=min(max(patience, 0.0), threading.TIMEOUT_MAX)):
            raise TimeoutError("other commands kept the connection busy for too long")

    def _exchange_one(self, host: str, port: int, frame: bytes, deadline: float) -> Any:
        limit = min(deadline, time.monotonic() + self._frame_timeout)
        link = self._link
        if link is not None:
            if self._persistent and not link.outstanding:
                reply = self._ask(link, frame, limit, deadline, is_kept=True)
                if reply is not NEED_DATA:
                    return reply
            self._end(link)
        link = self._open(host, port, limit)
        reply = self._ask(link, frame, limit, deadline, is_kept=False)
        if self._persistent:
            self._link = link
        else:
            self._end(link)
        return reply

    def _ask(self, link: Link, frame: bytes, limit: float, deadline: float, *, is_kept: bool) -> Any:
        try:
            return link.ask(frame, limit, deadline, self._frame_timeout, is_kept=is_kept)
        except BaseException:
            self._end(link)
            raise

    def _open(self, host: str, port: int, deadline: float) -> Link:
        self._check()
        sock, peer = connect(host, port, deadline)
        link = Link(sock, self._decoder(), peer)
        with self._guard:
            self._links.add(link)
            self.last = sock
        try:
            self._check()  # closed meanwhile: who closed may not have seen this one
        except SocketClosed:
            self._end(link)
            raise
        return link

    def _check(self) -> None:
        if self._closed:
            raise SocketClosed("this client was shut down")

    def _end(self, link: Link) -> None:
        with self._guard:
            self._links.discard(link)
            if self._link is link:
                self._link = None
        link.close()

    def close(self) -> None:
        """Close what is open and wake who waits on it."""
        with self._guard:
            links = [*self._links]
            self._links.clear()
            self._link = self.last = None
        for link in links:
            link.close()

    def shutdown(self) -> None:
        """Close, and open nothing any more."""
        self._closed = True
        self.close()
