"""echo-rig: what a confirmed message costs beside the peer and bare echoes, and a round over many rigs.

The figures are median times, in microseconds: of a confirmed round trip with
both ends in one event loop (`echo_subject`), of one from a program that
blocks to a process that echoes (`blocking_subject`), of `Services.init` over
rigs that are 2 ms away (`rigs_subject`). Each side is a process, pinned to one
core with all that it talks to, and the sides are measured in turns; where there
are two processes, the figures without pinning stand beside.

The peer as it comes prints every message. What is left of its costs when its
log is silenced stands beside it (``quiet-peer``); in the rounds, which are
about waiting, only that one takes part.

Half of a bare round trip of asyncio is spent on getting memory for 256 KiB
from the system, and giving it back, for each message. Over UDP ours asks for less;
``lean-bare`` does so too, and shows what is left as the price of the protocol.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from harness import Measurement, Target, measure_on_cores
from program_side import ProgramSide
from results import TIME, entry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

UDP_BOUND: Final = 2.4
TCP_BOUND: Final = 2.8
PEER_BOUND: Final = 1 / 1.6
SYNC_BOUND: Final = 0.5
RIGS_BOUND: Final = 1 / 10

#: With one rig there is nothing to do at once, so nothing to win.
RIGS: Final = (1, 16, 64, 256)
DELAY_MS: Final = 2.0

ROUNDS: Final = 9
QUICK_ROUNDS: Final = 5
#: The peer takes more than a second for each of five rounds over 256 rigs.
RIGS_ROUNDS: Final = 5
QUICK_RIGS_ROUNDS: Final = 3

#: No two sides share a port: those that are not measured must stay idle.
_ports: Final[Iterator[int]] = count(28_600)


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison: its name, how each side is started with an interpreter, and what is judged."""

    name: str
    sides: Mapping[str, Callable[[str], ProgramSide]]
    targets: Sequence[Target]
    rigs: int = 0
    #: Between two processes, so that it matters where they run.
    is_free_too: bool = False


def rows() -> list[Row]:
    """Return all comparisons."""
    return [
        *(_round_trip(transport, bound) for transport, bound in (("udp", UDP_BOUND), ("tcp", TCP_BOUND))),
        *(_blocking(transport) for transport in ("udp", "tcp")),
        *(_rigs(number) for number in RIGS),
    ]


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure all rows, show each as it is finished, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    peer_python: str | None = options.peer_python or sys.executable
    if subprocess.run(
        [str(peer_python), "-c", "import iblutil.io.net.app"], capture_output=True, check=False, timeout=60
    ).returncode:
        show("peer: skipped, iblutil cannot be imported; --peer-python names an interpreter that has it")
        peer_python = None
    show("median times, microseconds (spread)")
    for row in rows():
        yield _measure(row, peer_python, quick=options.quick, show=show)


def _round_trip(transport: str, bound: float) -> Row:
    def side(kind: str) -> Callable[[str], ProgramSide]:
        return lambda python: ProgramSide((python, "echo_subject.py", kind, transport, next(_ports)))

    return Row(
        f"round trip, {transport}",
        {kind: side(kind) for kind in ("ours", "peer", "quiet-peer", "bare", "lean-bare")},
        (
            Target("ours", "bare", bound, wall=True),
            Target("ours", "lean-bare", bound, wall=True),
            Target("ours", "peer", PEER_BOUND, wall=True),
            Target("ours", "quiet-peer", PEER_BOUND, wall=True),
        ),
    )


def _blocking(transport: str) -> Row:
    def side(kind: str) -> Callable[[str], ProgramSide]:
        def start(python: str) -> ProgramSide:
            port = next(_ports)
            return ProgramSide(
                (python, "blocking_subject.py", "echo", transport, port),
                (python, "blocking_subject.py", kind, transport, port),
            )

        return start

    def bare_asyncio(python: str) -> ProgramSide:
        return ProgramSide((python, "echo_subject.py", "bare", transport, next(_ports)))

    return Row(
        f"sync, {transport}",
        {"ours": side("ours"), "asyncio": bare_asyncio, "blocking": side("bare")},
        (Target("ours", "asyncio", SYNC_BOUND, wall=True),),
        is_free_too=True,
    )


def _rigs(number: int) -> Row:
    def side(kind: str) -> Callable[[str], ProgramSide]:
        return lambda python: ProgramSide((python, "rigs_subject.py", kind, number, DELAY_MS))

    targets = (Target("ours", "quiet-peer", RIGS_BOUND, wall=True),)
    return Row(
        f"init, {number} rigs", {kind: side(kind) for kind in ("ours", "quiet-peer")}, targets, rigs=number
    )


def _measure(
    row: Row, peer_python: str | None, *, quick: bool, show: Callable[[str], None]
) -> dict[str, Any]:
    few, usual = (QUICK_RIGS_ROUNDS, RIGS_ROUNDS) if row.rigs else (QUICK_ROUNDS, ROUNDS)
    rounds = few if quick else usual
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(start(python))
            for name, start in row.sides.items()
            if (python := peer_python if "peer" in name else sys.executable) is not None
        }
        entries: list[dict[str, Any]] = []
        found: dict[str, Any] = {"entries": entries, "row": row.name}
        plot, at = ("init of rigs", (row.rigs, "rigs")) if row.rigs else ("", None)
        for core, measurement in measure_on_cores(sides, 1, rounds, free=row.is_free_too):
            judged = (target.judge(measurement) for target in row.targets)
            verdicts = [verdict for verdict in judged if verdict is not None]
            show(f"{row.name:<16}{core:<5}{_columns(measurement)}   {'; '.join(map(str, verdicts))}")
            entries.append(entry(row.name, core, measurement, TIME, verdicts, plot=plot, at=at))
            found[core] = measurement.as_json()
    return found


def _columns(measurement: Measurement) -> str:
    columns = ""
    for name in measurement.samples:
        rate = measurement.steps_per_second(name)
        columns += f"{f'{name} {1e6 / rate.median:.1f} ±{50 * rate.spread:.0f} %':>26}"
    return columns
