"""System calls of scenarios, in programs of their own that are run under strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cost_meters

PROGRAM = Path(__file__).with_name("cost_program.py")

#: Seconds; some fifty times what any of them takes alone on a machine.
LIMIT_S = 150.0

# What is read: "4711 sendto(5, ..." and "4711 access("cost:begin part", F_OK) = -1 ...". The rest of a call
# that another thread came between, a signal, and the end of a thread begin otherwise.
CALL = re.compile(r"^(\d+) +(\w+)\(")
MARK = re.compile(rf'^\d+ +\w+\(.*"{cost_meters.Marks.PREFIX}(begin|end|run|over)(?: ([^"]*))?"')

#: Calls by which threads of one process hand over to each other; how many is up to the scheduler.
HANDING_OVER = {"futex", "sched_yield"}

#: Calls by part and by name.
Calls = dict[str, Counter[str]]

#: The part of the calls of all other threads of the process.
OTHER_THREADS = "other threads"


class RefusedError(Exception):
    """Nothing can be traced here; says why."""


def strace() -> str:
    """The program, if it may trace; otherwise a sentence."""
    found = shutil.which("strace")
    if found is None:
        raise RefusedError(
            "system calls are counted by strace, which cannot be found (Debian: apt-get install strace)"
        )
    tried = subprocess.run(
        [found, "-f", "-o", os.devnull, sys.executable, "-S", "-c", ""],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if tried.returncode:
        raise RefusedError(
            "system calls are counted by strace, and the system does not let it trace: "
            f"{tried.stderr.strip()} "
            "(allow ptrace: sysctl kernel.yama.ptrace_scope=1; of a container, --cap-add=SYS_PTRACE)"
        )
    return found


class Tracer:
    """Traces each module of scenarios once: most of what that takes is to begin.

    Parameters
    ----------
    program : str
        As `strace` returns it.
    """

    def __init__(self, program: str) -> None:
        self._program = program
        self._found: dict[str, dict[str, list[Calls]]] = {}

    def runs(self, scenario: cost_meters.Scenario) -> list[Calls]:
        """Calls of each run of a scenario, for N and 2 N messages by turns."""
        module = scenario.open.__module__
        if module not in self._found:
            self._found[module] = runs(self._trace(module))
        found = self._found[module][scenario.name]
        assert len(found) == 2 * scenario.times, f"{scenario.name}: {len(found)} runs"
        return found

    def _trace(self, module: str) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "calls"
            # Only the marks are read beyond the names of calls.
            options = ["-f", "-qq", "-s", "80", "-o", str(output)]
            done = subprocess.run(
                [self._program, *options, sys.executable, str(PROGRAM), module],
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
            assert done.returncode == 0, f"{module}: {done.returncode}: {done.stderr}"
            return output.read_text(encoding="utf-8", errors="replace").splitlines()


def runs(lines: Iterable[str]) -> dict[str, list[Calls]]:
    """Calls by part and by name, of each run, by scenario.

    Those of the thread that marks the parts; those of all others are together, from one mark of a run to the
    next.
    """
    found: dict[str, list[Calls]] = {}
    current: Calls | None = None
    marker = part = ""
    for line in lines:
        if mark := MARK.match(line):
            what, name = mark.groups()
            marker = line.split()[0]
            part = name if what == "begin" else ""
            if what == "run":
                current = {}
                found.setdefault(name, []).append(current)
            elif what == "over":
                current = None
        elif current is not None and (call := CALL.match(line)):
            thread, name = call.groups()
            whose = part if thread == marker else OTHER_THREADS
            if whose and name not in HANDING_OVER:
                current.setdefault(whose, Counter())[name] += 1
    return found


def calls_per_message(
    scenario: cost_meters.Scenario, tracer: Tracer
) -> tuple[dict[str, float], dict[str, str]]:
    """Calls per message of each part, and which calls they are, in words."""
    found = tracer.runs(scenario)
    over = scenario.messages * scenario.per
    sums = [{part: float(sum(names.values())) for part, names in run.items()} for run in found]
    costs = cost_meters.per_message(list(zip(sums[0::2], sums[1::2], strict=True)), over)
    words = {}
    if cost_meters.MOST_CALLS not in scenario.units:
        # They are peers.
        costs.pop(OTHER_THREADS, None)
    for part in costs:
        by_name = [dict(run.get(part, {})) for run in found]
        each = cost_meters.per_message(list(zip(by_name[0::2], by_name[1::2], strict=True)), over)
        words[part] = ", ".join(f"{name} {cost:.3g}" for name, cost in each.items() if cost)
    return costs, words
