"""The picture: what each rig was told, when it answered, and how the heartbeat saw it, on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from picture_style import COLOURS, INK, slide

from rigs.account import MORTAL, RIGS
from rigs.checks import EVENTS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from rigs.account import Rig, Session

COLOUR_OF: Final = dict(zip(RIGS, COLOURS, strict=False))
GONE: Final = "#CC3311"
SHADE: Final = "#EEEEEE"
#: Heights of a rig's lane: the bars of its work, and the line of the heartbeat below them.
BAR: Final = 0.42
PULSE: Final = -0.36


def draw(session: Session, path: Path, *, passed: bool) -> None:
    """Write the picture of an experiment as a PNG.

    Parameters
    ----------
    session : Session
        What was told.
    path : Path
        The file; its folder is made if it is missing.
    passed : bool
        Whether all checks passed, which the caption then says.

    Raises
    ------
    OSError
        The file could not be written.
    """
    begin, end = session.rounds[0].begin, session.rounds[-1].end
    caption = (
        "bars: a rig does what it was told, until its answer is confirmed; lines: how the heartbeat sees it"
    )
    if passed:
        caption += "; all checks passed"
    with slide("Three rigs, one killed in the middle of an experiment", caption, path) as figure:
        panel = figure.add_axes((0.125, 0.12, 0.85, 0.69))
        for one in session.rounds:
            panel.axvspan(one.begin - begin, one.end - begin, facecolor=SHADE, edgecolor="white", linewidth=3)
            label = f"{one.name}\n{1000 * (one.end - one.begin):.0f} ms"
            panel.text((one.begin + one.end) / 2 - begin, len(RIGS) - 0.42, label, ha="center", va="bottom")
        for lane, name in enumerate(reversed(RIGS)):
            _draw_rig(panel, session.rigs[name], lane, begin)
            _draw_pulse(panel, session, name, lane, (begin, end))
        killed_at, lane = session.killed_at - begin, list(reversed(RIGS)).index(MORTAL)
        panel.plot([killed_at], [lane], "X", color=GONE, markersize=17, markeredgecolor="white", zorder=5)
        panel.text(killed_at - 0.04, lane, "killed", ha="right", va="center", color=GONE, weight="bold")
        panel.set_yticks(range(len(RIGS)), list(reversed(RIGS)), fontsize=17)
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(-0.6, len(RIGS) - 0.05)
        panel.set_xlim(-0.08, end - begin + 0.08)
        panel.spines["left"].set_visible(False)
        panel.set_xlabel("time (s)")


def _draw_rig(panel: Axes, rig: Rig, lane: int, begin: float) -> None:
    """Draw what it did, one bar for each message."""
    answered = {answer["name"]: answer["seconds"] for answer in rig.answers}
    told = {event["name"]: event["seconds"] for event in rig.events}
    start, stop = answered.get(EVENTS["start"]), told.get(EVENTS["stop"])
    if start is not None and stop is not None:
        line = [start - begin, stop - begin]
        panel.plot(line, [lane, lane], color=COLOUR_OF[rig.name], alpha=0.5, linewidth=5)
        text = f"{rig.samples} samples"
        panel.text(line[0] + 0.04, lane + 0.06, text, va="bottom", fontsize=13)
    for event in rig.events:
        since, until = event["seconds"] - begin, answered.get(event["name"], event["seconds"]) - begin
        # What takes no time is still to be seen.
        panel.barh(lane, max(until - since, 0.01), BAR, since, color=COLOUR_OF[rig.name])


def _draw_pulse(panel: Axes, session: Session, name: str, lane: int, span: tuple[float, float]) -> None:
    """Draw the states of a rig, each until the next."""
    changes = [change for change in session.changes if change.rig == name]
    begin, end = span
    for change, until in zip(changes, [*(later.at for later in changes[1:]), end], strict=False):
        colour, width = {"live": (INK, 3.0), "late": (COLOURS[5], 3.0)}.get(change.state, (GONE, 6.0))
        since = max(change.at, begin)
        panel.plot([since - begin, until - begin], [lane + PULSE] * 2, color=colour, linewidth=width)
        if change.state != "live":
            panel.text(since - begin + 0.02, lane + PULSE + 0.05, change.state, color=colour, fontsize=13)
