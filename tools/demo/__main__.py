"""The main job: a cavity in this process, its molecules in others, and physics as the judge.

    python tools/demo

A lossless cavity mode is coupled to 1, 4 and 16 two-level molecules. Every
molecule is a process of its own, reached step by step through `SocketHub`,
over UNIX sockets and over TCP. In a further run drivers are killed with
SIGKILL and replaced. All trajectories must be equal bit for bit, and their
spectra must show the two polaritons where the normal modes are.

The exit status is 0 if all checks pass, 1 if one fails, 2 if a run broke.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import checks
import kills
import report
from analysis import analyse
from cavity import Parameters
from coupling import CouplingError
from drivers import DriverError
from experiment import run_in_process, run_with_processes
from interrupts import interrupt_on_sigterm
from progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Steps of the full job: the two lines of one molecule are then 6.4 bins apart.
STEPS: Final = 4000
MOLECULES: Final = (1, 4, 16)

#: With 16 molecules the lines lie four times as far apart as with one: fewer steps resolve them.
QUICK_STEPS: Final = 1200
QUICK_MOLECULES: Final = (16,)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    transports = ["unix", "tcp"] if hasattr(socket, "AF_UNIX") else ["tcp"]
    parser = argparse.ArgumentParser(prog="python tools/demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=_positive, help=f"steps of each run (default {STEPS})")
    parser.add_argument(
        "--molecules", type=_positive, nargs="+", metavar="N", help="numbers of molecules (default 1 4 16)"
    )
    parser.add_argument(
        "--transports", choices=transports, nargs="+", default=transports, help="default: all that exist here"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output/spectra.png"),
        help="the picture (default %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_STEPS} steps with {QUICK_MOLECULES[0]} molecules only"
    )
    options = parser.parse_args(arguments)
    options.steps = options.steps or (QUICK_STEPS if options.quick else STEPS)
    options.molecules = options.molecules or (QUICK_MOLECULES if options.quick else MOLECULES)
    if options.steps < kills.SHORTEST_RUN:
        parser.error(f"--steps must be at least {kills.SHORTEST_RUN}: drivers die in between")
    return options


def run_all(options: argparse.Namespace, parameters: Parameters, progress: Progress) -> list[report.Outcome]:
    """Run everything that the options ask for."""
    outcomes = []
    for index, molecules in enumerate(options.molecules):
        reference = run_in_process(parameters, molecules, options.steps)
        undisturbed = []
        for transport in options.transports:
            progress.begin_run(f"N = {molecules}, {transport}", options.steps)
            run = run_with_processes(parameters, molecules, options.steps, transport, after_step=progress)
            progress.end_run(f"{run.steps_per_second:.0f} steps/s")
            undisturbed.append(run)
        transport = options.transports[index % len(options.transports)]
        progress.begin_run(f"N = {molecules}, {transport}, drivers killed", options.steps)
        disturbed = run_with_processes(
            parameters,
            molecules,
            options.steps,
            transport,
            planned=kills.plan(options.steps),
            after_step=progress,
        )
        progress.end_run(f"{disturbed.steps_per_second:.0f} steps/s, {disturbed.killed} killed and replaced")
        analysis = analyse(parameters, molecules, undisturbed[0].trajectory, undisturbed[0].populations.total)
        outcomes.append(
            report.Outcome(
                analysis,
                undisturbed,
                disturbed,
                checks.physics_checks(analysis, undisturbed[0].populations.highest)
                + checks.identity_checks(reference, undisturbed, disturbed),
            )
        )
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    options = parse_arguments(arguments)
    parameters = Parameters()
    begin = time.monotonic()
    interrupt_on_sigterm()
    runs = len(options.molecules) * (len(options.transports) + 1)
    try:
        with Progress(runs * options.steps) as progress:
            outcomes = run_all(options, parameters, progress)
    except KeyboardInterrupt:
        print("interrupted; all drivers ended", file=sys.stderr)
        return 130
    except (DriverError, CouplingError, OSError) as error:
        print(f"the demo broke: {error}", file=sys.stderr)
        return 2
    for table in (report.lines_table, report.energy_table, report.speed_table):
        print(table(outcomes), end="\n\n")
    all_checks = [check for outcome in outcomes for check in outcome.checks]
    print(report.checks_table(all_checks), end="\n\n")
    killed = sum(outcome.disturbed.killed for outcome in outcomes)
    passed = all(check.passed is not False for check in all_checks)
    _draw(outcomes, options, parameters, killed, passed)
    judged = [check for check in all_checks if check.passed is not None]
    print(
        f"{sum(check.passed is True for check in judged)} of {len(judged)} checks passed in"
        f" {time.monotonic() - begin:.0f} s; picture: {options.output}"
    )
    return 0 if passed else 1


def _draw(
    outcomes: list[report.Outcome],
    options: argparse.Namespace,
    parameters: Parameters,
    killed: int,
    passed: bool,
) -> None:
    from picture import draw  # the slowest import of all; not before it is needed

    transports = " and ".join({"unix": "UNIX", "tcp": "TCP"}[transport] for transport in options.transports)
    caption = f"one process per molecule, {options.steps} steps over {transports}, {killed} drivers killed"
    if passed:
        caption += "; all trajectories equal bit for bit"
    draw([outcome.analysis for outcome in outcomes], parameters, caption, options.output)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
