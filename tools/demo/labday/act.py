"""The act: a day at a laboratory, with all five packages.

Three controllers elect a leader (group-ports). It takes three rigs into
service (echo-rig), and an optimiser chooses settings, which it sends to the
measurement station as JSON commands (`wireframe.Socket`). The station couples
a cavity to molecules in other processes for each of them (mxl-sockets), and
multicasts what it measures to two monitors, one of which joins late
(udp-multicast). A driver, a rig and the leader are killed on the way; in the
end all is stopped in order, and everything that was sent is accounted for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from acts import Result
from progress import Progress

from labday import checks, report, session

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

TITLE: Final = "a day at the laboratory with all five packages; a driver, a rig and the leader are killed"


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options of this act: it has none."""


def play(options: argparse.Namespace) -> Result:
    """Hold a day, a short one if it is to be quick, and judge it."""
    script = session.QUICK_DAY if options.quick else session.DAY
    with Progress(session.steps_of(script)) as progress:
        day = session.run(script, progress)
    judged = checks.all_checks(day)

    def draw(path: Path) -> None:
        from labday import picture  # the slowest import of all; not before it is needed

        picture.draw(day, path, passed=all(check.passed is not False for check in judged))

    tables = [report.settings_table(day), report.packages_table(day), report.deaths_table(day)]
    return Result(tables, judged, "labday.png", draw)
