"""For whom a server waits, and whom it keeps."""

from __future__ import annotations

import time

import pytest

from wireframe.lenjson import encode

GOOD = encode({"command": "ready"})


def poll(server):
    """Take what is there; nothing is complete."""
    with pytest.raises(TimeoutError):
        server.receive(timeout=0)


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
