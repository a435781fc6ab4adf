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
            self.socket.settimeout(remaining(deadline))
            self.socket.sendall(frame)
            self.outstanding += 1
        except OSError as error:
            if isinstance(error, TimeoutError) and not self.closed:
                raise TimeoutError(f"{self.peer} did not take {len(frame)} bytes in time") from error
            raise self.broken(error) from error
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
            first = True
            while True:
                try:
                    event = self.decoder.next_event()
                except TruncatedFrame as error:
                    if self.closed:
                        raise SocketClosed(f"the connection to {self.peer} was closed", self.peer) from error
                    raise cut_short(self.peer, error) from error
                except FrameError as error:
                    error.add_note(f"received from {self.peer}")
                    raise
                if event is not NEED_DATA:
                    self._started = math.inf
                    self.outstanding -= 1
                    return event
                self._wait(deadline, frame_timeout, first=first)
                first = False
        finally:
            self._leave()

    def _wait(self, deadline: float, frame_timeout: float, *, first: bool) -> None:
        """Read once; `receive` asks the decoder afterwards.

        The first time it reads even if it is too late to wait.
        """
        held = self.decoder.buffered
        now = time.monotonic()
        if not held:
            self._started = math.inf
        elif self._started == math.inf:
            self._started = now
        limit = min(deadline, self._started + frame_timeout)
        if now > limit and not first:
            raise TimeoutError(f"no whole frame from {self.peer} in time, {held} bytes of it arrived")
        try:
            self.socket.settimeout(remaining(limit))
            piece = self.read()
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                return  # not the system's: the clock decides, above, next time
            raise self.broken(error) from error
        if not piece and not held:
            raise self.broken(ConnectionResetError("closed by the peer, nothing more was sent"))

    def read(self) -> int:
        """Read what is there, feed it, and return the number of bytes; 0 is the end."""
        size = READ_LARGE if self.decoder.needed > READ_SMALL else READ_SMALL
        piece = self.socket.recv(size)
        if piece:
            self.decoder.feed(piece)
        else:
            self.decoder.feed_eof()
        return len(piece)

    def state(self) -> str:
        """Look, without waiting, whether something came: "quiet", "data" or "gone"."""
        if self.closed or self.pid != os.getpid():
            return "gone"
        if self.decoder.buffered:
            return "data"
        try:
            self.socket.setblocking(False)
            piece = self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return "quiet"
        except OSError:
            return "gone"
        return "data" if piece else "gone"
