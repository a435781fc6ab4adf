"""The end opposite to ASE: our hub or driver, or a bare socket that does as little as possible.

Started by the bench, never imported::

    python ase_subject.py (hub | bare-hub)
    python ase_subject.py (driver | bare-driver) PORT

A hub says ``{"port": ...}``, then ``{"bound": true}``, and follows the orders
of the bench; a step is one call of `SocketHub.forces` for two atoms. A driver
serves until its server closes. The bare ends set TCP_NODELAY, acknowledge what
they have read at once, send prepared bytes and look for the last byte only:
what ASE costs whoever talks with it.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np
import orders

from mxl_sockets import Driver, ForceField, SocketHub
from wireframe import ipi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

STIFFNESS: Final = 0.1
ATOMS: Final = 2
PATIENCE_S: Final = 60.0
#: Bytes of a reply without extra, and of positions.
REPLY: Final = 100 + 24 * ATOMS
POSDATA: Final = 160 + 24 * ATOMS
HEADER: Final = ipi.HEADER_LENGTH


@contextlib.contextmanager
def hub_step() -> Iterator[Callable[[NDArray[np.float64]], object]]:
    """Give the step of our hub."""
    with SocketHub(port=0, handshake="status", timeout=PATIENCE_S) as hub:
        address = hub.address
        if address is None or isinstance(address, str):
            raise TypeError(address)
        orders.say(port=address[1])
        if not hub.wait_until_bound({0: {}}):
            raise TimeoutError("no client came")
        cell = 50 * np.eye(3)
        yield lambda positions: hub.forces(positions, cell)


class BareEnd:
    """A connected socket that reads as many bytes as are due."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = memoryview(bytearray(4096))
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, size: int) -> None:
        """Read so many bytes."""
        got = 0
        while got < size:
            more = self.sock.recv_into(self.buffer[got:size])
            if not more:
                raise EOFError
            got += more
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@contextlib.contextmanager
def bare_step() -> Iterator[Callable[[NDArray[np.float64]], object]]:
    """Give the step of a bare socket: prepared bytes out, as many back as a reply has."""
    identity = np.eye(3).ravel()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        orders.say(port=listener.getsockname()[1])
        with listener.accept()[0] as sock:
            end = BareEnd(sock)
            sock.sendall(ipi.encode_header(ipi.STATUS))
            end.read(HEADER)
            tail = ipi.encode_header(ipi.GETFORCE)

            def step(positions: NDArray[np.float64]) -> None:
                sock.sendall(ipi.encode_posdata(positions, identity, identity) + tail)
                end.read(REPLY + 1)  # ASE's extra is one byte

            yield step
            sock.sendall(ipi.encode_header(ipi.EXIT))


def run_hub(kind: str) -> None:
    """Be a hub, and follow orders."""
    with hub_step() if kind == "hub" else bare_step() as step:
        positions = np.ones((ATOMS, 3))

        def run(steps: int) -> tuple[int, float, float]:
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(steps):
                np.add(positions, 1e-6, out=positions)
                step(positions)
            return steps, time.perf_counter() - wall, time.process_time() - cpu

        orders.say(bound=True)
        orders.follow(run)


def springs(positions: NDArray[np.float64], cell: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return energy and forces of atoms bound to the origin."""
    return STIFFNESS / 2 * float(np.vdot(positions, positions)), -STIFFNESS * positions


def run_driver(kind: str, port: int) -> None:
    """Be a driver until the server closes."""
    orders.say(ready=True)
    if kind == "driver":
        Driver(ForceField(springs), ("127.0.0.1", port), reconnect=False).run()
        return
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        end = BareEnd(sock)
        states = [ipi.encode_header(name) for name in (ipi.READY, ipi.HAVEDATA)]
        reply = ipi.encode_forceready(bytes(24 * ATOMS), extra=b"\0")
        with contextlib.suppress(EOFError, ConnectionError):
            while True:  # STATUS, positions, STATUS, GETFORCE
                for size, answer in ((HEADER, states[0]), (POSDATA + HEADER, states[1]), (HEADER, reply)):
                    end.read(size)
                    sock.sendall(answer)


if __name__ == "__main__":
    if sys.argv[1].endswith("hub"):
        run_hub(sys.argv[1])
    else:
        run_driver(sys.argv[1], int(sys.argv[2]))
