"""group-ports: what a message costs beside bare pyzmq, and how fast the core of elections is.

Three ways to send the same frames take turns: ports (``ours``), bare sockets
with the options of ports (``bare``), and bare sockets with none (``plain``); see
`group_ends`. Beside them stands another library for groups (``pyre``), where it
is there. Sending and receiving are measured together.

``publish``, ``ask``
    Both ends in one process (`group_subject`), on one core. The figures are CPU
    time per message that all subscribers have, or per query and its answer, of
    the whole process, threads of ZeroMQ included.
``round trip``
    Two processes (`group_round_trip_subject`), first on one core together, then
    wherever the system lets them run. The figures are median times.
``election``
    Members without a network (`group_election_subject`): events of the core per
    second of CPU, on one core.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import machine
from group_sides import ask_side, election_side, publish_side, round_trip_side
from harness import Figure, Target, Verdict, measure_on_cores, measure_paired
from loopback_network import NoNetworkError, loopback_network
from results import CPU, TIME, columns, entry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    #: Starts zeromq-pyre with so many subscribers.
    StartPyre = Callable[[int], "ProgramSide"]

    from program_side import ProgramSide

ROUNDS: Final = 15
QUICK_ROUNDS: Final = 5

SMALL: Final = 64
LARGE: Final = 64 << 10
#: Messages at a time, by size; queues hold 1000, and the system some 64 KiB.
SOME: Final = {SMALL: 200, LARGE: 10}
#: A small message is to cost less than bare, a large one hardly more.
BOUNDS: Final = {SMALL: 1.0, LARGE: 1.05}
ROUND_TRIP_BOUND: Final = 1.05
#: Subscribers beyond the two numbers that are judged at both sizes.
JUDGED_SUBSCRIBERS: Final = (1, 4)
MORE_SUBSCRIBERS: Final = (2, 8, 16, 32, 64)
#: More of its members take turns for longer than anybody waits.
MOST_PYRE: Final = 16
MEMBERS: Final = (3, 5, 7, 15, 31)
EVENTS_PER_SECOND: Final = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison: its name, how each side is started, and what is judged."""

    name: str
    whose: Sequence[str]
    start: Callable[[str], ProgramSide]
    bound: float
    is_round_trip: bool = False
    subscribers: int = 0


def rows() -> list[Row]:
    """Return all comparisons."""
    found = [_publish(number, size) for size in (SMALL, LARGE) for number in JUDGED_SUBSCRIBERS]
    found += [_ask(size) for size in (SMALL, LARGE)]
    found += [_publish(number, SMALL) for number in MORE_SUBSCRIBERS]
    return found + [_round_trip(size) for size in (SMALL, LARGE)]


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure all rows, show each as it is finished, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick`` as `__main__` reads it.
    show : callable
        Takes one line of the table.
    """
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with contextlib.ExitStack() as stack:
        pyre = _start_pyre(options.peer_python or sys.executable, stack, show)
        show("microseconds per message: CPU of the process; of round trips median times (spread)")
        for row in rows():
            yield _measure(row, rounds, show, pyre)
    show("events of the core of elections, per second of CPU")
    for members in MEMBERS:
        yield _measure_election(members, rounds, show)


def _start_pyre(python: str, stack: contextlib.ExitStack, show: Callable[[str], None]) -> StartPyre | None:
    """Return what starts zeromq-pyre with so many subscribers and so many bytes, in a network of its own."""
    if subprocess.run([python, "-c", "import pyre"], capture_output=True, check=False, timeout=60).returncode:
        show("pyre: skipped, it cannot be imported; --peer-python names an interpreter that has it")
        return None
    try:
        within = stack.enter_context(loopback_network())
    except NoNetworkError as error:
        show(f"pyre: skipped, its broadcasts need a network namespace: {error}")
        return None
    return lambda subscribers: publish_side(
        "pyre", subscribers, SMALL, SOME[SMALL], python=python, within=within
    )


def _publish(subscribers: int, size: int) -> Row:
    return Row(
        f"publish to {subscribers}, {_size(size)}",
        ("ours", "bare", "plain"),
        lambda whose: publish_side(whose, subscribers, size, SOME[size]),
        BOUNDS[size],
        subscribers=subscribers,
    )


def _ask(size: int) -> Row:
    return Row(
        f"ask, {_size(size)}",
        ("ours", "bare", "plain"),
        lambda whose: ask_side(whose, size, SOME[size]),
        BOUNDS[size],
    )


def _round_trip(size: int) -> Row:
    return Row(
        f"round trip, {_size(size)}",
        ("ours", "bare"),
        lambda whose: round_trip_side(whose, size),
        ROUND_TRIP_BOUND,
        is_round_trip=True,
    )


def _size(size: int) -> str:
    return f"{size >> 10} KiB" if size >= 1 << 10 else f"{size} B"


def _measure(row: Row, rounds: int, show: Callable[[str], None], pyre: StartPyre | None) -> dict[str, Any]:
    """Measure one row, pinned and, if it is a round trip, free with the same processes."""
    wall = row.is_round_trip
    entries: list[dict[str, Any]] = []
    found: dict[str, Any] = {"entries": entries, "row": row.name}
    # Many are published to with small messages only.
    plot = "publish" if row.subscribers and row.name.endswith(_size(SMALL)) else ""
    with contextlib.ExitStack() as stack:
        sides = {whose: stack.enter_context(row.start(whose)) for whose in row.whose}
        if pyre is not None and plot and row.subscribers <= MOST_PYRE:
            sides["pyre"] = stack.enter_context(pyre(row.subscribers))
        for core, measurement in measure_on_cores(sides, 1, rounds, free=wall):
            targets = [Target("ours", other, row.bound, wall=wall) for other in row.whose[1:]]
            verdicts = [verdict for target in targets if (verdict := target.judge(measurement)) is not None]
            shown = columns(measurement, 21, wall=wall)
            show(f"{row.name:<22}{core:<5}{shown}   {'; '.join(map(str, verdicts))}")
            at = (row.subscribers, "subscribers")
            entries.append(
                entry(row.name, core, measurement, TIME if wall else CPU, verdicts, plot=plot, at=at)
            )
            found[core] = measurement.as_json()
            found[core]["verdicts"] = [asdict(verdict) for verdict in verdicts]
    return found


def _measure_election(members: int, rounds: int, show: Callable[[str], None]) -> dict[str, Any]:
    name = f"election, {members} members"
    with election_side(members) as side:
        side.pin(machine.one_core())
        measurement = measure_paired({"core": side}, 1, rounds)
    cost = measurement.cpu_us("core")
    rate = Figure(1e6 / cost.median, 1e6 / cost.high, 1e6 / cost.low)
    verdict = Verdict.of("events per second", rate, EVENTS_PER_SECOND, at_least=True)
    show(f"{name:<22}one   ±{50 * cost.spread:.0f} %   {verdict}")
    entries = [entry(name, "one", measurement, CPU, [verdict], plot="elections", at=(members, "members"))]
    return {"entries": entries, "row": name, "one": measurement.as_json()}
