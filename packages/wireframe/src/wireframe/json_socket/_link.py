"""One TCP connection: frames out, values in, each under a deadline."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from wireframe._decoder import NEED_DATA
from wireframe.errors import FrameError, TruncatedFrame
from wireframe.json_socket._address import remaining
from wireframe.json_socket._errors import BrokenConnection, SocketClosed, cut_short
from wireframe.json_socket._poll import AT_ONCE, READ, WRITE, is_ready

if TYPE_CHECKING:
    from wireframe.lenjson import Decoder

#: Bytes of one read: small ones stay in the allocator's pools, large ones are
#: worth a mapping of their own.
READ_SMALL: Final = 64 << 10
READ_LARGE: Final = 256 << 10


class Link:
    """A connected socket, its decoder and its peer's name.

    `close` may be called by any thread: whoever waits in `send` or `receive`
    wakes with `SocketClosed`, and the descriptor is given back only when
    nobody uses it any more, so that no call ever meets a stranger's socket
    under the same number.

    Attributes
    ----------
    socket : socket.socket
    peer : str
    closed : bool
        `close` was called.
    outstanding : int
        Frames sent minus frames received.
    """

    __slots__ = ("_guard", "_started", "_users", "closed", "decoder", "outstanding", "peer", "pid", "socket")

    def __init__(self, sock: socket.socket, decoder: Decoder, peer: str) -> None:
        if not AT_ONCE:
            sock.setblocking(False)
        self.socket = sock
        self.decoder = decoder
        self.peer = peer
        self.closed = False
        self.outstanding = 0
        self.pid = os.getpid()
        self._guard = threading.RLock()  # a signal may call `close` while this thread holds it
        self._users = 0
        self._started = math.inf

    def _enter(self) -> None:
        with self._guard:
            if self.closed:
                raise SocketClosed(f"the connection to {self.peer} was closed", self.peer)
            if self.pid != os.getpid():
                raise SocketClosed(f"the connection to {self.peer} belongs to process {self.pid}", self.peer)
            self._users += 1

    def _leave(self) -> None:
        with self._guard:
            self._users -= 1
            if self.closed and not self._users:
                self.socket.close()

    def close(self) -> None:
        """Close the connection, at once or as soon as its last user is awake."""
        with self._guard:
            self.closed = True
            if self._users and self.pid == os.getpid():
                self.wake()
            else:
                self.socket.close()

    def wake(self) -> None:
        """End both directions, which wakes whoever waits on them."""
        with contextlib.suppress(OSError):  # the peer may have ended it before
            self.socket.shutdown(socket.SHUT_RDWR)

    def broken(self, error: OSError) -> BrokenConnection:
        """Say what an error of the system means for this connection."""
        if self.closed:
            return SocketClosed(f"the connection to {self.peer} was closed", self.peer)
        held = self.decoder.buffered
        return BrokenConnection(f"connection to {self.peer} broken: {error}", self.peer, held)

    def send(self, frame: bytes, deadline: float) -> None:
        """Write one frame.

        Raises
        ------
        TimeoutError
            The peer did not take the whole frame in time; part of it may be out.
        BrokenConnection
            The peer is gone, or this side closed the connection.
        """
        self._enter()
        try:
            self._put(frame, deadline)
        finally:
            self._leave()

    def receive(self, deadline: float, frame_timeout: float) -> Any:
        """Return the next value.

        Parameters
        ----------
        deadline : float
            On the monotonic clock, for the whole frame.
        frame_timeout : float
            Seconds from the first byte of a frame to its last.

        Raises
        ------
        TimeoutError
            One of the deadlines passed. What arrived is kept.
        BrokenConnection
            The peer is gone, or this side closed the connection.
        FrameError
            The peer sent something else.
        """
        self._enter()
        try:
            value = self._event()
            if value is NEED_DATA:
                self._read_by(deadline, frame_timeout, self.decoder.buffered, first=True)
                value = self._next(deadline, frame_timeout)
            return value
        finally:
            self._leave()

    def ask(self, frame: bytes, limit: float, deadline: float, frame_timeout: float, *, is_kept: bool) -> Any:
        """Write a frame, by `limit`, and return the next value; as `send` and `receive` do.

        If the connection is kept from before and not quiet, do nothing and
        return `NEED_DATA`.
        """
        try:
            self._enter()
        except SocketClosed:
            if is_kept:
                return NEED_DATA
            raise
        try:
            if is_kept and not self._is_quiet():
                return NEED_DATA
            self._put(frame, limit)
            self._read_by(deadline, frame_timeout, 0, first=True)
            value = self._event()
            if value is NEED_DATA:
                value = self._next(deadline, frame_timeout)
            return value
        finally:
            self._leave()

    def put(self, data: bytes | memoryview) -> int:
        """Write what the system takes at once, and return the number of bytes."""
        try:
            return self.socket.send(data, AT_ONCE)
        except BlockingIOError:
            return 0

    def _put(self, frame: bytes, deadline: float) -> None:
        try:
            try:
                sent = self.socket.send(frame, AT_ONCE)  # nearly always the whole frame
            except BlockingIOError:
                sent = 0
            if sent < len(frame):
                self._put_rest(memoryview(frame)[sent:], deadline)
        except OSError as error:
            if isinstance(error, TimeoutError) and not self.closed:
                raise TimeoutError(f"{self.peer} did not take {len(frame)} bytes in time") from error
            raise self.broken(error) from error
        self.outstanding += 1

    def _put_rest(self, rest: memoryview, deadline: float) -> None:
        while True:
            is_ready(self.socket, WRITE, remaining(deadline))
            rest = rest[self.put(rest) :]
            if not rest:
                return
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{len(rest)} bytes are left")

    def _next(self, deadline: float, frame_timeout: float) -> Any:
        """Read until there is a value."""
        while (value := self._event()) is NEED_DATA:
            self._read_by(deadline, frame_timeout, self.decoder.buffered, first=False)
        return value

    def _event(self) -> Any:
        try:
            value = self.decoder.next_event()
        except TruncatedFrame as error:
            if self.closed:
                raise SocketClosed(f"the connection to {self.peer} was closed", self.peer) from error
            raise cut_short(self.peer, error) from error
        except FrameError as error:
            error.add_note(f"received from {self.peer}")
            raise
        if value is not NEED_DATA:
            self._started = math.inf
            self.outstanding -= 1
        return value

    def _read_by(self, deadline: float, frame_timeout: float, held: int, *, first: bool) -> None:
        """Read once, if something comes in time.

        The first time it reads even if it is too late to wait.
        """
        limit = deadline
        if held:
            now = time.monotonic()
            self._started = min(self._started, now)
            limit = min(deadline, self._started + frame_timeout)
            late = now > limit
        else:
            self._started = math.inf
            late = deadline < math.inf and time.monotonic() > deadline
        if late and not first:
            raise TimeoutError(f"no whole frame from {self.peer} in time, {held} bytes of it arrived")
        try:
            # To wait for ever is what `recv` itself can do, unless somebody changed the mode of the socket.
            endless = limit == math.inf and self.socket.gettimeout() is None
            if not endless and not is_ready(self.socket, READ, remaining(limit)):
                return  # the clock decides, above, next time
            size = READ_LARGE if held and self.decoder.needed > READ_SMALL else READ_SMALL
            piece = self.socket.recv(size, 0 if endless else AT_ONCE)
        except BlockingIOError:  # nothing came after all
            return
        except OSError as error:
            raise self.broken(error) from error
        if piece:
            self.decoder.feed(piece)
            return
        self.decoder.feed_eof()
        if not held:
            raise self.broken(ConnectionResetError("closed by the peer, nothing more was sent"))

    def _is_quiet(self) -> bool:
        """Whether nothing came, no end either."""
        try:
            # 0.7 microseconds; `recv` would tell it by an exception, in 1.2.
            return not self.decoder.buffered and not is_ready(self.socket, READ, 0)
        except OSError:
            return False

    def is_alive(self) -> bool:
        """Look, without waiting, whether the peer may still be there."""
        if self.closed or self.pid != os.getpid():
            return False
        if self._is_quiet() or self.decoder.buffered:
            return True
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | AT_ONCE))
        except BlockingIOError:
            return True
        except OSError:
            return False
