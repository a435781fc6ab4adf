"""The bridge: its hub is played by the test, its drivers are real ones in threads or played too."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mxl_sockets import (
    AggregatedSocketHub,
    Bridge,
    Driver,
    End,
    ForeignProcessError,
    HubProtocolError,
    TwoLevelSystem,
    _hub_client,
)
from mxl_sockets import bridge as bridge_module
from mxl_sockets.__main__ import build_parser, main
from mxl_sockets._bridge_command import make_bridge
from mxl_sockets._bridge_drivers import NodeHub
from mxl_sockets._connect import Backoff
from mxl_sockets.manifest import BridgeManifest, RemoteBridgeSpec, read_manifest, write_manifest
from wireframe import NEED_DATA, aggregate, ipi

LIMIT_S = 30.0
ONE, TWO = struct.pack("<3d", 1, 2, 3), struct.pack("<3d", -4, 5, 6)
INIT = aggregate.encode_init("node", {7: {"dt_au": 0.5}, 8: {"dt_au": 0.25}})


class PlayedHub:
    """A listener on which the test plays the aggregated hub."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT_S)
        self.address = self.listener.getsockname()
        self.sock = None

    def accept(self):
        """Take the next connection, and its hello."""
        if self.sock is not None:
            self.sock.close()
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(LIMIT_S)
        self.decoder = aggregate.Decoder(accept=aggregate.FROM_BRIDGE)
        return self.read()

    def read(self):
        while (event := self.decoder.next_event()) is NEED_DATA:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError("the bridge closed")
            self.decoder.feed(data)
        return event

    def send(self, *messages):
        self.sock.sendall(b"".join(messages))

    def step(self):
        self.send(aggregate.encode_step({7: ONE, 8: TWO}))

    def close(self):
        self.listener.close()
        if self.sock is not None:
            self.sock.close()


@pytest.fixture
def hub(cleanup):
    played = PlayedHub()
    cleanup.callback(played.close)
    return played


@pytest.fixture
def start(hub, cleanup):
    """Run a bridge of group "node" in a thread; `ended` gives its summary or raises its error."""

    def make(**settings):
        settings.setdefault("connect_timeout", LIMIT_S)
        made = Bridge("node", hub.address, **settings)
        outcome = []

        def run():
            try:
                outcome.append(made.run())
            except Exception as error:  # noqa: BLE001 - handed to the test
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()

        def ended():
            thread.join(LIMIT_S)
            assert not thread.is_alive()
            if isinstance(outcome[0], Exception):
                raise outcome[0]
            return outcome[0]

        cleanup.callback(thread.join, LIMIT_S)
        cleanup.callback(made.close)
        assert hub.accept() == aggregate.Hello("node")
        return made, ended

    return make


def ready(hub, played, scripted):
    """Bind two played drivers; them, by molecule."""
    hub.send(INIT)
    drivers = {}
    for molecule in (7, 8):
        driver = scripted(played.local_address)
        driver.read_init()
        drivers[molecule] = driver
    assert hub.read() == aggregate.AGGREADY
    return drivers


def test_drivers_get_the_parameters_of_their_molecules_and_the_hub_is_told_when_all_are_there(
    hub, start, scripted
):
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    assert drivers[7].init == (7, {"dt_au": 0.5, "molecule_id": 7})
    assert drivers[8].init == (8, {"dt_au": 0.25, "molecule_id": 8})
    assert set(bridge.status().bound) == {7, 8}


def test_a_step_goes_to_the_drivers_and_their_answers_back_in_the_order_asked(hub, start, scripted):
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    for ids in ((7, 8), (8, 7), (8,)):
        hub.send(aggregate.encode_step({one: {7: ONE, 8: TWO}[one] for one in ids}))
        for one in ids:
            assert drivers[one].read_request() == {7: ONE, 8: TWO}[one]
            drivers[one].reply((one, 0, -0.0), b"e" * one)
        answers = hub.read().answers()
        assert list(answers) == list(ids)
        assert answers == {one: (struct.pack("<3d", one, 0, -0.0), b"e" * one) for one in ids}
    assert bridge.steps == 3


def test_a_step_of_nobody_is_answered_too(hub, start, scripted):
    bridge, _ = start()
    ready(hub, bridge, scripted)
    hub.send(aggregate.encode_step({}))
    assert hub.read().answers() == {}


def test_every_rank_of_a_job_may_be_a_bridge(monkeypatch, hub, start, scripted):
    """A launcher starts one on each node, and only rank 0 would open an ordinary hub."""
    monkeypatch.setattr("mxl_sockets.mpi.am_master", lambda: False)
    bridge, _ = start()
    ready(hub, bridge, scripted)
    hub.send(aggregate.encode_step({}))
    assert hub.read().answers() == {}


def test_a_driver_that_dies_in_a_step_is_replaced_and_the_hub_notices_nothing(hub, start, scripted):
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    hub.step()
    drivers[7].read_request()
    drivers[8].read_request()
    drivers[7].reply((1, 1, 1))
    drivers[8].close()
    replacement = scripted(bridge.local_address)
    assert replacement.read_init()
    assert replacement.init[0] == 8
    assert replacement.read_request() == TWO
    replacement.reply((2, 2, 2))
    assert hub.read().answers()[8][0] == struct.pack("<3d", 2, 2, 2)
    assert drivers[7].unread() == b""


@pytest.mark.parametrize("resume", ["no", "bridge", "hub"])
def test_the_state_of_a_molecule_is_handed_on_if_bridge_or_hub_say_so(resume, hub, start, scripted):
    bridge, _ = start(resume=resume == "bridge")
    hub.send(aggregate.encode_init("node", {7: {"state": [1]}}, resume=resume == "hub"))
    driver = scripted(bridge.local_address)
    driver.read_init()
    assert driver.init[1]["state"] == [1]
    assert hub.read() == aggregate.AGGREADY
    hub.send(aggregate.encode_step({7: ONE}))
    driver.read_request()
    driver.reply(extra=b'{"state": [2]}')
    hub.read()
    driver.close()
    hub.send(aggregate.encode_step({7: ONE}))
    replacement = scripted(bridge.local_address)
    replacement.read_init()
    assert replacement.init[1]["state"] == ([1] if resume == "no" else [2])


def test_24_a_bridge_waits_for_its_hub_as_long_as_it_thinks(hub, start, scripted, eventually):
    """The original quit after 60 s and stopped its drivers. Here nothing ends the wait but news."""
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    assert bridge_module.IDLE_S >= 3600
    waits = []
    real = bridge_module.Upstream.receive

    def receive(self, timeout_s):
        waits.append(timeout_s)
        return real(self, 0.02 if timeout_s else 0)

    bridge_module.Upstream.receive = receive
    try:
        # Woken by a step, it then waits over and over as if an hour had gone by each time.
        for _ in range(2):
            hub.step()
            for driver in drivers.values():
                driver.read_request()
                driver.reply()
            hub.read()
            del waits[:]
            eventually(lambda: waits.count(bridge_module.IDLE_S) > 10, "it waits on")
    finally:
        bridge_module.Upstream.receive = real
    assert not drivers[7].is_closed()


@pytest.mark.fault("C5", "mxl-aggregated")
@pytest.mark.skipif(sys.platform != "linux", reason="the options of Linux")
def test_24_a_dead_hub_is_found_by_keepalive(start):
    bridge, _ = start()
    names = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    figures = [bridge._socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
    assert bridge._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert figures == [1, 30, 10, 3, 60_000]


def test_stop_of_the_hub_stops_the_drivers_and_is_answered(hub, start, scripted):
    bridge, ended = start()
    drivers = ready(hub, bridge, scripted)
    hub.send(aggregate.encode_header(aggregate.STOP))
    for driver in drivers.values():
        assert driver.read_header() == ipi.STOP
        driver.say(ipi.BYE)
    assert hub.read() == aggregate.BYE
    summary = ended()
    assert (summary.reason, summary.steps, summary.connections) == (End.STOP, 0, 1)
    assert bridge.local_address is None
    with pytest.raises(RuntimeError, match="has ended"):
        bridge.run()


def test_stop_of_the_hub_ends_it_in_the_middle_of_a_step_too(hub, start, scripted):
    bridge, ended = start()
    ready(hub, bridge, scripted)
    hub.step()
    hub.send(aggregate.encode_header(aggregate.STOP))
    assert hub.read() == aggregate.BYE
    assert ended().reason is End.STOP


def test_a_lost_hub_is_found_again_and_the_drivers_are_started_again_before_the_step(hub, start, scripted):
    """The step at hand is brought to its end, and its result is thrown away: nobody waits for it."""
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    hub.step()
    drivers[7].read_request()
    drivers[7].reply((1, 1, 1), b'{"state": 1}')
    drivers[8].read_request()
    assert hub.accept() == aggregate.Hello("node")
    hub.send(INIT)
    assert drivers[7].unread() == b""  # not while the other still works
    drivers[8].reply((1, 1, 1))
    for molecule, driver in drivers.items():
        driver.read_init()
        assert driver.init[0] == molecule
    assert hub.read() == aggregate.AGGREADY
    hub.step()
    for driver in drivers.values():
        driver.read_request()
        driver.reply((9, 9, 9))
    assert {one: answer[0] for one, answer in hub.read().answers().items()} == dict.fromkeys(
        (7, 8), struct.pack("<3d", 9, 9, 9)
    )
    assert bridge.steps == 1


def test_started_again_means_from_the_state_the_hub_says(hub, start, scripted):
    """Not from a later one, of a step whose result the hub has never got."""
    bridge, _ = start(resume=True)
    drivers = ready(hub, bridge, scripted)
    hub.step()
    for driver in drivers.values():
        driver.read_request()
        driver.reply(extra=b'{"state": "later"}')
    hub.read()
    assert hub.accept() == aggregate.Hello("node")
    hub.send(aggregate.encode_init("node", {7: {"state": "the hub's"}, 8: {}}))
    states = []
    for driver in drivers.values():
        driver.read_init()
        states.append(driver.init[1].get("state"))
    assert states == ["the hub's", None]
    assert hub.read() == aggregate.AGGREADY
    drivers[7].close()
    replacement = scripted(bridge.local_address)
    hub.step()
    replacement.read_init()
    assert replacement.init[1]["state"] == "the hub's"


def test_drivers_that_cannot_take_a_second_init_are_made_to_connect_again(hub, start, scripted):
    bridge, _ = start(restart="reconnect")
    drivers = ready(hub, bridge, scripted)
    hub.send(INIT)
    for driver in drivers.values():
        with pytest.raises(EOFError):
            driver.read(1)
    for _ in drivers:
        scripted(bridge.local_address).read_init()
    assert hub.read() == aggregate.AGGREADY


def test_a_hub_that_breaks_the_protocol_is_left_with_an_error(hub, start):
    _, ended = start()
    hub.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(HubProtocolError, match="broke the protocol"):
        ended()


def test_a_hub_that_does_not_come_back_ends_it_and_its_drivers(hub, start, scripted):
    bridge, ended = start(reconnect_timeout=0.2)
    drivers = ready(hub, bridge, scripted)
    hub.send(aggregate.encode_step({7: ONE})[:30])
    hub.close()
    for driver in drivers.values():
        assert driver.read_header() == ipi.STOP
        driver.close()
    assert ended().reason is End.LOST


def test_without_reconnect_it_ends_with_the_first_connection(hub, start, scripted):
    bridge, ended = start(reconnect=False)
    drivers = ready(hub, bridge, scripted)
    hub.sock.close()
    for driver in drivers.values():
        assert driver.read_header() == ipi.STOP
        driver.close()
    assert ended().reason is End.LOST


def test_no_hub_at_all_is_a_timeout():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    with pytest.raises(TimeoutError, match="cannot connect"):
        Bridge("node", address, connect_timeout=0.1).run()


def test_a_hub_that_closes_every_connection_without_a_word_is_a_timeout(hub):
    hub.listener.settimeout(1.0)

    def refuse():
        for _ in range(100):
            try:
                hub.accept()
            except OSError:
                return

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    with pytest.raises(TimeoutError, match="without a word"):
        Bridge("node", hub.address, connect_timeout=0.3).run()
    with contextlib.suppress(OSError):  # which wakes the thread at once, where the system does that
        hub.listener.shutdown(socket.SHUT_RDWR)
    hub.listener.close()
    thread.join(LIMIT_S)


@pytest.mark.parametrize("moment", ["idle", "binding", "stepping", "sending", "looking"])
def test_stop_ends_it_at_any_moment(moment, hub, start, scripted, eventually):
    bridge, ended = start()
    drivers = {}
    if moment == "binding":
        hub.send(INIT)
    elif moment == "stepping":
        ready(hub, bridge, scripted)
        hub.step()
    elif moment == "sending":
        drivers = ready(hub, bridge, scripted)
        bridge._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
        hub.step()
        for driver in drivers.values():
            driver.read_request()
            driver.reply(extra=b"x" * (8 << 20))
        eventually(lambda: bridge.steps == 1)
    elif moment == "looking":
        hub.close()
        time.sleep(0.1)
    start_time = time.monotonic()
    bridge.stop()
    for driver in drivers.values():
        driver.close()  # else it waits for their BYE, as it does for those of "stepping"
    assert ended().reason is End.STOPPED
    assert time.monotonic() - start_time < LIMIT_S
    bridge.stop()
    bridge.close()


def test_one_bridge_runs_once_at_a_time(start):
    bridge, _ = start()
    with pytest.raises(RuntimeError, match="is running"):
        bridge.run()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_c20_a_forked_child_cannot_run_it_and_holds_no_connection(hub, start):
    bridge, _ = start()
    child = os.fork()
    if child == 0:
        try:
            bridge.run()
        except ForeignProcessError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    hub.send(INIT)  # the parent's goes on


@pytest.mark.parametrize(
    "wrong",
    [{"restart": "twice"}, {"unixsocket": ""}, {"port": -1}, {"allow": ["nowhere"]}, {"max_extra": -1}],
)
def test_wrong_arguments_are_refused(wrong):
    if wrong == {"unixsocket": ""}:
        Bridge("node", **wrong).close()  # an option that was not given
        return
    with pytest.raises(ValueError, match=r"."):
        Bridge("node", **wrong)


def test_hub_bridges_and_drivers_all_ours_give_the_bits_of_the_model(cleanup):
    """With one bridge cut off in the middle: resume makes the trajectory that of an undisturbed run."""
    steps, molecules = 30, 4
    hub = AggregatedSocketHub(port=0, timeout=LIMIT_S, resume=True)
    cleanup.callback(hub.stop)
    threads = []
    bridges = [Bridge(f"g{number}", hub.address) for number in range(2)]
    for one in bridges:
        cleanup.callback(one.close)
        threads.append(threading.Thread(target=one.run))
    for number in range(molecules):
        driver = Driver(TwoLevelSystem(), bridges[number % 2].local_address)
        threads.append(threading.Thread(target=driver.run))
    for thread in threads:
        thread.start()
    inits = {one: {"dt_au": 1.0, "aggregate_group": f"g{one % 2}"} for one in range(molecules)}
    assert hub.wait_until_bound(inits)
    model = TwoLevelSystem()
    model.initialize(0, 1.0, {})
    for step in range(steps):
        field = [0.0, 0.0, 1e-3 * np.cos(0.1 * step)]
        if step == 10:
            bridges[0]._socket.shutdown(socket.SHUT_RDWR)
        model.stage(field)
        wanted = model.commit()[0]
        assert hub.step([field] * molecules).tolist() == [list(wanted)] * molecules
    assert hub.status().dropped == 1
    hub.stop()
    for thread in threads:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


# -- the manifest and the command --------------------------------------------

MANIFEST = BridgeManifest(
    "127.0.0.1",
    31415,
    60.0,
    0.01,
    "n_",
    2,
    [RemoteBridgeSpec(0, "n_0", "n_0", 2), RemoteBridgeSpec(1, "n_1", "n_1", 1)],
)


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    write_manifest(MANIFEST, tmp_path / "m.json")
    assert read_manifest(tmp_path / "m.json") == MANIFEST
    assert json.loads((tmp_path / "m.json").read_text())["version"] == 1
    assert MANIFEST.bridge(1).group_id == "n_1"
    assert RemoteBridgeSpec.from_dict(MANIFEST.bridges[0].to_dict()) == MANIFEST.bridges[0]
    with pytest.raises(IndexError, match="no bridge 2"):
        MANIFEST.bridge(2)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"hub_host": ""},
        {"hub_port": 0},
        {"hub_port": 65536},
        {"hub_port": True},
        {"timeout": -1},
        {"timeout": "1"},
        {"latency": True},
        {"timeout": 10**400},
        {"molecules_per_bridge": 0},
        {"bridges": None},
        {"bridges": [1]},
        {"bridges": [{}]},
        {"bridges": [{**MANIFEST.bridges[0].to_dict(), "unixsocket": "x" * 200}]},
        {"bridges": [{**MANIFEST.bridges[0].to_dict(), "n_molecules": -1}]},
    ],
)
def test_a_manifest_that_says_nonsense_is_refused_with_its_name(change, tmp_path):
    file = tmp_path / "m.json"
    file.write_text(json.dumps({**MANIFEST.to_dict(), **change}))
    with pytest.raises(ValueError, match=r"m\.json"):
        read_manifest(file)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"[" * 100_000, b" " * (17 << 20)])
def test_a_file_that_is_no_manifest_is_refused(text, tmp_path):
    (tmp_path / "m.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"m\.json"):
        read_manifest(tmp_path / "m.json")


def test_molecules_are_divided_among_bridges(tmp_path):
    """Objects with parameters, or the parameters themselves; one molecule too."""

    class Molecule:
        def __init__(self):
            self.init_payload = {}

    molecules = [Molecule(), Molecule(), Molecule()]
    with AggregatedSocketHub(host="", port=0) as hub:
        specs = hub.init_remote_bridges(
            molecules, molecules_per_bridge=2, unix_prefix="n_", save_file=tmp_path / "m"
        )
        assert [one.init_payload["aggregate_group"] for one in molecules] == ["n_0", "n_0", "n_1"]
        assert [(spec.idx, spec.group_id, spec.n_molecules) for spec in specs] == [
            (0, "n_0", 2),
            (1, "n_1", 1),
        ]
        read = read_manifest(tmp_path / "m")
        assert (read.bridges, read.hub_port) == (specs, hub.address[1])
        assert read.hub_host not in ("", "0.0.0.0")
        hub.init_remote_bridges(molecules[0], molecules_per_bridge=1, save_file=tmp_path / "m")
        for bad in (
            {"molecules": [], "molecules_per_bridge": 1},
            {"molecules": [{}], "molecules_per_bridge": 0},
        ):
            with pytest.raises(ValueError, match=r"no molecules|at least 1"):
                hub.init_remote_bridges(**bad, save_file=tmp_path / "m")


def options(*arguments):
    return build_parser().parse_args(["bridge", *arguments])


def test_the_command_takes_what_the_manifest_says_unless_told_otherwise(tmp_path):
    file, path = tmp_path / "m.json", tmp_path / "drivers"
    spec = RemoteBridgeSpec(1, "n_1", str(path), 1)
    write_manifest(BridgeManifest("127.0.0.1", 4242, 60.0, 0.01, "n_", 2, [spec]), file)
    with make_bridge(options("--manifest", str(file), "--index", "1")) as bridge:
        assert (bridge.group_id, bridge.hub, bridge.local_address) == ("n_1", "127.0.0.1:4242", str(path))
    told = ["--hub", "127.0.0.1:99", "--group", "g", "--port", "0", "--resume", "--restart", "reconnect"]
    with make_bridge(options("--manifest", str(file), "--index", "1", *told)) as bridge:
        assert (bridge.group_id, bridge.hub, bridge.local_address[0]) == ("g", "127.0.0.1:99", "127.0.0.1")
        assert (bridge._resume, bridge._restart) == (True, "reconnect")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--group", " "], ["--group", "g", "--hub", "nowhere"], ["--manifest", "/nonexistent/file"]],
)
def test_wrong_options_end_the_command_with_status_2(arguments, capsys):
    assert main(["bridge", "--quiet", *arguments]) == 2
    assert "mxl-sockets: " in capsys.readouterr().err


@pytest.fixture
def untouched_logging(monkeypatch):
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)


@pytest.mark.usefixtures("untouched_logging")
def test_the_command_ends_as_the_hub_says(hub):
    codes = []

    def run(*more):
        address = "{}:{}".format(*hub.address)
        arguments = ["--group", "node", "--hub", address, "--reconnect-timeout", "0", *more]
        return threading.Thread(target=lambda: codes.append(main(["bridge", *arguments])))

    for message, code in (
        (aggregate.encode_header(aggregate.STOP), 0),
        (aggregate.encode_header(aggregate.BYE), 4),
        (INIT, 3),
    ):
        thread = run()
        thread.start()
        hub.accept()
        hub.send(message)
        if message == INIT:
            time.sleep(0.05)
        hub.sock.shutdown(socket.SHUT_WR)
        thread.join(LIMIT_S)
        assert codes.pop() == code
    hub.close()
    thread = run("--connect-timeout", "0.1")
    thread.start()
    thread.join(LIMIT_S)
    assert codes == [3]


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_by_a_signal_and_stops_its_drivers(number, hub, scripted, tmp_path):
    path = str(tmp_path / "drivers")
    address = "{}:{}".format(*hub.address)
    command = [
        sys.executable,
        "-m",
        "mxl_sockets",
        "bridge",
        "--group",
        "node",
        "--hub",
        address,
        "--unix",
        path,
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as program:
        try:
            assert hub.accept() == aggregate.Hello("node")
            hub.send(INIT)
            drivers = [scripted(path) for _ in range(2)]
            for driver in drivers:
                driver.read_init()
            assert hub.read() == aggregate.AGGREADY
            program.send_signal(number)
            for driver in drivers:
                assert driver.read_header() == ipi.STOP
                driver.say(ipi.BYE)
            assert program.wait(LIMIT_S) == 128 + number
        finally:
            program.kill()
    assert not Path(path).exists()


# -- the drivers of a bridge -----------------------------------------------------


@pytest.fixture
def double(cleanup):
    """Run a driver that doubles its fields, and comes again whenever it is thrown out."""

    def make(bridge):
        driver = Driver(lambda field: 2 * field, bridge.local_address, connect_timeout=LIMIT_S)
        thread = threading.Thread(target=driver.run)
        thread.start()
        cleanup.callback(thread.join, LIMIT_S)
        cleanup.callback(driver.stop)

    return make


DOUBLE = struct.pack("<3d", 2, 4, 6)


@pytest.mark.fault("C6", "mxl-aggregated")
def test_a_driver_that_hangs_loses_its_molecule_to_a_waiting_one(hub, start, scripted, double):
    bridge, _ = start(silence_timeout=0.5)
    hub.send(aggregate.encode_init("node", {7: {"dt_au": 0.5}}))
    silent = scripted(bridge.local_address)
    silent.read_init()
    assert hub.read() == aggregate.AGGREADY
    hub.send(aggregate.encode_step({7: ONE}))
    silent.read_request()
    double(bridge)
    assert hub.read().answers()[7][0] == DOUBLE
    assert any("did not" in loss.text for loss in bridge.status().losses)


def test_a_stranger_that_says_nothing_becomes_no_molecule_if_the_handshake_asks(
    hub, start, scripted, double, eventually
):
    bridge, _ = start(handshake="init+status", handshake_timeout=0.5)
    hub.send(aggregate.encode_init("node", {7: {"dt_au": 0.5}}))
    stranger = scripted(bridge.local_address)
    stranger.read_init()
    double(bridge)
    assert hub.read() == aggregate.AGGREADY
    eventually(stranger.is_closed)
    hub.send(aggregate.encode_step({7: ONE}))
    assert hub.read().answers()[7][0] == DOUBLE


def test_the_command_passes_on_what_holds_for_drivers():
    chosen = options(
        *("--group", "a", "--allow", "10.0.0.0/8", "--allow", "10.9.0.1"),
        *("--silence-timeout", "3", "--handshake", "init+status"),
    )
    with make_bridge(chosen) as bridge:
        exchange = bridge._drivers._coupling.exchange
        assert (exchange._settings.silence_timeout, exchange._settings.handshake) == (3.0, "init+status")
        assert [str(one) for one in exchange.acceptor._allowed] == ["10.0.0.0/8", "10.9.0.1/32"]
    for wrong in (["--silence-timeout", "0"], ["--silence-timeout", "nan"], ["--allow", "nowhere"]):
        with pytest.raises(ValueError, match=r"silence_timeout|nowhere"):
            make_bridge(options("--group", "a", *wrong))


@pytest.mark.parametrize("new", [(7,), (7, 8)])
def test_a_step_that_nobody_wants_waits_for_no_driver_that_is_gone(new, hub, start, scripted, eventually):
    """The next hub may have fewer molecules, and it must not hang on one of the last."""
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    hub.step()
    drivers[7].read_request()
    drivers[8].read_request()
    drivers[8].close()
    eventually(lambda: bridge.status().orphaned == [8])
    hub.accept()
    drivers[7].reply((1, 1, 1))
    hub.send(aggregate.encode_init("node", {one: {"dt_au": 0.5} for one in new}))
    drivers[7].read_init()
    if 8 in new:
        drivers[8] = scripted(bridge.local_address)
        drivers[8].read_init()
    assert hub.read() == aggregate.AGGREADY
    hub.send(aggregate.encode_step(dict.fromkeys(new, TWO)))
    for one in new:
        assert drivers[one].read_request() == TWO
        drivers[one].reply((one, 0, 0))
    assert hub.read().answers() == {one: (struct.pack("<3d", one, 0, 0), b"") for one in new}


def test_a_step_that_nobody_wants_waits_for_the_driver_that_makes_it(hub, start, scripted):
    """An INIT that passed its answer would be followed by an answer that nobody asked for."""
    bridge, _ = start()
    drivers = ready(hub, bridge, scripted)
    hub.step()
    for driver in drivers.values():
        driver.read_request()
    drivers[7].reply()
    hub.accept()
    hub.send(aggregate.encode_init("node", {7: {}, 8: {}}))
    time.sleep(2 * bridge_module.SLICE_S)  # long enough for a bridge that does not wait
    assert drivers[7].unread() == drivers[8].unread() == b""
    drivers[8].reply()
    for driver in drivers.values():
        driver.read_init()
    assert hub.read() == aggregate.AGGREADY
    assert bridge.status().dropped == 0


def test_the_hub_hears_that_the_drivers_have_ended_when_they_have(hub, start, scripted, monkeypatch):
    monkeypatch.setattr(bridge_module, "GRACE_S", LIMIT_S)
    bridge, ended = start()
    drivers = ready(hub, bridge, scripted)
    hub.send(aggregate.encode_header(aggregate.STOP))
    for driver in drivers.values():
        assert driver.read_header() == ipi.STOP
    hub.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        hub.sock.recv(1)
    hub.sock.settimeout(LIMIT_S)
    for driver in drivers.values():
        driver.say(ipi.BYE)
    assert hub.read() == aggregate.BYE
    assert ended().reason is End.STOP


def test_who_spoke_unasked_is_gone_before_molecules_begin_again(cleanup, scripted):
    """What it says next would pass for something that follows the new INIT."""
    drivers = NodeHub(port=0)
    cleanup.callback(drivers.stop)
    drivers.begin_again({7: {}}, "init", resume=False)
    driver = scripted(drivers)
    assert drivers.bind([7], LIMIT_S)
    driver.read_init()
    driver.say(ipi.READY)
    drivers.begin_again({7: {}}, "init", resume=False)
    assert drivers.status().bound == {}
    assert driver.unread() == b""


def test_the_time_step_comes_first_in_the_init_of_a_driver_whatever_else_has_its_letters(
    hub, start, scripted
):
    """AGGINIT sorts keys, and LAMMPS' `fix mxl` takes the first number behind the letters."""
    bridge, _ = start()
    hub.send(aggregate.encode_init("node", {7: {"dt_au": 0.5, "a_dt_au": 3.0, "b": "dt_au"}}))
    raw = scripted(bridge.local_address).read_init()
    assert raw[20:].startswith(b'{"dt_au": 0.5, ')
    assert json.loads(raw[20:])["a_dt_au"] == 3.0


@pytest.mark.fault("C4", "mxl-aggregated")
def test_a_driver_that_dies_at_any_byte_of_its_reply_is_replaced_and_the_hub_notices_nothing(
    hub, start, scripted
):
    bridge, _ = start()
    hub.send(aggregate.encode_init("node", {7: {}}))
    driver = scripted(bridge.local_address)
    driver.read_init()
    assert hub.read() == aggregate.AGGREADY
    reply = ipi.encode_forceready((9, 9, 9), extra=b"xyz")
    for cut in range(len(reply)):
        hub.send(aggregate.encode_step({7: ONE}))
        assert driver.read_request() == ONE
        driver.send(reply[:cut])
        driver.reset() if cut % 2 else driver.close()
        driver = scripted(bridge.local_address)
        driver.read_init()
        assert driver.read_request() == ONE
        driver.reply((cut, 1, 2), b"new")
        assert hub.read().answers() == {7: (struct.pack("<3d", cut, 1, 2), b"new")}
    assert bridge.status().dropped == len(reply)


def test_a_bridge_whose_answer_no_hub_takes_comes_again_ever_more_slowly(hub, start, scripted, monkeypatch):
    """Such as one whose extras are more than `max_extras`; its drivers begin again each time."""
    delays = []

    class Noted(Backoff):
        def next_s(self):
            delays.append(self._delay)
            return super().next_s()

    monkeypatch.setattr(_hub_client, "Backoff", Noted)
    bridge, _ = start()
    driver = scripted(bridge.local_address)
    for _ in range(4):
        hub.send(aggregate.encode_init("node", {7: {}}))
        driver.read_init()
        assert hub.read() == aggregate.AGGREADY
        hub.send(aggregate.encode_step({7: ONE}))
        driver.read_request()
        driver.reply()
        hub.read()
        hub.accept()
    assert len(delays) == 4
    assert delays == sorted(set(delays))


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({3: {"a": 1}, np.int64(5): {"a": 2}}, 2),
        ({"a": 1, "dt_au": 0.5}, 1),
        ([{"a": 1}, {"a": 2}, {"a": 3}], 3),
    ],
)
def test_molecules_of_remote_bridges_are_given_as_everywhere(given, count, tmp_path):
    """By id, or one molecule's parameters, or several."""
    with AggregatedSocketHub(port=0) as hub:
        (spec,) = hub.init_remote_bridges(given, molecules_per_bridge=10, save_file=tmp_path / "m")
    assert spec.n_molecules == count
    each = given.values() if count == 2 else [given] if count == 1 else given
    assert {one["aggregate_group"] for one in each} == {spec.group_id}
