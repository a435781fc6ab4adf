"""The meters count what is known, and what refuses to count says so."""

from __future__ import annotations

import contextlib
import math
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import cost_tracing
import costs_known
import pytest
from cost_meters import (
    COPIES,
    KEPT,
    MOST_CALLS,
    OWN,
    PEAK,
    PYTHON_CALLS,
    SYSTEM_CALLS,
    Counted,
    Memory,
    PythonCalls,
    Run,
    Scenario,
    own_counts,
    per_message,
)
from cost_table import HEADING, Cost, Line, bound_for, read_table, render, rounded, verdict

LINES = """\
7 access("cost:run a message", F_OK) = -1 ENOENT (No such file or directory)
7 getppid() = 1
7 access("cost:begin send", F_OK) = -1 ENOENT (No such file or directory)
7 sendto(5, "cost", 4, 0, NULL, 0) = 4
7 futex(0x55, FUTEX_WAKE_PRIVATE, 1) = 1
7 poll([{fd=5, events=POLLIN}], 1, 1000 <unfinished ...>
8 write(9, "x", 1) = 1
7 <... poll resumed>) = 1 ([{fd=5, revents=POLLIN}])
7 --- SIGCHLD {si_signo=SIGCHLD} ---
7 faccessat2(AT_FDCWD, "cost:end", F_OK, 0) = -1 ENOENT (No such file or directory)
7 recvfrom(5, "", 4, 0, NULL, NULL) = 0
7 access("cost:over", F_OK) = -1 ENOENT (No such file or directory)
8 close(5) = 0
8 +++ exited with 0 +++
"""


def test_lines_of_the_tracer_are_counted_once_by_part_and_thread() -> None:
    """Interrupted calls count once, signals and what stands outside of parts not at all."""
    run = {"send": {"sendto": 1, "poll": 1}, cost_tracing.OTHER_THREADS: {"write": 1}}
    assert cost_tracing.runs(LINES.splitlines()) == {"a message": [run]}


@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="strace is a program of Linux")
def test_system_calls_are_counted_exactly(tracer: cost_tracing.Tracer) -> None:
    """Three calls are three, whatever stands around them."""
    costs, words = cost_tracing.calls_per_message(costs_known.SCENARIOS[0], tracer)
    assert costs == {"known": 3.0}
    assert words == {"known": "getppid 3"}


def fake_strace(folder: Path) -> Path:
    """A program of this name that the system does not let trace."""
    program = folder / "strace"
    program.write_text("#!/bin/sh\necho 'ptrace(PTRACE_TRACEME): Operation not permitted' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_tracer_that_may_not_trace_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs the tests reads what is missing, and what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(cost_tracing.RefusedError, match="apt-get install strace"):
        cost_tracing.strace()
    fake_strace(tmp_path)
    with pytest.raises(cost_tracing.RefusedError, match=r"Operation not permitted \(allow ptrace"):
        cost_tracing.strace()


class Toy:
    """Calls two functions and leaves some bytes behind with each message; counts three of something."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def _inner(self) -> None:
        sum([2 * number for number in range(3)])

    def _outer(self, size: int) -> None:
        self._inner()
        bytes(size)

    @contextlib.contextmanager
    def scenario(self, counted: Counted) -> Iterator[Run]:
        def run(messages: int) -> dict[str, float]:
            for _ in range(messages):
                self._inner()
                with counted("part"):
                    self._outer(100_000)
                self.held.append(bytes(1000))
            return {"threes": 3 * messages}

        yield run


def test_python_calls_are_counted_exactly() -> None:
    """Two functions are two; the one outside, comprehensions and the meter itself are none."""
    scenario = Scenario("toy", Toy().scenario, 7, (PYTHON_CALLS,))
    assert PythonCalls().count(scenario) == {"part": 2.0}


def test_memory_at_a_time_and_memory_that_stays_are_told_apart() -> None:
    """A large piece that goes is the peak, a small one that stays is kept."""
    peaks, kept = Memory().count(Scenario("toy", Toy().scenario, 50, (PEAK, KEPT)))
    assert 100_000 <= peaks["part"] < 101_000
    # Bytes have a head, and the list grows.
    assert 1000 < kept < 1100
    peaks, _ = Memory().count(Scenario("toy", Toy().scenario, 5, (COPIES,), size=100_000))
    assert peaks["part"] == pytest.approx(1.0, abs=0.01)


def test_own_counts_are_per_message() -> None:
    """What a scenario counts for many messages is divided by their number."""
    assert own_counts(Scenario("toy", Toy().scenario, 4, (OWN,), per=3)) == {"threes": 1.0}


def test_the_cost_of_a_message_has_no_start_up_and_no_chance_in_it() -> None:
    """What a run costs once cancels; interrupted calls do not count; a mean is never exceeded."""
    assert per_message([({"a": 25.0}, {"a": 45.0}), ({"a": 27.0}, {"a": 46.0})], 10) == {"a": 2.0}
    assert per_message([({"a": 10.0}, {"a": 40.0})], 10) == {"a": 2.0}
    assert per_message([({}, {"a": 1.0}), ({}, {})], 10) == {"a": 0.0}


COST = Cost("package", "message", "send", SYSTEM_CALLS, 2.0, "sendto 2")


def test_what_has_become_dearer_is_named() -> None:
    """Beyond its bound, or without one; at its bound it is fine."""
    assert verdict(COST, {COST.key: Line("package", 1.0, 1.0)}) == (
        "message, send: 2 system calls per message (sendto 2), bound 1"
    )
    assert "no bound" in verdict(COST, {})
    assert verdict(COST, {COST.key: Line("package", 2.0, 2.0)}) == ""


def test_writing_the_table_lowers_bounds_and_raises_none() -> None:
    """What is cheaper gets its new bound, what is dearer keeps the old one; so does what chance decides."""
    calls = Cost("package", "message", "all", MOST_CALLS, 10.2)
    text = render([COST, calls], {})
    before = read_table(f"{HEADING}\n\n{text}")
    assert before == {COST.key: Line("package", 2.0, 2.0), calls.key: Line("package", 10.2, 12.0)}
    for figure, bound in ((1.0, 1.0), (3.0, 2.0)):
        cost = Cost("package", "message", "send", SYSTEM_CALLS, figure)
        lucky = Cost("package", "message", "all", MOST_CALLS, figure)
        after = read_table(HEADING + render([cost, lucky], before))
        assert after[COST.key] == Line("package", figure, bound)
        assert after[calls.key] == Line("package", figure, 12.0)


def test_bounds_have_the_headroom_of_their_unit() -> None:
    """Exact ones none, those that depend on the version of Python a little."""
    bounds = {
        unit: bound_for(Cost("package", "message", "", unit, 100.0))
        for unit in (SYSTEM_CALLS, OWN, PYTHON_CALLS, PEAK, COPIES)
    }
    assert bounds == {SYSTEM_CALLS: 100, OWN: 100, PYTHON_CALLS: 105, PEAK: 125, COPIES: 100.05}
    assert bound_for(Cost("package", "message", "", KEPT, 0.0)) < os.sysconf("SC_LONG_BIT") / 4
    assert rounded(0.015625) == 0.01563
    assert rounded(2 / 3) == 0.6667
    assert math.isclose(rounded(1.1 * 10), 11.0)
