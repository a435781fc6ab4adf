"""mxl-sockets: what a step of an aggregated hub costs, by dictionaries and by arrays, against the peer's.

Every hub runs in a process of its own, over bridges that one more process plays
(`aggregate_load`: a canned answer to every step), and the hubs are measured in
turns. What counts is molecules per second; hub and bridges share one core,
which repeats within a few per cent. The figure without pinning stands beside.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import machine
from harness import Sample, Target, measure_paired
from results import RATE, entry
from sides import Program

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

#: Names of the sides, and what `aggregate_subject` calls them.
SIDES: Final = {"ours": "dict", "ours step()": "block", "peer": "peer"}

BRIDGES: Final = 2
SIZES: Final = (1_000, 10_000, 100_000)
#: Up to ten thousand molecules; the more there are above, the fewer, because each takes seconds.
ROUNDS: Final = 9
QUICK_ROUNDS: Final = 4
FEWEST_ROUNDS: Final = 2

#: Time of a step, ours / peer's, by number of molecules.
TARGETS: Final = {
    1_000: (Target("ours", "peer", 1 / 3, wall=True), Target("ours step()", "peer", 1 / 14, wall=True)),
    10_000: (Target("ours", "peer", 1 / 3, wall=True), Target("ours step()", "peer", 1 / 40, wall=True)),
    100_000: (Target("ours", "peer", 1 / 3, wall=True), Target("ours step()", "peer", 1 / 40, wall=True)),
}


class AggregateSide:
    """A hub and the process that plays its bridges; a context manager."""

    def __init__(self, kind: str, molecules: int, python: str) -> None:
        with contextlib.ExitStack() as stack:
            self._hub = stack.enter_context(Program(python, "aggregate_subject.py", kind, molecules, BRIDGES))
            address = json.loads(self._hub.hear())["address"]
            # Entered last, so left first. The hub stops its bridges, but a peer's hub may not succeed.
            self._load = stack.enter_context(Program(sys.executable, "aggregate_load.py", address, BRIDGES))
            self._load.hear()
            self._hub.hear()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.close()
        self._stack.close()

    def pin(self, cores: set[int]) -> None:
        """Keep both processes on these cores."""
        machine.pin(self._hub.process.pid, cores)
        machine.pin(self._load.process.pid, cores)

    def measure(self, steps: int) -> Sample:
        """Make so many steps and tell what they cost the hub's process."""
        self._hub.tell(str(steps))
        told = json.loads(self._hub.hear())
        return Sample(told["steps"], told["wall_s"], told["cpu_s"])


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure all rows, show each as it is finished, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``sizes``, ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    pythons = _interpreters(options, show)
    names = "".join(f"{side:>14}" for side in pythons)
    show(f"molecules per second, millions, {BRIDGES} bridges on one core | free\n{'molecules':<11}{names}")
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    for molecules in options.sizes or SIZES:
        with contextlib.ExitStack() as stack:
            sides = {
                name: stack.enter_context(AggregateSide(SIDES[name], molecules, python))
                for name, python in pythons.items()
            }
            measured = {}
            for where, cores in (("pinned", machine.one_core()), ("free", machine.all_cores())):
                for side in sides.values():
                    side.pin(cores)
                few = rounds * 10_000 // max(molecules, 10_000) // (1 if where == "pinned" else 3)
                measured[where] = measure_paired(sides, molecules, max(FEWEST_ROUNDS, few))
        entries = []
        for where, measurement in measured.items():
            rates = "".join(
                f"{1e-6 * molecules * measurement.steps_per_second(side).median:>14.3f}" for side in sides
            )
            verdicts = [
                verdict
                for target in TARGETS.get(molecules, ())
                if (verdict := target.judge(measurement)) is not None
            ]
            show(f"{molecules:<11}{rates}  {where:<7}{'; '.join(map(str, verdicts))}")
            core = "one" if where == "pinned" else where
            row = f"{molecules} molecules over {BRIDGES} bridges"
            at = (molecules, "molecules")
            entries.append(entry(row, core, measurement, RATE, verdicts, plot="bridges", at=at))
        yield {
            "entries": entries,
            "molecules": molecules,
            "bridges": BRIDGES,
            **{where: measurement.as_json() for where, measurement in measured.items()},
        }


def _interpreters(options: argparse.Namespace, show: Callable[[str], None]) -> dict[str, str]:
    """Return the sides that can be run here, and with which Python."""
    wanted = {
        "ours": (sys.executable, "mxl_sockets"),
        "ours step()": (sys.executable, "mxl_sockets"),
        "peer": (options.peer_python or sys.executable, "maxwelllink.sockets"),
    }
    found = {}
    for side, (python, module) in wanted.items():
        if subprocess.run(
            [python, "-c", f"import {module}"], capture_output=True, check=False, timeout=60
        ).returncode:
            show(f"{side}: skipped, {module} cannot be imported")
        else:
            found[side] = python
    return found
