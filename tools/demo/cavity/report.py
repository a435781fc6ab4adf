"""The printed summary: three small tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checks import Check

    from cavity.analysis import Analysis
    from cavity.experiment import Run


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known about one number of molecules.

    Attributes
    ----------
    analysis : Analysis
        Of the first undisturbed run.
    undisturbed : list of Run
        One per transport; those over sockets first.
    disturbed : list of Run
        With killed processes.
    checks : list of Check
        Everything that must hold.
    """

    analysis: Analysis
    undisturbed: list[Run]
    disturbed: list[Run]
    checks: list[Check]


def lines_table(outcomes: Iterable[Outcome]) -> str:
    """Polariton frequencies beside the analytic normal modes, in atomic units."""
    rows = [
        "Polaritons (atomic units)       found    analytic   off by   off the stepped model by",
    ]
    for outcome in outcomes:
        analysis = outcome.analysis
        note = "" if analysis.resolved else "   (too few steps to resolve)"
        triples = [
            ("lower", analysis.found.lower, analysis.analytic.lower, analysis.discrete.lower),
            ("upper", analysis.found.upper, analysis.analytic.upper, analysis.discrete.upper),
            (
                "splitting = G sqrt(N)",
                analysis.found.splitting,
                analysis.analytic.splitting,
                analysis.discrete.splitting,
            ),
        ]
        for number, (name, found, analytic, discrete) in enumerate(triples):
            head = f"N = {analysis.molecules}" if number == 0 else ""
            rows.append(
                f"  {head:<7}{name:<21} {found:9.6f}  {analytic:9.6f}  {_percent(found, analytic)}"
                f"   {_percent(found, discrete)}{note}"
            )
    return "\n".join(rows)


def energy_table(outcomes: Iterable[Outcome]) -> str:
    """How well energy was kept, and how weak the excitation was."""
    rows = ["Energy          band      drift   highest excitation of a molecule"]
    for outcome in outcomes:
        analysis = outcome.analysis
        rows.append(
            f"  N = {analysis.molecules:<6} {analysis.energy_band:8.2e}  {analysis.energy_drift:+9.1e}"
            f"   {outcome.undisturbed[0].populations.highest:8.2e}"
        )
    return "\n".join(rows)


def speed_table(outcomes: Iterable[Outcome]) -> str:
    """Tell the steps per second of every run, and the deaths it survived."""
    rows = ["Processes     run                        steps/s   killed and replaced"]
    for outcome in outcomes:
        rows.extend(
            f"  N = {run.molecules:<6}  {run.transport:<24} {run.steps_per_second:9.0f}   0"
            for run in outcome.undisturbed
        )
        rows.extend(
            f"  N = {run.molecules:<6}  {run.name:<24} {run.steps_per_second:9.0f}"
            f"   {run.killed} of {run.planned_kills}"
            for run in outcome.disturbed
        )
    return "\n".join(rows)


def _percent(found: float, expected: float) -> str:
    return f"{100.0 * (found / expected - 1.0):+8.4f} %"
