"""The other end of a wire as a bare socket, and how tests with sockets are run.

Time limits are those of `asyncio.timeout`: `wait_for` of Python 3.11 may swallow a cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import socket
import struct

#: Seconds; more than any step here takes on a busy machine.
LIMIT_S = 20.0
#: Seconds in which something would have come, if it came.
QUIET_S = 0.05


@functools.cache
def _leave_out_what_was_here_before():
    """Let the collector look at what tests make, and not each time at all modules that were imported."""
    gc.collect()
    gc.freeze()


def in_loop_within(limit_s):
    """Run a coroutine function as a test; nothing may be left over or escape into the loop."""

    def decorate(test):
        @functools.wraps(test)
        def run(*arguments, **named):
            escaped = []

            async def main():
                asyncio.get_running_loop().set_exception_handler(lambda _, context: escaped.append(context))
                async with asyncio.timeout(limit_s):
                    await test(*arguments, **named)
                for _ in range(3):  # transports close in the next turns of the loop
                    await asyncio.sleep(0)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"tasks are left over: {left}"

            _leave_out_what_was_here_before()
            asyncio.run(main())
            gc.collect()  # what was not closed warns now
            assert not escaped, escaped

        return run

    return decorate


in_loop = in_loop_within(LIMIT_S)


def free_uri(scheme, host="127.0.0.1"):
    """Where nobody listens at present."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def place_of(uri):
    """Host and port of a URI."""
    host, _, port = uri.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def is_taken(uri):
    """Whether somebody listens there."""
    kind = socket.SOCK_DGRAM if uri.startswith("udp") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(place_of(uri))
        except OSError:
            return True
    return False


async def until(condition, what="what was waited for"):
    """Let the loop run until it is so."""
    deadline = asyncio.get_running_loop().time() + LIMIT_S / 2
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.001)


class RawDatagrams(contextlib.AbstractAsyncContextManager):
    """A UDP socket, bound or connected."""

    def __init__(self, bind=None, connect=None):
        host = (bind or connect)[0]
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if bind:
            self.socket.bind(bind)
        if connect:
            self.socket.connect(connect)
        self.address = self.socket.getsockname()[:2]
        self.sender = connect

    async def __aexit__(self, *details):
        self.socket.close()

    async def send(self, data, address=None):
        """Send to an address, or to who was heard last, or to the connected end."""
        loop = asyncio.get_running_loop()
        try:
            self.socket.getpeername()
        except OSError:
            await loop.sock_sendto(self.socket, data, address or self.sender)
        else:
            self.socket.send(data)

    async def receive(self, size=None):
        """Receive a datagram; `size` is for streams."""
        async with asyncio.timeout(LIMIT_S / 2):
            data, self.sender = await asyncio.get_running_loop().sock_recvfrom(self.socket, 65536)
        return data

    async def is_quiet(self):
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(QUIET_S):
                await asyncio.get_running_loop().sock_recvfrom(self.socket, 65536)
        except TimeoutError:
            return True
        return False


class RawStream(contextlib.AbstractAsyncContextManager):
    """A TCP socket that is connected."""

    def __init__(self, stream):
        self.socket = stream
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = stream.getsockname()[:2]

    @classmethod
    async def connect(cls, place):
        stream = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET)
        stream.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(stream, place)
        except BaseException:
            stream.close()
            raise
        return cls(stream)

    async def __aexit__(self, *details):
        self.socket.close()

    def reset(self):
        """Close in the rude way."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def send(self, *pieces):
        """Send pieces, each one so that it is read alone."""
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(self.socket, piece)
            await asyncio.sleep(0.005)

    async def receive(self, size=None):
        """Receive so many bytes, or what comes next."""
        loop = asyncio.get_running_loop()
        data = b""
        while not data or (size is not None and len(data) < size):
            want = 65536 if size is None else size - len(data)
            async with asyncio.timeout(LIMIT_S / 2):
                piece = await loop.sock_recv(self.socket, want)
            if not piece:
                break
            data += piece
        return data

    async def is_quiet(self):
        """Whether nothing comes for a while, not even the end."""
        try:
            async with asyncio.timeout(QUIET_S):
                await asyncio.get_running_loop().sock_recv(self.socket, 1)
        except TimeoutError:
            return True
        return False


class RawListener(contextlib.AbstractAsyncContextManager):
    """A TCP socket that listens."""

    def __init__(self, place):
        self.socket = socket.create_server(place)
        self.socket.setblocking(False)

    async def __aexit__(self, *details):
        self.socket.close()

    async def accept(self):
        async with asyncio.timeout(LIMIT_S / 2):
            stream, _ = await asyncio.get_running_loop().sock_accept(self.socket)
        return RawStream(stream)


@contextlib.asynccontextmanager
async def raw_server_and(connect, uri):
    """A raw end in the server role, and our client, made by ``connect(uri)``, that is connected to it."""
    if uri.startswith("udp"):
        async with RawDatagrams(bind=place_of(uri)) as raw, await connect(uri) as ours:
            yield raw, ours
    else:
        async with (
            RawListener(place_of(uri)) as listener,
            await connect(uri) as ours,
            await listener.accept() as raw,
        ):
            yield raw, ours


@contextlib.asynccontextmanager
async def raw_client_and(serve, uri):
    """A raw end in the client role, connected to our server, made by ``serve(uri)``."""
    async with await serve(uri) as ours:
        if uri.startswith("udp"):
            async with RawDatagrams(connect=place_of(uri)) as raw:
                yield raw, ours
        else:
            async with await RawStream.connect(place_of(uri)) as raw:
                await until(lambda: ours.addresses, "the connection")
                yield raw, ours
