"""Rigs that are killed and started again, and a server whose clients are; over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from scene import Scene

from echo_rig import EchoProtocol
from wireframe.echo import Number, add_number

_MESSAGES = 20
#: Addresses that a server remembers over UDP; the first ones fill its memory.
_REMEMBERED = 4096
#: Seconds for a message to a rig that may have died.
_PATIENCE_S = 5.0


def free_uri(scheme: str) -> str:
    """A place that nobody uses."""
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"{scheme}://127.0.0.1:{probe.getsockname()[1]}"


class Rigs(Scene):
    """A server for either scheme that stays, and clients that are killed; and a client of a rig that is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._runner = self.enter_context(asyncio.Runner())
        #: The last number that each client has said, by its process.
        self._heard: dict[int, int] = {}
        # What a callback raises is told to the sender; here it is to be known.
        self._wrong: list[str] = []
        self._next = 0
        self._ends: list[EchoProtocol] = []
        uris = self._runner.run(self._serve())
        self.callback(lambda: self._runner.run(self._close()))
        for uri in uris:
            self._start(self.add, "client", uri)
        rig_uri = free_uri("udp")
        self.add("rig", rig_uri)
        self._client = self._runner.run(self._connect(rig_uri))

    async def _serve(self) -> list[str]:
        uris = [free_uri(scheme) for scheme in ("udp", "tcp")]
        for uri in uris:
            server = await EchoProtocol.server(uri, numbering=True)
            server.assign_callback("EXPINIT", lambda data, _: self._hear(*data[0]))
            self._ends.append(server)
        await self._fill(self._ends[0], uris[0])
        return uris

    async def _connect(self, uri: str) -> EchoProtocol:
        client = await EchoProtocol.client(uri, numbering=True)
        self._ends.append(client)
        return client

    def _start(self, start: Callable[..., object], *arguments: object) -> None:
        """Start a client, which has begun when it was heard."""

        async def serve() -> None:
            await asyncio.get_running_loop().run_in_executor(None, start, *arguments)

        self._runner.run(serve())

    async def _close(self) -> None:
        for end in self._ends:
            end.close()
        await asyncio.sleep(0)

    async def _fill(self, server: EchoProtocol, uri: str) -> None:
        """Send from as many addresses as are remembered."""
        place = ("127.0.0.1", int(uri.rpartition(":")[2]))
        for number in range(4 * _REMEMBERED):
            # Some get a port that another one had.
            if number % 64 == 0 and len(server.addresses) == _REMEMBERED:
                return
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(add_number(b'[1, ["stranger", 0]]', Number(1 + number, 1, 1)), place)
            await asyncio.sleep(0)
        raise AssertionError(f"{len(server.addresses)} addresses are remembered, not {_REMEMBERED}")

    def _hear(self, name: object, number: int) -> None:
        if name == "stranger":
            return
        if number != self._heard.get(name, -1) + 1:
            self._wrong.append(f"{name}: {number} after {self._heard.get(name)}")
        self._heard[name] = number
        self.checked += 1

    def play(self) -> None:
        """Hear the clients for a while, and tell the rig something; it may be dead just now."""
        self._runner.run(self._tell())
        assert not self._wrong, self._wrong

    async def _tell(self) -> None:
        for _ in range(_MESSAGES):
            self._next += 1
            try:
                await self._client.confirmed_send([1, [self._next]], timeout=_PATIENCE_S)
            except OSError:
                # TimeoutError too: told, so not lost without a report.
                continue
            self.checked += 1

    def mend(self) -> None:
        """Forget who was killed."""
        alive = {peer.process_id for peer in self.peers}
        self._heard = {name: number for name, number in self._heard.items() if name in alive}
