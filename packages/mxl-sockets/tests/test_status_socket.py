"""The status socket: what it tells and when, who may listen, and that nobody can do harm with it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mxl_sockets import AggregatedSocketHub, SocketHub, _open_hub, _status_socket
from mxl_sockets._status_document import decode_document
from mxl_sockets._status_socket import MOST_READERS, StatusServer
from mxl_sockets._watch_command import read_status
from mxl_sockets.status import HubStatus, ReplyTimes
from wireframe import ipi

from .scripted_bridge import LIMIT_S, ScriptedBridge

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")

FIELD = {"efield_au": [0.5, -1.0, 2.0]}


@pytest.fixture
def make_hub(make_hub, runtime):
    """Hubs whose status can be looked at."""
    return lambda **settings: make_hub(**{"status_socket": True, **settings})


def look(hub):
    return read_status(hub.status_path)


def reader(path):
    """A connection to a status socket that has read nothing yet."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT_S)
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            sock.connect(str(path))
        except BlockingIOError:  # the queue is full
            assert time.monotonic() < deadline
        except BaseException:
            sock.close()
            raise
        else:
            return sock


def read_all(sock):
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


# -- what it tells -------------------------------------------------------------


def test_it_tells_the_status_between_steps(bound):
    """Nobody runs the hub then."""
    hub, (driver,) = bound()
    hub.step_barrier({0: FIELD}, timeout=0.0)
    driver.read_request()
    driver.reply()
    hub.step_barrier({0: FIELD})
    hub.register_molecule(5)
    status = look(hub)
    assert (status.process, status.steps, status.bound, status.missing_ids) == (os.getpid(), 1, 1, [5])
    assert status.address == "{}:{}".format(*hub.address)
    assert status.drivers == [(0, "{}:{}".format(*driver.sock.getsockname()), 1)]
    assert (status.late, status.orphaned, status.replies) == (0, 0, 1)
    assert status.age_s < 1


@pytest.mark.parametrize("method", ["step", "step_barrier"])
def test_while_a_step_hangs_it_names_who_holds_it(bound, background, eventually, method):
    """Not those whose answers are there but not judged yet."""
    hub, drivers = bound(3)
    calls = {
        "step": lambda: hub.step(np.zeros((3, 3))),
        "step_barrier": lambda: hub.step_barrier(dict.fromkeys(range(3), FIELD)),
    }
    step = background(calls[method])
    for driver in drivers:
        driver.read_request()
    for one in (0, 2):
        drivers[one].reply()
    eventually(lambda: look(hub).late == 1, "only one is late")
    first = look(hub)
    (entry,) = first.late_s
    assert entry[0] == 1
    assert entry[2] == "{}:{}".format(*drivers[1].sock.getsockname())
    eventually(lambda: look(hub).late_s[0][1] > entry[1], "the wait grows")
    assert not step.done()
    drivers[1].reply()
    step.result(LIMIT_S)
    eventually(lambda: (look(hub).late, look(hub).steps) == (0, 1))


def test_a_molecule_of_the_step_without_a_driver_is_named(bound, eventually):
    hub, drivers = bound(2)
    hub.step_barrier({0: FIELD, 1: FIELD}, timeout=0.0)
    drivers[0].read_request()
    drivers[0].close()
    eventually(lambda: hub.status().missing == [] and hub.status().orphaned == [0])
    eventually(lambda: look(hub).orphans == [(0, "", 1)])
    status = look(hub)
    assert [one for one, _, _, _ in status.late_s] == [1]
    assert (status.dropped, status.paused) == (1, True)
    assert "(molecule 0): closed" in status.losses[-1][1]


def test_an_aggregated_hub_tells_of_bridges(runtime, cleanup, background, eventually):
    with AggregatedSocketHub(port=0, timeout=LIMIT_S, status_socket=True) as hub:
        bridge = ScriptedBridge(hub.address, "a")
        cleanup.callback(bridge.close)
        inits = {1: {"aggregate_group": "a"}, 2: {"aggregate_group": "a"}}
        assert not hub.wait_until_bound(inits, timeout=0.05)
        bridge.start()
        assert hub.wait_until_bound(inits)
        step = background(hub.step, np.zeros((2, 3)))
        asked = bridge.read()
        eventually(lambda: look(hub).late == 2)
        peer = "{}:{}".format(*bridge.sock.getsockname())
        who = f"{peer}, group a"
        assert look(hub).drivers == [(1, who, 2)]
        assert [(one, holder, count) for one, _, holder, count in look(hub).late_s] == [(1, who, 2)]
        bridge.send(bridge.result(asked))
        step.result(LIMIT_S)
        hub.step_barrier({1: FIELD, 2: FIELD}, timeout=0.0)
        bridge.close()
        eventually(lambda: hub.status().orphaned == [1, 2])
        eventually(lambda: look(hub).orphans == [(1, "group a", 2)])
        assert "group 'a'" in look(hub).losses[-1][1]
    assert list((runtime / "mxl_sockets").iterdir()) == []


def test_who_keeps_the_lock_does_not_keep_the_watcher(bound, eventually):
    """The last status is told, and how old it is."""
    hub, _ = bound()
    with hub._coupling.lock:
        eventually(lambda: look(hub).age_s > 0.3, "the status grows old")
        status = look(hub)
        assert status.bound in (0, 1)
    eventually(lambda: look(hub).age_s < 0.1, "the status is new again")
    assert look(hub).bound == 1


def test_looking_changes_nothing(bound, scripted, eventually):
    """Newcomers stay in the queue and what was sent stays unread, until the solver calls."""
    hub, (driver,) = bound()
    stranger = scripted(hub)
    driver.say(ipi.READY)  # nobody asked
    for _ in range(3):
        assert (look(hub).bound, look(hub).waiting, look(hub).dropped) == (1, 0, 0)
    eventually(lambda: hub.status().dropped == 1)
    assert len(hub.status().waiting) == 1
    assert not stranger.is_closed()


# -- where it is, and who may listen -------------------------------------------


def test_only_its_user_can_reach_it(make_hub, runtime):
    path = Path(make_hub().status_path)
    assert path.parent == runtime / "mxl_sockets"
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.lstat().st_mode) == 0o700


def test_another_user_who_gets_there_is_told_nothing(make_hub, monkeypatch):
    hub = make_hub()
    monkeypatch.setattr(_status_socket, "foreign_user", lambda sock: 12345)
    with reader(hub.status_path) as sock:
        assert read_all(sock) == b""


def test_a_name_or_a_path_can_be_chosen(make_hub, runtime):
    assert make_hub(status_socket="lab").status_path == str(runtime / "mxl_sockets" / "lab.status")
    path = str(runtime / "mine")
    hub = make_hub(status_socket=path)
    assert hub.status_path == path
    assert stat.S_IMODE(Path(path).lstat().st_mode) == 0o600
    hub.stop()
    assert hub.status_path is None
    assert not Path(path).exists()


def test_a_hub_that_cannot_have_one_is_not_made(make_hub, runtime, descriptors):
    """A living hub has the name; the folder is open to others; the name is none. All is closed again."""
    first = make_hub(status_socket="lab")
    before, threads = descriptors(), threading.active_count()
    with pytest.raises(RuntimeError, match="already in use"):
        make_hub(status_socket="lab")
    with pytest.raises(ValueError, match="neither an absolute path nor a name"):
        make_hub(status_socket="a/b")
    with pytest.raises(OSError, match="cannot listen on"):
        make_hub(status_socket=str(runtime / "nowhere" / "lab"))
    assert (descriptors(), threading.active_count()) == (before, threads)
    assert look(first).steps == 0


def test_without_unix_sockets_it_is_refused_by_name(make_hub, monkeypatch, descriptors):
    monkeypatch.setattr(sys, "platform", "win32")
    before = descriptors()
    with pytest.raises(OSError, match="UNIX socket, which win32 does not offer"):
        make_hub()
    assert descriptors() == before
    assert make_hub(status_socket=False).status_path is None


def test_a_hub_is_not_watched_unless_it_is_told(make_hub, runtime):
    threads = threading.active_count()
    hub = make_hub(status_socket=False)
    assert hub.status_path is None
    assert threading.active_count() == threads
    assert list(runtime.iterdir()) == []


# -- who does not behave -------------------------------------------------------


class Full:
    """Snapshots of a hub with much to tell, counted."""

    def __init__(self, cost=0.0):
        self.taken = 0
        self.cost = cost

    def take(self, now):
        self.taken += 1
        time.sleep(self.cost)
        peers = dict.fromkeys(range(1000), "p" * 200)
        return HubStatus(None, peers, [], [], {}, False, self.taken, 0, None, ReplyTimes())


@pytest.fixture
def server(runtime, cleanup):
    """A status socket without a hub."""

    def make(snapshots=None):
        made = StatusServer(str(runtime / "s"), threading.Lock(), snapshots or Full())
        cleanup.callback(made.close)
        return made

    return make


def test_a_reader_that_does_not_read_costs_only_itself(server, monkeypatch, eventually):
    """Its document does not fit what the system keeps for it: its time runs out, and others are served."""
    monkeypatch.setattr(_status_socket, "READER_PATIENCE", 1000.0)
    monkeypatch.setattr(_status_socket, "encode_document", lambda *_: b"x" * (8 << 20))
    made = server()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(reader(made.path)) for _ in range(MOST_READERS)]
        eventually(lambda: len(made._readers) == MOST_READERS, "the silent have all places")
        last = stack.enter_context(reader(made.path))
        for one in list(made._readers.values()):
            one.deadline = 0.0  # the time has come
        assert len(read_all(last)) == 8 << 20
        for sock in silent:
            assert len(read_all(sock)) < 8 << 20


def test_a_reader_has_a_second(server, monkeypatch, eventually):
    """Neither more nor less is promised to who does not read."""
    monkeypatch.setattr(_status_socket, "encode_document", lambda *_: b"x" * (8 << 20))
    made = server()
    with reader(made.path) as sock:
        eventually(lambda: made._readers, "it is known")
        (one,) = made._readers.values()
        assert one.deadline - time.monotonic() <= _status_socket.READER_PATIENCE == 1.0
        eventually(lambda: not made._readers, "it is given up")
        assert len(read_all(sock)) < 8 << 20


def test_a_slow_reader_gets_the_whole_document(server, monkeypatch):
    monkeypatch.setattr(_status_socket, "encode_document", lambda *_: bytes(range(256)) * (1 << 13))
    with reader(server().path) as sock:
        data = b""
        while piece := sock.recv(50_000):
            data += piece
    assert data == bytes(range(256)) * (1 << 13)


def test_what_readers_send_is_never_read(bound):
    """Not a byte of it can have an effect."""
    hub, (driver,) = bound()
    before = hub.status().bound
    for data in (b"STOP        ", b"\0" * 100_000, b'{"stop": true}\n', ipi.encode_header(ipi.EXIT)):
        with reader(hub.status_path) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                assert decode_document(read_all(sock)).bound == 1
    assert look(hub).bound == 1
    assert hub.status().bound == before
    assert not driver.is_closed()


def test_readers_that_leave_at_once_do_no_harm(bound):
    hub, _ = bound()
    for _ in range(100):
        reader(hub.status_path).close()
    assert look(hub).bound == 1


def test_who_finds_the_queue_full_tries_again(server, background, monkeypatch):
    monkeypatch.setattr(_status_socket, "BACKLOG", 1)
    made = server()
    found = [background(read_status, Path(made.path)) for _ in range(16)]
    assert {one.result(LIMIT_S).bound for one in found} == {1000}


def test_many_readers_take_few_snapshots(server):
    """However many look, the hub's lock is taken ten times a second at the most."""
    snapshots = Full()
    made = server(snapshots)
    begin = time.monotonic()
    for _ in range(30):
        with reader(made.path) as sock:
            assert read_all(sock)
    assert snapshots.taken <= 2 + (time.monotonic() - begin) / _status_socket.FRESH


def test_a_snapshot_that_costs_much_is_kept_long(server, monkeypatch):
    """It takes at most a fiftieth of the hub's time."""
    monkeypatch.setattr(_status_socket, "THRIFT", 1e4)
    snapshots = Full(cost=0.01)
    made = server(snapshots)
    for _ in range(5):
        with reader(made.path) as sock:
            status = decode_document(read_all(sock))
    assert snapshots.taken == status.steps == 2  # one when it was made, one for the first reader


def test_running_out_of_descriptors_is_not_the_end(server, monkeypatch, eventually):
    """Who came meanwhile is served when there are some again."""
    made = server()
    real = made._listener.sock
    failed = []

    class Exhausted:
        def accept(self):
            failed.append(1)
            raise OSError(errno.EMFILE, "no more")

        def __getattr__(self, name):
            return getattr(real, name)

    made._listener.sock = Exhausted()
    with reader(made.path) as sock:
        eventually(lambda: len(failed) > 1, "it tries again")
        made._listener.sock = real
        assert decode_document(read_all(sock)).bound == 1000


# -- its end -------------------------------------------------------------------


def test_stop_removes_path_thread_and_descriptors(bound, runtime, descriptors):
    before, threads = descriptors(), threading.active_count()
    for life in range(10):
        hub, drivers = bound(1)
        assert look(hub).bound == 1
        open_reader = reader(hub.status_path)
        for driver in drivers:
            driver.close()
        hub.stop()
        hub.stop()
        assert threading.active_count() == threads
        assert list((runtime / "mxl_sockets").iterdir()) == []
        open_reader.close()
        assert descriptors() == before, f"life {life}"
        assert hub.status().address is None


def test_a_hub_that_is_forgotten_takes_its_status_socket_along(runtime, descriptors):
    gc.collect()
    before, threads = descriptors(), threading.active_count()
    hub = SocketHub(port=0, status_socket=True)
    path = Path(hub.status_path)
    assert read_status(path).steps == 0
    del hub
    gc.collect()
    assert not path.exists()
    assert (descriptors(), threading.active_count()) == (before, threads)


@pytest.mark.parametrize("end", ["pass", "raise KeyError", "import sys; sys.exit(3)", "hub.stop()"])
def test_a_program_that_forgets_to_stop_its_hub_ends_all_the_same(end, runtime):
    """The thread sees the main thread end; the path is removed, drivers hear of it."""
    script = f"""
from mxl_sockets import SocketHub
hub = SocketHub(port=0, status_socket="lab")
print("ready", flush=True)
{end}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "ready\n", done.stderr
    assert done.returncode == {"raise KeyError": 1, "import sys; sys.exit(3)": 3}.get(end, 0)
    assert "Warning" not in done.stderr
    assert list((runtime / "mxl_sockets").iterdir()) == []


def test_c8_the_path_of_a_killed_hub_is_taken_over(make_hub, runtime):
    script = """
import time
from mxl_sockets import SocketHub
hub = SocketHub(port=0, status_socket="lab")
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "ready\n"
        with pytest.raises(RuntimeError, match="already in use"):
            make_hub(status_socket="lab")
        program.send_signal(signal.SIGKILL)
        program.wait(LIMIT_S)
    assert (runtime / "mxl_sockets" / "lab.status").exists()
    assert look(make_hub(status_socket="lab")).process == os.getpid()


def test_a_forked_child_lets_go_of_the_status_socket(make_hub, runtime, descriptors):
    """What the child runs after a fork, run here: all closed, the path left to the parent."""
    threads = threading.active_count()
    before = descriptors()
    hub = SocketHub(port=0, status_socket=True)
    path = Path(hub.status_path)
    # In a child the thread is gone; here it has to be ended.
    server = hub._status_server
    release = server._release
    server._release = lambda: None
    server._stopping = True
    server._waker.wake()
    server._thread.join(LIMIT_S)
    _open_hub._close_in_child()
    assert descriptors() == before
    assert path.exists()
    assert threading.active_count() == threads
    hub._owner = -1
    release()
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_c20_a_child_holds_on_to_nothing_and_the_parent_is_still_watched(runtime):
    """Forked while the thread serves; the child's end removes no path."""
    script = """
import os, socket, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: the case in question
from mxl_sockets import ForeignProcessError, SocketHub
from mxl_sockets._watch_command import read_status
hub = SocketHub(port=0, status_socket=True)
path = hub.status_path
stuck = socket.socket(socket.AF_UNIX)
stuck.connect(path)
assert read_status(path).process == os.getpid()
child = os.fork()
if child == 0:
    try:
        hub.status()
    except ForeignProcessError:
        pass
    else:
        os._exit(1)
    stuck.close()
    # Ours is the one listener left: the parent's.
    sys.exit(0 if read_status(path).process == os.getppid() else 2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert os.path.exists(path)
assert read_status(path).process == os.getpid()
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
hub.stop()
assert not os.path.exists(path)
stuck.close()
print("ok", flush=True)
os.kill(child, 9)
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr


def test_closing_from_its_own_thread_does_not_wait_for_itself(runtime):
    """The collector of garbage runs in any thread, also in this one."""

    class Closing(Full):
        def take(self, now):
            status = super().take(now)
            if self.taken == 2:
                made.close()
            return status

    made = StatusServer(str(runtime / "s"), threading.Lock(), Closing())
    with reader(made.path) as sock:
        assert decode_document(read_all(sock)).steps == 2
    made.close()
    assert not made._thread.is_alive()
    assert not (runtime / "s").exists()
