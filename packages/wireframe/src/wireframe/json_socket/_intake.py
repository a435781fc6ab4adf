"""The server's side: many connections, one message at a time.

Wanted: one slow, silent, broken or hostile peer costs itself only; messages
are taken in the order of the connections, as far as they are complete; memory
does not depend on how many peers announce how much.

Strategy: `take` runs rounds of one `select` each. Connections are accepted as
they come and read at once; each holds at most one complete message and is not
read while it does. A frame beyond 64 KiB is read only when it fits into a
budget of one largest frame that all such frames share. Deadlines are looked at
after reading, and the time a server spends elsewhere counts for nobody.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from wireframe._decoder import NEED_DATA
from wireframe.json_socket._address import peer_name, tune
from wireframe.json_socket._errors import BrokenConnection, SocketClosed
from wireframe.json_socket._guest import SMALL_FRAME, Guest
from wireframe.lenjson import HEADER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Network, IPv6Network

    from wireframe.json_socket._drops import Drops
    from wireframe.lenjson import Decoder

#: Seconds without accepting after accepting failed, mostly for want of
#: descriptors. The waiting connection would wake every round meanwhile.
ACCEPT_PAUSE: Final = 0.1

_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class Intake:
    """Accepts, assembles and hands over; answers are posted back through it.

    One thread at a time may be inside, from `enter` to `leave`; `stop` and
    `release` may be called by any thread at any time.
    """

    def __init__(
        self,
        listener: socket.socket,
        decoder: Callable[[], Decoder],
        drops: Drops,
        *,
        max_size: int,
        header_timeout: float,
        frame_timeout: float,
        max_connections: int,
        allow: tuple[IPv4Network | IPv6Network, ...] | None,
    ) -> None:
        self._listener = listener
        self._decoder = decoder
        self._drops = drops
        self._budget = max_size + HEADER_LENGTH
        self._header_timeout = header_timeout
        self._frame_timeout = frame_timeout
        self._max_connections = max_connections
        self._allow = allow
        self._guests: dict[Guest, None] = {}  # in the order in which they are served
        self._current: Guest | None = None
        self._failures: list[Exception] = []
        self._accept_from = -math.inf
        self._accepting = False
        self._left_at = time.monotonic()
        self._stopped = False
        self._busy = threading.Lock()
        self._owner: int | None = None
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, _READ)

    # Who may be inside.

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the intake for this thread.

        Raises
        ------
        RuntimeError
            Another thread is inside.
        SocketClosed
            The server was shut down, before or meanwhile.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("another thread is receiving from this server")
        self._owner = threading.get_ident()
        try:
            self._check()
            away = time.monotonic() - self._left_at
            for guest in self._guests:
                guest.since += away
            yield
        finally:
            self._left_at = time.monotonic()
            if self._stopped:
                self.close()
            self._owner = None
            self._busy.release()

    def _check(self) -> None:
        if self._stopped or self._listener.fileno() < 0:
            raise SocketClosed("the server was shut down")

    def stop(self, patience: float) -> None:
        """Close everything; who is inside wakes, closes and raises `SocketClosed`.

        Returns when that has happened, or after `patience` seconds.
        """
        self._stopped = True
        if self._owner == threading.get_ident():
            return  # from a handler, or a signal: this very thread will close
        self._wake()
        if self._busy.acquire(timeout=patience):
            self.close()
            self._busy.release()

    def release(self, guest: Guest) -> None:
        """Close one connection for good."""
        if self._owner == threading.get_ident():
            self._discard(guest)
        elif self._busy.acquire(blocking=False):
            self._discard(guest)
            self._busy.release()
        else:  # the thread inside finds it closed and takes it out
            guest.closed = True
            guest.wake()
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._waker.send(b"\\0")

    def close(self) -> None:
        """Close every descriptor and touch nothing else: a forked child may do it, too."""
        self._selector.close()
        for one in (self._listener, self._waker, self._woken):
            one.close()
        for guest in self._guests:
            guest.close()
        self._guests.clear()

    # Taking messages and posting answers; only for who is inside.

    def take(self, deadline: float, *, keep: bool, strict: bool) -> tuple[Guest, Any]:
        """Return the next message and the connection it came on.

        Parameters
        ----------
        deadline : float
            On the monotonic clock. What is there already is taken in any case.
        keep : bool
            Keep the connection of the previous message when another one's
            message is taken. Otherwise it is closed as the original does, if
            nothing is under way on it.
        strict : bool
            Raise what a peer did wrong, after dropping it.

        Raises
        ------
        TimeoutError
            No message was complete in time. What arrived is kept.
        SocketClosed
            The server was shut down.
        Exception
            In strict mode, why a peer was dropped.
        """
        previous = self._current
        if previous is not None and previous in self._guests and previous.message is NEED_DATA:
            self._advance(previous)  # a second message may have come with the first
        wait = 0.0
        while True:
            self._round(wait)
            if strict and self._failures:
                raise self._failures.pop(0)
            self._failures.clear()
            guest = next((one for one in self._guests if one.message is not NEED_DATA), None)
            if guest is not None:
                break
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError(f"no message in time, {len(self._guests)} connections are open")
            wait = max(0.0, min(deadline, self._next_due()) - now)
        if previous is not None and previous is not guest and previous.idle and not keep:
            self._discard(previous)
        message, guest.message = guest.message, NEED_DATA
        guest.served += 1
        # Its next message queues up behind those of the others.
        del self._guests[guest]
        self._guests[guest] = None
        self._give_back(guest)
        self._current = guest
        return guest, message

    def post(self, guest: Guest, frame: bytes) -> None:
        """Send without waiting; the rounds of `take` and `flush` send the rest."""
        guest.outgoing = memoryview(frame)
        self._write(guest)

    def flush(self) -> None:
        """Send what was posted; who does not read loses its connection in time."""
        wait = 0.0
        while any(guest.outgoing for guest in self._guests):
            self._round(wait)
            wait = max(0.0, self._next_due() - time.monotonic())

    # One round.

    def _round(self, wait: float) -> None:
        now = time.monotonic()
        self._watch_listener(now)
        for guest in self._guests:
            self._watch(guest)
        for key, events in self._selector.select(None if wait == math.inf else wait):
            if key.fileobj is self._listener:
                self._accept()
            elif key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            elif key.data in self._guests:  # not dropped earlier in this round
                self._serve(key.data, events)
        self._check()
        now = time.monotonic()
        for guest in [*self._guests]:
            if guest.closed:
                self._discard(guest)
            elif guest.due(self._header_timeout, self._frame_timeout) <= now:
                self._drop(guest, self._too_late(guest))

    def _serve(self, guest: Guest, events: int) -> None:
        if events & _WRITE:
            self._write(guest)
        else:
            self._read(guest)

    def _next_due(self) -> float:
        due = min(
            (one.due(self._header_timeout, self._frame_timeout) for one in self._guests), default=math.inf
        )
        return due if self._accepting else min(due, max(self._accept_from, 0.0))

    def _watch(self, guest: Guest) -> None:
        interest = _WRITE if guest.outgoing else _READ if guest.wants_to_read else 0
        if interest == guest.interest:
            return
        if not interest:
            self._selector.unregister(guest.socket)
        elif guest.interest:
            self._selector.modify(guest.socket, interest, guest)
        else:
            self._selector.register(guest.socket, interest, guest)
        guest.interest = interest

    def _watch_listener(self, now: float) -> None:
        accepting = now >= self._accept_from and (
            len(self._guests) < self._max_connections or self._dispensable() is not None
        )
        if accepting and not self._accepting:
            self._selector.register(self._listener, _READ)
        elif self._accepting and not accepting:
            self._selector.unregister(self._listener)
        self._accepting = accepting
