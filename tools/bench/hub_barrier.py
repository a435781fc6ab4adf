"""mxl-sockets: what one step of a hub costs, against the peer's hub and against a bare loop.

Every side runs in a process of its own with a load process of its own
(`reply_load`: drivers that answer 124 bytes in one write), and the sides are
measured in turns. The figure of merit is the CPU time of the hub's process,
user and system, per molecule and step. Pinned: hub and load share one core,
which repeats within a few per cent. The figure without pinning stands beside.

A second table sets ``step`` beside an epoll loop in C (``epoll_hub.c``), for
which the drivers of all sides are in C too; without a compiler it is left out.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import compiled
import machine
from harness import Measurement, Target, measure_paired
from results import CPU, entry
from sides import HubSide

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

#: Names of the sides, and what `hub_subject` calls them.
SIDES: Final = {
    "ours": "hub",
    "ours step()": "hub-array",
    "peer": "peer",
    "bare": "bare",
    "C": "epoll",
}
#: Those of each table.
BARRIER: Final = ("ours", "ours step()", "peer", "bare")
BLOCK: Final = ("ours step()", "peer", "C")

#: From this number of molecules on the ratios are judged; below, a step is mostly waking up.
JUDGED_FROM: Final = 16
TARGETS: Final = (
    Target("ours", "peer", 1 / 1.8),
    Target("ours", "bare", 1.4),
)

#: Share of the steps per second of the hub in C that ours is to reach, up to this number of molecules.
SHARES_OF_C: Final = ((16, 0.60), (sys.maxsize, 0.65))

SIZES: Final = (1, 16, 128, 1024)
TRANSPORTS: Final = ("tcp", "unix")
#: Molecules and bytes of the row with extras.
EXTRA_ROW: Final = (128, 200)
ROUNDS: Final = 7
QUICK_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table: transport, molecules, bytes of extra in each reply."""

    transport: str
    molecules: int
    extra: int = 0

    def __str__(self) -> str:
        extra = f" +{self.extra} B" if self.extra else ""
        return f"{self.transport:<4} {self.molecules:>4}{extra:<7}"


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Return the rows that the options ask for."""
    for transport in options.transports or TRANSPORTS:
        for molecules in options.sizes or SIZES:
            yield Cell(transport, molecules)
    yield Cell((options.transports or TRANSPORTS)[0], *EXTRA_ROW)


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure all rows, show each as it is finished, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``sizes``, ``transports``, ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    yield from _table(BARRIER, options, show, lambda _: TARGETS)
    command = compiled.compiler()
    if command is None:
        show("step() beside C: skipped, no C compiler")
        return
    show("step() beside an epoll loop in C, all drivers in C")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        library = compiled.build(command, Path(folder))
        yield from _table(BLOCK, options, show, block_targets, library)


def block_targets(molecules: int) -> tuple[Target, ...]:
    """Return the targets of `step` with so many molecules."""
    share = next(share for most, share in SHARES_OF_C if molecules <= most)
    return (Target("ours step()", "peer", 1 / 2.5), Target("ours step()", "C", 1 / share, wall=True))


def _table(
    names: Sequence[str],
    options: argparse.Namespace,
    show: Callable[[str], None],
    targets: Callable[[int], Sequence[Target]],
    library: str = "",
) -> Iterator[dict[str, Any]]:
    """Measure and show all rows of one table."""
    pythons = _interpreters(names, options, show)
    show(_head(pythons))
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    for cell in cells(options):
        pinned, free = _measure(cell, pythons, rounds, library)
        verdicts = [
            verdict
            for target in targets(cell.molecules)
            if cell.molecules >= JUDGED_FROM and (verdict := target.judge(pinned)) is not None
        ]
        show(_line(cell, pinned, free, pythons) + "; ".join(map(str, verdicts)))
        table = "step() beside C" if library else "step_barrier"
        plot = "" if cell.extra else f"hub, {cell.transport}{', drivers in C' if library else ''}"
        yield {
            "entries": [
                entry(
                    f"{table}, {' '.join(str(cell).split())} molecules",
                    core,
                    measurement,
                    CPU,
                    verdicts if core == "one" else (),
                    plot=plot,
                    at=(cell.molecules, "molecules"),
                )
                for core, measurement in (("one", pinned), ("free", free))
            ],
            "transport": cell.transport,
            "molecules": cell.molecules,
            "extra": cell.extra,
            "drivers": "C" if library else "Python",
            "pinned": pinned.as_json(),
            "free": free.as_json(),
            "verdicts": [
                {"ratio": v.ratio_of, "median": v.ratio.median, "bound": v.bound, "verdict": v.word}
                for v in verdicts
            ],
        }


def _measure(
    cell: Cell, pythons: Mapping[str, str], rounds: int, library: str
) -> tuple[Measurement, Measurement]:
    """Measure one row, pinned and free, with the same processes."""
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                HubSide(SIDES[name], cell.transport, cell.molecules, cell.extra, python, library)
            )
            for name, python in pythons.items()
        }
        for side in sides.values():
            side.pin(machine.one_core())
        pinned = measure_paired(sides, cell.molecules, rounds)
        for side in sides.values():
            side.pin(machine.all_cores())
        return pinned, measure_paired(sides, cell.molecules, max(2, rounds // 3))


def _interpreters(
    names: Sequence[str], options: argparse.Namespace, show: Callable[[str], None]
) -> dict[str, str]:
    """Return the sides that can be run here, and with which Python."""
    wanted = {
        "ours": (sys.executable, "mxl_sockets"),
        "ours step()": (sys.executable, "mxl_sockets"),
        "peer": (options.peer_python or sys.executable, "maxwelllink.sockets"),
        "bare": (sys.executable, "numpy"),
        "C": (sys.executable, "numpy"),
    }
    found = {}
    for side in names:
        python, module = wanted[side]
        if subprocess.run(
            [python, "-c", f"import {module}"], capture_output=True, check=False, timeout=60
        ).returncode:
            show(f"{side}: skipped, {module} cannot be imported")
        else:
            found[side] = python
    return found


def _head(sides: Mapping[str, str]) -> str:
    columns = "".join(f"{side:>13}" for side in sides)
    return (
        "CPU of the hub per molecule and step, microseconds: on one core (spread) | free\n"
        f"{'':<17}{'core':<6}{columns}"
    )


def _line(cell: Cell, pinned: Measurement, free: Measurement, sides: Mapping[str, str]) -> str:
    lines: list[str] = []
    for name, measurement in (("one", pinned), ("free", free)):
        columns = "".join(
            f"{f'{figure.median:.2f} ±{50 * figure.spread:.0f} %':>13}"
            for figure in (measurement.cpu_us(side) for side in sides)
        )
        rates = " ".join(f"{measurement.steps_per_second(side).median:.0f}" for side in sides)
        noise = "  NOISY" if measurement.noisy else ""
        lines.append(f"{str(cell) if not lines else '':<17}{name:<6}{columns}   steps/s {rates}{noise}")
    return "\n".join(lines) + "\n" + " " * 17
