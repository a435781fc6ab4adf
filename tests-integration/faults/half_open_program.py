"""Both ends of a connection in one process, for a test that takes the network away between them: KIND.

Times of the liveness options that a package sets are taken for 30 times as long as they are, so that a minute
is two seconds. The program says on which port it is, waits for a line, and then tells of each end how many
seconds after that it noticed, and how many of them this process was kept from running by others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable

FASTER = 30
#: Seconds that it sleeps to see how much longer that takes.
GLANCE_S = 0.02
#: Seconds until an end that notices nothing is given up.
LIMIT_S = 30.0

_real_setsockopt = socket.socket.setsockopt


def _setsockopt(sock: socket.socket, level: int, option: int, *value: object) -> None:
    (first, *rest) = value
    if level == socket.IPPROTO_TCP and isinstance(first, int):
        if option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            first = max(1, first // FASTER)
        elif option == socket.TCP_USER_TIMEOUT:
            first //= FASTER
    _real_setsockopt(sock, level, option, first, *rest)


class Watch:
    """Who noticed when; beside it a thread looks how late this process is woken."""

    def __init__(self) -> None:
        self.began = 0.0
        #: For each end: until it noticed, and how many of them this process should have run and did not.
        self.seconds: dict[str, tuple[float, float]] = {}
        self._stalled = 0.0
        self._is_over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def ready(self, port: int) -> None:
        """Say that the connection stands, and wait until it is taken away."""
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.readline()
        self.began = time.monotonic()
        self._looking.start()

    def _look(self) -> None:
        before = time.monotonic()
        while not self._is_over.wait(GLANCE_S):
            now = time.monotonic()
            self._stalled += now - before - GLANCE_S
            before = now

    def over(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._looking.join(LIMIT_S)

    def noticed(self, end: str) -> None:
        """This end knows now."""
        taken = time.monotonic() - self.began
        self.seconds.setdefault(end, (round(taken, 2), round(self._stalled, 2)))

    def until(self, end: str, condition: Callable[[], bool]) -> None:
        """Look until this end knows."""
        while not condition():
            if time.monotonic() - self.began > LIMIT_S:
                return
            time.sleep(GLANCE_S)
        self.noticed(end)


def json_socket(watch: Watch) -> None:
    from wireframe import Socket
    from wireframe.json_socket import BrokenConnection

    server = Socket("server", port=0, persistent=True)
    client = Socket("client", port=server.port, persistent=True)
    client.send("first")
    assert server.receive(timeout=LIMIT_S) == "first"
    server.send("reply")
    assert client.receive(timeout=LIMIT_S) == "reply"
    client.send("second")
    assert server.receive(timeout=LIMIT_S) == "second"
    watch.ready(server.port)

    def wait_for_reply() -> None:
        try:
            client.receive(timeout=LIMIT_S)
        except BrokenConnection:
            watch.noticed("client")

    def wait_for_more() -> None:
        with contextlib.suppress(TimeoutError, OSError):
            server.receive(timeout=LIMIT_S)

    threads = [threading.Thread(target=one) for one in (wait_for_reply, wait_for_more)]
    connection = server.connection
    for thread in threads:
        thread.start()
    watch.until("server", lambda: connection.fileno() == -1)
    threads[0].join(LIMIT_S)
    client.shutdown()
    server.shutdown()
    threads[1].join(LIMIT_S)


def hub_and_driver(watch: Watch) -> None:
    from mxl_sockets import Driver, SocketHub

    with SocketHub(port=0) as hub:
        driver = Driver(lambda field: field, hub.address, reconnect=False)
        _couple(watch, hub, [driver], {0: {"dt_au": 1.0}}, "driver")


def hub_and_bridge(watch: Watch) -> None:
    from mxl_sockets import AggregatedSocketHub, Bridge, Driver

    with AggregatedSocketHub(port=0) as hub:
        bridge = Bridge("node-0", hub.address, reconnect=False)
        # Over a path, so that only the way between bridge and hub is lost.
        driver = Driver(lambda field: field, bridge.local_address)
        _couple(watch, hub, [bridge, driver], {0: {"dt_au": 1.0, "aggregate_group": "node-0"}}, "bridge")


def _couple(watch: Watch, hub: object, clients: list, molecules: dict, name: str) -> None:
    def run(client: object) -> None:
        try:
            client.run()
        except (ConnectionError, TimeoutError) as error:
            print(repr(error), file=sys.stderr)
        if client is clients[0]:
            watch.noticed(name)

    threads = [threading.Thread(target=run, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    assert hub.wait_until_bound(molecules, timeout=LIMIT_S)
    assert hub.step_barrier({0: {"efield_au": (0.0, 0.0, 1.0)}}, timeout=LIMIT_S)
    watch.ready(hub.address[1])
    watch.until("hub", lambda: not hub.all_bound([0]))
    threads[0].join(LIMIT_S)
    for client in reversed(clients):
        client.stop()


def echo_rig(watch: Watch) -> None:
    from echo_rig import EchoProtocol

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            uri = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        async with await EchoProtocol.server(uri) as server, await EchoProtocol.client(uri) as client:
            await client.cleanup()
            await asyncio.get_running_loop().run_in_executor(None, watch.ready, int(uri.rpartition(":")[2]))
            while len(watch.seconds) < 2 and time.monotonic() - watch.began < LIMIT_S:
                if not client.is_connected:
                    watch.noticed("client")
                if not server.addresses:
                    watch.noticed("server")
                await asyncio.sleep(GLANCE_S)

    asyncio.run(main())


KINDS = {
    "json-socket": json_socket,
    "mxl-sockets": hub_and_driver,
    "mxl-aggregated": hub_and_bridge,
    "echo-tcp": echo_rig,
}

if __name__ == "__main__":
    socket.socket.setsockopt = _setsockopt
    shared = Watch()
    KINDS[sys.argv[1]](shared)
    shared.over()
    print(json.dumps(shared.seconds), flush=True)
