"""Sides of the bench of udp-multicast: one process, or a stream between two."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import machine
from harness import Sample
from sides import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

#: No two sides share a port: those that are not measured must stay idle.
_ports: Final[Iterator[int]] = count(28_200)


class _Side:
    """Programs that are measured together, and closed together."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _start(self, program: Program) -> None:
        self._programs.append(self._stack.enter_context(program))
        program.hear()

    def pin(self, cores: set[int]) -> None:
        """Keep all its processes on these cores."""
        for program in self._programs:
            machine.pin(program.process.pid, cores)

    def measure(self, steps: int) -> Sample:
        """Make so many steps; tell the time of the slowest program and the CPU time of all."""
        for program in self._programs:
            program.tell(str(steps))
        told = [json.loads(program.hear()) for program in self._programs]
        wall_s = max(each["wall_s"] for each in told)
        return Sample(told[0]["steps"], wall_s, sum(each["cpu_s"] for each in told))


class LoopSide(_Side):
    """`datagram_subject` or one like it: sends to itself, half of which is timed.

    Parameters
    ----------
    script : str
        Its file.
    what, whose : str
        As it takes them.
    size : int
        Bytes of a datagram.
    python : str
        Interpreter.
    within : sequence of str
        See `Program`.
    """

    def __init__(
        self, script: str, what: str, whose: str, size: int, python: str, within: Sequence[str]
    ) -> None:
        super().__init__()
        with self._stack:
            self._start(Program(python, script, what, whose, next(_ports), size, within=within))
            self._stack = self._stack.pop_all()


class StreamSide(_Side):
    """`stream_subject` twice: one publishes, the other subscribes.

    Parameters
    ----------
    kind : str
        As it takes it.
    size : int
        Bytes of a message.
    stride : int
        Messages between acknowledgements.
    python, within : str, sequence of str
        As for `LoopSide`.
    """

    def __init__(self, kind: str, size: int, stride: int, python: str, within: Sequence[str]) -> None:
        super().__init__()
        port = next(_ports)
        with self._stack:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
            fifo = Path(folder, "acknowledgements")
            os.mkfifo(fifo)
            for role in ("subscribe", "publish"):
                self._start(
                    Program(python, "stream_subject.py", kind, role, port, size, stride, fifo, within=within)
                )
            self._stack = self._stack.pop_all()
