"""What the command prints, taken apart."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A line: addresses only of captures, size and speaker only of frames."""

    at: int
    text: str
    bad: bool
    source: str = ""
    target: str = ""


def rows(lines):
    """The lines of the command, taken apart; those of captures have two addresses with ``>`` in between."""
    return [_row(line) for line in lines]


def _row(line):
    source = target = ""
    addresses, found, rest = line.partition(" > ")
    if found and addresses.split()[-1].rpartition(":")[2].isdigit():
        source = addresses.split()[-1]
        target, line = rest.split(maxsplit=1)
    at, second, rest = line.split(maxsplit=2)
    return Row(int(at), rest, second == "!", source, target)
