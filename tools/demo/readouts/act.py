"""The act: a DAQ multicasts readouts, three monitors watch, a recording is replayed.

A simulated pixel detector sends every hit as a numbered readout, and maps of
all hits on a channel. One monitor is there from the start, one joins late, one
is too slow. What each received, lost and was dropped for it must add up to
what was sent, and the data themselves must say the same. The maps are recorded
and replayed by the ``udp-multicast`` command.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from acts import Result
from progress import Progress

from readouts import checks, report, session
from readouts.daq import READOUTS_PER_MAP

if TYPE_CHECKING:
    from pathlib import Path

TITLE: Final = "a DAQ multicasts readouts to monitors, one late and one slow; a recording is replayed"

#: Readouts of all exposures together.
READOUTS: Final = 40_000
#: In fewer the slow monitor might lose nothing.
QUICK_READOUTS: Final = 16_000
#: More would try the patience with which processes are waited for.
MOST_READOUTS: Final = 1_000_000


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Describe the options of this act."""
    parser.add_argument(
        "--readouts",
        type=_readouts,
        metavar="N",
        help=f"readouts in all exposures together (default {READOUTS})",
    )


def play(options: argparse.Namespace) -> Result:
    """Hold a session and judge it."""
    readouts: int = options.readouts or (QUICK_READOUTS if options.quick else READOUTS)
    # Whole maps only: after each of them the DAQ looks at the clock.
    per_exposure = -(-readouts // (session.EXPOSURES * READOUTS_PER_MAP)) * READOUTS_PER_MAP
    maps = session.EXPOSURES * per_exposure // READOUTS_PER_MAP
    with Progress(session.EXPOSURES * per_exposure + maps, unit="readout") as progress:
        held = session.run(per_exposure, progress)
    judged = checks.all_checks(held)

    def draw(path: Path) -> None:
        from readouts import picture  # the slowest import of all; not before it is needed

        picture.draw(held, path, passed=all(check.passed is not False for check in judged))

    tables = [report.monitors_table(held), report.maps_table(held)]
    return Result(tables, judged, "readouts.png", draw)


def _readouts(text: str) -> int:
    number = int(text)
    if not QUICK_READOUTS <= number <= MOST_READOUTS:
        raise argparse.ArgumentTypeError(f"must be {QUICK_READOUTS} to {MOST_READOUTS}")
    return number
