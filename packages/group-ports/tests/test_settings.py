"""What a group is told, and what it does not take."""

from __future__ import annotations

import math

import pytest
import zmq

from group_ports import GroupSubPort, PortSettings
from group_ports._settings import GroupSettings, Timing


def test_defaults_are_those_of_the_original():
    """Seconds for the milliseconds 1000, 1500, 2000, 3000 and 1500."""
    assert Timing.from_params(None) == Timing(1.0, 1.5, 2.0, 3.0, 1.5)


def test_params_are_milliseconds():
    """All five names of the original."""
    names = ("heartbeat", "electionMin", "electionMax", "peerTimeout", "consensusTimeout")
    params = dict(zip(names, (300, 450, 600, 900.5, 450), strict=True))
    assert Timing.from_params(params) == Timing(0.3, 0.45, 0.6, 0.9005, 0.45)


@pytest.mark.parametrize(
    "params",
    [
        {"heartbeat": 1500},
        {"heartbeat": 0},
        {"heartbeat": -1},
        {"electionMin": 2000},
        {"electionMax": 3000},
        {"peerTimeout": math.inf},
        {"peerTimeout": math.nan},
        {"consensusTimeout": 2000},
        {"consensusTimeout": 0},
        {"heartBeat": 300},
    ],
)
def test_impossible_params(params):
    """Out of order, not finite, or unknown: said at once."""
    with pytest.raises(ValueError, match=r"do not hold|unknown"):
        Timing.from_params(params)


@pytest.mark.parametrize("value", ["300", None, True])
def test_params_are_numbers(value):
    """Nothing is converted."""
    with pytest.raises(TypeError, match="milliseconds"):
        Timing.from_params({"heartbeat": value})


@pytest.mark.parametrize(("size", "enough"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_quorum_is_more_than_half(size, enough):
    """Of the configured size, whoever is there."""
    assert GroupSettings(size).enough == enough


def test_quorum_may_be_explicit():
    """Also when it is no majority."""
    assert GroupSettings(5, quorum=2).enough == 2


@pytest.mark.parametrize(("size", "quorum"), [(0, None), (3, 0), (3, 4)])
def test_impossible_sizes(size, quorum):
    """No group without members, no quorum that cannot come together."""
    with pytest.raises(ValueError, match="group of"):
        GroupSettings(size, quorum)


def test_an_attempt_to_connect_ends_before_the_second_repetition(make_port):
    """The pause before an attempt and the attempt are less than twice the longest pause."""
    socket = make_port(GroupSubPort).getSocket()
    pause_ms = socket.getsockopt(zmq.RECONNECT_IVL_MAX)
    assert (
        socket.getsockopt(zmq.CONNECT_TIMEOUT) - 1000 + pause_ms + socket.getsockopt(zmq.RECONNECT_IVL)
        < 2 * pause_ms
    )
    assert socket.getsockopt(zmq.HANDSHAKE_IVL) == 2000
    assert (
        make_port(GroupSubPort, settings=PortSettings(handshake_timeout=0.5))
        .getSocket()
        .getsockopt(zmq.CONNECT_TIMEOUT)
        == 500
    )
