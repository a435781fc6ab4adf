"""Waits of all five packages for something that does not come, while the wall clock jumps: prints how long.

``clock_program.py SECONDS YEARS``: each wait has this timeout. At every look of Python's the wall clock is so
many years ahead of the last one, or behind if there are less than none.

``clock_program.py SECONDS YEARS FILE``: the wall clock of the whole process, libraries included, jumps by so
many years in the middle of each wait. It has to run under libfaketime, which reads from this file how far the
clock is off.

For each package it tells how long the wait took by a clock that no package asks, and how much more than that
the wall clock says.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

YEAR_S = 365 * 86_400
_jumps = itertools.count()
_real_time, _real_time_ns = time.time, time.time_ns


def jumping_time() -> float:
    return _real_time() + next(_jumps) * years * YEAR_S


def jumping_time_ns() -> int:
    return _real_time_ns() + next(_jumps) * years * YEAR_S * 1_000_000_000


def json_socket(timeout: float) -> None:
    from wireframe import Socket

    server = Socket("server", port=0)
    with contextlib.closing(server), contextlib.suppress(TimeoutError):
        server.receive(timeout=timeout)
    server.shutdown()


def hub(timeout: float) -> None:
    from mxl_sockets import SocketHub

    with SocketHub(port=0) as hub:
        assert not hub.wait_until_bound({0: {"dt_au": 1.0}}, timeout=timeout)


def receiver(timeout: float) -> None:
    from udp_multicast.channels import ChannelReceiver

    with ChannelReceiver(None, None, "127.0.0.1", 0) as receiver, contextlib.suppress(TimeoutError):
        receiver.receive(timeout)


def rig(timeout: float) -> None:
    from echo_rig import EchoProtocol

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind(("127.0.0.1", 0))
            async with await EchoProtocol.client(f"udp://127.0.0.1:{mute.getsockname()[1]}") as client:
                with contextlib.suppress(TimeoutError):
                    await client.confirmed_send([1, "nobody echoes this"], timeout=timeout)

    asyncio.run(main())


def port(timeout: float) -> None:
    from group_ports import GroupSubPort, PortTimeout

    with GroupSubPort.standalone() as port, contextlib.suppress(PortTimeout):
        port.set_recv_timeout(timeout)
        port.recv()


WAITS: dict[str, Callable[[float], None]] = {
    "json-socket": json_socket,
    "mxl-sockets": hub,
    "udp-multicast": receiver,
    "echo-rig": rig,
    "group-ports": port,
}


def set_back(file: Path) -> None:
    """Let the wall clock be right."""
    file.write_text("+0")


def jump(file: Path) -> None:
    """Let it be wrong."""
    # In one piece, for somebody may read it at any moment.
    other = file.with_suffix(".new")
    other.write_text(f"{years * YEAR_S:+d}")
    other.replace(file)


def timed(wait: Callable[[float], None], timeout: float, file: Path | None) -> tuple[float, float]:
    """How long it took, and how much more by the wall clock."""
    if file is not None:
        set_back(file)
        jumping = threading.Timer(timeout / 2, jump, [file])
        jumping.start()
    began, wall = time.perf_counter(), time.time()
    wait(timeout)
    took = time.perf_counter() - began
    if file is not None:
        # Behind its jump, however late that was on a busy machine.
        jumping.join()
    return round(took, 3), round(time.time() - wall - took, 1)


if __name__ == "__main__":
    wanted, years = float(sys.argv[1]), int(sys.argv[2])
    offsets = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    # Imports take their time, and are none of the waits.
    for wait in WAITS.values():
        wait(0.01)
    if offsets is None:
        time.time, time.time_ns = jumping_time, jumping_time_ns
    print(json.dumps({name: timed(wait, wanted, offsets) for name, wait in WAITS.items()}))
