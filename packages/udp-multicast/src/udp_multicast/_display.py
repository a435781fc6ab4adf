"""What a terminal shows: numbers for people, sparklines, lines that stay in place, a progress bar."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "_.:-=+*#"
_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E")

#: Characters of the progress bar.
_BAR_WIDTH: Final = 30
#: Seconds between two drawings of it; more often only costs time.
_DRAW_INTERVAL_S: Final = 0.1

_ERASE_LINE: Final = "\x1b[K"
_ERASE_BELOW: Final = "\x1b[J"


def quantity(value: float, unit: str = "") -> str:
    """Return a number with three digits and a decimal prefix.

    Examples
    --------
    >>> [quantity(one, "B/s") for one in (0, 7, 1234, 56789000, 999.9e3)]
    ['0 B/s', '7 B/s', '1.23 kB/s', '56.8 MB/s', '1 MB/s']
    """
    step = 0
    while step + 1 < len(_PREFIXES) and float(f"{value:.3g}") >= 1000:
        value /= 1000
        step += 1
    return f"{value:.3g} {_PREFIXES[step]}{unit}".rstrip()


def sparkline(values: Sequence[float], *, plain: bool = False) -> str:
    """Return one character for each value, from 0 to the largest.

    Parameters
    ----------
    values : sequence of float
        At least 0.
    plain : bool
        Use ASCII, for terminals that have nothing better.

    Examples
    --------
    >>> sparkline([0, 1, 2, 4, 8, 8]), sparkline([0, 4, 8], plain=True)
    ('▁▂▃▅██', '_=#')
    """
    bars = _PLAIN_BARS if plain else _BARS
    top = max(values, default=0.0)
    if top <= 0:
        return bars[0] * len(values)
    return "".join(bars[min(len(bars) - 1, int(len(bars) * value / top))] for value in values)


def can_show(stream: TextIO, text: str = _BARS) -> bool:
    """Say whether a stream can write such characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_terminal(stream: TextIO) -> bool:
    """Say whether a person is watching; a closed stream has no watcher."""
    try:
        return stream.isatty()
    except ValueError:
        return False


class Screen:
    """Some lines of a terminal that are written over and over.

    Parameters
    ----------
    stream : text file
        A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = 0

    def show(self, lines: Iterable[str]) -> None:
        """Replace what was shown before; lines that are too long are cut."""
        columns, rows = shutil.get_terminal_size()
        shown = [line[: columns - 1] for line in lines][: max(1, rows - 1)]
        up = f"\x1b[{self._lines}A" if self._lines else ""
        self._stream.write(up + "".join(f"\r{line}{_ERASE_LINE}\n" for line in shown) + _ERASE_BELOW)
        self._stream.flush()
        self._lines = len(shown)


class ProgressBar:
    """How far a job is, in place on a terminal and nowhere else; a context manager.

    Parameters
    ----------
    total : int
        Units of the whole job.
    stream : text file
        Nothing is written unless it is a terminal.
    clock : callable, optional
        Returns seconds that do not go backwards.
    """

    def __init__(self, total: int, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._stream = stream
        self._clock = clock
        self._active = is_terminal(stream)
        self._bar = "█░" if can_show(stream, "█░") else "#-"
        self._next_draw = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._active:
            self._stream.write("\r" + _ERASE_LINE)
            self._stream.flush()

    def update(self, done: int, note: str = "") -> None:
        """Take note that so many units are done; draws now and then."""
        if not self._active or (now := self._clock()) < self._next_draw:
            return
        self._next_draw = now + _DRAW_INTERVAL_S
        part = min(1.0, done / self._total) if self._total else 1.0
        full = round(part * _BAR_WIDTH)
        line = f"{self._bar[0] * full}{self._bar[1] * (_BAR_WIDTH - full)} {part:4.0%} {note}"
        self._stream.write(f"\r{line[: shutil.get_terminal_size().columns - 1]}{_ERASE_LINE}")
        self._stream.flush()
