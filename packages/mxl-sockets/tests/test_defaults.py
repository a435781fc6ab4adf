"""What holds when nothing is said: signatures, defaults, waits, and the options of sockets."""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import stat
import sys
import time
import tomllib
from pathlib import Path

import pytest

from mxl_sockets import Driver, SocketHub, _accept, _lifecycle, am_master, mpi_bcast_from_master
from mxl_sockets._accept import Acceptor
from mxl_sockets._connect import Backoff, TcpTarget, connect
from mxl_sockets._listen import Listener
from mxl_sockets._losses import Losses
from mxl_sockets._poll import make_poller
from mxl_sockets._quiet_log import QuietLogger
from mxl_sockets._stop import StopSignal
from mxl_sockets.ports import get_available_host_port

FIELD = {"efield_au": [0.5, -1.0, 2.0], "init": {"dt_au": 0.25}}
REQUIRED = inspect.Parameter.empty
linux = pytest.mark.skipif(sys.platform != "linux", reason="the options and rules of Linux")


def parameters(function):
    """The parameters before the star and behind it, names to defaults, without self."""
    places, keywords = {}, {}
    for name, one in inspect.signature(function).parameters.items():
        if name != "self":
            (keywords if one.kind is one.KEYWORD_ONLY else places)[name] = one.default
    return places, keywords


# -- signatures --------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "places", "keywords"),
    [
        (
            SocketHub,
            {"host": None, "port": 31415, "unixsocket": None, "timeout": 60.0, "latency": 0.01},
            {
                "resume": False,
                "allow": None,
                "match": None,
                "listener": None,
                "two_phase": False,
                "handshake": "init",
                "handshake_timeout": 10.0,
                "silence_timeout": None,
                "max_extra": 16 * 1024 * 1024,
                "max_waiting": 16384,
                "on_step": None,
                "status_socket": False,
            },
        ),
        (SocketHub.register_molecule, {"molecule_id": REQUIRED}, {}),
        (SocketHub.register_molecule_return_id, {}, {}),
        (
            SocketHub.add_endpoint,
            {"molecule_id": REQUIRED},
            {"host": None, "port": 0, "unixsocket": None},
        ),
        (SocketHub.all_bound, {"molecule_ids": REQUIRED, "require_init": True}, {}),
        (SocketHub.wait_until_bound, {"init_payloads": REQUIRED, "require_init": True, "timeout": None}, {}),
        (SocketHub.step_barrier, {"requests": REQUIRED, "timeout": None}, {}),
        (SocketHub.step, {"fields": REQUIRED, "timeout": None}, {}),
        (SocketHub.graceful_shutdown, {"reason": None, "wait": 2.0}, {}),
        (SocketHub.stop, {}, {}),
        (SocketHub.status, {}, {}),
        (
            Driver,
            {"model": REQUIRED, "address": None},
            {
                "unixsocket": None,
                "connect_timeout": 600.0,
                "reconnect": True,
                "reconnect_timeout": 60.0,
                "silence_timeout": None,
                "frame_timeout": 60.0,
                "max_init": 16 * 1024 * 1024,
            },
        ),
        (get_available_host_port, {"localhost": True, "save_to_file": None}, {}),
        (am_master, {}, {}),
        (mpi_bcast_from_master, {"value": REQUIRED}, {}),
    ],
    ids=lambda one: getattr(one, "__qualname__", ""),
)
def test_parameters_keep_their_names_order_and_defaults(function, places, keywords):
    """Programs call by place and by name, and rely on what they do not say."""
    found = parameters(function)
    assert list(found[0].items()) == list(places.items())
    assert found[1] == keywords


def test_a_hub_of_which_nothing_is_said_listens_on_port_31415(monkeypatch):
    """Nothing said, or None. Here the port may be taken, so a free one stands in."""
    asked = []
    real = _lifecycle.listen_tcp
    monkeypatch.setattr(
        _lifecycle, "listen_tcp", lambda host, port: asked.append((host, port)) or real(host, 0)
    )
    for arguments in ({}, {"port": None}):
        with SocketHub(**arguments) as hub:
            assert hub.address[0] == "127.0.0.1"
            assert (hub.timeout, hub.latency) == (60.0, 0.01)
    assert asked == [(None, 31415)] * 2


def test_mpi_is_an_extra_and_no_requirement():
    """The name that the README tells people to type; without it nothing wants mpi4py."""
    file = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    assert [one.partition(">")[0] for one in project["optional-dependencies"]["mpi"]] == ["mpi4py"]
    assert sorted(one.partition(">")[0] for one in project["dependencies"]) == ["numpy", "wireframe"]


# -- waits -------------------------------------------------------------------


def test_a_step_waits_up_to_the_latency_for_a_driver_that_is_missing(
    make_hub, scripted, background, eventually
):
    """Who connects within it is bound, gets its INIT and is asked in the same call."""
    hub = make_hub(latency=8.0)
    step = background(hub.step_barrier, {0: FIELD}, 9.0)
    eventually(lambda: hub._coupling.loop._leading, "the step waits")
    driver = scripted(hub)
    driver.read_init()
    assert driver.init[1]["dt_au"] == 0.25
    driver.read_request()
    driver.reply((1.0, 2.0, 3.0))
    assert step.result(5)[0]["amp"].tolist() == [1.0, 2.0, 3.0]


def test_a_step_waits_no_longer_than_the_latency_for_a_driver_that_is_missing(make_hub):
    """Its own time would allow much more."""
    hub = make_hub(latency=0.05)
    start = time.monotonic()
    assert hub.step_barrier({0: FIELD}, timeout=9.0) == {}
    assert 0.05 <= time.monotonic() - start < 5.0


def test_exit_follows_stop_after_a_quarter_of_the_wait(bound, monkeypatch):
    """A driver that is silent has heard STOP until then, EXIT afterwards, and is dropped in the end."""
    hub, (driver,) = bound()
    loop = hub._coupling.loop
    heard = []

    def run_until(done, deadline):
        heard.append((deadline, driver.unread().split()))
        assert not done()
        return False  # as if the time were over

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_until", run_until)
        start = time.monotonic()
        hub.graceful_shutdown(wait=1000.0)
    (quarter, first), (whole, second) = heard
    assert (first, second) == ([b"STOP"], [b"EXIT"])
    assert whole - quarter == pytest.approx(750.0)
    assert quarter - start == pytest.approx(250.0, abs=5.0)
    assert driver.is_closed()


def test_accepting_pauses_for_a_tenth_of_a_second(caplog):
    """Long enough not to spin, and short beside the time a driver waits for its hub."""

    class Full(socket.socket):
        def accept(self):
            raise OSError(24, "Too many open files")

    with Full() as sock, contextlib.closing(make_poller()) as poller:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        quiet = QuietLogger(_accept.logger)
        losses = Losses(quiet)
        acceptor = Acceptor(poller, (), quiet, losses)
        listener = Listener(sock)
        acceptor.add(listener)
        assert list(acceptor.accept(listener.descriptor, now=1000.0)) == []
        assert losses.last == "cannot accept connections for now: Too many open files"
        assert losses.count == 0
        acceptor.resume(1000.09)
        assert acceptor.paused_until == pytest.approx(1000.1)
        acceptor.resume(1000.11)
        assert acceptor.paused_until is None
        acceptor.close()


# -- sockets -----------------------------------------------------------------


def options_of(sock):
    """NODELAY, keepalive, and when a silent or dead peer is noticed: s, s, probes, ms."""
    names = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    figures = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
    return [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *figures]


@pytest.mark.fault("C5", "mxl-sockets")
@linux
def test_a_vanished_host_is_noticed_within_a_minute_by_the_hub(bound, monkeypatch):
    """30 s of silence and 3 probes every 10 s, or 60 s without acknowledgement."""
    accepted = []
    prepare = _accept.prepare_tcp
    monkeypatch.setattr(
        _accept, "prepare_tcp", lambda sock: prepare(sock) or accepted.append(options_of(sock))
    )
    bound()
    assert accepted == [[1, 1, 30, 10, 3, 60_000]]


@pytest.mark.fault("C5", "mxl-sockets")
@linux
def test_a_vanished_host_is_noticed_within_a_minute_by_the_driver(cleanup):
    """The same figures on the other end."""
    stop = StopSignal()
    cleanup.callback(stop.close)
    listener = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    target = TcpTarget(*listener.getsockname())
    with connect(target, deadline=time.monotonic() + 10, stop=stop, backoff=Backoff()) as sock:
        assert options_of(sock) == [1, 1, 30, 10, 3, 60_000]


@linux
def test_a_unix_socket_is_private_from_its_first_moment(make_hub, tmp_path, monkeypatch):
    """Also before any chmod of the path, here made void, and with the most generous umask."""
    monkeypatch.setattr(Path, "chmod", lambda *_, **__: None)
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
    umask = os.umask(0)
    try:
        hub = make_hub(unixsocket=str(tmp_path / "hub"))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(Path(hub.unixsocket_path).stat().st_mode) == 0o600


# -- files -------------------------------------------------------------------


def test_the_file_for_drivers_changes_in_one_moment(tmp_path, monkeypatch):
    """Until the rename a reader finds the old file, and the new one is whole before it."""
    path = tmp_path / "hub.txt"
    path.write_text("old")
    seen = []
    real = os.replace

    def replace(source, target, **options):
        assert (Path(target), Path(source).parent) == (path, tmp_path), "one file system, one rename"
        seen.append((path.read_text(), Path(source).read_text()))
        real(source, target, **options)

    monkeypatch.setattr(os, "replace", replace)
    host, port = get_available_host_port(save_to_file=path)
    assert seen == [("old", f"{host}\n{port}\n")]
    assert path.read_text() == f"{host}\n{port}\n"
