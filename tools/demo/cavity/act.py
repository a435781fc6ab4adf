"""The act: runs for each number of molecules, undisturbed and with killed drivers.

A lossless cavity mode is coupled to 1, 4 and 16 two-level molecules. Every
molecule is a process of its own, reached step by step through `SocketHub`,
over UNIX sockets and over TCP. In a further run drivers are killed with
SIGKILL and replaced. On demand the same is done through `AggregatedSocketHub`
and two bridges, which are killed instead, and in one MPI job. All trajectories
must be equal bit for bit, and their spectra must show the two polaritons where
the normal modes are.
"""

from __future__ import annotations

import argparse
import socket
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from acts import Result
from progress import Progress

from cavity import checks, job, kills, report
from cavity.analysis import analyse
from cavity.bridges import run_over_bridges
from cavity.experiment import run_in_process, run_with_processes
from cavity.solver import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cavity.experiment import Run

TITLE: Final = "a cavity coupled to molecules in other processes"

#: Steps of the full job: the two lines of one molecule are then 6.4 bins apart.
STEPS: Final = 4000
MOLECULES: Final = (1, 4, 16)

#: With 16 molecules the lines lie four times as far apart as with one: fewer steps resolve them.
QUICK_STEPS: Final = 1200
QUICK_MOLECULES: Final = (16,)

#: How solver and molecules can be joined.
TRANSPORTS: Final = ("sockets", "bridge", "mpi")


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options of this act."""
    families = ["unix", "tcp"] if hasattr(socket, "AF_UNIX") else ["tcp"]
    parser.add_argument("--steps", type=_steps, help=f"steps of each run (default {STEPS})")
    parser.add_argument(
        "--molecules", type=_positive, nargs="+", metavar="N", help="numbers of molecules (default 1 4 16)"
    )
    parser.add_argument(
        "--transport",
        type=_transports,
        action="extend",
        metavar="|".join(TRANSPORTS),
        help="how molecules are reached: each by a socket (the default), through two bridges, or as ranks of "
        "an MPI job; several with commas, or repeated",
    )
    parser.add_argument(
        "--sockets",
        choices=families,
        nargs="+",
        default=families,
        help="which sockets the transport 'sockets' is run over (default all that exist here)",
    )
    # Its first name.
    parser.add_argument(
        "--transports", dest="sockets", choices=families, nargs="+", default=families, help=argparse.SUPPRESS
    )


def play(options: argparse.Namespace) -> Result:
    """Run everything that the options ask for."""
    steps: int = options.steps or (QUICK_STEPS if options.quick else STEPS)
    molecules: Sequence[int] = options.molecules or (QUICK_MOLECULES if options.quick else MOLECULES)
    # Sockets first, whatever the order was: the others are held against them.
    chosen = [name for name in TRANSPORTS if name in (options.transport or ["sockets"])]
    if "mpi" in chosen:
        job.launch_command(1)  # what is missing is told now, not after all other runs
    parameters = Parameters()
    families: Sequence[str] = options.sockets
    plans = [
        _runs(parameters, chosen, families, number, steps, families[index % len(families)])
        for index, number in enumerate(molecules)
    ]
    with Progress(sum(map(len, plans)) * steps) as progress:
        outcomes = [
            _outcome(parameters, number, steps, plan, progress)
            for number, plan in zip(molecules, plans, strict=True)
        ]
    all_checks = [check for outcome in outcomes for check in outcome.checks]
    caption = _caption(outcomes, steps, all(check.passed is not False for check in all_checks))

    def draw(path: Path) -> None:
        from cavity import picture  # the slowest import of all; not before it is needed

        picture.draw([outcome.analysis for outcome in outcomes], parameters, caption, path)

    tables = [table(outcomes) for table in (report.lines_table, report.energy_table, report.speed_table)]
    return Result(tables, all_checks, "spectra.png", draw)


def _runs(
    parameters: Parameters,
    chosen: Sequence[str],
    families: Sequence[str],
    molecules: int,
    steps: int,
    disturbed: str,
) -> dict[str, Callable[..., Run]]:
    """Return the runs with one number of molecules, by their names; each takes ``after_step``."""
    runs: dict[str, Callable[..., Run]] = {}
    if "sockets" in chosen:
        for family in families:
            runs[family] = partial(run_with_processes, parameters, molecules, steps, family)
        runs[f"{disturbed}, drivers killed"] = partial(
            run_with_processes, parameters, molecules, steps, disturbed, planned=kills.plan(steps)
        )
    if "bridge" in chosen:
        run = partial(run_over_bridges, parameters, molecules, steps)
        runs["bridges"] = run
        runs["bridges killed"] = partial(run, planned=kills.plan(steps, mortal=False))
    if "mpi" in chosen:
        runs["mpi"] = partial(job.run_over_mpi, parameters, molecules, steps)
    return runs


def _outcome(
    parameters: Parameters,
    molecules: int,
    steps: int,
    plan: dict[str, Callable[..., Run]],
    progress: Progress,
) -> report.Outcome:
    reference = run_in_process(parameters, molecules, steps)
    runs = []
    for name, start in plan.items():
        progress.begin_run(f"N = {molecules}, {name}", steps)
        run = start(after_step=progress)
        killed = f", {run.killed} killed and replaced" if run.planned_kills else ""
        progress.end_run(f"{run.steps_per_second:.0f} steps/s{killed}")
        runs.append(run)
    undisturbed = [run for run in runs if not run.planned_kills]
    disturbed = [run for run in runs if run.planned_kills]
    analysis = analyse(parameters, molecules, undisturbed[0].trajectory, undisturbed[0].populations.total)
    return report.Outcome(
        analysis,
        undisturbed,
        disturbed,
        checks.physics_checks(analysis, undisturbed[0].populations.highest)
        + checks.identity_checks(reference, undisturbed, disturbed),
    )


def _caption(outcomes: Sequence[report.Outcome], steps: int, passed: bool) -> str:
    shown = {"unix": "UNIX", "tcp": "TCP", "mpi": "MPI"}
    over = _listed([shown.get(run.transport, run.transport) for run in outcomes[0].undisturbed])
    deaths = Counter[str]()
    for run in (run for outcome in outcomes for run in outcome.disturbed):
        deaths[run.victims] += run.killed
    killed = _listed([f"{number} {victims}" for victims, number in deaths.items()])
    caption = f"{steps} steps over {over}" + (f"; {killed} killed" if killed else "")
    return caption + "; all trajectories equal bit for bit" if passed else caption


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _transports(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in TRANSPORTS:
            raise argparse.ArgumentTypeError(f"no transport {name!r}; there are {', '.join(TRANSPORTS)}")
    return names


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
