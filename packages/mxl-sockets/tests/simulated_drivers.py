"""Drivers and connections without a network, for ``simulated_world.py``.

The drivers answer through the production `DriverProtocol`; their molecule is a
chain of numbers, so that no two histories lead to the same state.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field, fields

from mxl_sockets import _poll
from mxl_sockets._connection import NO_WAIT
from mxl_sockets._driver_protocol import DriverProtocol, End
from wireframe import NEED_DATA, ipi


@dataclass(frozen=True)
class Setup:
    """What may happen in a run."""

    molecules: int = 3
    steps: int = 2
    two_phase: bool = False
    resume: bool = False
    #: Replies are waited for in order where the hub wants it; else it is told at once
    #: that nothing has come, as on a system that cannot do that.
    ordered: bool = False
    #: Use the array API instead of the dict API.
    arrays: bool = False
    #: Drivers that may die, all together.
    deaths: int = 1
    #: When the replacement of a dead driver appears: it "waits" from the start,
    #: comes "later" than the hub has noticed the death, or at "any time" after it.
    replacement: str = "any time"
    #: Deadlines that may pass while there is still something to come.
    delays: int = 1
    #: Connections end with a reset, which destroys what the hub has not read.
    reset: bool = False
    #: Bytes come in pieces and peers read slowly.
    pieces: bool = False
    #: Unasked replies, all together.
    chatter: int = 0
    #: Some drivers hang instead of dying; the hub drops the silent.
    silence_timeout: float | None = None

    def __str__(self):
        changed = (one.name for one in fields(self) if getattr(self, one.name) != one.default)
        return f"Setup({', '.join(f'{name}={getattr(self, name)!r}' for name in changed)})"


@dataclass
class Life:
    """What one driver process went through."""

    inits: list = field(default_factory=list)  # (molecule, state)
    #: (step, molecules that had staged it by then)
    committed: list = field(default_factory=list)
    #: Steps whose reply the hub has read to its last byte.
    delivered: list = field(default_factory=list)
    fields: list = field(default_factory=list)
    unasked: int = 0
    alive: bool = True
    #: Commits and replies that belong to completed steps.
    judged: tuple = (0, 0)


@dataclass
class History:
    """What happened in a run."""

    lives: list = field(default_factory=list)
    #: For each step {molecule: (amplitude, extra)}.
    results: list = field(default_factory=list)
    finished: bool = False
    open_lines: int = 0


def next_state(state, step, molecule):
    """One step of the simulated molecule; no two histories lead to the same state."""
    return (state * 31 + step * 7 + molecule + 1) % 1_000_003


class Line:
    """The hub's end of a connection, as a socket, and what is under way on it."""

    def __init__(self, world, descriptor, room):
        self.world = world
        self.descriptor = descriptor
        self.room = room
        self.to_driver = bytearray()
        self.to_hub = bytearray()
        #: What the driver has read and not yet looked at.
        self.taken = bytearray()
        self.ended = False
        self.broken = False
        self.closed = False
        self.life = Life()
        #: (bytes the hub has to read, step) for each reply that was sent.
        self.replies = []
        self.bytes_read = 0
        self.bytes_sent = 0

    #: Nothing is told early here.
    family = socket.AF_UNIX

    def setsockopt(self, level, option, value):
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVTIMEO)

    def setblocking(self, flag):
        pass  # what waits tells its flags

    def fileno(self):
        return self.descriptor

    def send(self, data, flags):
        assert not self.closed
        assert flags == NO_WAIT
        if self.broken:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        if self.ended:
            return len(data)  # into the void, as TCP does until the reset comes back
        if self.world.setup.pieces and self.world.schedule.number(0, 1):
            # The peer reads whenever it likes: there may be room again, unannounced.
            self.taken += self.to_driver
            self.to_driver.clear()
        size = min(len(data), self.room - len(self.to_driver))
        if not size and len(data):
            raise BlockingIOError
        self.to_driver += data[:size]
        return size

    def recv_into(self, buffer, size=0, flags=0):
        assert not self.closed
        if flags != NO_WAIT and self.world.setup.ordered:
            self.world.wait_for(self)
        if self.broken:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        size = min(len(self.to_hub), len(buffer))
        if not size:
            if self.ended:
                return 0
            raise BlockingIOError
        buffer[:size] = self.to_hub[:size]
        del self.to_hub[:size]
        self.bytes_read += size
        while self.replies and self.replies[0][0] <= self.bytes_read:
            self.life.delivered.append(self.replies.pop(0)[1])
        return size

    def recv(self, size, flags):
        assert (size, flags) == (1, socket.MSG_PEEK | NO_WAIT)
        if not (self.to_hub or self.ended or self.broken):
            raise BlockingIOError
        if self.broken:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return bytes(self.to_hub[:1])

    def close(self):
        self.closed = True
        self.to_hub.clear()

    def events(self, mask):
        """What epoll would report."""
        if self.broken:
            return mask | 8 | 16
        found = _poll.READ if self.to_hub or self.ended else 0
        if self.ended or len(self.to_driver) < self.room:
            found |= _poll.WRITE
        return found & mask

    def key(self):
        return (bytes(self.to_driver), bytes(self.to_hub), self.ended, self.broken, self.closed)


class Door:
    """A listening socket at which drivers appear."""

    descriptor = 3

    def __init__(self):
        self.queue = []

    def setblocking(self, flag):
        assert not flag

    def getsockname(self):
        return ("192.0.2.1", 31415)

    def fileno(self):
        return self.descriptor

    def accept(self):
        if not self.queue:
            raise BlockingIOError
        line = self.queue.pop(0)
        return line, ("192.0.2.2", 1000 + line.descriptor)

    def close(self):
        self.queue.clear()

    def events(self, mask):
        return _poll.READ & mask if self.queue else 0


class SilentWaker:
    """Nobody else runs, so nobody is woken."""

    descriptor = 2

    def wake(self):
        pass

    def clear(self):
        pass

    def close(self):
        pass


class SimulatedDriver:
    """A driver process: its protocol, its molecule, and its end of the line."""

    def __init__(self, world, line, room):
        self.world = world
        self.line = line
        self.life = line.life
        self.protocol = DriverProtocol(self)
        self.decoder = ipi.Decoder(accept=ipi.FROM_SERVER, nat=1)
        self.hung = False
        self.unsent = bytearray()
        self.molecule = None
        self.state = 0
        self.staged = None

    # -- the model, as `DriverProtocol` calls it --

    def initialize(self, molecule_id, dt_au, params):
        self.molecule, self.state = molecule_id, params.get("state", 0)
        self.life.inits.append((molecule_id, self.state))

    def stage(self, field_au):
        self.staged = tuple(field_au.tolist())
        self.world.staged.setdefault(self.staged[0], set()).add(self.molecule)

    def commit(self):
        step = int(self.staged[0])
        self.life.committed.append((step, frozenset(self.world.staged[self.staged[0]])))
        self.life.fields.append(self.staged)
        self.state = next_state(self.state, step, self.molecule)
        return (self.staged[0], self.staged[1], float(self.state)), {"state": self.state}

    # -- the process --

    def serve(self):
        """Take what was sent; die on the way if the schedule wants it."""
        data = bytes(self.line.taken + self.line.to_driver)
        self.line.taken.clear()
        self.line.to_driver.clear()
        self.decoder.feed(data)
        while (event := self.decoder.next_event()) is not NEED_DATA:
            if self.world.fate(self):
                return
            answer = self.protocol.receive(event)
            if answer.message:
                self.unsent += answer.message
                if event == ipi.GETFORCE:
                    end = self.line.bytes_sent + len(self.unsent)
                    self.line.replies.append((end, int(self.staged[0])))
            if answer.end is not None:
                assert answer.end in (End.STOP, End.EXIT)
                self.life.alive = False
                return
        if data:
            self.world.fate(self)

    @property
    def idle(self):
        """Whether it was sent nothing that it has not answered in full."""
        line = self.line
        return not (line.taken or line.to_driver or self.unsent or self.decoder.buffered or self.hung)

    def arrive(self, size):
        """Let the hub have some of what was sent."""
        self.line.to_hub += self.unsent[:size]
        self.line.bytes_sent += size
        del self.unsent[:size]
        self.world.mark(self.line)

    def die(self):
        """End; what was not yet on its way is lost."""
        self.life.alive = False
        self.unsent.clear()
        self.decoder.feed_eof()

    def end_line(self):
        """Let the hub notice."""
        self.line.ended = True
        if self.world.setup.reset:
            self.line.broken = True
            self.line.to_hub.clear()
        self.world.mark(self.line)

    def key(self):
        life = self.life
        committed, delivered = life.judged
        past = (self.line.key(), life.committed[committed:], life.delivered[delivered:])
        if not life.alive and self.line.closed and not (past[1] or past[2]):
            return ""
        if not life.alive:
            return repr((past, life.inits))
        return repr((past, life.inits, self.hung, self.unsent, self.protocol.state, self.state, self.staged))
