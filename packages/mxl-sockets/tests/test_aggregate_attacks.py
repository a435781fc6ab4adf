"""Bridges that die, lie or come at the wrong moment: the aggregated hub's steps stay whole."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from mxl_sockets import AggregatedSocketHub, Bridge, Driver, StepTimeout
from wireframe import aggregate

from .hub_rigs import Aggregated
from .scripted_bridge import LIMIT_S, ScriptedBridge

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its descriptors")


@pytest.fixture
def rig(cleanup):
    def make(places=2, **settings):
        made = Aggregated(places, **settings)
        cleanup.callback(made.close)
        return made

    return make


def test_a_group_that_grows_in_a_step_is_started_again_as_soon_as_it_has_answered(
    rig, background, eventually
):
    """Nobody else has to come first, and the wait does not last until its end."""
    world = rig(1)
    world.fill()
    (peer,) = world.peers.values()
    assert world.attempt(1) == {}
    more = {**world.inits(), 9: {"aggregate_group": "node-0"}}
    waiting = background(world.hub.wait_until_bound, more, timeout=LIMIT_S)
    eventually(lambda: world.hub._coupling.loop._inside, "it waits")
    peer.answer()
    assert sorted(peer.end.start().payloads) == [0, 1, 9]
    assert waiting.result(LIMIT_S)
    # The answer is kept: it was of the frozen step, which has the molecules it had.
    world.complete(1)


# -- a bridge dies in each state ----------------------------------------------------------------------------


def new(world):
    return ScriptedBridge(world.hub.address)


def half_a_hello(world):
    bridge = ScriptedBridge(world.hub.address)
    bridge.send(aggregate.encode_hello("node-1")[:20])
    return bridge


def parked(world):
    return ScriptedBridge(world.hub.address, "nobody wants it")


def starting(world):
    world.peers.pop(1).close()
    bridge = ScriptedBridge(world.hub.address, "node-1")
    while not world.hub.wait_until_bound(world.inits(), require_init=False, timeout=0):
        pass
    return bridge


def ready(world):
    return world.peers.pop(1).end


def asked(world):
    assert world.attempt(world.step_number) == {}
    return world.peers.pop(1).end


def answered(world):
    assert world.attempt(world.step_number) == {}
    world.peers[1].answer()
    world.hub.status()
    return world.peers.pop(1).end


STATES = [new, half_a_hello, parked, starting, ready, asked, answered]


@linux
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("end", ["close", "reset", "garbage", "BYE", "BYE and more"])
def test_a_bridge_that_dies_in_any_state_costs_no_step(state, end, rig, descriptors):
    """The other bridge makes each step once, and nothing of the dead one is left."""
    world = rig()
    world.fill()
    world.step(1)
    before = len(descriptors())
    for world.step_number in range(2, 6):
        dead = state(world)
        if end == "garbage":
            dead.send(b"\xff" * 64)
        elif end.startswith("BYE"):
            dead.send(aggregate.encode_header(aggregate.BYE) * (1 + end.endswith("more")))
        elif end == "reset":
            dead.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dead.close()
        if 1 not in world.peers:
            world.join(1)
        world.settle(world.step_number)
    world.hub.status()
    assert len(descriptors()) == before
    assert world.peers[0].commits == list(range(1, 6))
    assert world.hub.status().steps == 5


# -- a bridge claims what is another's ----------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["parked", "bound", "asked", "answered"])
def test_who_claims_the_group_of_another_gets_nothing_and_disturbs_nobody(moment, rig, eventually):
    """Whatever the holder is doing; the claimant may even bring a result."""
    world = rig(1)
    if moment == "parked":
        holder = world.join(0)
        eventually(lambda: world.hub.status().waiting)
    else:
        world.fill()
        holder = world.peers[0]
    if moment in ("asked", "answered"):
        assert world.attempt(1) == {}
    if moment == "answered":
        holder.answer()
    claimant = ScriptedBridge(world.hub.address, "node-0")
    lie = aggregate.encode_result(dict.fromkeys(world.ids(0), ((9.0, 9.0, 9.0), b"")))
    claimant.send(lie)
    eventually(lambda: (world.hub.status(), claimant.is_closed())[1], "it is thrown out")
    claimant.close()
    assert "second bridge" in world.hub.status().last_error
    if moment == "parked":
        world.bind()
    if moment != "answered":
        assert world.attempt(1) == {}
        holder.answer()
    world.complete(1)
    assert holder.commits == [1]


def test_a_bridge_cannot_answer_for_molecules_of_another(rig, eventually):
    """Not for one more, not for others instead: it costs the connection, and the step is asked again."""
    world = rig()
    world.fill()
    for step, ids in enumerate([(2, 3), (0, 2), (0, 1, 2), (0, 0), (0,), ()], 1):
        assert world.attempt(step) == {}
        liar = world.peers.pop(0)
        liar.take_step()
        world.peers[1].answer()
        answers = [struct.pack("<i3di", one, 9.0, 9.0, 9.0, 0) for one in ids]
        liar.sock.sendall(
            aggregate.encode_header(aggregate.AGGRESULT) + struct.pack("<i", len(ids)) + b"".join(answers)
        )
        eventually(lambda liar=liar: (world.hub.status(), liar.end.is_closed())[1])
        world.join(0)
        world.settle(step)
    assert world.peers[1].commits == [1, 2, 3, 4, 5, 6]


# -- hostile bytes ------------------------------------------------------------------------------------------


@pytest.mark.fault("C2", "mxl-aggregated", "W")
def test_results_with_any_bytes_changed_are_taken_whole_or_not_at_all(rig, figure):
    """W: what is taken has the ids that were asked; otherwise the bridge is lost, and replaced.

    Header, count and ids are changed; any bits may be an amplitude or an extra.
    """
    world = rig(1)
    world.fill()
    # Header, count, and the ids of both records, which have 32 bytes before their extras.
    places = [*range(20), *range(48, 52)]
    dice = random.Random(6)
    for step in range(1, 200):
        assert world.attempt(step) == {}
        peer = world.peers[0]
        peer.take_step()
        reply = bytearray(peer.reply())
        where, flip = dice.choice(places), dice.randrange(1, 256)
        reply[where] ^= flip
        peer.sock.sendall(reply[: dice.choice((len(reply), dice.randrange(1, len(reply) + 1)))])
        assert world.attempt(step) == {}, f"byte {where} ^ {flip}"
        peer.close()
        world.settle(step)
    assert world.hub.status().dropped == 199
    figure(f"{step} damaged results, none taken; {world.hub.status().dropped} bridges lost and replaced")


@pytest.mark.fault("C3", "mxl-aggregated", "EM")
def test_the_size_a_newcomer_announces_is_never_allocated(rig, eventually, figure):
    """A group's name of 2 GiB, of a negative length, of a megabyte: refused at the header."""
    world = rig(1)
    world.fill()
    sizes = (2**31 - 1, -1, -(2**31), 1 << 26)
    tracemalloc.start()
    try:
        for size in sizes:
            stranger = ScriptedBridge(world.hub.address)
            stranger.send(aggregate.encode_header(aggregate.AGGHELLO) + struct.pack("<i", size))
            eventually(
                lambda stranger=stranger: (world.hub.status(), stranger.is_closed())[1], f"{size} is refused"
            )
            assert f"text length {size}" in world.hub.status().last_error
            stranger.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    world.step(1)
    figure(f"{len(sizes)} sizes up to 2**31 - 1 announced and refused: {peak >> 10} KiB at most")


# -- two hubs -----------------------------------------------------------------------------------------------


def test_bridges_whose_hubs_change_places_start_anew_and_mix_nothing_up(background, cleanup, tmp_path):
    """Two hubs with the same names of groups and other molecules swap their ports in the middle of steps.

    Real bridges and drivers: what was under way for the old hub is brought to its end and thrown away.
    """
    hubs = [AggregatedSocketHub(port=0), AggregatedSocketHub(port=0)]
    bridges = [Bridge("node", hub.address) for hub in hubs]

    class Model:
        def __init__(self):
            self.inits = []

        def initialize(self, molecule_id, dt_au, params, /):
            self.inits.append(molecule_id)

        def stage(self, field_au, /):
            self.field = field_au

        def commit(self):
            return (self.field[0], self.field[1], float(self.inits[-1])), {}

    models = [[Model(), Model()] for _ in bridges]
    for bridge, pair in zip(bridges, models, strict=True):
        clients = [bridge, *(Driver(model, bridge.local_address) for model in pair)]
        for client in clients:
            background(client.run)
            cleanup.callback(client.stop)
    ids = [(0, 1), (10, 11)]
    for turn in range(4):
        for which, hub in enumerate(hubs):
            own = ids[which]
            assert hub.wait_until_bound(
                {one: {"dt_au": 1.0, "aggregate_group": "node"} for one in own}, timeout=LIMIT_S
            )
            fields = np.array([[turn, one, 0.0] for one in own])
            assert hub.step(fields, timeout=LIMIT_S).tolist() == [[turn, one, one] for one in own]
        for hub in hubs:
            # A step is under way, or just made, when its hub vanishes without a word.
            with contextlib.suppress(StepTimeout):
                hub.step(np.full((2, 3), -1.0), timeout=0)
        ports = [hub.address[1] for hub in hubs]
        for hub in hubs:
            hub._finalizer()
        hubs = [AggregatedSocketHub(port=port) for port in reversed(ports)]
        for hub in hubs:
            cleanup.callback(hub.stop)
    assert [len({one // 10 for model in pair for one in model.inits}) for pair in models] == [2, 2]
