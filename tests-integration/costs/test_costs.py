"""What a message costs in system calls, calls of Python functions and memory: no more than the table says."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from cost_meters import Scenario
from cost_table import METERS, README, TRACED, Cost, all_cases, measured, read_table, shown, verdict
from cost_tracing import Tracer

# Longer than the tracer is waited for, which tells more.
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="system calls are counted on Linux"),
    pytest.mark.timeout(180),
]

CASES = [
    (f"{package}: {scenario.name}", package, scenario, meter) for package, scenario, meter in all_cases()
]


def of(*meters: str) -> list:
    """Parameters of the cases of these meters."""
    return [pytest.param(*case[1:], id=case[0]) for case in CASES if case[3] in meters]


def compare(costs: list[Cost], scenario: Scenario, meter: str, report: Callable[[str], None]) -> None:
    """All parts that were measured, and all that the table has."""
    lines = read_table(README.read_text(encoding="utf-8"))
    for cost in costs:
        line = lines.get(cost.key)
        bound = shown(line.bound) if line else "none"
        report(f"{cost.scenario}, {cost.part}: {shown(cost.figure)} {cost.unit}, bound {bound} {cost.words}")
    assert [why for cost in costs if (why := verdict(cost, lines))] == []
    in_table = {key for key in lines if key[0] == scenario.name and key[2] in METERS[meter]}
    assert {cost.key for cost in costs} == in_table, "run cost_table.py --write"


@pytest.mark.parametrize(("package", "scenario", "meter"), of(TRACED))
def test_a_message_takes_no_more_system_calls(
    package: str, scenario: Scenario, meter: str, tracer: Tracer, report: Callable[[str], None]
) -> None:
    """Each part of a message makes as many calls as the table says, or fewer."""
    compare(measured(package, scenario, meter, tracer), scenario, meter, report)


@pytest.mark.parametrize(("package", "scenario", "meter"), of("calls of functions"))
def test_a_message_takes_no_more_calls_of_functions(
    package: str, scenario: Scenario, meter: str, report: Callable[[str], None]
) -> None:
    """Each part of a message calls as many functions as the table says, or fewer."""
    compare(measured(package, scenario, meter, None), scenario, meter, report)


@pytest.mark.parametrize(("package", "scenario", "meter"), of("memory"))
def test_a_message_takes_no_more_memory_and_leaves_none_behind(
    package: str, scenario: Scenario, meter: str, report: Callable[[str], None]
) -> None:
    """Memory at a time is what the table says, or less; and nothing stays."""
    compare(measured(package, scenario, meter, None), scenario, meter, report)


@pytest.mark.parametrize(("package", "scenario", "meter"), of("own"))
def test_a_message_is_no_more_on_the_wire(
    package: str, scenario: Scenario, meter: str, report: Callable[[str], None]
) -> None:
    """Datagrams, bytes and messages of a protocol are as many as the table says, or fewer."""
    compare(measured(package, scenario, meter, None), scenario, meter, report)


def test_the_table_has_no_line_that_nothing_measures() -> None:
    """And no two scenarios are taken for each other."""
    cases = [
        (package, scenario.name, unit)
        for package, scenario, meter in all_cases()
        for unit in METERS[meter]
        if unit in scenario.units
    ]
    assert len(set(cases)) == len(cases)
    lines = read_table(README.read_text(encoding="utf-8"))
    assert {(line.package, key[0], key[2]) for key, line in lines.items()} == set(cases)
