"""One of two programs that exchange commands and replies in JSON, in a process of its own.

Started by the bench, never imported::

    python command_subject.py (ours | bare | pyro) (kept | once) (answer | command) PORT

The one that answers sends back the value that it got, until its input ends.
A step of the other is a command and its reply; the wall time told is the median
round trip times the number of steps, the CPU time that of the process.

======== =====================================================================
``ours`` `wireframe.Socket`: ``send(receive())``, and ``tcpcmd``
``bare`` the same bytes by ``sendall`` and ``recv``, and the same work on JSON
``pyro`` a call of Pyro5 with its JSON serializer
======== =====================================================================

Connections are kept for all commands, or made for each once more.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import orders

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Sends a command, returns its reply.
    Command = Callable[[Any], Any]

LOCAL: Final = "127.0.0.1"
HEADER: Final = 10
ENOUGH: Final = 65536


def message(number: int) -> dict[str, Any]:
    """Return a command; each is another one."""
    return {"command": "newdat", "x": [2.5, 0.25], "y": number + 0.125, "sigma": 1e-3}


def receive(here: socket.socket) -> Any:
    """Return the value of the next frame; None at the end of the stream."""
    data = b""
    while len(data) < HEADER or len(data) < HEADER + int(data[:HEADER]):
        piece = here.recv(ENOUGH)
        if not piece:
            return None
        data += piece
    return json.loads(data[HEADER:].decode())


def send(here: socket.socket, value: Any) -> None:
    """Send a value in its frame."""
    body = json.dumps(value).encode()
    here.sendall(b"%010d" % len(body) + body)


def connect(port: int) -> socket.socket:
    """Return a connection that sends at once."""
    here = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    here.connect((LOCAL, port))
    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return here


def answer_bare(port: int, ready: Callable[[], object]) -> None:
    """Answer one connection after the other, each until its end."""
    with socket.create_server((LOCAL, port)) as server:
        ready()
        while True:
            stream, _ = server.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with stream:
                while (value := receive(stream)) is not None:
                    send(stream, value)


def answer_ours(port: int, ready: Callable[[], object], *, is_kept: bool) -> None:
    """Answer with our socket."""
    from wireframe import Socket

    with Socket("server", LOCAL, port, persistent=is_kept) as server:
        ready()
        while True:
            server.send(server.receive())


def answer_pyro(port: int, ready: Callable[[], object]) -> None:
    """Answer the calls of Pyro5."""
    import Pyro5.api  # type: ignore[import-not-found,import-untyped,unused-ignore]

    class Rig:
        @Pyro5.api.expose  # type: ignore[untyped-decorator,unused-ignore]
        def same(self, value: Any) -> Any:
            return value

    daemon = Pyro5.api.Daemon(host=LOCAL, port=port)
    daemon.register(Rig, "rig")
    ready()
    daemon.requestLoop()


def commander(whose: str, port: int, *, is_kept: bool) -> Command:
    """Return what makes a round trip."""
    if whose == "ours":
        from wireframe import Socket

        return Socket("client", LOCAL, port, persistent=is_kept).tcpcmd
    if whose == "pyro":
        import Pyro5.api

        Pyro5.config.SERIALIZER = "json"
        rig = Pyro5.api.Proxy(f"PYRO:rig@{LOCAL}:{port}")

        def call(value: Any) -> Any:
            reply = rig.same(value)
            if not is_kept:
                rig._pyroRelease()
            return reply

        return call
    if is_kept:
        here = connect(port)

        def command_kept(value: Any) -> Any:
            send(here, value)
            return receive(here)

        return command_kept

    def command_once(value: Any) -> Any:
        with connect(port) as here:
            send(here, value)
            return receive(here)

    return command_once


def following(command: Command) -> orders.Steps:
    """Return what makes round trips."""
    done = 0

    def run(steps: int) -> tuple[int, float, float]:
        nonlocal done
        taken = []
        busy = time.process_time()
        for number in range(done, done + steps):
            value = message(number)
            begin = time.perf_counter()
            reply = command(value)
            taken.append(time.perf_counter() - begin)
            if reply != value:
                raise RuntimeError(f"{value} was sent, {reply} came back")
        done += steps
        return steps, steps * statistics.median(taken), time.process_time() - busy

    return run


def main() -> None:
    """Open one end, say so, follow the orders of the bench."""
    whose, connections, role = sys.argv[1:4]
    port, is_kept = int(sys.argv[4]), connections == "kept"
    if role == "command":
        run = following(commander(whose, port, is_kept=is_kept))
        run(1)
        orders.say(ready=True)
        orders.follow(run)
        return

    def serve() -> None:
        if whose == "ours":
            answer_ours(port, ready.set, is_kept=is_kept)
        elif whose == "pyro":
            answer_pyro(port, ready.set)
        else:
            answer_bare(port, ready.set)

    ready = threading.Event()
    threading.Thread(target=serve, daemon=True).start()
    orders.say(ready=ready.wait(30.0))
    sys.stdin.read()


if __name__ == "__main__":
    main()
