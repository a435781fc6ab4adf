"""Ends that scenarios play themselves, and how they wait until something has arrived."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds, for what takes a moment on a machine that has nothing else to do.
LIMIT_S = 60.0


def until_readable(sock: socket.socket | int | None) -> None:
    """Return when the next call that reads will find something, and so will not wait."""
    assert sock is not None
    assert select.select([sock], [], [], LIMIT_S)[0], "nothing arrived"


def until_idle() -> None:
    """Return when all other threads of this process wait: what was under way has arrived."""
    deadline = time.monotonic() + LIMIT_S
    own = str(threading.get_native_id())
    while any(_state(task) != "S" for task in os.listdir("/proc/self/task") if task != own):  # noqa: PTH208
        assert time.monotonic() < deadline, "a thread does not come to rest"
        time.sleep(0.001)


def _state(task: str) -> str:
    """What the system calls the state of a thread; that of one that has ended is not asked for."""
    try:
        # The name of the program stands before it, in brackets.
        return Path(f"/proc/self/task/{task}/stat").read_text(encoding="ascii").rpartition(") ")[2][0]
    except OSError:
        return "S"


def other_end(sock: socket.socket) -> int:
    """The descriptor of the other end of a TCP connection, which is in this process too."""
    return _descriptor(lambda other: other.getpeername() == sock.getsockname())


def bound_to(address: tuple[str, int]) -> int:
    """The descriptor of the socket of this process that is bound to an address."""
    return _descriptor(lambda other: other.getsockname() == address)


def _descriptor(is_it: Callable[[socket.socket], bool]) -> int:
    for link in Path("/proc/self/fd").iterdir():
        # That of the folder itself is gone already, and not all sockets are connected.
        with contextlib.suppress(OSError):
            if not str(link.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as other:
                if is_it(other):
                    return int(link.name)
    raise LookupError("no such socket in this process")


def connected(port: int) -> socket.socket:
    """A bare connection to a port of this computer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read(sock: socket.socket, size: int) -> bytes:
    """So many bytes; none if the stream has ended."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
