"""A lossy network on the loopback: a UDP proxy between clients and one server."""

from __future__ import annotations

import asyncio
import random
from collections import Counter


class FaultProxy:
    """Loses, doubles and delays datagrams in both directions; the same seed draws the same dice.

    Each client has a socket of its own towards the server, so that the server
    tells them apart. To be used as asynchronous context manager.
    """

    def __init__(self, server, *, loss=0.0, duplication=0.0, delay_s=0.0, seed=0):
        self.server = server
        self.loss = loss
        self.duplication = duplication
        #: Each copy is delayed by up to so much, which reorders.
        self.delay_s = delay_s
        self.counts = Counter()
        self._dice = random.Random(seed)
        self._towards_server = {}
        self._opening = {}
        #: What clients sent before their socket was open.
        self._early = {}
        self._timers = set()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Side(self._from_client), local_addr=("127.0.0.1", 0)
        )
        self.address = self._front.get_extra_info("sockname")
        self.uri = f"udp://127.0.0.1:{self.address[1]}"
        return self

    async def __aexit__(self, *details):
        for timer in self._timers:
            timer.cancel()
        for task in self._opening.values():
            await task
        for transport in (self._front, *self._towards_server.values()):
            transport.close()

    def _from_client(self, data, client):
        if client not in self._opening:
            self._opening[client] = asyncio.ensure_future(self._open(client))
            self._early[client] = []
        back = self._towards_server.get(client)
        if back is None:
            self._early[client].append(data)
        else:
            self._pass_on("to server", data, lambda: back.sendto(data))

    async def _open(self, client):
        back, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Side(
                lambda data, _: self._pass_on("to client", data, lambda: self._front.sendto(data, client))
            ),
            remote_addr=self.server,
        )
        self._towards_server[client] = back
        for data in self._early.pop(client):
            self._from_client(data, client)

    def _pass_on(self, direction, data, send):
        self.counts[direction] += 1
        if self._dice.random() < self.loss:
            self.counts["lost"] += 1
            return
        copies = 1
        if self._dice.random() < self.duplication:
            copies = 2
            self.counts["doubled"] += 1
        for _ in range(copies):
            if self.delay_s:
                self._later(self._dice.random() * self.delay_s, send)
            else:
                send()

    def _later(self, delay_s, send):
        def run():
            self._timers.discard(timer)
            send()

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, take):
        self._take = take

    def datagram_received(self, data, addr):
        self._take(data, addr)

    def error_received(self, exc):
        """Take no notice: nobody listens there at present."""
