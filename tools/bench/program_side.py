"""A side of a comparison as programs that are measured together."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Self

import machine
from harness import Sample
from sides import Program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


class ProgramSide:
    """Programs, the last of which is told to make steps, and tells the time; a context manager.

    Parameters
    ----------
    *commands : sequence
        Interpreter, script and arguments of each, in the order in which they are started.
    within : sequence of str
        See `Program`.
    """

    def __init__(self, *commands: Sequence[object], within: Sequence[str] = ()) -> None:
        with contextlib.ExitStack() as stack:
            self._programs: list[Program] = []
            for python, script, *arguments in commands:
                program = stack.enter_context(Program(str(python), str(script), *arguments, within=within))
                self._programs.append(program)
                program.hear()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def pin(self, cores: set[int]) -> None:
        """Keep all its processes on these cores."""
        for program in self._programs:
            machine.pin(program.process.pid, cores)

    def measure(self, steps: int) -> Sample:
        """Make so many steps."""
        self._programs[-1].tell(str(steps))
        told = json.loads(self._programs[-1].hear())
        return Sample(told["steps"], told["wall_s"], told["cpu_s"])
