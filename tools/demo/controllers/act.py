"""The act: three controllers elect a leader, it is killed, and its successor carries a vote.

Each controller is a process with a `Group`, as a user writes it, and guards a
valve. Valves are moved only by a vote of all that live, all at the same
moment. The leader is killed; the others elect a new one, which has a higher term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from acts import Result
from progress import Progress

from controllers import checks, report, session

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

TITLE: Final = "three controllers elect a leader and vote; it is killed, and another one takes over"


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options of this act: it has none."""


def play(options: argparse.Namespace) -> Result:
    """Play it and judge it; `options` change nothing."""
    with Progress(session.STEPS) as progress:
        played = session.run(progress)
    judged = checks.all_checks(played)

    def draw(path: Path) -> None:
        from controllers import picture  # the slowest import of all; not before it is needed

        picture.draw(played, path, passed=all(check.passed for check in judged))

    tables = [report.leaders_table(played), report.votes_table(played), report.messages_table(played)]
    return Result(tables, judged, "controllers.png", draw)
