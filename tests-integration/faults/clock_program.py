"""Waits of all five packages for something that does not come, while the wall clock jumps: prints how long.

``clock_program.py SECONDS YEARS``: each wait has this timeout. At every look the wall clock is so many years
ahead of the last one, or behind if there are less than none. What is told is by a clock that no package asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import sys
import time
from collections.abc import Callable

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

if __name__ == "__main__":
    wanted, years = float(sys.argv[1]), int(sys.argv[2])
    # Imports take their time, and are none of the waits.
    for wait in WAITS.values():
        wait(0.01)
    time.time, time.time_ns = jumping_time, jumping_time_ns
    took = {}
    for name, wait in WAITS.items():
        began = time.perf_counter()
        wait(wanted)
        took[name] = round(time.perf_counter() - began, 3)
    print(json.dumps(took))
