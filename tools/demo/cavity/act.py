"""The act: runs for each number of molecules, undisturbed and with killed drivers.

A lossless cavity mode is coupled to 1, 4 and 16 two-level molecules. Every
molecule is a process of its own, reached step by step through `SocketHub`,
over UNIX sockets and over TCP. In a further run drivers are killed with
SIGKILL and replaced. All trajectories must be equal bit for bit, and their
spectra must show the two polaritons where the normal modes are.
"""

from __future__ import annotations

import argparse
import socket
from typing import TYPE_CHECKING, Final

from acts import Result
from progress import Progress

from cavity import checks, kills, report
from cavity.analysis import analyse
from cavity.experiment import run_in_process, run_with_processes
from cavity.solver import Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TITLE: Final = "a cavity coupled to molecules in other processes"

#: Steps of the full job: the two lines of one molecule are then 6.4 bins apart.
STEPS: Final = 4000
MOLECULES: Final = (1, 4, 16)

#: With 16 molecules the lines lie four times as far apart as with one: fewer steps resolve them.
QUICK_STEPS: Final = 1200
QUICK_MOLECULES: Final = (16,)


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options of this act."""
    transports = ["unix", "tcp"] if hasattr(socket, "AF_UNIX") else ["tcp"]
    parser.add_argument("--steps", type=_steps, help=f"steps of each run (default {STEPS})")
    parser.add_argument(
        "--molecules", type=_positive, nargs="+", metavar="N", help="numbers of molecules (default 1 4 16)"
    )
    parser.add_argument(
        "--transports", choices=transports, nargs="+", default=transports, help="default: all that exist here"
    )


def play(options: argparse.Namespace) -> Result:
    """Run everything that the options ask for."""
    steps: int = options.steps or (QUICK_STEPS if options.quick else STEPS)
    molecules: Sequence[int] = options.molecules or (QUICK_MOLECULES if options.quick else MOLECULES)
    transports: Sequence[str] = options.transports
    parameters = Parameters()
    runs = len(molecules) * (len(transports) + 1)
    with Progress(runs * steps) as progress:
        outcomes = [
            _run(parameters, number, steps, transports, transports[index % len(transports)], progress)
            for index, number in enumerate(molecules)
        ]
    all_checks = [check for outcome in outcomes for check in outcome.checks]
    caption = _caption(outcomes, steps, transports, all(check.passed is not False for check in all_checks))

    def draw(path: Path) -> None:
        from cavity import picture  # the slowest import of all; not before it is needed

        picture.draw([outcome.analysis for outcome in outcomes], parameters, caption, path)

    tables = [table(outcomes) for table in (report.lines_table, report.energy_table, report.speed_table)]
    return Result(tables, all_checks, "spectra.png", draw)


def _run(
    parameters: Parameters,
    molecules: int,
    steps: int,
    transports: Sequence[str],
    disturbed_transport: str,
    progress: Progress,
) -> report.Outcome:
    reference = run_in_process(parameters, molecules, steps)
    undisturbed = []
    for transport in transports:
        progress.begin_run(f"N = {molecules}, {transport}", steps)
        run = run_with_processes(parameters, molecules, steps, transport, after_step=progress)
        progress.end_run(f"{run.steps_per_second:.0f} steps/s")
        undisturbed.append(run)
    progress.begin_run(f"N = {molecules}, {disturbed_transport}, drivers killed", steps)
    disturbed = run_with_processes(
        parameters,
        molecules,
        steps,
        disturbed_transport,
        planned=kills.plan(steps),
        after_step=progress,
    )
    progress.end_run(f"{disturbed.steps_per_second:.0f} steps/s, {disturbed.killed} killed and replaced")
    analysis = analyse(parameters, molecules, undisturbed[0].trajectory, undisturbed[0].populations.total)
    return report.Outcome(
        analysis,
        undisturbed,
        disturbed,
        checks.physics_checks(analysis, undisturbed[0].populations.highest)
        + checks.identity_checks(reference, undisturbed, disturbed),
    )


def _caption(outcomes: Sequence[report.Outcome], steps: int, transports: Sequence[str], passed: bool) -> str:
    killed = sum(outcome.disturbed.killed for outcome in outcomes)
    names = " and ".join({"unix": "UNIX", "tcp": "TCP"}[transport] for transport in transports)
    caption = f"one process per molecule, {steps} steps over {names}, {killed} drivers killed"
    return caption + "; all trajectories equal bit for bit" if passed else caption


def _steps(text: str) -> int:
    number = _positive(text)
    if number < kills.SHORTEST_RUN:
        raise argparse.ArgumentTypeError(f"must be at least {kills.SHORTEST_RUN}: drivers die in between")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number
