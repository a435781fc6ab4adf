"""A client that is not connected in the end leaves no descriptor behind."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest

DESCRIPTORS = Path("/proc/self/fd")


def open_now():
    """The descriptors of this process; none where the system does not tell."""
    return sorted(one.name for one in DESCRIPTORS.iterdir()) if DESCRIPTORS.is_dir() else []


@pytest.mark.parametrize("call", ["tcpcmd", "send"])
@pytest.mark.parametrize("persistent", [False, True])
def test_nobody_listens(new_client, call, persistent):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    client = new_client(port, persistent=persistent)
    gc.collect()
    before = open_now()
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            getattr(client, call)({"command": "ready"})
        assert open_now() == before
