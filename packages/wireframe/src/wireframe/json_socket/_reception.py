"""Many connections and one thread: who comes, speaks, listens, goes or is sent away.

Wanted: one slow, silent, broken or hostile peer costs itself only; memory does
not depend on how many peers announce how much; a message costs the same however
many connections are silent.

Strategy: `wait` polls all sockets once. Connections are accepted as they come
and read at once; each holds at most one complete message and is not read while
it does. Of the frames beyond 64 KiB the oldest is always read; all others share
a budget of one largest frame by what arrived of them, and are not read while it
is used up. Deadlines are looked at after reading, and only when the first of
them can have passed; the time a server spends elsewhere counts for nobody.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

from wireframe._decoder import NEED_DATA
from wireframe.errors import FrameError
from wireframe.json_socket._budget import Budget
from wireframe.json_socket._clock import Clock
from wireframe.json_socket._errors import BrokenConnection
from wireframe.json_socket._guest import Guest
from wireframe.json_socket._link import READ_LARGE, READ_SMALL
from wireframe.json_socket._poll import AT_ONCE, READ, WRITE
from wireframe.json_socket._room import Room
from wireframe.json_socket._watch import Watch
from wireframe.lenjson import HEADER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from wireframe.json_socket._door import Door
    from wireframe.json_socket._drops import Drops
    from wireframe.json_socket._gate import Gate
    from wireframe.lenjson import Decoder

#: Seconds. More than some systems can wait for at once is cut; waking is harmless.
LONGEST_WAIT: Final = 3600.0


class Reception:
    """Accepts, reads and writes; only for who is inside the gate.

    Attributes
    ----------
    clock : Clock
    room : Room
        Whoever is connected.
    failures : list of Exception
        Why peers were dropped, for who wants to know; who does not, empties it.
    """

    def __init__(
        self,
        gate: Gate,
        door: Door,
        decoder: Callable[[], Decoder],
        drops: Drops,
        *,
        max_size: int,
        header_timeout: float,
        frame_timeout: float,
        max_connections: int,
    ) -> None:
        self.clock = Clock()
        self.room = Room(max_connections, header_timeout=header_timeout, frame_timeout=frame_timeout)
        self.failures: list[Exception] = []
        self._gate = gate
        self._door = door
        self._decoder = decoder
        self._drops = drops
        self._budget = Budget(max_size + HEADER_LENGTH, self.clock)
        self._watch = Watch(gate.bell)
        self.watch_afresh()

    def watch_afresh(self) -> None:
        """Set right what an interrupt may have left half changed."""
        self._watch.afresh(self._door, self.room)
        self.room.finished.clear()
        for guest in self.room:
            guest.rest = guest.decoder.buffered
            if guest.message is not NEED_DATA:
                self.room.finished[guest] = None
        # Guests that may have to be watched for something else than they are, besides those whose
        # message is complete and those with long frames.
        self._changed = [*self.room]
        # Nobody is late before this time of the clock.
        self._due = -math.inf

    def check(self) -> None:
        """Raise `SocketClosed` if the server was shut down."""
        if self._gate.stopped or self._door.listener.fileno() < 0:
            self._gate.check()
            self._door.check()

    def wait(self, deadline: float) -> None:
        """Wait until something happens or somebody is late, and deal with it.

        Parameters
        ----------
        deadline : float
            On the monotonic clock. What is there already is dealt with in any case.
        """
        if not self._is_calm():
            self._watch_all()
        is_rung = False
        for number, _ in self._watch.wait(self._seconds(deadline)):
            guest = self._watch.guests.get(number)
            if guest is not None:  # not dropped earlier in this round
                if guest.interest == WRITE:
                    self.write(guest)
                elif not guest.held:  # by another's read in this round
                    self._read(guest)
            elif number == self._watch.bell:
                self._gate.answer()
                is_rung = True
            elif number == self._door.listener.fileno():
                self._accept()
        self.check()
        if is_rung or (self._due < math.inf and self.clock.now() >= self._due):
            self._send_away()

    def hear_again(self, guest: Guest, deadline: float) -> Any:
        """Wait as `wait` does, but for one message of one guest who was served before.

        A conversation is such messages, one after the other: without looking
        for what may happen besides, each takes 1 of 14 microseconds less.

        Returns
        -------
        JSON value or NEED_DATA
            If anything else is to be done, or happened, `wait` is to deal with
            it, and finds again what was not dealt with here.
        """
        if guest.interest != READ or self.failures or not self._is_calm():
            return NEED_DATA
        seconds = LONGEST_WAIT if self._due == deadline == math.inf else self._seconds(deadline)
        if not seconds or self._watch.wait(seconds) != [(guest.number, READ)]:
            return NEED_DATA
        self._read(guest)
        return NEED_DATA if guest.message is NEED_DATA else self.room.take(guest)

    def _is_calm(self) -> bool:
        """Whether everything is watched as it should be."""
        return not (self._changed or self.room.finished or self._budget.long) and self._door.steady

    def _seconds(self, deadline: float) -> float:
        """How long to wait, until somebody is late at the latest."""
        limit = min(deadline, self._due + self.clock.away)
        if limit == math.inf and self._door.steady:
            return LONGEST_WAIT
        now = time.monotonic()
        if self._door.closed_until > now:
            limit = min(limit, self._door.closed_until)
        return min(max(limit - now, 0.0), LONGEST_WAIT)

    def _send_away(self) -> None:
        for guest in self.room.leaving(self.clock.now()):
            if guest.closed:
                self.discard(guest)
            else:
                self._drop(guest, TimeoutError(guest.lateness()))
        self._due = self.room.next_due(self.clock.now())

    # What is watched.

    def _watch_all(self) -> None:
        if not self._door.steady:
            now = self.clock.now()
            self._watch.see_to(self._door, room=self.room.has_place(now))
            if self.room.is_full:  # who may come in, and when, is to be asked each time
                self._door.steady = False
                self._due = min(self._due, self.room.next_due(now))
        for guest in self.room.finished:
            if guest.interest == READ:
                self._watch.see(guest, 0)
        for guest in (*self._changed, *self._budget.long):
            if guest in self.room.guests:
                self._watch.see(guest, WRITE if guest.outgoing else READ if guest.wants_to_read else 0)
                self._due = min(self._due, self.room.due(guest))
        self._changed.clear()

    # Coming, speaking, listening.

    def _accept(self) -> None:
        for _ in range(self.room.places):
            full = self.room.is_full
            victim = self.room.dispensable(self.clock.now()) if full else None
            accepted = None if full and victim is None else self._door.accept()
            if accepted is None:
                return
            if victim is not None:
                self._give_way(victim)
            guest = Guest(accepted[0], self._decoder(), accepted[1], self.clock.now())
            self.room.enter(guest)
            if self.room.is_full:
                self._door.steady = False
            self._read(guest)  # what came with a connection keeps the order of connections
            if guest.message is NEED_DATA:
                self._changed.append(guest)
            if not self._door.is_knocked_at():
                return

    def _give_way(self, guest: Guest) -> None:
        if guest.served:  # no fault of its own
            self.discard(guest)
        else:
            text = f"{guest.peer} was silent and gave way, the limit is {self.room.places} connections"
            self._drop(guest, BrokenConnection(text, guest.peer))

    def regain(self, guest: Guest) -> None:
        """Take a connection back from the caller; a second message may have come with the first."""
        if guest.socket.fileno() < 0:
            self._drop(guest, guest.broken(ConnectionAbortedError("somebody closed the socket")))
        elif guest.rest:
            self._judge(guest)
        elif not guest.interest:  # the message was complete for so long that it was not watched any more
            self._changed.append(guest)

    def _read(self, guest: Guest) -> None:
        held = guest.rest
        size = READ_LARGE if held and guest.decoder.needed > READ_SMALL else READ_SMALL
        try:
            piece = guest.socket.recv(size, AT_ONCE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(guest, error)
            return
        if piece:
            guest.decoder.feed(piece)
        elif guest.served and not held:  # this is how conversations end
            self.discard(guest)
            return
        else:
            guest.decoder.feed_eof()
        guest.rest = held + len(piece)
        self._judge(guest, is_fresh=not held, ended=not piece)

    def _judge(self, guest: Guest, *, is_fresh: bool = False, ended: bool = False) -> None:
        """Look what a guest has said so far."""
        try:
            message = guest.decoder.next_event()
        except FrameError as error:
            self._drop(guest, guest.explained(error), guest.rest)
            return
        arrived = guest.rest
        if message is not NEED_DATA:
            guest.message = message
            guest.rest = guest.decoder.buffered
            self.room.finished[guest] = None
            if guest in self._budget.long:  # counts until it is served
                self._budget.charge(guest, arrived, 0)
        elif not ended:
            if is_fresh and guest.served:
                guest.since = self.clock.now()
            self._changed.append(guest)
            self._budget.charge(guest, arrived, guest.frame_size)
        elif guest.served:
            self.discard(guest)
        else:
            text = f"{guest.peer} closed the connection without a message"
            self._drop(guest, BrokenConnection(text, guest.peer))

    def take(self, guest: Guest) -> Any:
        """Take the message of a guest."""
        if guest in self._budget.long:
            self._budget.give_back(guest)
        return self.room.take(guest)

    def write(self, guest: Guest) -> None:
        """Send of what is to be sent as much as goes without waiting."""
        try:
            sent = guest.put(guest.outgoing)
        except OSError as error:
            guest.outgoing = memoryview(b"")
            self._drop(guest, guest.broken(error))
            return
        guest.outgoing = guest.outgoing[sent:]
        if guest.outgoing or guest.interest != READ:
            self._changed.append(guest)
        if not guest.outgoing:
            guest.since = self.clock.now()

    # Ends.

    def _lost(self, guest: Guest, error: OSError) -> None:
        if guest.served and guest.idle:  # many clients end this way
            self.discard(guest)
        else:
            self._drop(guest, guest.broken(error))

    def _drop(self, guest: Guest, error: Exception, received: int = 0) -> None:
        if not guest.closed:
            self._drops.add(guest.peer, error, received or guest.decoder.buffered)
            self.failures.append(error)
        self.discard(guest)

    def discard(self, guest: Guest) -> None:
        """Let a guest go, and close the connection."""
        self._watch.forget(guest)
        self.room.leave(guest)
        self._budget.give_back(guest)
        guest.close()

    def close(self) -> None:
        """Close every descriptor and touch nothing else: a forked child may do it, too."""
        self._watch.close()
        self._door.listener.close()
        self._gate.close()
        for guest in [*self.room]:
            guest.interest = 0
            guest.close()
            self.room.leave(guest)
