"""The printed summary: which rig answered what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigs.account import RIGS

if TYPE_CHECKING:
    from rigs.account import Round, Session


def rounds_table(session: Session) -> str:
    """One line per round: milliseconds until each rig had answered, or that it did not."""
    rows = [f"Rounds: ms to the answer{'':<2}{''.join(f'{name:>12}' for name in RIGS)}       all"]
    for one in session.rounds:
        cells = "".join(f"{_cell(one, name):>12}" for name in RIGS)
        rows.append(f"  {one.name:<22}{'':<2}{cells}{1000 * (one.end - one.begin):10.0f}")
    return "\n".join(rows)


def failures_table(session: Session) -> str:
    """Why rigs did not answer."""
    rows = [
        f"  {one.name:<22}  {name}: {why}" for one in session.rounds for name, why in one.failures.items()
    ]
    return "\n".join(["Errors", *rows])


def _cell(one: Round, name: str) -> str:
    if name in one.timings:
        return f"{1000 * one.timings[name]:.0f}"
    return "failed" if name in one.failures else "not asked"
