"""What the tests share: sockets on the loopback interface that are always closed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import json
import socket
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from udp_multicast import MulticastReceiver, MulticastSender, RawBytes

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
GROUP = "239.1.1.1"
LOCAL = "127.0.0.1"


def _load(name):
    """Import a module that lies beside the tests; no package holds it."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_load("astropix4")


class Other(socket.socket):
    """A receiver or sender of somebody else, on the loopback interface."""

    def __init__(self, *, group="239.1.1.1", port=None, bind="239.1.1.1", reuse=socket.SO_REUSEADDR):
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.settimeout(10)
        self.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        if port is not None:
            if reuse is not None:
                self.setsockopt(socket.SOL_SOCKET, reuse, 1)
            self.bind((bind, port))
            request = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
            self.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


@pytest.fixture
def cleanup():
    """Things to be closed after the test, the last one first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_receiver(cleanup):
    """Make a receiver on the loopback interface and a free port, or as told."""

    def make(readout_class=RawBytes, group=GROUP, port=0, **settings):
        settings.setdefault("timeout", LIMIT_S)
        if not {"interface", "interfaces"} & settings.keys():
            settings["interface"] = None if ":" in group else LOCAL
        receiver = MulticastReceiver(readout_class, group, port, **settings)
        cleanup.callback(receiver.close)
        return receiver

    return make


@pytest.fixture
def make_sender(cleanup):
    """Make a sender to a receiver, or to a group and port."""

    def make(receiver=None, group=GROUP, port=0, **settings):
        if receiver is not None:
            group, port = receiver.address()[0], receiver.port
        settings.setdefault("interface", None if ":" in group else LOCAL)
        sender = MulticastSender(group, port, **settings)
        cleanup.callback(sender.close)
        return sender

    return make


@pytest.fixture
def pair(make_receiver, make_sender):
    """Make a receiver and a sender to it."""

    def make(*arguments, **settings):
        receiver = make_receiver(*arguments, **settings)
        return receiver, make_sender(receiver)

    return make


@pytest.fixture
def other(cleanup):
    """Make a socket of somebody else; with a port it is in the group."""
    return lambda **settings: cleanup.enter_context(Other(**settings))


@pytest.fixture
def background():
    """Run a call in another thread; the test gets its future."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        yield pool.submit


@pytest.fixture
def eventually():
    """Wait until a condition holds; fail if it takes too long."""

    def wait(condition, what="the condition"):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true"
            time.sleep(0.001)

    return wait


@pytest.fixture
def wait_until_receiving(eventually):
    """Wait until another thread is inside `receive`."""

    def is_taken(receiver):
        if receiver._inlet.turn.acquire(blocking=False):
            receiver._inlet.turn.release()
            return False
        return True

    return lambda receiver: eventually(lambda: is_taken(receiver), "a thread that receives")


@pytest.fixture(scope="session")
def vectors():
    """Bytes recorded from the real sender and receiver."""
    return json.loads(Path(__file__).with_name("vectors").joinpath("udp-multicast.json").read_text())


@pytest.fixture
def figure(request):
    """Take what a test of a fault has measured, for the report of the run."""
    return lambda text: request.node.user_properties.append(("figure", text))
