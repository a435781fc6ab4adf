"""Confirmed round trips in one event loop, both ends of them, in a process of its own.

Started by the bench, never imported::

    python echo_subject.py (ours | peer | quiet-peer | bare | lean-bare) (udp | tcp) PORT

A step is one message that is sent, echoed by the other end and awaited. Each
says something new, as the messages of a program do. The wall time told is the
median round trip times the number of steps, the CPU time that of the process.

============== ===================================================================
``ours``       `EchoProtocol.confirmed_send` to an `EchoProtocol` with a callback
``peer``       the same of iblutil, which prints each message
``quiet-peer`` the same with a logger that lets warnings through only
``bare``       an asyncio protocol that sends back what comes, and a future
``lean-bare``  the same with transports that ask for 64 KiB at a time, as ours does over UDP
============== ===================================================================
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import statistics
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import orders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    #: Sends the message with this number, and returns when it is confirmed.
    Send = Callable[[int], Awaitable[object]]

LOCAL: Final = "127.0.0.1"
EXPINFO: Final = 64
RUNNING: Final = 20
LEAN_READ: Final = 65_536


class Bare(asyncio.DatagramProtocol, asyncio.Protocol):
    """What both bare ends have.

    Parameters
    ----------
    is_lean : bool
        Whether to ask for less than asyncio does by default, for which many an
        allocator goes to the system at each message.
    """

    transport: Any

    def __init__(self, is_lean: bool) -> None:
        self._is_lean = is_lean

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""
        self.transport = transport
        if self._is_lean:
            transport.max_size = LEAN_READ


class BareEcho(Bare):
    """Sends back what comes."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Take a datagram."""
        self.transport.sendto(data, addr)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a stream."""
        self.transport.write(data)


class BareClient(Bare):
    """Sets a future when something comes."""

    echo: asyncio.Future[bytes]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Take a datagram."""
        self.echo.set_result(data)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a stream."""
        self.echo.set_result(data)


async def open_bare(transport: str, port: int, *, is_lean: bool) -> Send:
    """Return what makes a round trip with the least that asyncio takes."""
    loop = asyncio.get_running_loop()
    place = (LOCAL, port)
    client = BareClient(is_lean)
    if transport == "udp":
        await loop.create_datagram_endpoint(lambda: BareEcho(is_lean), local_addr=place)
        await loop.create_datagram_endpoint(lambda: client, remote_addr=place)
    else:
        await loop.create_server(lambda: BareEcho(is_lean), *place)
        await loop.create_connection(lambda: client, *place)
    write = client.transport.sendto if transport == "udp" else client.transport.write

    def send(number: int) -> asyncio.Future[bytes]:
        client.echo = loop.create_future()
        write(b"[%d, %d, %d]" % (EXPINFO, RUNNING, number))
        return client.echo

    return send


async def open_rig(kind: str, transport: str, port: int) -> Send:
    """Return what makes a round trip between two ends of a package."""
    package: Any = importlib.import_module("echo_rig" if kind == "ours" else "iblutil.io.net.app")
    log = None
    if kind == "quiet-peer":
        log = logging.getLogger("quiet")
        log.setLevel(logging.WARNING)
    # The scheme that both know for TCP.
    uri = f"{'udp' if transport == 'udp' else 'ws'}://{LOCAL}:{port}"
    rig = await package.EchoProtocol.server(uri, name="rig", log=log)
    rig.assign_callback(EXPINFO, lambda data, address: None)
    client = await package.EchoProtocol.client(uri, name="client", log=log)
    confirmed_send: Callable[[list[int]], Awaitable[None]] = client.confirmed_send
    return lambda number: confirmed_send([EXPINFO, RUNNING, number])


async def round_trips(send: Send, first: int, steps: int) -> list[float]:
    """Make so many, one after the other; return the seconds of each."""
    taken = []
    for number in range(first, first + steps):
        begin = time.perf_counter()
        await send(number)
        taken.append(time.perf_counter() - begin)
    return taken


def main() -> None:
    """Open both ends, say so, follow the orders of the bench."""
    kind, transport = sys.argv[1:3]
    port = int(sys.argv[3])
    warnings.simplefilter("ignore")  # those of the peer
    done = 0
    with asyncio.Runner() as runner:
        send = runner.run(
            open_bare(transport, port, is_lean=kind == "lean-bare")
            if kind.endswith("bare")
            else open_rig(kind, transport, port)
        )

        def run(steps: int) -> tuple[int, float, float]:
            nonlocal done
            busy = time.process_time()
            taken = runner.run(round_trips(send, done, steps))
            done += steps
            return steps, steps * statistics.median(taken), time.process_time() - busy

        orders.say(ready=True)
        orders.follow(run)


if __name__ == "__main__":
    main()
