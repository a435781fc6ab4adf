"""How many may look at a hub at the same time, however many come at once and read nothing."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell of descriptors")

AT_A_TIME = 8


def reader(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


@linux
@pytest.mark.usefixtures("runtime")
def test_a_crowd_that_does_not_read_takes_eight_places(make_hub, descriptors, eventually, monkeypatch):
    """A document that does not fit what the system keeps for a reader stays unread by all of them."""
    monkeypatch.setattr("mxl_sockets._status_socket.encode_document", lambda *_: bytes(8 << 20))
    hub = make_hub(status_socket=True)
    before = len(descriptors())
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(reader(hub.status_path)) for _ in range(5 * AT_A_TIME)]

        def served():
            return len(descriptors()) - before - len(crowd)

        eventually(lambda: served() >= AT_A_TIME, "all places are taken")
        end = time.monotonic() + 0.5
        most = 0
        while time.monotonic() < end:
            most = max(most, served())
        assert most == AT_A_TIME
