"""Sides of the bench of group-ports: programs that are measured together."""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Final

from program_side import ProgramSide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: No two sides share a port: those that are not measured must stay idle.
_ports: Final[Iterator[int]] = count(29_000)
#: With the GNU allocator: memory that was freed is kept for the next message. Else a
#: process gives it back to the system between large messages or does not, as its
#: heap happens to lie, and that chance is as much as all that is compared.
_KEEP_MEMORY: Final = ("env", "MALLOC_TRIM_THRESHOLD_=268435456", "MALLOC_MMAP_THRESHOLD_=268435456")


def _side(
    *commands: Sequence[object], python: str = sys.executable, within: Sequence[str] = ()
) -> ProgramSide:
    """Return programs: script and arguments of each."""
    return ProgramSide(*((python, *command) for command in commands), within=[*within, *_KEEP_MEMORY])


def publish_side(
    whose: str,
    subscribers: int,
    size: int,
    some: int,
    *,
    python: str = sys.executable,
    within: Sequence[str] = (),
) -> ProgramSide:
    """Return one program that publishes to subscribers of its own; see `group_subject`."""
    command = ("group_subject.py", whose, "publish", subscribers, size, some)
    return _side(command, python=python, within=within)


def ask_side(whose: str, size: int, some: int) -> ProgramSide:
    """Return one program that asks and answers itself; see `group_subject`."""
    return _side(("group_subject.py", whose, "ask", next(_ports), size, some))


def round_trip_side(whose: str, size: int) -> ProgramSide:
    """Return two programs, one of which asks the other; see `group_round_trip_subject`."""
    port = next(_ports)
    return _side(*(("group_round_trip_subject.py", whose, role, port, size) for role in ("answer", "ask")))


def election_side(members: int) -> ProgramSide:
    """Return a simulated group; see `group_election_subject`."""
    return _side(("group_election_subject.py", members))
