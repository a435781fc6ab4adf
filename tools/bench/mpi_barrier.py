"""mxl-sockets: what a step over MPI costs, against the aggregated hub's array path, and a model of it.

A job of one hub and one driver rank runs under the mpiexec that lies
beside this Python, or on the path; without one, or without mpi4py, the bench
says so and measures nothing. Ranks poll while they wait and so take the cores
from whoever is measured next: the drivers are paused between their turns.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from aggregate_barrier import BRIDGES, AggregateSide
from harness import Sample, Target, measure_paired
from results import RATE, entry
from sides import Program

from mxl_sockets.mpi._book import HubBook
from mxl_sockets.mpi._rows import Order, Reply

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
#: A rank that polls needs a core of its own; the bridges are played by one process.
DRIVERS: Final = 1
#: Ranks of the hub's own work: what it does beside MPI's calls.
OWN_WORK_RANKS: Final = (10, 1_000)
OWN_WORK_MOLECULES: Final = 10_000
OWN_WORK_STEPS: Final = 300
ROUNDS: Final = 9
QUICK_ROUNDS: Final = 4
#: Time of a step, MPI / aggregated arrays.
TARGET: Final = Target("mpi", "aggregated", 1 / 3, wall=True)
JUDGED: Final = (10_000, 100_000)
#: Beyond it the arrays leave the caches, and a straight line is no model any more.
FIT_UP_TO: Final = 100_000


def launcher() -> list[str] | None:
    """Return mpiexec and its options, None if there is none."""
    beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    mpiexec = beside or shutil.which("mpiexec")
    if mpiexec is None or importlib.util.find_spec("mpi4py") is None:
        return None
    said = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=False, timeout=60)
    if "Open MPI" not in said.stdout + said.stderr and "openmpi" not in said.stdout.lower():
        return [mpiexec]
    # In containers one is root.
    allowed = ["OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"]
    return ["env", *allowed, mpiexec, "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,sm"]


class MPISide:
    """An MPI job of the bench; a context manager."""

    def __init__(self, command: list[str], drivers: int, molecules: int) -> None:
        self._drivers: list[int] = []
        with contextlib.ExitStack() as stack:
            within = [*command, "-n", str(drivers + 1)]
            self._hub = stack.enter_context(
                Program(sys.executable, "mpi_subject.py", molecules, within=within)
            )
            self._drivers = json.loads(self._hub.hear())["drivers"]
            self._hub.hear()
            self._stack = stack.pop_all()
        self._signal(signal.SIGSTOP)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGCONT)
        self._stack.close()

    def measure(self, steps: int) -> Sample:
        """Make so many steps and tell what they cost."""
        self._signal(signal.SIGCONT)
        self._hub.tell(str(steps))
        told = json.loads(self._hub.hear())
        self._signal(signal.SIGSTOP)
        return Sample(told["steps"], told["wall_s"], told["cpu_s"])

    def _signal(self, number: signal.Signals) -> None:
        for process in self._drivers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


def run(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure all rows, show each as it is finished, return them for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``sizes`` and ``quick`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    command = launcher()
    if command is None:
        show("mpi: skipped, there is no mpiexec or no mpi4py")
        return []
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    show(f"molecules per second, millions; {DRIVERS} driver rank, {BRIDGES} bridges, all cores")
    show(f"{'molecules':<11}{'mpi':>10}{'aggregated':>14}   microseconds per step: mpi")
    rows, times = [], {}
    for molecules in options.sizes or SIZES:
        with contextlib.ExitStack() as stack:
            sides: dict[str, Any] = {
                "mpi": stack.enter_context(MPISide(command, DRIVERS, molecules)),
                "aggregated": stack.enter_context(AggregateSide("block", molecules, sys.executable)),
            }
            measurement = measure_paired(sides, molecules, rounds)
        rates = [1e-6 * molecules * measurement.steps_per_second(side).median for side in sides]
        times[molecules] = 1e6 / measurement.steps_per_second("mpi").median
        verdict = TARGET.judge(measurement) if molecules in JUDGED else None
        show(f"{molecules:<11}{rates[0]:>10.1f}{rates[1]:>14.1f}   {times[molecules]:<10.1f}{verdict or ''}")
        row = f"{molecules} molecules, MPI beside bridges"
        verdicts = [verdict] if verdict else []
        at = (molecules, "molecules")
        entries = [entry(row, "free", measurement, RATE, verdicts, plot="MPI", at=at)]
        rows.append({"entries": entries, "molecules": molecules, "drivers": DRIVERS, **measurement.as_json()})
    a, b = fit(times)
    show(f"fit: {a:.0f} us + {1e3 * b:.1f} ns x molecules")
    few, many = (own_work(ranks) for ranks in OWN_WORK_RANKS)
    each = (many - few) / (OWN_WORK_RANKS[1] - OWN_WORK_RANKS[0])
    show(f"the hub's own work, without MPI's: {each:.2f} us more for each driver rank")
    rows.append({"fit_us": a, "fit_us_per_molecule": b, "own_work_us_per_rank": each})
    return rows


def fit(times: dict[int, float]) -> tuple[float, float]:
    """Fit t = a + b N to times of steps (microseconds) up to `FIT_UP_TO` molecules, by relative error."""
    points = [(n, time) for n, time in times.items() if n <= FIT_UP_TO]
    measured = np.array([time for _, time in points])
    matrix = np.array([(1.0, n) for n, _ in points])
    solution = np.linalg.lstsq(matrix / measured[:, None], np.ones(len(points)), rcond=None)[0]
    a, b = solution.tolist()
    return a, b


def own_work(ranks: int) -> float:
    """Return the microseconds of CPU time of what the hub does with its arrays in one step."""
    book = HubBook(range(1, ranks + 1))
    book.bind({one: {} for one in range(OWN_WORK_MOLECULES)})
    book.told()
    fields = np.ones((OWN_WORK_MOLECULES, 3))
    begin = time.process_time()
    for _ in range(OWN_WORK_STEPS):
        book.freeze(fields)
        book.outgoing.set_headers(Order.STEP, book.number)
        book.expect()
        book.incoming.set_headers(Reply.DONE, book.number)  # as if they had answered
        book.all_done()
        book.incoming.read()
        book.finish([])
    return 1e6 * (time.process_time() - begin) / OWN_WORK_STEPS
