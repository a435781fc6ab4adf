"""Faults that hubs of both kinds survive: a row of the reliability catalogue is named in each test.

What passes is measured: **L** nothing lost or applied twice without a report, **W** no wrong value, **M**
memory within 8 MiB, **T** back within the caller's time and half a second, **E** a report with peer and
reason.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import pickle
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mxl_sockets import AggregatedSocketHub, Bridge, Driver, SocketHub, _connect
from wireframe import aggregate

from .hub_rigs import KINDS, LIMIT_S, field

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for descriptors and pages")
#: T: seconds that a call may take beyond its own timeout.
MARGIN_S = 0.5
#: Whose figure it is, by the kind of hub.
PACKAGES = {"direct": "mxl-sockets", "aggregated": "mxl-aggregated"}


@pytest.fixture(params=KINDS)
def rig(request, cleanup):
    """Make a rig of either kind; it is closed in the end."""

    def make(places=2, **settings):
        made = KINDS[request.param](places, **settings)
        cleanup.callback(made.close)
        return made

    make.kind = request.param
    make.package = PACKAGES[request.param]
    return make


def least_overrun(call, timeout, tries=4):
    """Seconds that a call takes beyond its timeout; the least, as anything may hold up one of them."""
    overruns = []
    for _ in range(tries):
        start = time.monotonic()
        call(timeout)
        overruns.append(time.monotonic() - start - timeout)
    return min(overruns)


# -- C4: a peer is killed at each byte of a frame -----------------------------------------------------------

PUPPET = """
import json, socket, sys
address, acts = json.loads(sys.argv[1])
sock = socket.create_connection(tuple(address), 30)
for verb, what in acts:
    if verb == "send":
        sock.sendall(bytes.fromhex(what))
    while verb == "read" and what:
        what -= len(sock.recv(what)) or sys.exit("the hub closed")
print("done", flush=True)
sys.stdin.read()
"""


class Puppet:
    """A process that does as it is told and is then killed."""

    def __init__(self, address, acts):
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PUPPET, json.dumps([address, acts])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def wait(self):
        """Wait until it has done everything."""
        assert self._process.stdout.readline() == b"done\n"

    def kill(self):
        self._process.kill()
        self._process.communicate(timeout=LIMIT_S)


@pytest.mark.fault("C4", "mxl-sockets", "LET")
@pytest.mark.fault("C4", "mxl-aggregated", "LET")
@pytest.mark.fault("D1", "mxl-sockets")
@pytest.mark.timeout(300)
def test_c04_a_peer_killed_at_any_byte_of_its_reply_costs_no_step(rig, figure):
    """L, E, T and D1: every boundary of the header and 20 others, each a SIGKILL of a real process.

    The other peer has answered before; it is never asked again. The replacement is asked the same.
    """
    world = rig()
    world.fill()
    step = 1
    world.step(step)
    address, hello = world.hello(1)
    sizes = world.peers[1].sizes
    whole = len(world.peers[1].encode({one: field(0, one) for one in world.ids(1)}, 0))
    for cut in [*range(13), *random.Random(4).sample(range(13, whole), 20)]:
        step += 1
        world.peers.pop(1).close()
        asked = {one: field(step, one) for one in world.ids(1)}
        puppet = Puppet(
            address,
            [
                ["send", hello.hex()],
                ["read", sizes["init"]],
                ["send", world.ready.hex()],
                ["read", sizes["step"]],
                ["send", world.peer_type.encode(asked, 0)[:cut].hex()],
            ],
        )
        try:
            world.bind()
            assert world.attempt(step) == {}
            world.peers[0].answer()
            puppet.wait()
        finally:
            puppet.kill()
        start = time.monotonic()
        assert world.attempt(step, 5.0) == {}
        assert time.monotonic() - start < LIMIT_S
        assert world.hub.paused
        report = world.hub.status().last_error
        assert "127.0.0.1:" in report
        assert "molecule 1" in report or "node-1" in report
        if sys.platform != "win32":  # which resets the connections of a killed process
            assert (f"after {cut} bytes" if cut else "closed") in report
        world.join(1)
        world.bind()
        assert world.attempt(step) == {}
        assert world.peers[1].take_step() == asked
        world.peers[1].sock.sendall(world.peers[1].reply())
        world.complete(step)
        assert not world.peers[0].has_news(), "asked again for what it has answered"
    assert world.peers[0].commits == list(range(1, step + 1))
    assert world.hub.status().steps == step
    figure(f"{rig.package}: {step - 1} kills in a reply of {whole} bytes, each reported, no step lost")


# -- C6: who is slow, stalls or does not read ---------------------------------------------------------------


class Polls:
    """How often a hub looks at its sockets: what others cost it, whatever else the machine does."""

    def __init__(self, hub):
        self._poller = hub._coupling.loop._poller
        hub._coupling.loop._poller = self
        self.count = 0

    def poll(self, timeout):
        self.count += 1
        return self._poller.poll(timeout)

    def __getattr__(self, name):
        return getattr(self._poller, name)


@pytest.mark.fault("C6", "mxl-sockets", "T")
@pytest.mark.fault("C6", "mxl-aggregated", "T")
@pytest.mark.fault("D3", "mxl-sockets")
def test_c06_a_reply_that_stalls_holds_up_the_caller_for_its_own_time_only(rig, figure):
    """T, D3: half a reply, then silence, then the rest a byte at a time; the other's answer is kept."""
    world = rig(timeout=60.0)
    world.fill()
    assert world.attempt(1) == {}
    world.peers[0].answer()
    world.peers[1].take_step()
    reply = world.peers[1].reply()
    half = len(reply) // 2
    world.peers[1].sock.sendall(reply[:half])
    overrun = least_overrun(lambda timeout: world.attempt(2, timeout), 0.1)
    assert overrun < MARGIN_S
    for at in range(half, len(reply) - 1):
        world.peers[1].sock.sendall(reply[at : at + 1])
        assert world.attempt(2) == {}
    world.peers[1].sock.sendall(reply[-1:])
    world.judge(1, world.attempt(2, LIMIT_S))
    assert not any(peer.has_news() for peer in world.peers.values())
    assert not world.hub.paused
    figure(f"{rig.package}: stalled at byte {half} of {len(reply)}: a call of 0.1 s was {overrun:.2f} s late")


def steps_of_the_first(world, first, count, between=lambda step: None):
    """Steps of the first place alone; how often the hub looked at its sockets for them."""
    polls = Polls(world.hub)
    for step in range(first, first + count):
        assert world.attempt(step, ids=world.ids(0)) == {}
        world.peers[0].answer()
        between(step)
        result = world.attempt(step, LIMIT_S, ids=world.ids(0))
        assert [reply["amp"].tolist()[:2] for reply in result.values()] == [
            [step, one] for one in world.ids(0)
        ]
    return polls.count


@pytest.mark.fault("C6", "mxl-sockets")
@pytest.mark.fault("C6", "mxl-aggregated")
def test_c06_strangers_that_trickle_or_say_nothing_do_not_slow_the_others_down(rig, cleanup, figure):
    """Others keep 0.8 of their rate and more, D9: 40 strangers, and every 25 steps a byte of one of them."""
    world = rig(1)
    world.fill()
    alone = steps_of_the_first(world, 1, 200)
    hello = aggregate.encode_hello("stranger")
    strangers = [cleanup.enter_context(socket.create_connection(world.hub.address)) for _ in range(40)]
    world.hub.status()
    told = itertools.count()

    def trickle(step):
        if step % 25 == 0:
            strangers[next(told)].sendall(hello[:1])

    crowded = steps_of_the_first(world, 201, 200, trickle)
    assert next(told) == 8
    assert crowded <= alone / 0.8
    figure(f"{rig.package}: 200 steps took {alone} polls alone, {crowded} beside {len(strangers)} strangers")


def set_room(ends, size):
    """Have the system keep so many bytes for each end, or a few times that; by itself it keeps megabytes."""
    for end in ends:
        for room in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            end.setsockopt(socket.SOL_SOCKET, room, size)


@pytest.mark.fault("C6", "mxl-sockets", "T")
@pytest.mark.fault("C6", "mxl-aggregated", "T")
def test_c06_a_peer_that_does_not_read_costs_the_others_nothing(rig, background, eventually):
    """T: its INIT fills the window; calls return in their time, and all goes on once it reads."""
    world = rig(timeout=60.0)
    world.join(0)
    while not (world.hub.wait_until_bound(world.inits(0), timeout=0) and world.peers[0].started):
        if world.peers[0].has_news():
            world.peers[0].take_init()
    alone = steps_of_the_first(world, 1, 100)
    known = set(world.hub._coupling.exchange.connections)
    lazy = world.join(1)
    eventually(lambda: (world.hub.status(), set(world.hub._coupling.exchange.connections) - known)[1])
    (new,) = set(world.hub._coupling.exchange.connections) - known
    ends = [lazy.sock, world.hub._coupling.exchange.connections[new].sock]
    set_room(ends, 1 << 12)
    inits = {**world.inits(0), **world.inits(1, parameters="x" * (1 << 16))}

    def bind(timeout):
        return world.hub.wait_until_bound(inits, timeout=timeout)

    assert least_overrun(bind, 0.1) < MARGIN_S
    assert world.hub._coupling.exchange.connections[new].outgoing
    assert steps_of_the_first(world, 101, 100) <= alone / 0.8
    assert least_overrun(lambda timeout: world.attempt(201, timeout), 0.1) < MARGIN_S
    set_room(ends, 1 << 20)
    reading = background(lazy.take_init)
    eventually(lambda: (bind(0), reading.done())[1], "it has its INIT")
    eventually(lambda: bind(0), "it is bound")
    # Whoever was asked meanwhile has answered or answers now; the frozen step is the same.
    assert world.attempt(201) == {}
    for peer in world.peers.values():
        if peer.has_news():
            peer.answer()
    world.complete(201)


# -- C7: floods, strangers, no descriptors, no ports --------------------------------------------------------


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def peak_bytes(reset=False):
    """The most memory this process had, since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.fault("C7", "mxl-sockets", "M")
@pytest.mark.fault("C7", "mxl-aggregated", "M")
@linux
def test_c07_floods_and_silent_strangers_take_what_is_allowed_and_no_more(rig, cleanup, eventually, figure):
    """M: 400 that say nothing where 16 may wait, then 1000 that leave at once; steps go on all the while."""
    world = rig(max_waiting=16)
    world.fill()
    world.step(1)
    before, memory = open_descriptors(), peak_bytes(reset=True)
    strangers = []
    for _ in range(400):
        strangers.append(cleanup.enter_context(socket.create_connection(world.hub.address)))
        if len(strangers) % 50 == 0:
            world.hub.status()
    world.step(2)
    taken = open_descriptors() - before - len(strangers)
    assert taken <= 16
    for stranger in strangers:
        stranger.close()
    for _ in range(1000):
        socket.create_connection(world.hub.address).close()
        world.hub.all_bound([])
    world.step(3)
    eventually(lambda: (world.hub.status(), open_descriptors())[1] == before, "all are closed")
    grown = peak_bytes() - memory
    assert grown <= 8 << 20
    figure(f"{rig.package}: 400 silent and 1000 that left: {taken} descriptors, {grown >> 10} KiB at most")


def connections_until_none_is_left(address):
    """As many as this process may have."""
    while True:
        try:
            yield socket.create_connection(address)
        except OSError as error:
            if error.errno == errno.EMFILE:
                return
            raise


@pytest.mark.fault("C7", "mxl-sockets", "T")
@pytest.mark.fault("C7", "mxl-aggregated", "T")
@pytest.mark.fault("D4", "mxl-sockets")
@linux
def test_c07_after_a_shortage_of_descriptors_newcomers_are_taken_within_a_second(
    rig, cleanup, eventually, figure
):
    """D4: with 20 descriptors left and all of them taken the bound peers are served, and then all others."""
    import resource

    world = rig()
    world.fill()
    world.step(1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    cleanup.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    seconds = []
    for turn in range(3):
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 20, limits[1]))
        crowd = list(connections_until_none_is_left(world.hub.address))
        world.hub.status()
        world.step(2 + turn)
        for one in crowd:
            one.close()
        start = time.monotonic()
        newcomer = socket.create_connection(world.hub.address)
        if rig.kind == "aggregated":
            newcomer.sendall(aggregate.encode_hello("newcomer"))
        name = "{}:{}".format(*newcomer.getsockname())
        eventually(lambda name=name: name in world.hub.status().waiting, "it is taken")
        seconds.append(time.monotonic() - start)
        newcomer.close()
        eventually(lambda: not world.hub.status().waiting)
    assert min(seconds) < 1.0
    fastest, slowest = min(seconds), max(seconds)
    figure(f"{rig.package}: {len(seconds)} shortages: newcomers taken after {fastest:.1f} to {slowest:.1f} s")


@pytest.mark.fault("C7", "mxl-sockets")
@pytest.mark.fault("C7", "mxl-aggregated")
def test_c07_without_a_free_port_a_client_tries_again_until_there_is_one(rig, background, monkeypatch):
    """Drivers and bridges: EADDRNOTAVAIL is not the end."""
    world = rig(1)
    left = iter(range(4))
    real = socket.socket.connect_ex

    def exhausted(self, address):
        return real(self, address) if next(left, None) is None else errno.EADDRNOTAVAIL

    monkeypatch.setattr(socket.socket, "connect_ex", exhausted)
    address, _ = world.hello(0)
    client = Bridge("node-0", address) if rig.kind == "aggregated" else Driver(lambda field: field, address)
    running = background(client.run)
    try:
        bound = world.hub.wait_until_bound(world.inits(), require_init=rig.kind == "direct", timeout=LIMIT_S)
        assert bound
        assert next(left, None) is None
    finally:
        client.stop()
        running.result(LIMIT_S)


# -- C8: a hub is restarted ---------------------------------------------------------------------------------


class Noted:
    """A model that notes the steps it commits, by INIT."""

    def __init__(self):
        self.lives = []

    def initialize(self, molecule_id, dt_au, params, /):
        self.molecule_id = molecule_id
        self.lives.append([])

    def stage(self, field_au, /):
        self.staged = field_au

    def commit(self):
        self.lives[-1].append(int(self.staged[0]))
        return (self.staged[0], float(self.molecule_id), 0.0), {}


@pytest.fixture
def waits(monkeypatch):
    """When clients began to wait before another attempt to connect, by thread."""
    seen = []
    real = _connect.Backoff.next_s

    def next_s(self):
        seen.append((threading.get_ident(), time.monotonic()))
        return real(self)

    monkeypatch.setattr(_connect.Backoff, "next_s", next_s)

    def most_since(moment):
        own = [who for who, when in seen if when > moment]
        return max((own.count(who) for who in own), default=0)

    return most_since


def crash(hub):
    """Close everything as the system does for a process that was killed: nothing is said, no path removed."""
    hub._finalizer.detach()
    hub._coupling.close_in_child()


def play(hub, steps, inits):
    """Bind and make steps; each value is of its step and its molecule."""
    assert hub.wait_until_bound(inits, timeout=LIMIT_S)
    for step in steps:
        result = hub.step_barrier({one: {"efield_au": field(step, one)} for one in inits}, timeout=LIMIT_S)
        assert {one: reply["amp"].tolist()[:2] for one, reply in result.items()} == {
            one: [step, one] for one in inits
        }


unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="UNIX sockets")


@pytest.mark.fault("C8", "mxl-sockets", "L")
@pytest.mark.fault("C8", "mxl-aggregated", "L")
@pytest.mark.parametrize(
    "way", ["direct over TCP", pytest.param("direct over UNIX", marks=unix), "aggregated"]
)
def test_c08_clients_find_a_restarted_hub_within_one_backoff_period(
    way, waits, background, cleanup, tmp_path, figure
):
    """L: same port with connections in TIME_WAIT, or same UNIX path that was left behind.

    Each molecule is visibly started again, and has made each step once.
    """
    place = {"unixsocket": str(tmp_path / "hub")} if way.endswith("UNIX") else {"port": 0}
    kind = AggregatedSocketHub if way == "aggregated" else SocketHub
    hub = kind(**place)
    cleanup.callback(hub.stop)
    where = {"unixsocket": place["unixsocket"]} if "unixsocket" in place else {"address": hub.address}
    models = [Noted() for _ in range(3)]
    if way == "aggregated":
        bridge = Bridge("node", hub.address)
        cleanup.callback(bridge.close)
        clients = [bridge, *(Driver(model, bridge.local_address) for model in models)]
    else:
        clients = [Driver(model, **where) for model in models]
    running = [background(client.run) for client in clients]
    inits = {one: {"dt_au": 1.0, "aggregate_group": "node"} for one in range(3)}
    play(hub, (1, 2, 3), inits)
    crash(hub)
    again = kind(**(place if "unixsocket" in place else {"port": hub.address[1]}))
    cleanup.callback(again.stop)
    listening = time.monotonic()
    play(again, (4, 5, 6), inits)
    assert waits(listening) <= 1
    again.stop()
    for one in running:
        one.result(LIMIT_S)
    assert [model.lives for model in models] == [[[1, 2, 3], [4, 5, 6]]] * 3
    package = PACKAGES[way.split()[0]]
    steps = sum(len(life) for model in models for life in model.lives)
    figure(f"{package}: {steps} steps of {len(models)} molecules in two lives, each once")


@pytest.mark.fault("C8", "mxl-aggregated", "L")
@unix
def test_c08_drivers_find_a_restarted_bridge_at_the_path_the_killed_one_left(
    waits, background, cleanup, tmp_path, eventually
):
    """L, aggregated: a real process, a SIGKILL. Molecules are visibly started again, no step is lost."""
    path = tmp_path / "bridge"
    models = [Noted() for _ in range(3)]
    with AggregatedSocketHub(port=0) as hub:
        command = [sys.executable, "-m", "mxl_sockets", "bridge", "--hub", f"127.0.0.1:{hub.address[1]}"]
        command += ["--group", "node", "--unix", str(path), "--quiet"]

        def start():
            bridge = subprocess.Popen(command)
            cleanup.callback(bridge.wait, LIMIT_S)
            cleanup.callback(bridge.kill)
            return bridge

        first = start()
        drivers = [Driver(model, unixsocket=str(path)) for model in models]
        running = [background(driver.run) for driver in drivers]
        inits = {one: {"dt_au": 1.0, "aggregate_group": "node"} for one in range(3)}
        play(hub, (1, 2, 3), inits)
        first.kill()
        first.wait(LIMIT_S)
        assert path.exists()
        second = start()
        eventually(lambda: hub.status().waiting, "the bridge is there, so it listens")
        listening = time.monotonic()
        play(hub, (4, 5, 6), inits)
        assert waits(listening) <= 1
        hub.stop()
        assert second.wait(LIMIT_S) == 0
        for one in running:
            one.result(LIMIT_S)
    assert [model.lives for model in models] == [[[1, 2, 3], [4, 5, 6]]] * 3


# -- C9: late replies ---------------------------------------------------------------------------------------


@pytest.mark.fault("C9", "mxl-sockets", "W")
@pytest.mark.fault("C9", "mxl-aggregated", "W")
@pytest.mark.fault("D2", "mxl-aggregated")
def test_c09_a_late_reply_is_that_of_its_own_step(rig, figure):
    """W, D2: the caller has gone on to other fields; they wait until the frozen step is answered."""
    world = rig()
    world.fill()
    for step in range(1, 20):
        assert world.attempt(step) == {}
        early, late = random.Random(step).sample(sorted(world.peers), 2)
        world.peers[early].answer()
        assert world.attempt(step + 500, 0.01) == {}
        assert not world.hub.paused
        assert not world.peers[early].has_news()
        assert set(world.hub.status().late) == set(world.ids(late))
        world.peers[late].answer()
        world.judge(step, world.attempt(step + 900, LIMIT_S))
    assert all(peer.commits == list(range(1, 20)) for peer in world.peers.values())
    figure(f"{rig.package}: {step} late replies, {world.hub.status().steps} steps with values of their own")


@pytest.mark.fault("C9", "mxl-sockets", "W")
@pytest.mark.fault("C9", "mxl-aggregated", "W")
def test_c09_a_reply_that_comes_twice_ends_its_connection_and_answers_nothing(rig, figure):
    """W: with the first one, and when the caller has its result; the other peer makes each step once."""
    world = rig()
    world.fill()
    for step in range(1, 9):
        assert world.attempt(step) == {}, "answered by what came before it was asked"
        if world.peers[1].is_gone():
            world.join(1)
            world.bind()
            assert world.attempt(step) == {}
        for place, peer in world.peers.items():
            peer.take_step()
            reply = peer.reply()
            peer.sock.sendall(reply * 2 if place and step % 2 else reply)
        twice = world.peers[1]
        world.settle(step)
        if step % 2 == 0:
            twice.sock.sendall(reply)
        assert world.hub.status().dropped == step
        assert twice.is_gone()
    assert world.peers[0].commits == list(range(1, 9))
    figure(f"{rig.package}: {step} replies sent twice, {world.hub.status().dropped} connections ended")


# -- C10: peers die at each point ---------------------------------------------------------------------------

MOMENTS = ("lives", "before the request", "after the request", "inside the reply", "after the reply")


@pytest.mark.fault("C10", "mxl-sockets", "LW")
@pytest.mark.fault("C10", "mxl-aggregated", "LW")
def test_c10_three_peers_die_at_any_moments_and_each_step_is_made_once(rig, figure):
    """L, W: all combinations; each peer, which has one INIT, commits without gap or repetition."""
    world = rig(3)
    world.fill()
    answered = []
    for step, fates in enumerate(itertools.product(MOMENTS, repeat=3), 1):
        doomed = dict(zip(world.places, fates, strict=True))
        gone = {place for place, fate in doomed.items() if fate == MOMENTS[1]}
        for place in gone:
            world.peers[place].close()
        world.attempt(step)
        if gone:
            for place in gone:
                world.join(place)
            world.bind()
            assert world.attempt(step) == {}
        for place, peer in world.peers.items():
            fate = "lives" if place in gone else doomed[place]
            assert peer.has_news()
            if fate in MOMENTS[3:]:
                peer.take_step()
                reply = peer.reply()
                peer.sock.sendall(reply if fate == MOMENTS[4] else reply[: 1 + step % (len(reply) - 1)])
            elif fate != MOMENTS[2]:
                peer.answer()
            if fate in MOMENTS[2:]:
                peer.close()
        result = world.settle(step)
        answered.append({one: int(reply["amp"][2]) for one, reply in result.items()})
        for place, peer in list(world.peers.items()):
            if peer.is_gone():
                world.join(place)
        world.bind()
    for place, peer in world.everybody:
        one = world.ids(place)[0]
        own = [step for step, numbers in enumerate(answered, 1) if numbers[one] == peer.number]
        # What it answered it has committed, in order and once, and beside at most the step it died in.
        assert peer.commits[: len(own)] == own
        assert len(peer.commits) <= len(own) + 1
        assert peer.commits == sorted(set(peer.commits))
    dropped = world.hub.status().dropped
    figure(f"{rig.package}: {len(answered)} combinations of moments, {dropped} peers lost, each step once")


# -- C20: children ------------------------------------------------------------------------------------------

CHILDREN = """
import multiprocessing, os, pickle, signal, socket, struct, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: one of the cases in question
from mxl_sockets import AggregatedSocketHub, ForeignProcessError, SocketHub
from wireframe import aggregate, ipi
kind = sys.argv[1]
hub = (SocketHub if kind == "direct" else AggregatedSocketHub)(port=0)
peer = socket.create_connection(hub.address)
peer.settimeout(20)
inits = {0: {"aggregate_group": "a"}}
if kind == "aggregated":
    peer.sendall(aggregate.encode_hello("a"))
    while not hub.all_bound(inits, require_init=False):
        hub.wait_until_bound(inits, timeout=0)
    peer.sendall(aggregate.encode_header(aggregate.AGGREADY))
assert hub.wait_until_bound(inits, timeout=20)
requests = {0: {"efield_au": [1.0, 2.0, 3.0]}}
counts = []


def child_is_refused():
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        calls = [
            lambda: hub.step_barrier(requests), lambda: hub.step([[0, 0, 0]]), hub.status, hub.stop,
            lambda: hub.wait_until_bound(inits), lambda: hub.all_bound([0]), hub.graceful_shutdown,
            lambda: hub.register_molecule(5), hub.register_molecule_return_id,
        ]
        refused = 0
        for call in calls:
            try:
                call()
            except ForeignProcessError:
                refused += 1
        with hub:
            pass
        os.write(tell, bytes([refused, len(calls)]))
        signal.pause()
    refused, tried = os.read(told, 2)
    assert refused == tried > 0
    counts.append(refused)
    return child


children = [child_is_refused()]
stepping = threading.Thread(target=lambda: results.append(hub.step_barrier(requests, timeout=30)))
results = []
stepping.start()
while not hub._coupling.loop._leading:
    time.sleep(0.001)
children.append(child_is_refused())
peer.sendall(
    ipi.encode_forceready((4, 5, 6)) if kind == "direct" else aggregate.encode_result({0: ((4, 5, 6), b"")})
)
stepping.join(20)
assert results[0][0]["amp"].tolist() == [4, 5, 6], results
for refused in (lambda: pickle.dumps(hub),
                lambda: multiprocessing.get_context("spawn").Process(target=print, args=(hub,)).start()):
    try:
        refused()
    except TypeError:
        continue
    sys.exit("a hub was pickled")
port = hub.address[1]
peer.sendall(ipi.encode_header(ipi.BYE))
hub.stop()
# The children live, and hold neither the connection nor the port.
while peer.recv(4096):
    pass
type(hub)(port=port).stop()
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(sum(counts), "calls refused in", len(children), "children; the parent was unaffected")
"""


@pytest.mark.fault("C20", "mxl-sockets", "E")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", KINDS)
def test_c20_children_are_refused_and_the_parent_is_unaffected(kind, figure):
    """Forked before there are threads and while one is in a step; spawned and pickled: typed errors all."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILDREN, kind], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the parent was unaffected\n")
    figure(done.stdout.strip())


@pytest.mark.fault("C20", "mxl-sockets", "E")
@pytest.mark.parametrize("kind", KINDS)
def test_c20_clients_are_not_pickled_either(kind):
    """A driver, and a bridge: their sockets are those of this process."""
    client = Driver(abs) if kind == "direct" else Bridge("node")
    with client, pytest.raises(TypeError):
        pickle.dumps(client)


# -- C24: a soak --------------------------------------------------------------------------------------------

SOAK_STEPS = int(os.environ.get("MXL_SOCKETS_SOAK_STEPS", "1500"))
CHURN_STEPS = 25


@pytest.mark.fault("C24", "mxl-sockets", "M")
@linux
@pytest.mark.timeout(60 + SOAK_STEPS // 50)
def test_c24_many_steps_with_peers_that_come_and_go_keep_memory_and_descriptors(rig):
    """Slope 0 within 1 MiB, descriptors constant; the whole measure: ``MXL_SOCKETS_SOAK_STEPS=10000000``."""
    world = rig()
    world.fill()
    marks = []
    for step in range(1, SOAK_STEPS + 1):
        world.step(step)
        if step % CHURN_STEPS == 0:
            world.peers.pop(step // CHURN_STEPS % 2).close()
            world.join(step // CHURN_STEPS % 2)
            world.bind()
            # The test itself remembers nothing.
            world.everybody = list(world.peers.items())
            for peer in world.peers.values():
                peer.commits = []
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            marks.append((open_descriptors(), resident))
    assert world.hub.status().dropped == SOAK_STEPS // CHURN_STEPS
    assert len({descriptors for descriptors, _ in marks}) == 1
    settled = [resident for _, resident in marks[len(marks) // 3 :]]
    assert settled[-1] - settled[0] <= 1 << 20
