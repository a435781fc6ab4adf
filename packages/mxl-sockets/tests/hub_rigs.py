"""Both kinds of hub behind one face, for tests of what both promise.

A `Rig` has *places*. In a direct hub a place is a molecule and its driver; in an aggregated one it is a group
of two molecules and its bridge. Whoever fills a place is a `Peer`, played by the test over a real connection,
all in one thread: nothing happens until the test says so, and then it is there, as on any loopback.

A step's field is ``(step, id, 0.5)`` and its amplitude ``(step, id, number of the peer)``, so that every
value says what it answers, and who has said it.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time

from mxl_sockets import AggregatedSocketHub, SocketHub
from wireframe import aggregate, ipi

from .scripted_bridge import ScriptedBridge
from .scripted_driver import LIMIT_S, ScriptedDriver

#: Makes replies long enough to be cut at many places.
EXTRA = b"x" * 40


def field(step, one):
    return (float(step), float(one), 0.5)


class Peer:
    """Who fills a place: what it was sent, and what it has committed since its INIT."""

    numbers = itertools.count(1)

    def __init__(self, end):
        self.end = end
        self.sock = end.sock
        self.number = next(self.numbers)
        self.started = False
        self.asked = {}
        self.commits = []
        self.sizes = {}

    def has_news(self):
        """Whether there is something to read, an end of stream too."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) is not None
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(LIMIT_S)

    def _measure(self, name):
        """Note how long the message is that has come; it is all there is."""
        self.sizes[name] = len(self.sock.recv(1 << 20, socket.MSG_PEEK))

    def take_init(self):
        self._measure("init")
        self._take_init()
        self.started = True
        self.commits = []

    def take_step(self):
        """Read a step; its fields by molecule."""
        self._measure("step")
        self.asked = self._take_step()
        return self.asked

    def reply(self):
        """Commit what was asked; the bytes that say so."""
        assert self.asked
        self.commits.append(next(iter(self.asked.values()))[0])
        data = self.encode(self.asked, self.number)
        self.asked = {}
        return data

    def answer(self):
        """Read a step and answer it."""
        self.take_step()
        self.sock.sendall(self.reply())

    def is_gone(self):
        """Whether it has left, or the hub has thrown it out; what it was sent last may be lost."""
        return self.sock.fileno() < 0 or (self.has_news() and self._has_end())

    def _has_end(self):
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True
        finally:
            self.sock.settimeout(LIMIT_S)

    def close(self):
        self.end.close()


class DriverPeer(Peer):
    def __init__(self, address):
        super().__init__(ScriptedDriver(address))

    def _take_init(self):
        self.end.read_init()

    def _take_step(self):
        value = struct.unpack("<3d", self.end.read_request())
        return {int(value[1]): value}

    @staticmethod
    def encode(asked, number):
        """The reply of somebody with this number."""
        ((step, one, _),) = asked.values()
        return ipi.encode_forceready((step, one, number), extra=EXTRA)


class BridgePeer(Peer):
    def __init__(self, address, group):
        super().__init__(ScriptedBridge(address, group))

    def _take_init(self):
        self.end.start()

    def _take_step(self):
        step = self.end.read()
        return {one: struct.unpack("<3d", packed) for one, packed in step.requests().items()}

    @staticmethod
    def encode(asked, number):
        """The reply of somebody with this number."""
        return aggregate.encode_result(
            {one: ((value[0], value[1], number), EXTRA) for one, value in asked.items()}
        )


class Rig:
    """A hub and the peers at its places.

    Attributes
    ----------
    hub : SocketHub or AggregatedSocketHub
    peers : dict of int to Peer
        Who is at which place now.
    everybody : list of (int, Peer)
        All that ever were, with their places.
    """

    def __init__(self, places, **settings):
        settings = {"timeout": LIMIT_S, "latency": 0.0, **settings}
        self.places = range(places)
        self.hub = self._open(settings)
        self.peers = {}
        self.everybody = []

    def join(self, place):
        """Let somebody come to a place."""
        peer = self.peers[place] = self._connect(place)
        self.everybody.append((place, peer))
        return peer

    def fill(self):
        """Let somebody come to every place, and bind them all."""
        for place in self.places:
            self.join(place)
        self.bind()

    def bind(self):
        """Have the hub bind all places; the peers read their INIT."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            bound = self.hub.wait_until_bound(self.inits(), timeout=0)
            for peer in self.peers.values():
                if not peer.started and peer.has_news():
                    peer.take_init()
            if bound and all(peer.started for peer in self.peers.values()):
                return
            assert time.monotonic() < deadline, self.hub.status()

    def inits(self, *places, **more):
        """INIT parameters of these places, all if none is named."""
        return {
            one: {**self._init(place), **more} for place in places or self.places for one in self.ids(place)
        }

    def all_ids(self):
        return [one for place in self.places for one in self.ids(place)]

    def attempt(self, step, timeout=0.0, ids=None):
        """One call for a step; the result or nothing."""
        requests = {one: {"efield_au": field(step, one)} for one in ids or self.all_ids()}
        return self.hub.step_barrier(requests, timeout=timeout)

    def step(self, step):
        """Make a step with all peers; the result."""
        assert self.attempt(step) == {}
        for peer in self.peers.values():
            peer.answer()
        return self.complete(step)

    def complete(self, step):
        """Call for a step whose answers are on their way; the result, judged."""
        result = self.attempt(step, LIMIT_S)
        self.judge(step, result)
        return result

    def settle(self, step):
        """Make a step in spite of everything: replace who is gone, let who is asked answer; the result."""
        for _ in range(20):
            if result := self.attempt(step):
                self.judge(step, result)
                return result
            for place, peer in list(self.peers.items()):
                if peer.is_gone():
                    self.join(place)
            self.bind()
            if result := self.attempt(step):
                self.judge(step, result)
                return result
            for peer in self.peers.values():
                if peer.has_news():
                    peer.answer()
        raise AssertionError(self.hub.status())

    def judge(self, step, result):
        """W: every value is of this step, of its own molecule, and of somebody at its place."""
        assert list(result) == self.all_ids(), self.hub.status()
        for place in self.places:
            numbers = {peer.number for where, peer in self.everybody if where == place}
            for one in self.ids(place):
                got = result[one]["amp"].tolist()
                assert got[:2] == [step, one], "a value of another step or molecule"
                assert got[2] in numbers, "a value of another place"
                assert result[one]["extra"] == EXTRA

    def close(self):
        for _, peer in self.everybody:
            peer.close()
        self.hub.stop()


class Direct(Rig):
    """Drivers, each with an address of its own."""

    peer_type = DriverPeer
    #: What says that an INIT was taken.
    ready = b""

    def _open(self, settings):
        hub = SocketHub(port=0, **settings)
        self.addresses = [hub.add_endpoint(place) for place in self.places]
        return hub

    def _connect(self, place):
        return DriverPeer(self.addresses[place])

    def _init(self, place):
        return {}

    def ids(self, place):
        return [place]

    def hello(self, place):
        """What a newcomer says first, and the address where."""
        return self.addresses[place], b""


class Aggregated(Rig):
    """Bridges, each for two molecules."""

    peer_type = BridgePeer
    ready = aggregate.encode_header(aggregate.AGGREADY)

    def _open(self, settings):
        return AggregatedSocketHub(port=0, **settings)

    def _connect(self, place):
        return BridgePeer(self.hub.address, f"node-{place}")

    def _init(self, place):
        return {"aggregate_group": f"node-{place}"}

    def ids(self, place):
        return [2 * place, 2 * place + 1]

    def hello(self, place):
        """What a newcomer says first, and the address where."""
        return self.hub.address, aggregate.encode_hello(f"node-{place}")


KINDS = {"direct": Direct, "aggregated": Aggregated}
