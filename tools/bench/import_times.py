"""What importing a package costs, beside importing numpy and an empty program.

The figures are CPU time of a fresh interpreter for the import alone,
milliseconds; its start is not counted. All run on one core, from compiled
files, as an installed package is: without them it would be the compiler that
is measured.

The faces of some packages import what stands behind a name when it is asked
for. So ``SocketHub`` and ``Driver`` are measured too, which is what a program
does, and beside them, as their floor, numpy with the modules of the standard
library that no hub can do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import machine
from harness import Sample, Target, measure_paired
from results import CPU, entry
from sides import SideError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

ROUNDS: Final = 7
QUICK_ROUNDS: Final = 3
TIMEOUT_S: Final = 60

#: Times what they cannot do without.
NUMPY_BOUND: Final = 1.3
#: What is measured, and the statement that does it.
STATEMENTS: Final = {
    "numpy": "import numpy",
    "asyncio": "import asyncio",
    "wireframe": "import wireframe",
    "mxl_sockets": "import mxl_sockets",
    "numpy + library": "import numpy, dataclasses, json, logging, socket, threading",
    "Driver": "from mxl_sockets import Driver",
    "SocketHub": "from mxl_sockets import SocketHub",
    "udp_multicast": "import udp_multicast",
    "echo_rig": "import echo_rig",
    "group_ports": "import group_ports",
}

TARGETS: Final = (
    Target("mxl_sockets", "numpy", NUMPY_BOUND),
    Target("Driver", "numpy", NUMPY_BOUND),
    Target("SocketHub", "numpy", NUMPY_BOUND),
    Target("echo_rig", "asyncio", NUMPY_BOUND),
)
PROGRAM: Final = """
import time
begin, busy = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - begin, time.process_time() - busy)
"""


class ImportSide:
    """A statement that is run by one fresh interpreter after the other.

    Parameters
    ----------
    statement : str
        Imports something.
    compiled : str
        Folder for compiled files, which the first interpreter writes.
    """

    def __init__(self, statement: str, compiled: str) -> None:
        self._program = PROGRAM.format(statement=statement)
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def measure(self, steps: int) -> Sample:
        """Import it so many times.

        Raises
        ------
        SideError
            It cannot be imported.
        """
        wall = cpu = 0.0
        for _ in range(steps):
            done = subprocess.run(
                [sys.executable, "-c", self._program],
                capture_output=True,
                check=False,
                env=self._environment,
                text=True,
                timeout=TIMEOUT_S,
            )
            if done.returncode:
                raise SideError(done.stderr)
            took = [float(word) for word in done.stdout.split()]
            wall, cpu = wall + took[0], cpu + took[1]
        return Sample(steps, wall, cpu)


def run(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure all modules, show them, return them for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick`` as `__main__` reads it.
    show : callable
        Takes one line of the table.
    """
    everywhere = machine.all_cores()
    os.sched_setaffinity(0, machine.one_core())  # the interpreters inherit it
    try:
        with tempfile.TemporaryDirectory() as compiled:
            sides = {name: ImportSide(statement, compiled) for name, statement in STATEMENTS.items()}
            measurement = measure_paired(sides, 1, QUICK_ROUNDS if options.quick else ROUNDS)
    finally:
        os.sched_setaffinity(0, everywhere)
    show("CPU of an import, milliseconds (spread)")
    verdicts = [verdict for target in TARGETS if (verdict := target.judge(measurement)) is not None]
    said = {verdict.ratio_of.partition(" ")[0]: verdict for verdict in verdicts}
    for name in STATEMENTS:
        cost = measurement.cpu_us(name)
        show(f"{name:<16}{cost.median / 1e3:>8.1f} ±{50 * cost.spread:.0f} %   {said.get(name, '')}")
    return [
        {
            "entries": [entry("import", "one", measurement, CPU, verdicts)],
            "row": "import",
            "one": measurement.as_json(),
            "verdicts": [asdict(verdict) for verdict in verdicts],
        }
    ]
