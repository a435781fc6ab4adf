"""What a server reads and writes: many connections, one message at a time.

Wanted: one slow, silent, broken or hostile peer costs itself only; messages
are taken in the order of the connections, as far as they are complete; memory
does not depend on how many peers announce how much.

Strategy: `take` runs rounds of one `select` each. Connections are accepted as
they come and read at once; each holds at most one complete message and is not
read while it does. Of the frames beyond 64 KiB the oldest is always read; all
others share a budget of one largest frame by what arrived of them, and are not
read while it is used up. Deadlines are looked at after reading, and the time a
server spends elsewhere counts for nobody.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import time
from typing import TYPE_CHECKING, Any, Final

from wireframe._decoder import NEED_DATA
from wireframe.json_socket._budget import Budget
from wireframe.json_socket._errors import BrokenConnection
from wireframe.json_socket._gate import Gate
from wireframe.json_socket._guest import Guest
from wireframe.json_socket._room import Room
from wireframe.lenjson import HEADER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wireframe.json_socket._door import Door
    from wireframe.json_socket._drops import Drops
    from wireframe.lenjson import Decoder

#: Seconds. More than some systems can wait for at once is cut; waking is harmless.
LONGEST_WAIT: Final = 3600.0

_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class Intake:
    """Accepts, assembles and hands over; answers are posted back through it.

    One thread at a time may be inside, see `entered`; `stop` and `release` may
    be called by any thread at any time.
    """

    def __init__(
        self,
        door: Door,
        decoder: Callable[[], Decoder],
        drops: Drops,
        *,
        max_size: int,
        header_timeout: float,
        frame_timeout: float,
        max_connections: int,
    ) -> None:
        self._door = door
        self._decoder = decoder
        self._drops = drops
        self._budget = Budget(max_size + HEADER_LENGTH)
        self._room = Room(max_connections, header_timeout=header_timeout, frame_timeout=frame_timeout)
        self._current: Guest | None = None
        self._failures: list[Exception] = []
        self._left_at = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self.gate = Gate()
        self._selector.register(self.gate.bell, _READ)
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
                self._discard(guest)
            else:  # who is inside finds it closed and takes it out
                guest.closed = True
                guest.wake()
                self.gate.ring()

    def close(self) -> None:
        """Close every descriptor and touch nothing else: a forked child may do it, too."""
        self._selector.close()
        self._door.listener.close()
        self.gate.close()
        for guest in [*self._room]:
            guest.interest = 0
            guest.close()
            self._room.leave(guest)

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
        with self.gate.entered(self.close):
            self._check()
            if self._torn:
                self._watch_afresh()
            self._torn = True
            yield
            self._torn = False

    def _watch_afresh(self) -> None:
        """Forget what is watched, which an interrupt may have left half changed."""
        self._selector.close()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.gate.bell, _READ)
        self._door.watched = False
        for guest in self._room:
            guest.interest = 0

    def _check(self) -> None:
        self.gate.check()
        self._door.check()

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
        self._catch_up()
        previous = self._current
        if previous is not None and previous in self._room and previous.message is NEED_DATA:
            self._return(previous)
        try:
            guest = self._next(deadline, strict=strict)
        finally:
            self._left_at = time.monotonic()
        if previous is not None and previous is not guest and previous.idle and not keep:
            self._discard(previous)
        message, guest.message = guest.message, NEED_DATA
        guest.served += 1
        # Its next message queues up behind those of the others.
        self._room.leave(guest)
        self._room.enter(guest)
        self._budget.give_back(guest)
        self._current = guest
        return guest, message

    def _next(self, deadline: float, *, strict: bool) -> Guest:
        wait = 0.0
        while True:
            self._round(wait)
            if strict and self._failures:
                raise self._failures.pop(0)
            self._failures.clear()
            guest = self._room.ready()
            if guest is not None:
                return guest
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no message in time, {len(self._room)} connections are open")
            wait = self._wait(deadline)

    def _catch_up(self) -> None:
        """Shift all clocks by the time spent elsewhere: no peer could have been heard."""
        now = time.monotonic()
        self._room.shift(now - self._left_at)
        self._left_at = now

    def _return(self, guest: Guest) -> None:
        """Go on with a connection that was in the caller's hands."""
        if not self._regain(guest):
            return
        if guest.decoder.buffered:  # a second message may have come with the first
            self._advance(guest)

    def _regain(self, guest: Guest) -> bool:
        """Take a connection back from calls that wait; tells whether that worked."""
        guest.since = time.monotonic()
        try:
            guest.socket.setblocking(False)
        except OSError as error:
            self._drop(guest, guest.broken(error))
            return False
        return True

    def post(self, guest: Guest, frame: bytes) -> None:
        """Send without waiting; the rounds of `take` and `flush` send the rest."""
        self._catch_up()
        if not guest.closed and self._regain(guest):
            guest.outgoing = memoryview(frame)
            self._write(guest)

    def flush(self) -> None:
        """Send what was posted; who does not read loses its connection in time."""
        self._catch_up()
        wait = 0.0
        while any(guest.outgoing for guest in self._room):
            self._round(wait)
            wait = self._wait(math.inf)

    # One round.

    def _round(self, wait: float) -> None:
        self._check()
        self._door.watch(self._selector, room=self._room.has_place(time.monotonic()))
        for guest in self._room:
            self._watch(guest)
        for key, events in self._selector.select(min(wait, LONGEST_WAIT)):
            if key.fileobj is self._door.listener:
                self._accept()
            elif key.fileobj is self.gate.bell:
                self.gate.answer()
            elif key.data in self._room:  # not dropped earlier in this round
                if events & _WRITE:
                    self._write(key.data)
                elif not key.data.held:  # by another's read in this round
                    self._read(key.data)
        self._check()
        for guest in self._room.leaving(time.monotonic()):
            if guest.closed:
                self._discard(guest)
            else:
                self._drop(guest, TimeoutError(guest.lateness()))

    def _wait(self, deadline: float) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        deadline = min(deadline, self._room.next_due(now))
        if self._door.closed_until > now:
            deadline = min(deadline, self._door.closed_until)
        return max(0.0, deadline - now)

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

    def _accept(self) -> None:
        for _ in range(self._room.places):
            full = self._room.is_full
            victim = self._room.dispensable(time.monotonic()) if full else None
            accepted = None if full and victim is None else self._door.accept()
            if accepted is None:
                return
            if victim is not None:
                self._give_way(victim)
            guest = Guest(accepted[0], self._decoder(), accepted[1], time.monotonic())
            self._room.enter(guest)
            self._read(guest)  # what came with a connection keeps the order of connections

    def _give_way(self, guest: Guest) -> None:
        if guest.served:  # no fault of its own
            self._discard(guest)
        else:
            text = f"{guest.peer} was silent and gave way, the limit is {self._room.places} connections"
            self._drop(guest, BrokenConnection(text, guest.peer))

    def _read(self, guest: Guest) -> None:
        fresh = not guest.decoder.buffered
        try:
            got = guest.read()
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(guest, error)
            return
        if fresh and guest.served:
            guest.since = time.monotonic()
        self._advance(guest, ended=not got)

    def _advance(self, guest: Guest, *, ended: bool = False) -> None:
        held = guest.decoder.buffered
        failure = guest.advance(ended=ended)
        if failure is not None:
            self._drop(guest, failure, held)
        elif guest.message is not NEED_DATA:
            self._budget.charge(guest, held, 0)  # counts until it is served
        elif ended:
            self._discard(guest)
        else:
            self._budget.charge(guest, held, guest.frame_size)

    def _write(self, guest: Guest) -> None:
        try:
            sent = guest.socket.send(guest.outgoing)
        except BlockingIOError:
            return
        except OSError as error:
            guest.outgoing = memoryview(b"")
            self._drop(guest, guest.broken(error))
            return
        guest.outgoing = guest.outgoing[sent:]
        if not guest.outgoing:
            guest.since = time.monotonic()

    # Ends.

    def _lost(self, guest: Guest, error: OSError) -> None:
        if guest.served and guest.idle:  # many clients end this way
            self._discard(guest)
        else:
            self._drop(guest, guest.broken(error))

    def _drop(self, guest: Guest, error: Exception, received: int = 0) -> None:
        if not guest.closed:
            self._drops.add(guest.peer, error, received or guest.decoder.buffered)
            self._failures.append(error)
        self._discard(guest)

    def _discard(self, guest: Guest) -> None:
        if guest.interest:
            self._selector.unregister(guest.socket)
            guest.interest = 0
        self._room.leave(guest)
        self._budget.give_back(guest)
        guest.close()
