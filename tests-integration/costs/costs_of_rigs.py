"""echo-rig: a confirmed message, with asyncio and with plain calls; a round of `Services`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cost_meters import KEPT, OWN, PYTHON_CALLS, SYSTEM_CALLS, Counted, Run, Scenario
from cost_waits import LIMIT_S

from echo_rig import EchoProtocol, Services, sync

LOCAL = "127.0.0.1"
EXPINFO, RUNNING = 64, 20
RIGS = 8
#: More messages than ends remember to tell copies.
WARM_UP = 2200


def free_uri(scheme: str) -> str:
    """A place where nobody listens."""
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((LOCAL, 0))
        return f"{scheme}://{LOCAL}:{sock.getsockname()[1]}"


def confirmed(scheme: str, *, numbering: bool) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of a confirmed message: both ends, in one event loop."""

    async def open_both() -> tuple[EchoProtocol, EchoProtocol]:
        rig = await EchoProtocol.server(free_uri(scheme), name="rig", numbering=numbering)
        rig.assign_callback(EXPINFO, lambda data, address: None)
        client = await EchoProtocol.client(rig.server_uri, name="client", numbering=numbering)
        return rig, client

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        with asyncio.Runner() as runner:
            rig, client = runner.run(open_both())
            numbers = iter(range(1 << 30))

            async def send(messages: int) -> None:
                for _ in range(messages):
                    with counted("both ends"):
                        await client.confirmed_send([EXPINFO, RUNNING, next(numbers)])

            async def close() -> None:
                client.close()
                rig.close()

            try:
                yield lambda messages: runner.run(send(messages))
            finally:
                runner.run(close())

    return scenario


@contextlib.contextmanager
def plain(counted: Counted) -> Iterator[Run]:
    """A confirmed message with plain calls; what sends it back is bare, in a thread of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rig:
        rig.settimeout(LIMIT_S)
        rig.bind((LOCAL, 0))

        def echo() -> None:
            while (got := rig.recvfrom(65535))[0] != b"over":
                rig.sendto(*got)

        thread = threading.Thread(target=echo)
        thread.start()
        numbers = iter(range(1 << 30))
        try:
            with sync.connect("udp://{}:{}".format(*rig.getsockname())) as client:

                def run(messages: int) -> None:
                    for _ in range(messages):
                        with counted("client"):
                            client.confirmed_send([EXPINFO, RUNNING, next(numbers)])

                yield run
        finally:
            rig.sendto(b"over", rig.getsockname())
            thread.join(LIMIT_S)


class Rig(asyncio.DatagramProtocol):
    """A bare rig: sends each message back, and a response behind it."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._response = b""
        self.arrived = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        # For the buffer that asyncio takes by default, memory is got from the system each time.
        transport.max_size = 65_536

    def close(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.arrived += 1
        # The echo of the response is not answered.
        if data != self._response:
            self._transport.sendto(data, address)
            # Not what the command was, or it would look like one more echo.
            self._response = b'[1, {"ready": %b}]' % data
            self._transport.sendto(self._response, address)


@contextlib.contextmanager
def services(counted: Counted) -> Iterator[Run]:
    """``Services.init`` of several rigs, which are bare; what arrives at them is counted too."""

    async def open_all() -> tuple[list[Rig], Services]:
        loop = asyncio.get_running_loop()
        rigs, clients = [], []
        for number in range(RIGS):
            carrier, rig = await loop.create_datagram_endpoint(Rig, local_addr=(LOCAL, 0))
            uri = "udp://{}:{}".format(*carrier.get_extra_info("sockname"))
            rigs.append(rig)
            clients.append(await EchoProtocol.client(uri, name=f"rig{number}"))
        return rigs, Services(clients)

    with asyncio.Runner() as runner:
        rigs, asked = runner.run(open_all())
        numbers = iter(range(1 << 30))

        async def ask(messages: int) -> dict[str, float]:
            before = sum(rig.arrived for rig in rigs)
            for _ in range(messages):
                with counted("round"):
                    responses = await asked.init({"session": next(numbers)}, concurrent=True)
                assert len(responses) == RIGS
            # The last echoes of responses are on their way.
            for _ in range(3):
                await asyncio.sleep(0)
            return {"datagrams to rigs": sum(rig.arrived for rig in rigs) - before}

        async def close() -> None:
            for client in asked.values():
                client.close()
            for rig in rigs:
                rig.close()

        try:
            yield lambda messages: runner.run(ask(messages))
        finally:
            runner.run(close())


CALLS = (SYSTEM_CALLS, PYTHON_CALLS)
SCENARIOS = [
    Scenario("confirmed message, UDP", confirmed("udp", numbering=False), 30, CALLS),
    # A message whose echo takes long is said again, so calls of functions, which are slow to count, are not.
    Scenario(
        "confirmed message, UDP, numbered", confirmed("udp", numbering=True), 1, (SYSTEM_CALLS,), times=60
    ),
    Scenario("confirmed message, TCP", confirmed("tcp", numbering=False), 30, CALLS),
    Scenario("confirmed message, UDP", confirmed("udp", numbering=False), 40, (KEPT,), warm_up=WARM_UP),
    Scenario(
        "confirmed message, UDP, numbered", confirmed("udp", numbering=True), 40, (KEPT,), warm_up=WARM_UP
    ),
    Scenario("confirmed message, plain calls", plain, 30, CALLS),
    Scenario(f"Services of {RIGS} rigs", services, 10, (SYSTEM_CALLS, PYTHON_CALLS, OWN)),
]
