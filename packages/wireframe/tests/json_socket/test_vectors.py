"""Every recorded exchange with the original, replayed by bare sockets in its place, in both roles."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from wireframe import BadHeader, BadPayload
from wireframe.json_socket import BrokenConnection

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "json-socket.json").read_text(encoding="utf-8"))
COMMANDS = VECTORS["commands"]
NAMES = {"nan": math.nan, "inf": math.inf}


def value_of(text):
    return eval(text, dict(NAMES))  # the vectors hold Python expressions


def name(exchange):
    return json.dumps(exchange["command"])


@pytest.mark.fault("C25", "json-socket", "W")
@pytest.mark.parametrize("exchange", COMMANDS, ids=name)
def test_our_client_speaks_to_a_recorded_server(listener, new_client, run, exchange):
    """It sends the recorded bytes, takes the recorded reply and is the first to close."""
    client = new_client(listener.port)
    reply = run(client.tcpcmd, exchange["command"])
    peer = listener.accept()
    sent = bytes.fromhex(exchange["client_bytes"])
    assert peer.read(len(sent)) == sent
    peer.send(bytes.fromhex(exchange["server_bytes"]))
    assert peer.at_end()
    assert reply.result() == exchange["reply"]


@pytest.mark.parametrize("exchange", COMMANDS, ids=name)
def test_our_client_speaks_to_a_recorded_server_step_by_step(listener, new_client, exchange):
    client = new_client(listener.port)
    client.send(exchange["command"])
    peer = listener.accept()
    sent = bytes.fromhex(exchange["client_bytes"])
    assert peer.read(len(sent)) == sent
    peer.send(bytes.fromhex(exchange["server_bytes"]))
    assert client.receive() == exchange["reply"]
    client.close()
    assert peer.at_end()


@pytest.mark.parametrize("exchange", COMMANDS, ids=name)
def test_our_server_speaks_to_a_recorded_client(new_server, knock, exchange):
    """It answers with the recorded bytes and keeps its end open until the client has closed."""
    server = new_server()
    client = knock(server, bytes.fromhex(exchange["client_bytes"]))
    assert server.receive() == exchange["command"]
    server.send(exchange["reply"])
    wanted = bytes.fromhex(exchange["server_bytes"])
    assert client.read(len(wanted)) == wanted
    if "s>c" in exchange["closed_within_100_ms"]:  # after its last command the original ends
        server.shutdown()
        assert client.at_end()
    else:
        assert server.connection.fileno() >= 0
        client.close()
        assert server.connection.recv(1) == b""


@pytest.mark.fault("C25", "json-socket", "W")
def test_our_server_goes_through_the_whole_session(new_server, knock, run):
    """All recorded commands in turn, each on a connection of its own, answered by `serve`."""
    server = new_server()
    replies = iter(exchange["reply"] for exchange in COMMANDS)
    handlers = {one["command"]["command"]: lambda **_: next(replies) for one in COMMANDS}
    serving = run(server.serve, handlers, stop="done")
    for exchange in COMMANDS:
        client = knock(server, bytes.fromhex(exchange["client_bytes"]))
        wanted = bytes.fromhex(exchange["server_bytes"])
        assert client.read(len(wanted)) == wanted
        client.close()
    serving.result()


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["input"][:40])
def test_both_roles_write_the_recorded_bytes(listener, new_server, new_client, knock, case):
    value, wanted = value_of(case["input"]), bytes.fromhex(case["hex"])
    new_client(listener.port).send(value)
    assert listener.accept().read(len(wanted)) == wanted
    server = new_server()
    client = knock(server, b"0000000004null")
    server.receive()
    server.send(value)
    assert client.read(len(wanted)) == wanted


def outcome(case):
    """What ours does: the value, or the error."""
    note = case["note"]
    if "cut short" in note or note == "no byte at all":
        return BrokenConnection
    if note.startswith("header"):
        return BadHeader  # also where the original is lax: no known sender writes such headers
    return BadPayload if "error" in case else value_of(case["value"])


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["note"])
def test_our_client_reads_what_the_original_reads(listener, new_client, case):
    client = new_client(listener.port)
    client.send(None)
    peer = listener.accept()
    peer.read(14)
    peer.send(bytes.fromhex(case["hex"]))
    peer.half_close()
    wanted = outcome(case)
    if isinstance(wanted, type):
        with pytest.raises(wanted):
            client.receive()
        assert client.connection.fileno() == -1
    else:
        assert repr(client.receive()) == repr(wanted)


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["note"])
def test_our_server_reads_what_the_original_reads_and_lives_on(new_server, knock, case):
    server = new_server()
    peer = knock(server, bytes.fromhex(case["hex"]))
    peer.half_close()
    knock(server, b'0000000006"next"')
    wanted = outcome(case)
    if isinstance(wanted, type):
        assert server.receive() == "next"
        with pytest.raises(TimeoutError):
            server.receive(timeout=0)
        assert [one.cause for one in server.drops] == [wanted.__name__]
        assert server.dropped == 1
        assert peer.at_end()
    else:
        assert repr(server.receive()) == repr(wanted)
        server.send("reply to a half-closed client")
        assert peer.read(41) == b'0000000031"reply to a half-closed client"'
        assert server.receive() == "next"
        with pytest.raises(TimeoutError):
            server.receive(timeout=0)
        assert [one.cause for one in server.drops] == (
            ["BrokenConnection"] if "longer" in case["note"] else []
        )
