"""What the tests of the ports share: ports and bare sockets on the loopback interface, always closed."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, settings

# The same examples on every machine; how fast one is depends on what else the machine does.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

#: Seconds after which whatever is waited for is not going to happen.
LIMIT_S = 10.0


@pytest.fixture
def cleanup():
    """Things to be closed after the test, the last one first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_port(cleanup):
    """Make a standalone port."""

    def make(kind, **settings):
        return cleanup.enter_context(kind.standalone(**settings))

    return make


@pytest.fixture
def context(cleanup):
    """A context of its own for the bare sockets of the peer."""
    context = zmq.Context()
    cleanup.callback(context.destroy, 0)
    return context


@pytest.fixture
def peer(context, cleanup):
    """Make a bare socket, as any other program would have it."""

    def make(kind, connect=None, **options):
        socket = context.socket(kind)
        cleanup.callback(socket.close, 0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, round(LIMIT_S * 1000))
        socket.setsockopt(zmq.SNDTIMEO, round(LIMIT_S * 1000))
        for name, value in options.items():
            setattr(socket, name, value)
        if kind == zmq.SUB:
            socket.subscribe(b"")
        if connect is None:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            return socket, ("127.0.0.1", port)
        socket.connect(f"tcp://{connect[0]}:{connect[1]}")
        return socket

    return make


@pytest.fixture
def eventually():
    """Wait until a condition holds; fail if it takes too long."""

    def wait(condition, what="the condition"):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true"
            time.sleep(0.001)

    return wait


@pytest.fixture(scope="session")
def vectors():
    """Frames recorded from real members."""
    return json.loads(Path(__file__).with_name("vectors").joinpath("group-ports.json").read_text())


@pytest.fixture
def figure(request):
    """Take what a test of a fault has measured, for the report of the run."""
    return lambda text: request.node.user_properties.append(("figure", text))
