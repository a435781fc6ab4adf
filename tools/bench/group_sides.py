"""Sides of the bench of group-ports: programs that are measured together."""

from __future__ import annotations

import contextlib
import json
import sys
from itertools import count
from typing import TYPE_CHECKING, Final, Self

import machine
from harness import Sample
from sides import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

#: No two sides share a port: those that are not measured must stay idle.
_ports: Final[Iterator[int]] = count(29_000)
#: With the GNU allocator: memory that was freed is kept for the next message. Else a
#: process gives it back to the system between large messages or does not, as its
#: heap happens to lie, and that chance is as much as all that is compared.
_KEEP_MEMORY: Final = ("env", "MALLOC_TRIM_THRESHOLD_=268435456", "MALLOC_MMAP_THRESHOLD_=268435456")


class GroupSide:
    """Programs that are measured together, the last of which tells the time.

    Parameters
    ----------
    *commands : sequence
        Script and arguments of each.
    """

    def __init__(self, *commands: Sequence[object]) -> None:
        with contextlib.ExitStack() as stack:
            self._programs: list[Program] = []
            for script, *arguments in commands:
                program = stack.enter_context(
                    Program(sys.executable, str(script), *arguments, within=_KEEP_MEMORY)
                )
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


def publish_side(whose: str, subscribers: int, size: int, some: int) -> GroupSide:
    """Return one program that publishes to subscribers of its own; see `group_subject`."""
    return GroupSide(("group_subject.py", whose, "publish", subscribers, size, some))


def ask_side(whose: str, size: int, some: int) -> GroupSide:
    """Return one program that asks and answers itself; see `group_subject`."""
    return GroupSide(("group_subject.py", whose, "ask", next(_ports), size, some))


def round_trip_side(whose: str, size: int) -> GroupSide:
    """Return two programs, one of which asks the other; see `group_round_trip_subject`."""
    port = next(_ports)
    return GroupSide(
        *(("group_round_trip_subject.py", whose, role, port, size) for role in ("answer", "ask"))
    )


def election_side(members: int) -> GroupSide:
    """Return a simulated group; see `group_election_subject`."""
    return GroupSide(("group_election_subject.py", members))
