"""C15: the wall clock jumps, and the monotonic one begins anywhere."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(__file__).with_name("clock_program.py"))
TIMEOUT_S = 0.3
#: Another clock may tell a little less.
CLOCK_S = 0.01
#: Less than a year, more than a busy machine can be late.
JUMP_S = 300 * 86_400
LIMIT_S = 50.0

#: Where the wall clock is read: to stamp messages, records and lines of a log, or to be compared with another
#: computer's. Nothing is decided by it.
STAMPS = {
    "echo-rig/src/echo_rig/_clock_desk.py",
    "echo-rig/src/echo_rig/_commands/_display.py",
    "group-ports/src/group_ports/_commands/_member_driver.py",
    "group-ports/src/group_ports/_port_settings.py",
    "udp-multicast/src/udp_multicast/_commands/record.py",
    "udp-multicast/src/udp_multicast/_commands/send.py",
}


@pytest.mark.fault("C15", "json-socket", "T")
@pytest.mark.fault("C15", "mxl-sockets", "T")
@pytest.mark.fault("C15", "udp-multicast", "T")
@pytest.mark.fault("C15", "echo-rig", "T")
@pytest.mark.fault("C15", "group-ports", "T")
@pytest.mark.parametrize(
    ("years", "offset"),
    [(1, None), (-1, None), (1, 86_400)],
    ids=["forward", "backward", "with another monotonic clock"],
)
def test_c15_no_deadline_is_early_or_late_because_of_the_wall_clock(figure, years, offset):
    """T: one wait of each package takes its own timeout while the wall clock jumps by a year at each look."""
    command = [*time_namespace(offset), sys.executable, PROGRAM, str(TIMEOUT_S), str(years)]
    judge(command, {}, years, figure)


@pytest.mark.fault("C15", "json-socket", "T")
@pytest.mark.fault("C15", "mxl-sockets", "T")
@pytest.mark.fault("C15", "udp-multicast", "T")
@pytest.mark.fault("C15", "echo-rig", "T")
@pytest.mark.fault("C15", "group-ports", "T")
@pytest.mark.parametrize(
    ("years", "offset"),
    [(-1, None), (1, 86_400)],
    ids=["backward", "forward, with another monotonic clock"],
)
def test_c15_nor_because_the_clock_of_the_whole_process_jumps(tmp_path, figure, years, offset):
    """T: the same for libraries in other languages; the wall clock jumps once, in the middle of the wait."""
    faketime = shutil.which("faketime")
    if faketime is None or sys.platform != "linux":
        pytest.skip("faketime cannot be found (Debian: apt-get install faketime)")
    offsets = tmp_path / "offset"
    offsets.write_text("+0")
    # Its own option for how far the clock is off would hide the file.
    under = [faketime, "--exclude-monotonic", "-f", "+0", "env", "-u", "FAKETIME"]
    # Without compiled modules: files would be stamped by the wrong clock.
    command = [*time_namespace(offset), *under, sys.executable, "-B", PROGRAM, str(TIMEOUT_S), str(years)]
    environment = {"FAKETIME_TIMESTAMP_FILE": str(offsets), "FAKETIME_NO_CACHE": "1"}
    judge([*command, str(offsets)], environment, years, figure)


def judge(command, environment, years, figure):
    """Let all packages wait, and look at how long they did."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    waits = json.loads(done.stdout)
    assert len(waits) == 5
    for package, (seconds, jumped) in waits.items():
        assert years * jumped > JUMP_S, "the wall clock did not jump"
        # Late is what a jump would make it: a busy machine adds seconds, and no year.
        assert TIMEOUT_S - CLOCK_S <= seconds < LIMIT_S, package
    for package, (seconds, _) in waits.items():
        figure(f"{package}: {seconds} s of {TIMEOUT_S} s")


def time_namespace(offset):
    """What runs a command with a monotonic clock that is so many seconds ahead; None for the usual clock."""
    if offset is None:
        return []
    unshare = shutil.which("unshare")
    if unshare is None or sys.platform != "linux":
        pytest.skip("there are no time namespaces here")
    for owner in ([], ["--map-root-user"]):
        enter = [unshare, *owner, "--time", "--monotonic", str(offset), "--boottime", str(offset), "--fork"]
        if (
            subprocess.run([*enter, "true"], capture_output=True, timeout=LIMIT_S, check=False).returncode
            == 0
        ):
            return enter
    pytest.skip("time namespaces are not allowed here")
    raise AssertionError("unreachable")


@pytest.mark.fault("C15", "json-socket")
@pytest.mark.fault("C15", "mxl-sockets")
@pytest.mark.fault("C15", "udp-multicast")
@pytest.mark.fault("C15", "echo-rig")
@pytest.mark.fault("C15", "group-ports")
def test_c15_the_wall_clock_is_read_for_stamps_only():
    """No other module of any package asks for it."""
    packages = ROOT / "packages"
    found = {
        path.relative_to(packages).as_posix()
        for path in packages.glob("*/src/**/*.py")
        if reads_wall_clock(path.read_text(encoding="utf-8"))
    }
    assert found == STAMPS


def reads_wall_clock(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if {"time", "time_ns", "localtime", "gmtime"} & {one.name for one in node.names}:
                return True
        elif isinstance(node, ast.Attribute):
            written = ast.unparse(node)
            if written in (
                "time.time",
                "time.time_ns",
                "time.localtime",
                "time.gmtime",
                "time.CLOCK_REALTIME",
            ):
                return True
            if node.attr in ("now", "utcnow", "today") and "date" in ast.unparse(node.value):
                return True
    return False


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("time.time()", True),
        ("from time import time_ns", True),
        ("dt.datetime.now(tz)", True),
        ("clock = time.time", True),
        ("time.monotonic()", False),
        ("loop.time()", False),
        ("from time import monotonic", False),
    ],
)
def test_what_reads_the_wall_clock_is_recognised(text, reads):
    assert reads_wall_clock(text) is reads
