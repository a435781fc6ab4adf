"""What ``watch`` knows about each rig, and how it looks: bars that are seen across a room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from echo_rig._commands._display import Line, age, event_text, milliseconds
from echo_rig.heartbeat import RigState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echo_rig._pulse import Pulse
    from echo_rig.events import Event

#: Dark on bright, so that the whole line is a patch of its colour; the most alarming one also in bold.
_STYLES: Final = {RigState.LIVE: "30;42", RigState.LATE: "30;43", RigState.GONE: "1;97;41"}
_HEADING: Final = "1"
_LONGEST_NAME: Final = 24


@dataclass(slots=True)
class Row:
    """One rig.

    Attributes
    ----------
    name, uri : str
        What it is called, and where it is.
    pulse : Pulse or None
        Its heartbeat, from the first connection on.
    problem : str
        Why there is no connection; empty if there is one, or the first one is under way.
    event : Event or None
        The last one that came from it, at `event_at` in monotonic seconds.
    """

    name: str
    uri: str
    pulse: Pulse | None = None
    problem: str = ""
    event: Event | None = None
    event_at: float | None = None

    @property
    def state(self) -> RigState:
        """Live, late or gone."""
        if self.problem:
            return RigState.GONE
        return RigState.LATE if self.pulse is None else self.pulse.state

    def cells(self, now: float) -> tuple[str, ...]:
        """Return what stands in its line of the table."""
        pulse = self.pulse
        heard_at = None if pulse is None else pulse.heard_at
        return (
            self.name if len(self.name) <= _LONGEST_NAME else f"{self.name[: _LONGEST_NAME - 3]}...",
            self.state.name,
            milliseconds(None if pulse is None else pulse.round_trip_s),
            age(None if heard_at is None else now - heard_at),
            age(None if self.event_at is None else now - self.event_at),
            self.problem or ("-" if self.event is None else event_text(self.event)),
        )


_HEADINGS: Final = ("RIG", "STATE", "ROUND TRIP", "HEARD", "AGE", "LAST EVENT")
#: Numbers stand at the right of their column.
_AT_RIGHT: Final = (False, False, True, True, True, False)


def summary(rows: Sequence[Row]) -> str:
    """Return all rigs in one line: how many are live, and who is not."""
    live = sum(row.state is RigState.LIVE for row in rows)
    others = "".join(f"   {row.name} {row.state.name}" for row in rows if row.state is not RigState.LIVE)
    return f"{live} of {len(rows)} live{others}"


def table(rows: Sequence[Row], now: float, height: int) -> Iterator[Line]:
    """Yield the lines of the table, each rig as tall as the screen allows.

    Parameters
    ----------
    rows : sequence of Row
    now : float
        Monotonic seconds.
    height : int
        Lines of the screen.
    """
    cells = [_HEADINGS, *(row.cells(now) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    texts = [
        "  "
        + "   ".join(
            f"{cell:>{width}}" if at_right else f"{cell:<{width}}"
            for cell, width, at_right in zip(line, widths, _AT_RIGHT, strict=True)
        )
        for line in cells
    ]
    yield Line(f"  {summary(rows)}", _HEADING)
    yield Line(texts[0], _HEADING)
    # A bar has three lines and a gap if there is room for all of them, else a gap, else neither.
    room = (height - 3) // max(1, len(rows))
    for row, text in zip(rows, texts[1:], strict=True):
        style = _STYLES[row.state]
        padding = [Line("", style)] if room >= 4 else []
        yield from (*padding, Line(text, style), *padding)
        if room >= 2:
            yield Line("")
