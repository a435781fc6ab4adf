"""How long a group is without a leader, on the simulated clock.

These are properties of the protocol, not of a machine: the simulated network
takes 0.3 to 2 ms a message.
"""

from __future__ import annotations

import statistics

import pytest

from group_ports._settings import Timing

from .simulated_network import FAST, Network

RUNS = 20


def grown(seed, size, timing, within):
    """A group all members of which know each other; the first of them has just come to."""
    network = Network(seed, size, timing=timing, talks=False)
    network.delay = 0.002
    network.start(0)
    for slot in range(1, size):
        network.at(network.random.uniform(0.0, within), network.start, slot)
    assert network.run(within + 10.0, until=lambda: is_complete(network))
    return network


def is_complete(network):
    lives = network.live()
    return len(lives) == network.size and all(life.member.size == network.size for life in lives)


def until_agreed(network):
    began = network.now
    assert network.agreed() or network.run(60.0, until=network.agreed)
    return network.now - began


def settled(seed, size, timing):
    network = grown(seed, size, timing, 0.1)
    until_agreed(network)
    network.run(network.random.uniform(1.0, 3.0))
    assert network.agreed()
    return network, next(life.slot for life in network.live() if life.member.is_leader)


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("within", [0.001, 0.1, 1.0])
def test_first_election(size, within):
    """From all joined to one leader: 1.0 s median, 2.0 s worst; 3.5 s median with the defaults."""
    fast = [until_agreed(grown(seed, size, FAST, within)) for seed in range(RUNS)]
    assert statistics.median(fast) <= 1.0
    assert max(fast) <= 2.0
    slow = [until_agreed(grown(seed, size, Timing(), within)) for seed in range(RUNS)]
    assert statistics.median(slow) <= 3.5


@pytest.mark.parametrize("size", [3, 4, 5, 7])
@pytest.mark.parametrize("timing", [FAST, Timing()], ids=["fast", "default"])
def test_crash_of_the_leader(size, timing):
    """After the leader died: a peer timeout and an election at most."""
    for seed in range(RUNS):
        network, slot = settled(seed, size, timing)
        network.crash(slot)
        assert until_agreed(network) <= timing.peer_timeout + timing.election_max


@pytest.mark.parametrize("size", [3, 4, 5, 7])
def test_goodbye_of_the_leader(size):
    """A leader that says goodbye is replaced before anybody could have noticed its silence."""
    for seed in range(RUNS):
        network, slot = settled(seed, size, FAST)
        network.leave(slot)
        assert until_agreed(network) <= FAST.election_max
