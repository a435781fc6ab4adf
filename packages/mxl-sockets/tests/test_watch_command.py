"""The command `watch`, in this process, as a process, and on a terminal."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mxl_sockets import AggregatedSocketHub, _watch_command
from mxl_sockets.__main__ import main
from mxl_sockets._status_document import LARGEST
from mxl_sockets._watch_command import NoStatusError, Watch, read_status

from .scripted_bridge import ScriptedBridge

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")

LIMIT_S = 20.0
FIELD = {"efield_au": [0.5, -1.0, 2.0]}
COMMAND = [sys.executable, "-m", "mxl_sockets", "watch"]


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch):
    """The command sets up logging for its process; this process is not its own."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.fixture
def hub(bound, runtime):
    """A hub with one molecule, which is late."""
    made, _ = bound(status_socket=True)
    assert made.step_barrier({0: FIELD}, timeout=0.0) == {}
    return made


def words(hub):
    return "{}:{}".format(*hub.address)


# -- looking once --------------------------------------------------------------


def test_it_finds_a_hub_by_its_address(hub, capsys):
    assert main(["watch", words(hub), "--once"]) == 0
    shown = capsys.readouterr().out
    assert f"hub {words(hub)}, process {os.getpid()}" in shown
    assert "held by\n  molecule 0 for " in shown


def test_it_finds_a_hub_by_its_unix_socket(make_hub, runtime, capsys):
    path = str(runtime / "hub")
    make_hub(unixsocket=path, status_socket=True)
    assert main(["watch", "--unix", path, "--once"]) == 0
    assert f"hub {path}" in capsys.readouterr().out


def test_it_finds_a_hub_by_the_path_or_name_of_its_status_socket(make_hub, runtime, capsys):
    hub = make_hub(status_socket="lab")
    assert main(["watch", "--status", "lab", "--once"]) == 0
    assert main(["watch", "--status", hub.status_path, "--once"]) == 0
    assert capsys.readouterr().out.count("hub 127.0.0.1") == 2


def test_without_such_a_hub_it_says_where_it_looked(runtime, capsys):
    assert main(["watch", "127.0.0.1:31415", "--once"]) == 3
    said = capsys.readouterr().err
    assert str(runtime / "mxl_sockets") in said
    assert "status_socket=True" in said


def test_a_hub_that_was_killed_is_no_hub(make_hub, runtime, capsys):
    path = runtime / "dead"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert main(["watch", "--status", str(path), "--once"]) == 3
    assert "no hub answers at" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["localhost"],
        ["127.0.0.1:1", "--unix", "lab"],
        ["--interval", "0"],
        ["--interval", "nan"],
        ["--interval", "often"],
        ["--status", "a/b"],
    ],
)
def test_what_was_typed_wrong_is_said(arguments, runtime, capsys):
    try:
        code = main(["watch", *arguments])
    except SystemExit as end:  # argparse says it itself
        code = end.code
    assert code == 2
    assert capsys.readouterr().err


def test_without_unix_sockets_it_is_refused_by_name(runtime, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["watch"]) == 2
    assert "win32 does not offer" in capsys.readouterr().err


# -- what answers but is no hub ------------------------------------------------


@pytest.fixture
def impostor(runtime, cleanup):
    """A socket that says something to the first who connects, and closes or waits."""

    def make(*pieces, closes=True):
        path = runtime / "impostor"
        listener = cleanup.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()
        ended = threading.Event()

        def serve():
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                for piece in pieces:
                    sock.sendall(piece)
                if not closes:
                    ended.wait(LIMIT_S)

        thread = threading.Thread(target=serve)
        thread.start()
        cleanup.callback(thread.join)
        cleanup.callback(ended.set)
        return path

    return make


@pytest.mark.parametrize("said", [b"", b"hello\n", b"\x1b[2J", b'{"format": 7}\n'])
def test_what_is_no_status_is_not_shown(impostor, said, capsys):
    assert main(["watch", "--status", str(impostor(said)), "--once"]) == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no status" in shown.err
    assert "\x1b" not in shown.err


def test_what_never_ends_is_not_kept(impostor):
    with pytest.raises(ValueError, match="longer than"):
        read_status(impostor(*([b"x" * 65536] * (2 * LARGEST // 65536))))


@pytest.mark.parametrize("pieces", [[], [b"{"]])
def test_who_does_not_finish_is_left_in_time(impostor, pieces):
    with pytest.raises(TimeoutError):
        read_status(impostor(*pieces, closes=False), timeout=0.2)


# -- over and over -------------------------------------------------------------


def test_it_ends_when_the_hub_is_gone(bound, runtime):
    hub, (driver,) = bound(status_socket=True)
    shown = []
    watch = Watch(Path(hub.status_path), 0.1)

    def show(status):
        shown.append(status)
        if len(shown) == 3:
            driver.close()  # else the hub waits for its BYE
            hub.stop()

    with contextlib.closing(watch), pytest.raises(NoStatusError, match="the hub has gone"):
        watch.run(show)
    assert len(shown) == 3


@pytest.fixture
def slow_second_look(impostor, monkeypatch):
    """The second look of a watch meets somebody who does not answer in its time; how many there were."""
    silent, looks = impostor(closes=False), []

    def look(path, **named):
        looks.append(path)
        return read_status(silent, 0.2, **named) if len(looks) == 2 else read_status(path, LIMIT_S, **named)

    monkeypatch.setattr(_watch_command, "read_status", look)
    return looks


def test_a_hub_that_does_not_answer_in_time_is_looked_at_again(hub, slow_second_look):
    """It may be paused, or in a call that lets no other thread run."""
    shown = []
    with contextlib.closing(Watch(Path(hub.status_path), 0.1)) as watch:

        def show(status):
            shown.append(status)
            if len(shown) == 2:
                watch.stop()

        watch.run(show)
    assert len(slow_second_look) == 3


@pytest.mark.parametrize("once", [True, False])
def test_a_hub_that_never_answered_is_no_hub(impostor, monkeypatch, once):
    monkeypatch.setattr(_watch_command, "read_status", functools.partial(read_status, timeout=0.2))
    silent = contextlib.closing(Watch(impostor(closes=False), 0.1))
    with silent as watch, pytest.raises(NoStatusError, match="no answer at"):
        watch.run(print, once=once)


def test_a_full_queue_of_readers_is_a_slow_hub(runtime):
    path = runtime / "full"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            for _ in range(8):
                reader = stack.enter_context(socket.socket(socket.AF_UNIX))
                reader.setblocking(False)
                reader.connect(str(path))
        with pytest.raises(TimeoutError):
            read_status(path, timeout=0.2)


def test_ctrl_c_ends_a_look_that_is_not_answered(runtime, cleanup):
    path = runtime / "silent"
    listener = cleanup.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(LIMIT_S)
    with subprocess.Popen([*COMMAND, "--status", str(path)], stderr=subprocess.PIPE, text=True) as watch:
        cleanup.callback(listener.accept()[0].close)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(LIMIT_S) == 0
        assert watch.stderr.read() == ""


def test_each_bridge_that_holds_a_step_is_named_with_its_group(
    runtime, cleanup, capsys, background, eventually
):
    """However many molecules the others have."""
    groups = {one: "abc"[one // 20] for one in range(60)}
    inits = {one: {"aggregate_group": group} for one, group in groups.items()}
    with AggregatedSocketHub(port=0, timeout=LIMIT_S, status_socket=True) as hub:
        bridges = {group: ScriptedBridge(hub.address, group) for group in "abc"}
        for bridge in bridges.values():
            cleanup.callback(bridge.close)
        bound = background(hub.wait_until_bound, inits)
        for bridge in bridges.values():
            bridge.start()
        assert bound.result(LIMIT_S)
        assert hub.step_barrier(dict.fromkeys(inits, FIELD), timeout=0.0) == {}
        bridges["b"].answer()
        eventually(lambda: (hub.all_bound(inits), len(hub.status().late))[1] == 40)

        def look():
            assert main(["watch", words(hub), "--once"]) == 0
            return capsys.readouterr().out

        eventually(lambda: "40 awaited" in look())
        held = look().partition("held by\n")[2].splitlines()[:2]
        peers = {group: "{}:{}".format(*bridge.sock.getsockname()) for group, bridge in bridges.items()}
        for bridge in bridges.values():
            bridge.close()  # else the hub waits for their BYE
    for line, first, group in zip(held, (0, 40), "ac", strict=True):
        assert line.startswith(f"  molecule {first} and 19 more for ")
        assert line.endswith(f", {peers[group]}, group {group}")


def test_it_can_be_stopped_while_it_waits(hub, background):
    looked = threading.Event()
    with contextlib.closing(Watch(Path(hub.status_path), 1000.0)) as watch:
        running = background(watch.run, lambda status: looked.set())
        assert looked.wait(LIMIT_S)
        watch.stop()
        assert running.result(LIMIT_S) is None


def test_into_a_pipe_it_writes_a_line_for_each_look(hub):
    """SIGINT is how it ends: with 0, and nothing on standard error."""
    with subprocess.Popen(
        [*COMMAND, words(hub), "--interval", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watch:
        lines = [watch.stdout.readline() for _ in range(3)]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(LIMIT_S) == 0
        assert watch.stderr.read() == ""
    for line in lines:
        assert line.startswith("step 0; 0 steps/s; 1 served, 1 awaited; held by molecule 0 for ")
        assert "\x1b" not in line


def test_who_has_read_enough_may_close_the_pipe(hub):
    with subprocess.Popen(
        [*COMMAND, words(hub), "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watch:
        watch.stdout.readline()
        watch.stdout.close()
        assert watch.wait(LIMIT_S) == 0
        assert watch.stderr.read() == b""


def test_on_a_terminal_it_shows_in_place(hub):
    """Lines are written over, and the cursor comes back at the end, which SIGTERM may be: 0."""
    pty = pytest.importorskip("pty", reason="no terminals here")
    leader, follower = pty.openpty()
    shown = b""
    try:
        with subprocess.Popen(
            [*COMMAND, words(hub), "--interval", "0.1"],
            stdout=follower,
            stderr=follower,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        ) as watch:
            deadline = time.monotonic() + LIMIT_S
            while shown.count(b"held by") < 3:
                assert time.monotonic() < deadline
                shown += os.read(leader, 4096)
            watch.send_signal(signal.SIGTERM)
            assert watch.wait(LIMIT_S) == 0
            while not shown.endswith(b"\x1b[?25h"):
                shown += os.read(leader, 4096)
    finally:
        os.close(leader)
        os.close(follower)
    assert shown.startswith(b"\x1b[?25l")
    head = f"\rhub {words(hub)}".encode()
    assert shown.count(head) == shown.count(b"A" + head) + 1  # all but the first go up before


def test_every_module_of_it_can_be_imported_where_it_does_not_work(monkeypatch):
    """Windows has no UNIX sockets, but the other commands must work there."""
    script = """
import socket, sys
if hasattr(socket, "AF_UNIX"):
    del socket.AF_UNIX
import mxl_sockets.__main__
sys.exit(mxl_sockets.__main__.main(["watch"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "does not offer" in done.stderr


def test_the_help_names_the_setting(capsys):
    with pytest.raises(SystemExit):
        main(["watch", "--help"])
    assert "status_socket=True" in " ".join(capsys.readouterr().out.split())
