"""What goes wrong is told in the words under which the README lists it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wireframe.json_socket import BrokenConnection

README = " ".join((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split())


def test_a_server_that_closes_without_a_reply(new_server, new_client):
    """Such as one that drops the message."""
    server = new_server()
    client = new_client(server)
    client.send("hello")
    assert server.receive() == "hello"
    server.close()
    with pytest.raises(BrokenConnection) as raised:
        client.receive()
    told = (
        f"connection to {server.address[0]}:{server.port} broken: closed by the peer, nothing more was sent"
    )
    assert str(raised.value) == told
    assert "`BrokenConnection: connection to ... broken: closed by the peer, nothing more was sent`" in README


@pytest.mark.parametrize(
    ("begun", "limits", "quoted"),
    [
        (b"", {"header_timeout": 0.01}, "connected and said nothing"),
        (b"000", {"header_timeout": 0.01}, "fell silent or was too slow"),
        (b'0000000004"O', {"frame_timeout": 0.01}, "fell silent or was too slow"),
    ],
    ids=["nothing", "half a header", "half a body"],
)
def test_a_peer_that_does_not_finish(new_server, knock, begun, limits, quoted):
    server = new_server(**limits)
    stranger = knock(server, begun)
    while not server.dropped:
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.01)
    assert stranger.at_end()
    assert server.drops[0].reason.endswith(quoted)
    assert f"`... {quoted}`" in README
