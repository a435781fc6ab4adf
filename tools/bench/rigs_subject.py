"""`Services.init` over many rigs, each with a wire of so many milliseconds, in a process of its own.

Started by the bench, never imported::

    python rigs_subject.py (ours | quiet-peer) RIGS DELAY_MS

The rigs are bare sockets in the same event loop: to each message they send its
echo, and right behind it a response, both when the message would have gone to
them and the echo back. A step is one `Services.init`, all at once. Each says
something new. The wall time told is the median times the number of steps, the
CPU time that of the process, rigs included.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import statistics
import sys
import time
import warnings
from typing import Any, Final

import orders

LOCAL: Final = "127.0.0.1"


class Rig(asyncio.DatagramProtocol):
    """A rig behind a slow wire.

    Parameters
    ----------
    way_s : float
        Seconds that a message takes, one way.
    """

    transport: Any

    def __init__(self, way_s: float) -> None:
        self._way_s = way_s
        self._response = b""

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Take a message of the client, or its echo of a response."""
        if data != self._response:
            asyncio.get_running_loop().call_later(2 * self._way_s, self._answer, data, addr)

    def _answer(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)
        # Not what the command was, or it would look like one more echo.
        self._response = b'[1, {"ready": %b}]' % data
        self.transport.sendto(self._response, addr)


async def open_services(kind: str, rigs: int, way_s: float) -> Any:
    """Return `Services` of so many rigs."""
    package: Any = importlib.import_module("echo_rig" if kind == "ours" else "iblutil.io.net.app")
    log = logging.getLogger("quiet")
    log.setLevel(logging.WARNING)
    loop = asyncio.get_running_loop()
    clients = []
    for number in range(rigs):
        carrier, _ = await loop.create_datagram_endpoint(lambda: Rig(way_s), local_addr=(LOCAL, 0))
        port = carrier.get_extra_info("sockname")[1]
        clients.append(
            await package.EchoProtocol.client(f"udp://{LOCAL}:{port}", name=f"rig{number}", log=log)
        )
    return package.Services(clients)


async def rounds(services: Any, first: int, steps: int) -> list[float]:
    """Initialise all rigs so many times; return the seconds of each time."""
    taken = []
    for number in range(first, first + steps):
        begin = time.perf_counter()
        responses = await services.init({"session": number}, concurrent=True)
        taken.append(time.perf_counter() - begin)
        if len(responses) != len(services):
            raise RuntimeError(f"{len(responses)} of {len(services)} rigs responded")
    return taken


def main() -> None:
    """Open everything, say so, follow the orders of the bench."""
    kind = sys.argv[1]
    rigs, delay_ms = int(sys.argv[2]), float(sys.argv[3])
    warnings.simplefilter("ignore")  # those of the peer
    done = 0
    with asyncio.Runner() as runner:
        services = runner.run(open_services(kind, rigs, delay_ms / 1000.0))

        def run(steps: int) -> tuple[int, float, float]:
            nonlocal done
            busy = time.process_time()
            taken = runner.run(rounds(services, done, steps))
            done += steps
            return steps, steps * statistics.median(taken), time.process_time() - busy

        orders.say(ready=True)
        orders.follow(run)


if __name__ == "__main__":
    main()
