"""What people see: times, events in one line, and a screen that is written over and over."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TextIO

from echo_rig._log_text import MAX_SHOWN, WITHHELD, event_name, shown_remote_error
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from echo_rig.events import Event

_ERASE_LINE: Final = "\x1b[K"
_ERASE_BELOW: Final = "\x1b[J"
_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"


def milliseconds(seconds: float | None) -> str:
    """Return a round trip.

    Examples
    --------
    >>> milliseconds(0.00021), milliseconds(0.0123), milliseconds(1.5), milliseconds(None)
    ('0.21 ms', '12.3 ms', '1500 ms', '-')
    """
    if seconds is None:
        return "-"
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def age(seconds: float | None) -> str:
    """Return how long something is ago, in its largest unit.

    Examples
    --------
    >>> age(0.4), age(59.9), age(150), age(7200), age(200_000), age(None)
    ('0 s', '59 s', '2 min', '2 h', '2 d', '-')
    """
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds) // 1:.0f} s"


def time_of_day() -> str:
    """Return hours, minutes, seconds and milliseconds here and now."""
    seconds = time.time()
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(seconds % 1 * 1000):03d}"


def event_text(event: Event) -> str:
    """Return an event in one line of ASCII, without what could be a token.

    Examples
    --------
    >>> from echo_rig.events import Event
    >>> event_text(Event(ExpMessage.EXPSTART, ["2022-01-01_1_mouse", None], ("127.0.0.1", 11001)))
    'EXPSTART ["2022-01-01_1_mouse", null]'
    >>> event_text(Event(ExpMessage(0), ["ValueError: boom", 1], ("127.0.0.1", 11001)))
    'ERROR in EXPINIT: ValueError: boom'
    """
    if not event.event:
        name, text = shown_remote_error(event.data)
        return f"ERROR in {name}: {text}"
    if event.event & ExpMessage.ALYX:
        return f"{event_name(event.event)} {WITHHELD}"
    # JSON as text has neither control characters nor anything beyond ASCII.
    text = json.dumps(event.data)
    return f"{event_name(event.event)} {text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + '...'}"


def is_screen(stream: TextIO) -> bool:
    """Say whether a person is watching on something that can be written over."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # It is closed.
        return False


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a screen.

    Attributes
    ----------
    text : str
        Without any control characters.
    style : str
        Parameters of the terminal's sequence for colours, such as ``"30;42"``;
        a line that has one is a bar across the screen.
    """

    text: str
    style: str = ""


class Screen:
    """A terminal whose lines are written over and over; a context manager.

    Parameters
    ----------
    stream : text file
        A terminal. No colours if the environment has ``NO_COLOR``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = 0
        self._in_colour = not os.environ.get("NO_COLOR")

    def __enter__(self) -> Self:
        self._stream.write(_HIDE_CURSOR)
        return self

    def __exit__(self, *details: object) -> None:
        self._stream.write(_SHOW_CURSOR)
        self._stream.flush()

    def show(self, lines: Iterable[Line]) -> None:
        """Replace what was shown before; what is too long or too much is cut."""
        columns, rows = shutil.get_terminal_size()
        shown = [self._drawn(line, columns - 1) for line in lines][: max(1, rows - 1)]
        up = f"\x1b[{self._lines}A" if self._lines else ""
        self._stream.write(up + "".join(f"\r{line}{_ERASE_LINE}\n" for line in shown) + _ERASE_BELOW)
        self._stream.flush()
        self._lines = len(shown)

    def _drawn(self, line: Line, columns: int) -> str:
        text = line.text[:columns]
        if not (line.style and self._in_colour):
            return text
        return f"\x1b[{line.style}m{text:<{columns}}\x1b[0m"
