"""What `watch` shows: a status as lines for a terminal, or as one line; and lines that stay in place."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mxl_sockets._status_document import StatusDocument

#: Lines for those who hold a step, for losses, for drivers.
MOST_HOLDERS: Final = 8
MOST_LOSSES: Final = 3
MOST_DRIVERS: Final = 8
#: Characters of the longest bar of the histogram.
BAR_WIDTH: Final = 40
#: Seconds after which the status is said to be old.
OLD: Final = 1.0

_ERASE_LINE: Final = "\x1b[K"
_ERASE_BELOW: Final = "\x1b[J"
_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"


def duration(seconds: float) -> str:
    """Return a time in a unit that suits it.

    Examples
    --------
    >>> [duration(one) for one in (0, 1.6e-05, 0.0123, 3.25, 59.96, 150, 7200, 200_000)]
    ['0 us', '16 us', '12.3 ms', '3.2 s', '60.0 s', '2.5 min', '2.0 h', '2.3 d']
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def printable(text: str) -> str:
    r"""Return a text without what could steer a terminal: peers have a say in it.

    Examples
    --------
    >>> printable("a\x1b[2Jb\nc")
    'a?[2Jb?c'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def holders(status: StatusDocument) -> Iterator[tuple[str, int]]:
    """Yield who holds the unfinished step: the late, the longest first, and those without a driver."""
    for molecule_id, seconds, peer, count in status.late_s:
        yield f"{crowd(molecule_id, count)} for {duration(seconds)}, {peer or 'no driver'}", count
    for molecule_id, group, count in status.orphans:
        yield ", ".join(filter(None, (crowd(molecule_id, count), group, "no driver"))), count


def crowd(molecule_id: int, count: int) -> str:
    """Return a name for so many molecules with the same peer.

    Examples
    --------
    >>> crowd(7, 1), crowd(7, 100)
    ('molecule 7', 'molecule 7 and 99 more')
    """
    return f"molecule {molecule_id}" + (f" and {count - 1} more" if count > 1 else "")


def counts(status: StatusDocument) -> str:
    """Return how many molecules are served, missing, awaited and without a driver in the step."""
    parts = [f"{status.bound} served"]
    for number, what in (
        (status.missing, "missing"),
        (status.late, "awaited"),
        (status.orphaned, "without a driver in the step"),
        (status.waiting, "drivers waiting"),
    ):
        if number:
            parts.append(f"{number} {what}")
    return ", ".join(parts) + (" (paused)" if status.paused else "")


def plain_line(status: StatusDocument) -> str:
    """Return a status in one line."""
    parts = [f"step {status.steps}", f"{status.steps_per_s:.3g} steps/s", counts(status)]
    held = status.late + status.orphaned
    first = next(holders(status), None)
    if first is not None:
        text, count = first
        parts.append(f"held by {text}" + (f" and {held - count} more" if held > count else ""))
    if status.dropped:
        parts.append(f"{status.dropped} lost")
    if status.age_s >= OLD:
        parts.append(f"as of {duration(status.age_s)} ago")
    return printable("; ".join(parts))


def screen_lines(status: StatusDocument) -> list[str]:
    """Return a status as lines without control characters."""
    head = f"hub {status.address or '(stopped)'}, process {status.process}"
    if status.age_s >= OLD:
        head += f", busy: as of {duration(status.age_s)} ago"
    lines = [
        head,
        f"steps      {status.steps}, {status.steps_per_s:.3g} steps/s",
        f"molecules  {counts(status)}",
    ]
    held = status.late + status.orphaned
    if held:
        lines.append("held by")
        lines += _some(holders(status), MOST_HOLDERS, held)
    if status.missing_ids:
        some = _some(((str(one), 1) for one in status.missing_ids), MOST_DRIVERS, status.missing)
        lines.append("missing    molecule " + ",".join(some).strip())
    if status.replies:
        mean, longest = duration(status.mean_s), duration(status.maximum_s)
        lines.append(f"replies    {status.replies}, mean {mean}, longest {longest}")
        lines += _bars(status.histogram)
    if status.drivers:
        lines.append("drivers")
        lines += _some(
            ((f"{crowd(molecule_id, many)}, {peer}", many) for molecule_id, peer, many in status.drivers),
            MOST_DRIVERS,
            status.bound,
        )
    if status.dropped:
        lines.append(f"lost       {status.dropped}, the latest:")
        lines += [
            f"  {duration(seconds)} ago, {text}" for seconds, text in reversed(status.losses[-MOST_LOSSES:])
        ]
    return [printable(line) for line in lines]


def _some(entries: Iterable[tuple[str, int]], most: int, count: int) -> list[str]:
    """Return indented entries, at most so many, and how many molecules there are beside theirs."""
    shown = list(itertools.islice(entries, most))
    rest = count - sum(many for _, many in shown)
    return [f"  {text}" for text, _ in shown] + ([f"  and {rest} more"] if rest > 0 else [])


def _bars(histogram: list[tuple[float, int]]) -> list[str]:
    """Return a bar for each bin."""
    total = sum(count for _, count in histogram)
    top = max((count for _, count in histogram), default=0)
    return [
        f"  < {duration(bound):>7} {'#' * max(1, BAR_WIDTH * count // top)} {100 * count / total:.3g} %"
        for bound, count in histogram
        if count > 0
    ]


def is_screen(stream: TextIO) -> bool:
    """Say whether a person is watching on something that can be written over."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        return False


class Screen:
    """A terminal whose lines are written over and over; a context manager.

    Parameters
    ----------
    stream : text file
        A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = 0

    def __enter__(self) -> Self:
        self._stream.write(_HIDE_CURSOR)
        return self

    def __exit__(self, *details: object) -> None:
        self._stream.write(_SHOW_CURSOR)
        self._stream.flush()

    def show(self, lines: Iterable[str]) -> None:
        """Replace what was shown before; what is too long or too much is cut."""
        columns, rows = shutil.get_terminal_size()
        shown = [line[: columns - 1] for line in lines][: max(1, rows - 1)]
        up = f"\x1b[{self._lines}A" if self._lines else ""
        self._stream.write(up + "".join(f"\r{line}{_ERASE_LINE}\n" for line in shown) + _ERASE_BELOW)
        self._stream.flush()
        self._lines = len(shown)
