"""`wireframe.Socket`: commands and replies in JSON, on connections that are kept or made anew for each."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from cost_meters import KEPT, PEAK, PYTHON_CALLS, SYSTEM_CALLS, Counted, Run, Scenario
from cost_waits import LIMIT_S, connected, read, until_readable

from wireframe import Socket, lenjson

MESSAGE = {"command": "newdat", "x": [2.5, 0.25], "y": 1.125, "sigma": 1e-3}
FRAME = lenjson.encode(MESSAGE)


@contextlib.contextmanager
def kept(counted: Counted) -> Iterator[Run]:
    """Both ends in one thread: a command and its reply, on a connection that is kept."""
    with (
        Socket("server", port=0, persistent=True) as server,
        Socket("client", port=server.port, persistent=True) as client,
    ):

        def run(messages: int) -> None:
            for _ in range(messages):
                with counted("client"):
                    client.send(MESSAGE)
                # The first one comes by the listening socket.
                until_readable(server.connection or server.server)
                with counted("server"):
                    value = server.receive()
                    server.send(value)
                until_readable(client.connection)
                with counted("client"):
                    reply = client.receive()
                assert reply == MESSAGE

        yield run


@contextlib.contextmanager
def server_once(counted: Counted) -> Iterator[Run]:
    """A server, and bare clients that come for one command each."""
    with Socket("server", port=0) as server:

        def run(messages: int) -> None:
            for _ in range(messages):
                with connected(server.port) as client:
                    client.sendall(FRAME)
                    until_readable(server.server)
                    with counted("server"):
                        value = server.receive()
                        server.send(value)
                    assert read(client, len(FRAME)) == FRAME

        yield run


def command(*, is_kept: bool) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of ``tcpcmd``, whose bare server has a thread of its own."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        with bare_server() as port, Socket("client", port=port, persistent=is_kept) as client:

            def run(messages: int) -> None:
                for _ in range(messages):
                    with counted("client"):
                        reply = client.tcpcmd(MESSAGE)
                    assert reply == MESSAGE

            yield run

    return scenario


@contextlib.contextmanager
def bare_server() -> Iterator[int]:
    """A thread that sends frames of one length back; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        port = listener.getsockname()[1]
        is_over = threading.Event()

        def serve() -> None:
            while True:
                with listener.accept()[0] as stream:
                    if is_over.is_set():
                        return
                    stream.settimeout(LIMIT_S)
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while frame := read(stream, len(FRAME)):
                        stream.sendall(frame)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            is_over.set()
            connected(port).close()
            thread.join(LIMIT_S)


SCENARIOS = [
    Scenario("commands, kept connection", kept, 30, (SYSTEM_CALLS, PYTHON_CALLS, PEAK, KEPT)),
    Scenario("commands, a connection for each", server_once, 30, (SYSTEM_CALLS, PYTHON_CALLS, PEAK, KEPT)),
    # Beside their server, in another thread, memory is not theirs alone.
    Scenario("tcpcmd, kept connection", command(is_kept=True), 30, (SYSTEM_CALLS, PYTHON_CALLS)),
    Scenario("tcpcmd, a connection for each", command(is_kept=False), 30, (SYSTEM_CALLS, PYTHON_CALLS)),
]
