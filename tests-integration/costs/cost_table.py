"""The table of README.md: what a message costs, and what it may cost.

::

    python cost_table.py [PACKAGE ...]     measure, and show the figures beside the bounds
    python cost_table.py --write           the same, and write the table

What is new gets a bound, what has become cheaper a lower one. No bound is raised here; that takes an editor.
The exit status is 1 if something is beyond its bound.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cost_tracing
from cost_meters import (
    COPIES,
    KEPT,
    MOST_CALLS,
    OWN,
    PEAK,
    PYTHON_CALLS,
    SYSTEM_CALLS,
    Memory,
    PythonCalls,
    Scenario,
    own_counts,
)
from cost_scenarios import BY_PACKAGE
from cost_tracing import Tracer

README = Path(__file__).with_name("README.md")
HEADING = "## The table"

#: What a figure may be, in multiples of what was measured. What the package alone decides is exact. Versions
#: of Python differ a little in the functions of their library and in the sizes of objects.
HEADROOM = {SYSTEM_CALLS: 1.0, MOST_CALLS: 1.1, PYTHON_CALLS: 1.05, PEAK: 1.25, COPIES: 1.0, OWN: 1.0}
#: Of a long message, for all that is small beside it.
BESIDE = 0.05
#: Bytes, less than the smallest object: a message leaves nothing behind.
MAX_KEPT = 15.0

#: Scenario, part, unit.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Cost:
    """What was measured of a part, and of what it is made up, in words."""

    package: str
    scenario: str
    part: str
    unit: str
    figure: float
    words: str = ""

    @property
    def key(self) -> Key:
        """The line of the table."""
        return self.scenario, self.part, self.unit


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    package: str
    figure: float
    bound: float


TRACED = "calls of the system"
#: What counts, and the units that it counts.
METERS = {
    TRACED: (SYSTEM_CALLS, MOST_CALLS),
    "calls of functions": (PYTHON_CALLS,),
    "memory": (PEAK, COPIES, KEPT),
    "own": (OWN,),
}


def measured(package: str, scenario: Scenario, meter: str, tracer: Tracer | None) -> list[Cost]:
    """What the parts of a scenario cost, by one of `METERS`."""
    units = [unit for unit in METERS[meter] if unit in scenario.units]
    if meter == "memory":
        peaks, kept = Memory().count(scenario)
        found = {(part, unit): figure for part, figure in peaks.items() for unit in units if unit != KEPT}
        if KEPT in units:
            found["", KEPT] = kept
        return [Cost(package, scenario.name, *key, figure) for key, figure in found.items()]
    (unit,) = units
    words: Mapping[str, str] = {}
    if tracer is not None:
        costs, words = cost_tracing.calls_per_message(scenario, tracer)
    else:
        costs = PythonCalls().count(scenario) if unit == PYTHON_CALLS else own_counts(scenario)
    return [
        Cost(package, scenario.name, part, unit, figure, words.get(part, ""))
        for part, figure in costs.items()
    ]


def all_cases() -> Iterator[tuple[str, Scenario, str]]:
    """Package, scenario and meter, of all that is measured."""
    for package, scenarios in BY_PACKAGE.items():
        for scenario in scenarios:
            for meter, units in METERS.items():
                if set(units) & set(scenario.units):
                    yield package, scenario, meter


def bound_for(cost: Cost) -> float:
    """What the table would say of something new."""
    if cost.unit == KEPT:
        return MAX_KEPT
    if cost.unit == COPIES:
        return math.ceil(100 * (cost.figure + BESIDE)) / 100
    figure = rounded(cost.figure * HEADROOM[cost.unit])
    if cost.unit == MOST_CALLS:
        return float(max(1, math.ceil(figure)))
    return float(math.ceil(figure)) if cost.unit == PEAK else figure


def rounded(figure: float) -> float:
    """Up, to four digits."""
    if not figure:
        return 0.0
    digits = 3 - math.floor(math.log10(abs(figure)))
    # So that what is exact in decimals stays.
    return math.ceil(round(figure * 10**digits, 6)) / 10**digits


def shown(figure: float) -> str:
    """As in the table."""
    return f"{figure:.0f}" if figure >= 1000 or figure == int(figure) else f"{figure:.4g}"


def read_table(text: str) -> dict[Key, Line]:
    """The lines of the table."""
    found = {}
    for line in text.partition(HEADING)[2].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 6 and re.fullmatch(r"[\d.]+", cells[5]):
            package, scenario, part, unit, figure, bound = cells
            found[scenario, part, unit] = Line(package, float(figure), float(bound))
    return found


def render(costs: list[Cost], kept: Mapping[Key, Line]) -> str:
    """The table; a bound that stands already is only lowered."""
    rows = [("package", "message", "part", "unit", "measured", "bound"), ("---",) * 4 + ("---:",) * 2]
    for cost in costs:
        bound, line = bound_for(cost), kept.get(cost.key)
        if line is not None:
            bound = line.bound if cost.unit == MOST_CALLS else min(bound, line.bound)
        rows.append((cost.package, *cost.key, shown(cost.figure), shown(bound)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def verdict(cost: Cost, lines: Mapping[Key, Line]) -> str:
    """Why a cost is too high; empty if it is not."""
    line = lines.get(cost.key)
    what = f"{cost.scenario}, {cost.part}" if cost.part else cost.scenario
    made_of = f" ({cost.words})" if cost.words else ""
    if line is None:
        return (
            f"{what}: {shown(cost.figure)} {cost.unit}{made_of}, no bound: run {Path(__file__).name} --write"
        )
    if rounded(cost.figure) > line.bound:
        return f"{what}: {shown(cost.figure)} {cost.unit} per message{made_of}, bound {shown(line.bound)}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Measure, show, and write if asked to; the exit status is 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description="What a message costs beside what it may cost.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(BY_PACKAGE)}")
    parser.add_argument("--write", action="store_true", help="write the table; no bound is raised")
    options = parser.parse_args(arguments)
    if set(options.packages) - set(BY_PACKAGE) or (options.write and options.packages):
        parser.error(f"packages are {', '.join(BY_PACKAGE)}; --write takes them all")
    text = README.read_text(encoding="utf-8")
    lines = read_table(text)
    costs = []
    is_beyond = False
    tracer = Tracer(cost_tracing.strace())
    for package, scenario, meter in all_cases():
        if options.packages and package not in options.packages:
            continue
        found = measured(package, scenario, meter, tracer if meter == TRACED else None)
        for cost in found:
            line = lines.get(cost.key)
            beyond = verdict(cost, lines) if line else ""
            is_beyond = is_beyond or bool(beyond)
            bound = shown(line.bound) if line else "new"
            print(
                f"{' BEYOND' if beyond else '':<7} {cost.scenario:<40} {cost.part:<24} {cost.unit:<21} "
                f"{shown(cost.figure):>9} {bound:>9}  {cost.words}",
                flush=True,
            )
        costs += found
    if options.write:
        head = text.partition(HEADING)[0]
        README.write_text(f"{head}{HEADING}\n\n{render(costs, lines)}", encoding="utf-8")
    return int(is_beyond)


if __name__ == "__main__":
    sys.exit(main())
