"""mxl-sockets: steps of hubs and of a driver.

A hub begins a step, and has no time to wait; the drivers, bare sockets in the same thread, answer; the hub
goes on with the step. So all answers are there when it looks, on every machine.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cost_meters import KEPT, PEAK, PYTHON_CALLS, SYSTEM_CALLS, Counted, Run, Scenario
from cost_waits import LIMIT_S, connected, other_end, read, until_readable

from mxl_sockets import AggregatedSocketHub, Driver, SocketHub, StepTimeout
from wireframe import ipi

LOCAL = "127.0.0.1"
DRIVERS = 16
FIELD = [0.0, 0.0, 1e-3]
REPLY = ipi.encode_forceready([0.0, 0.0, 2e-3])
GROUP = "node"


def address_of(hub: Any) -> Any:
    """Where a hub listens."""
    assert hub.address is not None
    return hub.address


@contextlib.contextmanager
def hub_with_drivers(*, is_unix: bool) -> Iterator[tuple[SocketHub, Callable[[], None]]]:
    """A hub, and what answers for all drivers, which are bare."""
    with contextlib.ExitStack() as stack:
        if is_unix:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            hub = stack.enter_context(SocketHub(unixsocket=str(folder / "hub")))
        else:
            hub = stack.enter_context(SocketHub(port=0))
        # They end before the hub does, which would wait for them.
        drivers = [stack.enter_context(driver_at(address_of(hub))) for _ in range(DRIVERS)]
        assert hub.wait_until_bound({one: {"dt_au": 1.0} for one in range(DRIVERS)}, timeout=LIMIT_S)
        for driver in drivers:
            head = read(driver, 20)
            read(driver, struct.unpack_from("<i", head, 16)[0])
        # What is written to a UNIX socket has arrived.
        arriving = [] if is_unix else [other_end(driver) for driver in drivers]
        yield hub, lambda: answer_all(drivers, arriving)


def driver_at(address: Any) -> socket.socket:
    """A bare connection to a hub."""
    if not isinstance(address, str):
        return connected(address[1])
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT_S)
    sock.connect(address)
    return sock


def answer_all(drivers: list[socket.socket], arriving: list[int]) -> None:
    """Take a request from each driver, and have its answer arrive at a descriptor of the hub."""
    for driver in drivers:
        assert read(driver, ipi.REQUEST_LENGTH).startswith(b"POSDATA")
    for driver in drivers:
        driver.sendall(REPLY)
    for descriptor in arriving:
        until_readable(descriptor)


def step_of_arrays(*, is_unix: bool) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of ``step``."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        with hub_with_drivers(is_unix=is_unix) as (hub, answer):
            fields = np.array([FIELD] * DRIVERS)

            def run(messages: int) -> None:
                for _ in range(messages):
                    with contextlib.suppress(StepTimeout), counted("requests"):
                        hub.step(fields, timeout=0.0)
                    answer()
                    with counted("replies"):
                        amplitudes = hub.step(fields)
                    assert amplitudes[:, 2].tolist() == [2e-3] * DRIVERS

            yield run

    return scenario


@contextlib.contextmanager
def step_of_dictionaries(counted: Counted) -> Iterator[Run]:
    """``step_barrier``."""
    with hub_with_drivers(is_unix=False) as (hub, answer):
        requests = {one: {"efield_au": np.array(FIELD)} for one in range(DRIVERS)}

        def run(messages: int) -> None:
            for _ in range(messages):
                with counted("requests"):
                    assert hub.step_barrier(requests, timeout=0.0) == {}
                answer()
                with counted("replies"):
                    result = hub.step_barrier(requests)
                assert len(result) == DRIVERS

        yield run


@contextlib.contextmanager
def step_of_a_bridge(counted: Counted) -> Iterator[Run]:
    """``step`` of a hub with one bridge, which stands for all molecules."""
    with AggregatedSocketHub(port=0) as hub, connected(address_of(hub)[1]) as bridge:
        text = json.dumps({"group_id": GROUP, "version": 1}, separators=(",", ":"), sort_keys=True).encode()
        bridge.sendall(b"AGGHELLO".ljust(12) + struct.pack("<i", len(text)) + text)
        with ready_bridge(bridge):
            inits = {one: {"dt_au": 1.0, "aggregate_group": GROUP} for one in range(DRIVERS)}
            assert hub.wait_until_bound(inits, timeout=LIMIT_S)
        arriving = other_end(bridge)
        fields = np.array([FIELD] * DRIVERS)
        answers = np.zeros(DRIVERS, [("id", "<i4"), ("amplitude", "<f8", 3), ("extra", "<i4")])
        answers["id"] = np.arange(DRIVERS)
        reply = b"AGGRESULT".ljust(12) + struct.pack("<i", DRIVERS) + answers.tobytes()

        def run(messages: int) -> None:
            for _ in range(messages):
                with contextlib.suppress(StepTimeout), counted("request"):
                    hub.step(fields, timeout=0.0)
                head = read(bridge, 20)
                count, vectors = struct.unpack_from("<ii", head, 12)
                read(bridge, 24 * vectors + 8 * count)
                bridge.sendall(reply)
                until_readable(arriving)
                with counted("reply"):
                    assert hub.step(fields).shape == (DRIVERS, 3)

        yield run


@contextlib.contextmanager
def ready_bridge(bridge: socket.socket) -> Iterator[None]:
    """A thread that says once that the bridge is ready, while the hub waits for that."""

    def say() -> None:
        head = read(bridge, 16)
        read(bridge, struct.unpack_from("<i", head, 12)[0])
        bridge.sendall(b"AGGREADY".ljust(12))

    thread = threading.Thread(target=say)
    thread.start()
    yield
    thread.join(LIMIT_S)


@contextlib.contextmanager
def driver(counted: Counted) -> Iterator[Run]:
    """A driver, whose bare hub has a thread of its own."""
    with socket.create_server((LOCAL, 0)) as listener:
        listener.settimeout(LIMIT_S)
        request = ipi.encode_request(FIELD)

        def serve(steps: int) -> None:
            with listener.accept()[0] as hub:
                hub.settimeout(LIMIT_S)
                hub.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                hub.sendall(ipi.encode_init(0, b"{}"))
                for _ in range(steps):
                    hub.sendall(request)
                    read(hub, len(REPLY))
                hub.sendall(ipi.encode_header(ipi.STOP))
                read(hub, ipi.HEADER_LENGTH)

        def run(messages: int) -> None:
            thread = threading.Thread(target=serve, args=(messages,))
            thread.start()
            driver = Driver(lambda field_au: 2.0 * field_au, listener.getsockname()[:2])
            with counted("step"):
                driver.run()
            thread.join(LIMIT_S)
            assert driver.steps == messages

        yield run


ALL = (SYSTEM_CALLS, PYTHON_CALLS, PEAK, KEPT)
SCENARIOS = [
    Scenario(f"hub, {DRIVERS} drivers, TCP", step_of_arrays(is_unix=False), 10, ALL),
    Scenario(f"hub, {DRIVERS} drivers, UNIX", step_of_arrays(is_unix=True), 10, (SYSTEM_CALLS,)),
    Scenario(f"hub, {DRIVERS} drivers, step_barrier", step_of_dictionaries, 10, ALL),
    Scenario(f"hub, a bridge of {DRIVERS} molecules", step_of_a_bridge, 10, ALL),
    Scenario("driver", driver, 30, (SYSTEM_CALLS, PYTHON_CALLS)),
]
