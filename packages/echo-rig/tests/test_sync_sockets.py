"""What the blocking ends ask of the system: no delay, and nothing left of an end that cannot be made."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from pathlib import Path

import pytest

from echo_rig.sync import connect, listen

LIMIT_S = 20.0
DESCRIPTORS = Path("/proc/self/fd")


def open_now():
    """The descriptors of this process; none where the system does not tell."""
    return sorted(one.name for one in DESCRIPTORS.iterdir()) if DESCRIPTORS.is_dir() else []


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def streams(port):
    """The two ends of the connections with a port of this host that this process holds."""
    found = []
    for one in gc.get_objects():
        if isinstance(one, socket.socket) and one.fileno() >= 0 and one.type == socket.SOCK_STREAM:
            with contextlib.suppress(OSError):
                if port in (one.getsockname()[1], one.getpeername()[1]):
                    found.append(one)
    return found


def test_both_ends_of_a_stream_send_small_messages_without_delay_and_are_probed():
    """Nagle's algorithm would hold a message back until the echo before it is acknowledged."""
    port = free_port(socket.SOCK_STREAM)
    with listen(f"tcp://127.0.0.1:{port}") as rig, connect(f"tcp://127.0.0.1:{port}") as pc:
        deadline = time.monotonic() + LIMIT_S
        while not rig.addresses:
            assert time.monotonic() < deadline
            rig.poll(0.01)
        assert pc.is_connected
        ends = streams(port)
        assert len(ends) == 2
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in ends)
        # An end that vanished without a word is noticed by the system.
        assert all(one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for one in ends)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_server_that_cannot_be_made_leaves_nothing_open(scheme):
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        uri = f"{scheme}://127.0.0.1:{holder.getsockname()[1]}"
        gc.collect()
        before = open_now()
        for _ in range(3):
            with pytest.raises(OSError, match=r"in use|only one usage"):
                listen(uri)
            assert open_now() == before


def test_a_client_whom_nobody_takes_leaves_nothing_open():
    uri = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    gc.collect()
    before = open_now()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            connect(uri)
        assert open_now() == before
