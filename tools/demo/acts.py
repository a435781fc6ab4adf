"""What an act of the demo is, and which there are.

An act is a module with the attributes of `Act`. A new one is a package beside
this module and a line in `ACTS`: it gets its place on the command line, in the
summary and in the exit status from there.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from checks import Check

#: Name on the command line and module of each act, in the order of the programme. The first one is played
#: when none is named.
ACTS: Final = {
    "labday": "labday.act",
    "cavity": "cavity.act",
    "readouts": "readouts.act",
    "rigs": "rigs.act",
    "controllers": "controllers.act",
}


class ActBroke(RuntimeError):
    """An act could not be played to its end; says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of an act.

    Attributes
    ----------
    tables : sequence of str
        What is printed, before the checks.
    checks : sequence of Check
        Everything that must hold.
    picture : str
        File name of its picture.
    draw : callable
        Draws that picture into the file it is given.
    """

    tables: Sequence[str]
    checks: Sequence[Check]
    picture: str
    draw: Callable[[Path], None]


class Act(Protocol):
    """What the module of an act offers."""

    @property
    def TITLE(self) -> str:  # noqa: N802 - a constant of the module
        """One line about it."""
        ...

    def add_arguments(self, parser: argparse._ArgumentGroup) -> None:
        """Describe options of its own; there is also `quick`, for all acts."""
        ...

    def play(self, options: argparse.Namespace) -> Result:
        """Play the act, with live progress on standard error.

        Raises
        ------
        ActBroke, OSError
            It could not be played; whatever it started has ended.
        """
        ...


def act(name: str) -> Act:
    """Return the act of that name."""
    return cast("Act", importlib.import_module(ACTS[name]))
