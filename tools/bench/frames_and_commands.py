"""wireframe: what a frame costs beside asyncio and bare memory, and a command beside a bare socket and Pyro5.

``frames``, ``values``, ``100 MB``
    Decoders in one process (`codec_subject`), pinned to one core. The figures are
    CPU time: per frame of 48 bytes, without and with reading its JSON; and for a
    long one, of the thread that receives it.
``command, kept``, ``command, once``
    Two processes (`command_subject`), first on one core together, then wherever
    the system lets them run. The figures are median times of a command and its
    reply.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from codec_subject import FRAMES
from harness import Target, measure_on_cores
from program_side import ProgramSide
from results import CPU, TIME, columns, entry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUNDS: Final = 15
QUICK_ROUNDS: Final = 5
#: A round takes seconds.
LARGE_ROUNDS: Final = 3

FRAMES_BOUND: Final = 0.5
LARGE_BOUND: Final = 2.0
KEPT_BOUND: Final = 1.25
ONCE_BOUND: Final = 1.15

_ports: Final[Iterator[int]] = count(28_800)


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison: its name, how each side is started with an interpreter, and what is judged.

    A step is so many units; of a round trip the time that passed is judged.
    """

    name: str
    sides: Mapping[str, Callable[[str], ProgramSide]]
    targets: Sequence[Target]
    units: int = 1
    most_rounds: int = ROUNDS
    is_round_trip: bool = False


def rows() -> list[Row]:
    """Return all comparisons."""
    return [
        _codec("frames", {"ours": "ours", "asyncio": "reader"}, FRAMES_BOUND, units=FRAMES),
        _codec("values", {"ours": "values", "asyncio": "reader-values"}, None, units=FRAMES),
        _codec("100 MB", {"ours": "large", "recv_into": "into"}, LARGE_BOUND, most_rounds=LARGE_ROUNDS),
        _command("kept", KEPT_BOUND),
        _command("once", ONCE_BOUND),
    ]


def run(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure all rows, show each as it is finished, return them for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    pyro_python: str | None = options.peer_python or sys.executable
    if subprocess.run(
        [str(pyro_python), "-c", "import Pyro5.api"], capture_output=True, check=False, timeout=60
    ).returncode:
        show("pyro: skipped, Pyro5 cannot be imported; --peer-python names an interpreter that has it")
        pyro_python = None
    show("microseconds: CPU per frame; of commands median times (spread)")
    return [_measure(row, pyro_python, min(rounds, row.most_rounds), show) for row in rows()]


def _codec(
    name: str, kinds: Mapping[str, str], bound: float | None, *, units: int = 1, most_rounds: int = ROUNDS
) -> Row:
    def side(kind: str) -> Callable[[str], ProgramSide]:
        return lambda python: ProgramSide((python, "codec_subject.py", kind))

    ours, other = kinds
    return Row(
        name,
        {name: side(kind) for name, kind in kinds.items()},
        () if bound is None else (Target(ours, other, bound),),
        units,
        most_rounds,
    )


def _command(connections: str, bound: float) -> Row:
    def side(whose: str) -> Callable[[str], ProgramSide]:
        def start(python: str) -> ProgramSide:
            port = next(_ports)
            return ProgramSide(
                *(
                    (python, "command_subject.py", whose, connections, role, port)
                    for role in ("answer", "command")
                )
            )

        return start

    return Row(
        f"command, {connections}",
        {whose: side(whose) for whose in ("ours", "bare", "pyro")},
        (Target("ours", "bare", bound, wall=True),),
        is_round_trip=True,
    )


def _measure(row: Row, pyro_python: str | None, rounds: int, show: Callable[[str], None]) -> dict[str, Any]:
    """Measure one row, pinned and, if it is a round trip, free with the same processes."""
    entries: list[dict[str, Any]] = []
    found: dict[str, Any] = {"entries": entries, "row": row.name}
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(start(python))
            for name, start in row.sides.items()
            if (python := pyro_python if name == "pyro" else sys.executable) is not None
        }
        for core, measurement in measure_on_cores(sides, row.units, rounds, free=row.is_round_trip):
            verdicts = [
                verdict for target in row.targets if (verdict := target.judge(measurement)) is not None
            ]
            shown = columns(measurement, 24, wall=row.is_round_trip) + "  NOISY" * measurement.noisy
            show(f"{row.name:<15}{core:<5}{shown}   {'; '.join(map(str, verdicts))}")
            quantity = TIME if row.is_round_trip else CPU
            entries.append(entry(row.name, core, measurement, quantity, verdicts))
            found[core] = measurement.as_json()
            found[core]["verdicts"] = [asdict(verdict) for verdict in verdicts]
    return found
