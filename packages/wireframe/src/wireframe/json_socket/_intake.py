"""The messages of a server: who may take them, in which order, and how answers go back.

Wanted: messages are taken in the order of the connections, as far as they are
complete; an interrupt between any two steps leaves the server usable.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from wireframe._decoder import NEED_DATA
from wireframe.json_socket._gate import Gate
from wireframe.json_socket._poll import READ
from wireframe.json_socket._reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wireframe.json_socket._door import Door
    from wireframe.json_socket._drops import Drops
    from wireframe.json_socket._guest import Guest
    from wireframe.lenjson import Decoder


class Intake:
    """Hands messages over; answers are posted back through it.

    One thread at a time may be inside, see `receive` and `entered`; `stop` and
    `release` may be called by any thread at any time.
    """

    def __init__(self, door: Door, decoder: Callable[[], Decoder], drops: Drops, **limits: Any) -> None:
        self.gate = Gate()
        self._reception = Reception(self.gate, door, decoder, drops, **limits)
        self._room = self._reception.room
        self._clock = self._reception.clock
        self._current: Guest | None = None
        self._was_taken = False  # its message was, and nobody has waited since
        self._torn = False  # somebody came out by an exception, or is inside

    def stop(self, patience: float) -> None:
        """Close everything; who is inside wakes, closes and raises `SocketClosed`.

        Returns when that has happened, or after `patience` seconds.
        """
        self.gate.stop(self.close, patience)

    def release(self, guest: Guest) -> None:
        """Close one connection for good."""
        with self.gate.alone() as alone:
            if alone:
                self._reception.discard(guest)
            else:  # who is inside finds it closed and takes it out
                guest.closed = True
                guest.wake()
                self.gate.ring()

    def close(self) -> None:
        """Close every descriptor and touch nothing else: a forked child may do it, too."""
        self._reception.close()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be the one thread that takes and posts.

        Raises
        ------
        RuntimeError
            Another thread is inside.
        SocketClosed
            The server was shut down, before or meanwhile.
        """
        before = None
        try:
            before = self.gate.enter()
            self._begin()
            yield
            self._torn = False
        finally:
            self.gate.leave(before, self.close)

    def receive(self, deadline: float, *, keep: bool, strict: bool) -> tuple[Guest, Any]:
        """Be the one thread that takes, for one message; see `entered` and `take`."""
        # Not by `entered`, because a generator takes 1.5 microseconds for what this does in half of one.
        before = None
        try:
            before = self.gate.enter()
            self._begin()
            taken = self.take(deadline, keep=keep, strict=strict)
            self._torn = False
        finally:
            self.gate.leave(before, self.close)
        return taken

    def _begin(self) -> None:
        self._reception.check()
        if self._torn:
            self._reception.watch_afresh()
        self._torn = True

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
        FrameError, OSError
            In strict mode: why a peer was dropped.
        """
        now = self._clock.catch_up()
        previous = self._current
        try:
            if previous is not None and previous.message is NEED_DATA and previous in self._room.guests:
                if self._was_taken:  # only once: a server that waits in small steps does not save who is late
                    previous.since = now
                    self._was_taken = False
                if previous.rest or previous.interest != READ or previous.socket.fileno() < 0:
                    self._reception.regain(previous)
                message = self._reception.hear_again(previous, deadline)
                if message is not NEED_DATA:
                    self._was_taken = True
                    return previous, message
            guest = self._next(deadline, strict=strict)
        finally:
            self._clock.left_at = time.monotonic()
        # It may be gone: most clients close as soon as they have their reply.
        if previous in self._room.guests and previous is not guest and previous.idle and not keep:
            self._reception.discard(previous)
        self._current = guest
        self._was_taken = True
        return guest, self._reception.take(guest)

    def _next(self, deadline: float, *, strict: bool) -> Guest:
        reception, room = self._reception, self._room
        while True:
            is_something_here = reception.failures or (room.finished and room.ready() is not None)
            reception.wait(-math.inf if is_something_here else deadline)
            if strict and reception.failures:
                raise reception.failures.pop(0)
            reception.failures.clear()
            guest = room.ready()
            if guest is not None:
                return guest
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no message in time, {len(room.guests)} connections are open")

    def post(self, guest: Guest, frame: bytes) -> None:
        """Send without waiting; the rounds of `take` and `flush` send the rest."""
        self._clock.catch_up()
        if not guest.closed:
            guest.outgoing = memoryview(frame)
            self._reception.write(guest)

    def flush(self) -> None:
        """Send what was posted; who does not read loses its connection in time."""
        self._clock.catch_up()
        while any(guest.outgoing for guest in self._room):
            self._reception.wait(math.inf)
