"""For whom a server waits, and whom it keeps."""

from __future__ import annotations

import itertools
import socket
import time

import pytest

from wireframe.lenjson import encode

GOOD = encode({"command": "ready"})


def poll(server):
    """Take what is there; nothing is complete."""
    with pytest.raises(TimeoutError):
        server.receive(timeout=0)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by a millisecond whenever somebody looks at it."""
    ticks = itertools.count(1000)
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks) / 1000)


def wait_in_small_steps(server, condition):
    """As a program with other things to do; each step is far shorter than the limits."""
    for _ in range(500):
        if condition():
            return
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.01)
    pytest.fail("it never happened")


@pytest.mark.parametrize("cut", [0, 5, 20])
def test_a_peer_has_its_whole_time_while_the_server_listens(new_server, knock, monkeypatch, cut):
    """An hour in which the server computed counts for nobody, whatever part of a message was here."""
    away = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + away[0])
    server = new_server(header_timeout=30.0, frame_timeout=30.0)
    slow = knock(server, GOOD[:cut])
    poll(server)
    away[0] += 3600.0
    poll(server)
    assert server.dropped == 0
    slow.send(GOOD[cut:])
    assert server.receive() == {"command": "ready"}
    away[0] += 3600.0
    late = knock(server, GOOD[:cut])
    poll(server)
    assert server.dropped == 0
    late.send(GOOD[cut:])
    assert server.receive() == {"command": "ready"}


def test_served_connections_stay_open_while_others_are_served(new_server, knock, run):
    server = new_server()
    running = run(server.serve, {"ready": lambda: "yes"}, stop="done")
    reply = encode("yes")
    clients = [knock(server) for _ in range(3)]
    for _ in range(3):
        assert [one.ask(GOOD, len(reply)) for one in clients] == [reply] * 3
    clients[0].ask(encode({"command": "done"}), len(encode("OK")))
    running.result()


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("cut", [3, 20])
def test_waiting_in_small_steps_does_not_save_a_served_peer_that_falls_silent(
    new_server, knock, cut, persistent
):
    server = new_server(header_timeout=0.1, frame_timeout=0.1, persistent=persistent)
    silent = knock(server, GOOD)
    assert server.receive(timeout=20) == {"command": "ready"}
    silent.send(GOOD[:cut])
    wait_in_small_steps(server, lambda: server.dropped)
    assert "fell silent or was too slow" in server.drops[0].reason
    assert silent.at_end()


@pytest.mark.usefixtures("ticking")
def test_waiting_in_small_steps_does_not_save_a_served_peer_whose_place_is_wanted(
    new_server, knock, monkeypatch
):
    monkeypatch.setattr("wireframe.json_socket._room.GRACE", 0.1)
    server = new_server(max_connections=1, persistent=True)
    idle = knock(server, GOOD)
    assert server.receive(timeout=20) == {"command": "ready"}
    newcomer = knock(server)
    wait_in_small_steps(server, lambda: server.connection.fileno() < 0)
    assert idle.at_end()
    newcomer.send(GOOD)
    assert server.receive(timeout=20) == {"command": "ready"}


@pytest.fixture
def other_default():
    """As in a program that bounds the waits of the libraries it uses."""
    socket.setdefaulttimeout(20.0)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("other_default")
def test_the_default_timeout_of_the_program_is_not_the_one_of_connections(new_server, knock):
    """Nobody waits for a stranger that says nothing, nor beyond the time limit for one that does not read."""
    server = new_server(frame_timeout=0.1)
    knock(server)
    begin = time.monotonic()
    poll(server)
    assert server.dropped == 0
    knock(server, GOOD)
    assert server.receive(timeout=20) == {"command": "ready"}
    assert server.connection.gettimeout() in (None, 0.0)
    with pytest.raises(TimeoutError):
        server.send("x" * 20_000_000)
    assert time.monotonic() - begin < 20.0
