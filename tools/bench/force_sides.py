"""A server of positions and its driver, whichever programs they are."""

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


class ForceSide:
    """Two programs, of which the server makes the steps and is measured; a context manager.

    Parameters
    ----------
    server : sequence of str
        Interpreter, script and arguments. It says its port, then that its driver is there.
    driver : sequence of str
        The same of the driver, which is given the port as its last argument.
    """

    def __init__(self, server: Sequence[str], driver: Sequence[str]) -> None:
        with contextlib.ExitStack() as stack:
            self._server = stack.enter_context(Program(*server))
            port = json.loads(self._server.hear())["port"]
            self._driver = stack.enter_context(Program(*driver, port))
            self._driver.hear()
            self._server.hear()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()  # which ends the driver
        self._stack.__exit__(kind, error, trace)

    def pin(self, cores: set[int]) -> None:
        """Keep both processes on these cores."""
        for program in (self._server, self._driver):
            machine.pin(program.process.pid, cores)

    def measure(self, steps: int) -> Sample:
        """Make so many steps."""
        self._server.tell(str(steps))
        told = json.loads(self._server.hear())
        return Sample(told["steps"], told["wall_s"], told["cpu_s"])
