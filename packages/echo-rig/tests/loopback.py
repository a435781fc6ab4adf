"""What tests of ends in an event loop need: waits with a deadline, and a bare peer."""

from __future__ import annotations

import asyncio
import contextlib
import time

LIMIT_S = 20.0


async def until(condition):
    """Wait until something is true."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.002)


class BarePeer(asyncio.DatagramProtocol):
    """A UDP socket that notes what comes, and echoes it as far as it is told to."""

    def __init__(self):
        self.got = []
        self.echoes = True
        self.transport = None
        self.last_address = None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.got.append(data)
        self.last_address = address
        if self.echoes:
            self.transport.sendto(data, address)

    def say(self, data):
        self.transport.sendto(data, self.last_address)

    @property
    def uri(self):
        host, port = self.transport.get_extra_info("sockname")
        return f"udp://{host}:{port}"


@contextlib.asynccontextmanager
async def bare_peer():
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        BarePeer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield peer
    finally:
        transport.close()
        await asyncio.sleep(0)
