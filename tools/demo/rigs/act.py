"""The act: three rigs run an experiment together, and one is killed in the middle of it.

Each rig is a process with an `EchoProtocol`, as a user writes it. The
acquisition PC initialises and starts all of them at once, watches them with a
heartbeat, is told by name who is gone, still gets the answers of the others,
and stops and tidies up what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from acts import Result
from progress import Progress

from rigs import checks, report, session

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

TITLE: Final = "three rigs run an experiment; one is killed and reported, the others are stopped"


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options of this act: it has none."""


def play(options: argparse.Namespace) -> Result:
    """Hold an experiment and judge it; `options` change nothing."""
    with Progress(session.ROUNDS, unit="round") as progress:
        held = session.run(progress)
    judged = checks.all_checks(held)

    def draw(path: Path) -> None:
        from rigs import picture  # the slowest import of all; not before it is needed

        picture.draw(held, path, passed=all(check.passed for check in judged))

    tables = [report.rounds_table(held), report.failures_table(held)]
    return Result(tables, judged, "rigs.png", draw)
