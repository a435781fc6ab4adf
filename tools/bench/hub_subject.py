"""One side of the comparison in a process of its own: our hub, the peer's, or the bare loop.

Started by the bench, never imported::

    python hub_subject.py (hub | hub-array | peer | bare | epoll) (tcp | unix) MOLECULES EXTRA [LIBRARY]

It talks to the bench in lines on standard input and output: first it says
``{"address": ...}``, then ``{"bound": true}`` when all drivers are there; each
number of steps that it reads is run and answered by
``{"wall_s": ..., "cpu_s": ..., "steps": ...}``. The end of its input ends it.

CPU time is that of the whole process, user and system, all threads. What a
step of each kind does:

=============  =====================================================================
``hub``        ``step_barrier(requests)``: the same dictionary every time, whose
               fields are rows of one array, which is changed every step
``hub-array``  ``step(fields)`` with that array
``peer``       as ``hub``, with the hub of the maxwelllink package
``bare``       as told in `bare_loop`
``epoll``      the same in C, as told in ``epoll_hub.c``; LIBRARY is what it was built to
=============  =====================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bare_loop import BareLoop
from compiled import CompiledHub
from descriptors import allow_many_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    #: Makes one step with these fields.
    Step = Callable[[NDArray[np.float64]], None]
    #: Makes a number of steps, changing the fields before each.
    Steps = Callable[[NDArray[np.float64], int], None]

BIND_TIMEOUT_S = 60.0
STEP_TIMEOUT_S = 60.0

#: What is added to every field before each step.
FIELD_CHANGE = 1e-6

#: Where the bench listens. What a hub prints goes to standard error instead.
ANSWERS = os.dup(1)
os.dup2(2, 1)


def say(**told: object) -> None:
    """Send one line to the bench."""
    os.write(ANSWERS, json.dumps(told).encode() + b"\n")


@contextlib.contextmanager
def hub_step(hub: Any, address: str, molecules: int, *, array: bool) -> Iterator[Step]:
    """Bind drivers to a hub, give its step, stop it at the end."""
    try:
        say(address=address)
        inits = {molecule: {"dt_au": 1.0} for molecule in range(molecules)}
        if not hub.wait_until_bound(inits, timeout=BIND_TIMEOUT_S):
            raise TimeoutError(f"{molecules} drivers were not bound in {BIND_TIMEOUT_S} s")
        rows = np.zeros((molecules, 3))
        requests = {molecule: {"efield_au": rows[molecule]} for molecule in range(molecules)}

        def step_dict(fields: NDArray[np.float64]) -> None:
            rows[...] = fields
            if len(hub.step_barrier(requests, timeout=STEP_TIMEOUT_S)) != molecules:
                raise TimeoutError("a step was not completed")

        def step_array(fields: NDArray[np.float64]) -> None:
            hub.step(fields, timeout=STEP_TIMEOUT_S)

        yield step_array if array else step_dict
    finally:
        hub.stop()


@contextlib.contextmanager
def our_step(transport: str, molecules: int, folder: Path, *, array: bool) -> Iterator[Step]:
    """Step through the hub of this repository."""
    from mxl_sockets import SocketHub

    where: dict[str, Any] = {"unixsocket": str(folder / "hub")} if transport == "unix" else {"port": 0}
    hub = SocketHub(timeout=BIND_TIMEOUT_S, max_waiting=molecules + 16, **where)
    bound = hub.address
    address = bound if isinstance(bound, str) else "{}:{}".format(*bound)  # type: ignore[misc]  # not None while it runs
    with hub_step(hub, address, molecules, array=array) as step:
        yield step


@contextlib.contextmanager
def peer_step(transport: str, molecules: int, folder: Path) -> Iterator[Step]:
    """Step through the hub of the maxwelllink package."""
    from maxwelllink.sockets import SocketHub  # type: ignore[import-not-found,import-untyped,unused-ignore]

    if transport == "unix":
        address = str(folder / "hub")
        hub = SocketHub(unixsocket=address, timeout=BIND_TIMEOUT_S)
    else:
        with socket.create_server(("127.0.0.1", 0)) as probe:  # it cannot choose a port itself
            port = probe.getsockname()[1]
        address = f"127.0.0.1:{port}"
        hub = SocketHub(host="127.0.0.1", port=port, timeout=BIND_TIMEOUT_S)
    with hub_step(hub, address, molecules, array=False) as step:
        yield step


@contextlib.contextmanager
def accepted(transport: str, molecules: int, folder: Path) -> Iterator[list[socket.socket]]:
    """Give the connections of all drivers."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            socket.socket(socket.AF_UNIX if transport == "unix" else socket.AF_INET, socket.SOCK_STREAM)
        )
        listener.settimeout(BIND_TIMEOUT_S)
        listener.bind(str(folder / "hub") if transport == "unix" else ("127.0.0.1", 0))
        listener.listen(molecules + 16)
        bound = listener.getsockname()
        say(address=bound if isinstance(bound, str) else f"{bound[0]}:{bound[1]}")
        connections = []
        for _ in range(molecules):
            connection = stack.enter_context(listener.accept()[0])
            if transport == "tcp":
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections.append(connection)
        yield connections


@contextlib.contextmanager
def bare_step(transport: str, molecules: int, extra: int, folder: Path) -> Iterator[Step]:
    """Step through the bare loop."""
    with (
        accepted(transport, molecules, folder) as connections,
        contextlib.closing(BareLoop(connections, extra)) as loop,
    ):
        yield loop.step


@contextlib.contextmanager
def compiled_steps(transport: str, molecules: int, extra: int, folder: Path, library: str) -> Iterator[Steps]:
    """Step through the loop in C; so are the steps themselves counted."""
    with accepted(transport, molecules, folder) as connections:
        yield CompiledHub(library, connections, extra).steps


def one_by_one(step: Step) -> Steps:
    """Repeat a step in Python, as a solver does."""

    def steps(fields: NDArray[np.float64], count: int) -> None:
        for _ in range(count):
            fields += FIELD_CHANGE
            step(fields)

    return steps


def answer_orders(make_steps: Steps, molecules: int) -> None:
    """Run as many steps as each line of input says, and tell what they cost."""
    fields = np.full((molecules, 3), 1e-3)
    for line in sys.stdin:
        steps = int(line)
        cpu, wall = time.process_time(), time.perf_counter()
        make_steps(fields, steps)
        say(steps=steps, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


def main() -> None:
    """Open the side that is asked for, then follow the orders of the bench."""
    kind, transport, molecules, extra = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    allow_many_descriptors(molecules + 256)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if kind == "epoll":
            with compiled_steps(transport, molecules, extra, folder, sys.argv[5]) as steps:
                say(bound=True)
                answer_orders(steps, molecules)
            return
        if kind == "bare":
            side = bare_step(transport, molecules, extra, folder)
        elif kind == "peer":
            side = peer_step(transport, molecules, folder)
        else:
            side = our_step(transport, molecules, folder, array=kind == "hub-array")
        with side as step:
            say(bound=True)
            answer_orders(one_by_one(step), molecules)


if __name__ == "__main__":
    main()
