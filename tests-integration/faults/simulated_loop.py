"""Programs of asyncio on the network in memory: an event loop whose time and datagrams are the simulator's.

The program is the real one, with its timers and its transports; only the system below is not. While such a
loop runs, `time.monotonic` is the clock of the network too.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any
from unittest import mock

from simulator import Network

#: Where clients are; a server is where it wants to be.
CLIENT = "192.0.2.1"
_FIRST_PORT = 40000


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits; what would, lets the network go on until then."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._ports = iter(range(_FIRST_PORT, 65536))
        super().__init__(_Selector(network))

    def time(self) -> float:
        """The clock of the network."""
        return self.network.now

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], Any],
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Connect a protocol object to the network in memory."""
        assert not options, f"not simulated: {options}"
        protocol = protocol_factory()
        address = tuple(local_addr) if local_addr else (CLIENT, next(self._ports))
        peer = tuple(remote_addr) if remote_addr else None
        transport = SimulatedDatagrams(self, protocol, address, peer)
        protocol.connection_made(transport)
        return transport, protocol

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run it here: a thread would be waited for in real time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - told to whoever awaits it, as by a thread
            future.set_exception(error)
        return future


class SimulatedDatagrams(asyncio.DatagramTransport):
    """A socket of the network in memory."""

    def __init__(
        self, loop: SimulatedLoop, protocol: Any, address: tuple[str, int], peer: tuple[str, int] | None
    ) -> None:
        carrier = SimpleNamespace(
            type=socket.SOCK_DGRAM, family=socket.AF_INET, getsockname=lambda: address, fileno=lambda: -1
        )
        super().__init__({"socket": carrier, "sockname": address, "peername": peer})
        self._simulated_loop = loop
        self._protocol = protocol
        self._address = address
        self._peer = peer
        self._is_closing = False
        loop.network.attach(address, self._receive)

    def _receive(self, data: bytes, source: tuple[str, int]) -> None:
        # A connected socket hears nobody else.
        if not self._is_closing and self._peer in (None, source):
            self._protocol.datagram_received(data, source)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Put a datagram on its way."""
        destination = addr or self._peer
        assert destination is not None
        self._simulated_loop.network.send(self._address, tuple(destination), bytes(data))

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        """Nothing ever waits to be sent."""
        return 0

    def close(self) -> None:
        """Let go of the address."""
        if not self._is_closing:
            self._is_closing = True
            self._simulated_loop.network.detach(self._address)
            self._simulated_loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class _Selector(selectors.DefaultSelector):
    """Lets the network go on instead of waiting."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout > 0:
            due = self._network.next_at
            if timeout is not None:
                end = self._network.now + timeout
                due = end if due is None else min(due, end)
            assert due is not None, "everybody waits, and nothing will ever happen"
            self._network.run(due)
        return super().select(0)


def run(network: Network, main: Coroutine[Any, Any, Any], limit_s: float = 3600.0) -> Any:
    """Run a coroutine on the network in memory; `limit_s` are simulated seconds."""
    escaped: list[Any] = []
    with contextlib.closing(SimulatedLoop(network)) as loop, mock.patch.object(time, "monotonic", loop.time):
        loop.set_exception_handler(lambda _, context: escaped.append(context))

        async def limited() -> Any:
            async with asyncio.timeout(limit_s):
                result = await main
            for _ in range(3):  # what was closed ends in the next turns of the loop
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            said = f"tasks are left over: {left}"
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            assert not left, said
            return result

        result = loop.run_until_complete(limited())
    assert not escaped, escaped
    return result
