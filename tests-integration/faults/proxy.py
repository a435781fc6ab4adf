"""A proxy on the loopback that does to a connection what networks and dying programs do.

It runs in a thread of its own, so that programs of any kind may be on its ends. For datagrams there is
`UdpProxy`, which is the one of echo-rig's tests in such a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parents[2] / "packages" / "echo-rig" / "tests"))

from fault_proxy import FaultProxy

#: Seconds; more than anything here takes on a busy machine.
LIMIT_S = 20.0
_READ_SIZE = 1 << 16


@dataclass
class Faults:
    """What happens to the bytes in one direction; counted from the beginning of each connection."""

    #: Behind this byte both connections end, as when the program on the near end is killed.
    cut_after: int | None = None
    #: They end by a reset, not by the end of the stream.
    resets: bool = False
    #: Behind this byte nothing is read any more, and nothing passed on.
    stall_after: int | None = None
    #: Largest piece that is passed on at a time.
    piece: int = _READ_SIZE
    #: Pause before each piece.
    delay_s: float = 0.0


class _InThread:
    """Something asynchronous, in an event loop that has a thread for itself."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)

    async def _open(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine there and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(LIMIT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.call(self._open())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.call(self._close())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()


class TcpProxy(_InThread):
    """Stands between clients and one server.

    `to_server` and `to_client` may be exchanged at any time, for connections that are made from then on.
    """

    def __init__(
        self, server: tuple[str, int], to_server: Faults | None = None, to_client: Faults | None = None
    ) -> None:
        super().__init__()
        self.server = server
        self.to_server = to_server or Faults()
        self.to_client = to_client or Faults()
        #: Connections, cuts, stalls, and bytes passed on in each direction.
        self.counts: Counter[str] = Counter()
        self._serving: set[asyncio.Task[None]] = set()

    async def _open(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_READ_SIZE)
        #: Where clients connect.
        self.address: tuple[str, int] = self._listener.sockets[0].getsockname()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 where clients connect."""
        return self.address[1]

    async def _close(self) -> None:
        self._listener.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        # Transports let go of their sockets in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.counts["connections"] += 1
        writers = [writer]
        try:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(*self.server)
                writers.append(far_writer)
                await _first_cut(
                    self._pass_on("to server", self.to_server, reader, far_writer),
                    self._pass_on("to client", self.to_client, far_reader, writer),
                )
        except asyncio.CancelledError:
            # The proxy is being closed; who stands on the ends sees its connection end.
            pass
        finally:
            for one in writers:
                one.transport.abort()
            self._serving.discard(task)

    async def _pass_on(
        self, name: str, faults: Faults, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        passed = 0
        while True:
            if faults.cut_after is not None and passed >= faults.cut_after:
                self.counts["cuts"] += 1
                raise _CutError(faults.resets, writer)
            if faults.stall_after is not None and passed >= faults.stall_after:
                self.counts["stalls"] += 1
                await asyncio.get_running_loop().create_future()
            ends = [one for one in (faults.cut_after, faults.stall_after) if one is not None]
            data = await reader.read(min([faults.piece, *(end - passed for end in ends)]))
            if not data:
                writer.write_eof()
                return
            if faults.delay_s:
                await asyncio.sleep(faults.delay_s)
            writer.write(data)
            await writer.drain()
            passed += len(data)
            self.counts[name] += len(data)


class _CutError(Exception):
    """The time has come to end a connection."""

    def __init__(self, resets: bool, writer: asyncio.StreamWriter) -> None:
        self.resets = resets
        self.writer = writer


async def _first_cut(*directions: Any) -> None:
    """Run both directions until both have ended, or one of them cuts the connection."""
    tasks = [asyncio.ensure_future(one) for one in directions]
    try:
        await asyncio.gather(*tasks)
    except _CutError as cut:
        if cut.resets:
            linger = struct.pack("ii", 1, 0)
            cut.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class UdpProxy(_InThread):
    """Stands between clients and one server, and loses, doubles, delays and so reorders datagrams."""

    def __init__(self, server: tuple[str, int], **faults: Any) -> None:
        super().__init__()
        self._arguments = server, faults

    async def _open(self) -> None:
        server, faults = self._arguments
        self._proxy = FaultProxy(server, **faults)
        await self._proxy.__aenter__()
        #: Where clients send to.
        self.address: tuple[str, int] = self._proxy.address
        #: What was lost and doubled, and what came from either side.
        self.counts = self._proxy.counts

    async def _close(self) -> None:
        await self._proxy.__aexit__(None, None, None)
        for _ in range(3):
            await asyncio.sleep(0)
