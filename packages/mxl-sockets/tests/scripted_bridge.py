"""Two bridges made of a bare socket, for tests of the aggregated hub.

`ScriptedBridge` does what the test tells it, byte for byte. `PumpedBridge` behaves, whenever it is pumped:
it is the production protocol with molecules in memory, so that a test is hub, bridges and drivers in one
thread.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct

from mxl_sockets._bridge_protocol import BridgeProtocol, Work
from wireframe import NEED_DATA, aggregate

LIMIT_S = 30.0


def connect(address):
    """A connected, blocking socket."""
    sock = socket.create_connection(address, LIMIT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class ScriptedBridge:
    """A connection on which the test plays the bridge itself; says hello at once, if it is given a group."""

    def __init__(self, address, group=None):
        self.sock = connect(address)
        self.decoder = aggregate.Decoder(accept=aggregate.FROM_HUB)
        if group is not None:
            self.send(aggregate.encode_hello(group))

    def send(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def read(self):
        """The next message of the hub."""
        while (event := self.decoder.next_event()) is NEED_DATA:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError("the hub closed")
            self.decoder.feed(data)
        return event

    def ready(self):
        self.send(aggregate.encode_header(aggregate.AGGREADY))

    def start(self):
        """Take AGGINIT and be ready; the message."""
        init = self.read()
        assert isinstance(init, aggregate.GroupInit)
        self.ready()
        return init

    def result(self, step, scale=1.0, extra=b""):
        """The answer to a step: amplitudes are the fields times `scale`."""
        return aggregate.encode_result(
            {
                one: ([scale * part for part in struct.unpack("<3d", field)], extra)
                for one, field in step.requests().items()
            }
        )

    def answer(self, scale=1.0, extra=b""):
        """Take a step and answer it; the step."""
        step = self.read()
        assert isinstance(step, aggregate.Step)
        self.send(self.result(step, scale, extra))
        return step

    def nothing_unread(self):
        """Whether the hub has sent nothing more, and has not closed."""
        self.sock.setblocking(False)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return self.decoder.buffered == 0
        finally:
            self.sock.settimeout(LIMIT_S)
        return False

    def is_closed(self):
        """Whether the hub has closed; what came before is skipped."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(1 << 16):
                pass
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(LIMIT_S)
        return True

    def close(self):
        self.sock.close()


class Molecule:
    """A driver in memory: it adds up the fields it has committed since its INIT."""

    numbers = itertools.count()

    def __init__(self, molecule_id, payload):
        self.molecule_id = molecule_id
        self.number = next(self.numbers)
        self.total = payload.get("state", 0.0)
        self.steps = []

    def commit(self, field):
        step, value, _ = struct.unpack("<3d", field)
        self.steps.append(int(step))
        self.total += value
        return (step, self.total, float(self.number)), json.dumps({"state": self.total}).encode()


class PumpedBridge:
    """A well-behaved bridge that acts when `pump` is called; its molecules outlive its connection.

    `diary` is where every molecule that was ever started is noted.
    """

    def __init__(self, address, group, diary):
        self._address = address
        self.protocol = BridgeProtocol(group)
        self.diary = diary
        self.molecules = {}
        self.answers = {}
        self.stopped = False
        self.connect()

    def connect(self):
        """Connect, again if there was a connection."""
        self.sock = connect(self._address)
        self.sock.setblocking(False)
        self.decoder = aggregate.Decoder(accept=aggregate.FROM_HUB)
        self.outgoing = self.protocol.begin()

    def pump(self, most=1 << 20):
        """Read what is there, do one thing, send at most `most` bytes."""
        try:
            while data := self.sock.recv(1 << 20):
                self.decoder.feed(data)
            self.cut()  # the hub has thrown it out
        except BlockingIOError:
            pass
        except ConnectionError:
            self.cut()
        if self.protocol.can_receive and (event := self.decoder.next_event()) is not NEED_DATA:
            self.protocol.receive(event)
        self.work()
        try:
            sent = self.sock.send(self.outgoing[:most]) if self.outgoing else 0
            self.outgoing = self.outgoing[sent:]
        except ConnectionError:
            self.cut()

    def work(self, most=1 << 20):
        """Go on with what is to be done; of a step, let at most so many molecules commit."""
        protocol = self.protocol
        match protocol.work:
            case Work.START:
                for one, payload in protocol.wanted.payloads.items():
                    self.molecules[one] = Molecule(one, payload)
                    self.diary.append(self.molecules[one])
                protocol.started()
            case Work.BIND:
                self.outgoing += protocol.bound()
            case Work.STEP:
                for place, one in enumerate(protocol.ids):
                    if one not in self.answers and most > 0:
                        most -= 1
                        field = protocol.fields[24 * place : 24 * place + 24]
                        self.answers[one] = self.molecules[one].commit(field)
                if len(self.answers) == len(protocol.ids):
                    answers = [self.answers.pop(one) for one in protocol.ids]
                    amplitudes = b"".join(struct.pack("<3d", *amplitude) for amplitude, _ in answers)
                    self.outgoing += b"".join(protocol.stepped(amplitudes, [extra for _, extra in answers]))
            case Work.END:
                self.outgoing += aggregate.encode_header(aggregate.BYE)
                self.stopped = True

    def cut(self):
        """Lose the connection and make another one; the molecules live on."""
        self.sock.close()
        self.connect()

    def close(self):
        self.sock.close()
