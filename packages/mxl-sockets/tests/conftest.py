"""What the tests of the hub share: hubs and drivers that are always closed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mxl_sockets import SocketHub

# How fast an example is depends on what else the machine does.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")


def _load(name):
    """Import a module that lies beside the tests; no package holds it."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


drivers = _load("scripted_driver")


@pytest.fixture(scope="session", autouse=True)
def interrupts_reach_programs():
    """Let programs that tests start be interrupted, also if the tests run as a job in the background.

    A shell starts such a job with SIGINT ignored, and ignored signals are inherited.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def cleanup():
    """Things to be closed after the test, the last one first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_hub(cleanup):
    """Make a hub on a free port, or as told; it is stopped in the end."""

    def make(**settings):
        if "unixsocket" not in settings and "listener" not in settings:
            settings.setdefault("port", 0)
        settings.setdefault("timeout", drivers.LIMIT_S)
        hub = SocketHub(**settings)
        cleanup.callback(hub.stop)
        return hub

    return make


@pytest.fixture
def scripted(cleanup):
    """Connect a driver that does what the test says."""

    def connect(hub_or_address):
        driver = drivers.ScriptedDriver(getattr(hub_or_address, "address", hub_or_address))
        cleanup.callback(driver.close)
        return driver

    return connect


@pytest.fixture
def pumped(cleanup):
    """Connect a driver that behaves whenever it is pumped."""

    def connect(hub_or_address):
        driver = drivers.PumpedDriver(getattr(hub_or_address, "address", hub_or_address))
        cleanup.callback(driver.close)
        return driver

    return connect


@pytest.fixture
def background():
    """Run a call in another thread; the test gets its future."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        yield pool.submit


@pytest.fixture
def eventually():
    """Wait until a condition holds; fail if it takes too long."""

    def wait(condition, what="the condition"):
        deadline = time.monotonic() + drivers.LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true"
            time.sleep(0.001)

    return wait


@pytest.fixture
def descriptors():
    """Ask which descriptors of this process are open; nothing where the system does not tell."""
    folder = Path("/proc/self/fd")
    return lambda: sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def runtime(cleanup, monkeypatch):
    """A private runtime folder for status sockets; its path is short enough for a socket's."""
    folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="mxl"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    return Path(folder)


@pytest.fixture
def bound(make_hub, scripted):
    """Make a hub with scripted drivers for molecules 0, 1, ... in a field, or as told; INITs are read."""

    def make(count=1, parameters=None, **settings):
        given = {"dt_au": 0.25} if parameters is None else parameters
        hub = make_hub(**settings)
        drivers = []
        for molecule_id in range(count):
            drivers.append(scripted(hub))
            assert hub.wait_until_bound(dict.fromkeys(range(molecule_id + 1), given))
            drivers[-1].read_init()
        return hub, drivers

    return make


@pytest.fixture
def figure(request):
    """Take what a test of a fault has measured, for the report of the run."""
    return lambda text: request.node.user_properties.append(("figure", text))
