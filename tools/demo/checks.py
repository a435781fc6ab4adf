"""A claim of the demo as a check that can fail, with its bound beside the figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Check:
    """One claim.

    Attributes
    ----------
    claim : str
        What must hold.
    figure : str
        What was found, and the bound.
    passed : bool or None
        None: this run, or this system, cannot judge it.
    """

    claim: str
    figure: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        """``PASS``, ``FAIL`` or ``----``."""
        return "----" if self.passed is None else "PASS" if self.passed else "FAIL"


def below(claim: str, figure: float, bound: float, judged: bool = True) -> Check:
    """Return the check that a figure is below its bound."""
    relation = "<" if figure < bound else "not <"
    return Check(claim, f"{figure:.3g} {relation} {bound:.3g}", figure < bound if judged else None)


def checks_table(checks: Iterable[Check]) -> str:
    """One line per check: verdict, claim, figure."""
    return "\n".join(["Checks", *(f"  {check.verdict}  {check.claim}: {check.figure}" for check in checks)])
