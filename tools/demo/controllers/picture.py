"""The picture: who lives, who leads, what was voted, and what became of the messages, on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from picture_style import COLOURS, INK, QUIET, slide

from controllers.account import CONTROLLERS
from controllers.ledger import ledgers

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from controllers.account import Controller, Reign, Session, Vote

COLOUR_OF: Final = dict(zip(CONTROLLERS, COLOURS, strict=False))
LANE_OF: Final = {name: lane for lane, name in enumerate(reversed(CONTROLLERS))}
BAD: Final = "#CC3311"
SHADE: Final = "#EEEEEE"
#: Height of a controller's bar, and of its messages below.
BAR: Final = 0.36
MESSAGES: Final = -0.33
#: Where the names of elections and votes stand.
TOP: Final = len(CONTROLLERS) - 0.58
#: What a result looks like.
RESULTS: Final = {"yes": "carried", "no": "refused", "timeout": "time is up"}


def draw(session: Session, path: Path, *, passed: bool) -> None:
    """Write the picture of a session as a PNG.

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
    begin = min(one.begin for one in session.controllers)
    caption = "bars: alive, in the colour of whom it follows, full colour: leads; ticks below: its messages"
    if passed:
        caption += "; all checks passed"
    with slide("Three controllers, whose leader is killed", caption, path) as figure:
        panel = figure.add_axes((0.085, 0.17, 0.89, 0.64))
        _draw_election(panel, "election", session.first, begin)
        _draw_election(panel, "succession", session.second, begin)
        for vote in session.votes:
            _draw_vote(panel, session, vote, begin)
        for one in session.controllers:
            _draw_life(panel, session, one, begin)
        _draw_messages(panel, session, begin)
        panel.set_yticks(list(LANE_OF.values()), list(LANE_OF), fontsize=17)
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(-0.55, len(CONTROLLERS) - 0.05)
        panel.set_xlim(-0.08, session.ended_at - begin + 0.08)
        panel.spines["left"].set_visible(False)
        panel.set_xlabel("time (s)")
        _explain(panel)


def _draw_election(panel: Axes, name: str, reign: Reign, begin: float) -> None:
    """Shade the time without a leader."""
    since, until = reign.vacant_since - begin, reign.known_at - begin
    panel.axvspan(since, until, facecolor=SHADE, edgecolor="none", zorder=0)
    text = f"{name}\n{1000 * reign.seconds:.0f} ms"
    panel.text((since + until) / 2, TOP, text, ha="center", va="bottom", fontsize=13)


def _draw_vote(panel: Axes, session: Session, vote: Vote, begin: float) -> None:
    """Draw its ballots, its result, and the moment of the action, if it came to that."""
    asked_at = vote.asked_at - begin
    panel.plot([asked_at] * 2, [-0.5, TOP - 0.04], color=QUIET, linewidth=1.0, linestyle=":", zorder=1)
    result = "/".join(sorted({RESULTS.get(told, told) for told in session.results(vote).values()}))
    text = f"“{vote.motion}”\n{result or 'no result'}"
    actions = session.actions(vote)
    if actions:
        text += f",\n{1000 * session.apart_s(vote):.1f} ms apart"
        last = max(done for *_, done in actions) - begin
        panel.plot([last] * 2, [-0.5, TOP - 0.04], color=INK, linewidth=1.4, zorder=1)
    panel.text(asked_at, TOP, text, ha="left", va="bottom", fontsize=12)
    for one in session.controllers:
        for ballot in one.about("ballot", vote):
            marker, colour = ("^", INK) if ballot["yes"] else ("v", BAD)
            place = [ballot["seconds"] - begin], [LANE_OF[one.name] + 0.3]
            panel.plot(*place, marker, color=colour, markersize=9, zorder=4)
    for name, _, done in actions:
        place = [done - begin], [LANE_OF[name]]
        panel.plot(*place, "D", color="white", markeredgecolor=INK, markersize=9, zorder=4)


def _draw_life(panel: Axes, session: Session, one: Controller, begin: float) -> None:
    """Draw from when to when it lived, and whom it followed."""
    names = {other.member_id: other.name for other in session.controllers}
    lane, end = LANE_OF[one.name], session.ended_at if one.killed_at is None else one.killed_at
    panel.barh(
        lane, end - one.begin, BAR, one.begin - begin,
        facecolor="white", edgecolor=QUIET, linewidth=1.2, zorder=2,
    )  # fmt: skip
    news = [report for report in one.reports if report["kind"] in {"elected", "exited"}]
    for report, until in zip(news, [*(later["seconds"] for later in news[1:]), end], strict=False):
        since, until = report["seconds"], min(until, end)
        if report["kind"] == "exited" or since >= end:
            continue
        leads = report["leader"] == one.member_id
        colour = COLOUR_OF[names[report["leader"]]]
        panel.barh(
            lane, until - since, BAR, since - begin, color=colour, alpha=1.0 if leads else 0.35, zorder=2
        )
        if leads:
            panel.text(
                since - begin + 0.06, lane, f"leads, term {report['term']}", color="white", va="center",
                fontsize=12, weight="bold", zorder=5,
            )  # fmt: skip
    if one.killed_at is not None:
        place = [one.killed_at - begin], [lane]
        panel.plot(*place, "X", color=BAD, markersize=17, markeredgecolor="white", zorder=6)
        panel.text(one.killed_at - begin + 0.2, lane, "killed", va="center", color=BAD, weight="bold")


def _draw_messages(panel: Axes, session: Session, begin: float) -> None:
    """Draw a tick for each message to the leader: answered, refused, lost with the leader."""
    for book in ledgers(session):
        sender = next(one for one in session.survivors if one.name == book.name)
        moments = {message["number"]: message["begin"] - begin for message in sender.all("message")}
        for numbers, height, colour in (
            (set(moments) - set(book.refused) - book.lost, 0.07, QUIET),
            (set(book.refused), 0.17, BAD),
            (book.lost, 0.17, COLOURS[5]),
        ):
            middle = LANE_OF[book.name] + MESSAGES
            ticks = [moments[number] for number in numbers]
            panel.vlines(ticks, middle - height / 2, middle + height / 2, colors=colour, linewidth=1.6)


def _explain(panel: Axes) -> None:
    """Tell what the marks mean, below the axis."""
    marks = (
        ("^", INK, "votes yes"),
        ("v", BAD, "votes no"),
        ("D", INK, "acts"),
        ("|", QUIET, "message answered"),
        ("|", BAD, "refused: no leader"),
        ("|", COLOURS[5], "lost with the leader"),
    )
    handles = [
        panel.plot(
            [], [], marker, color="white" if marker == "D" else colour, markeredgecolor=colour,
            markersize=10, markeredgewidth=2 if marker == "|" else 1, label=label,
        )[0]
        for marker, colour, label in marks
    ]  # fmt: skip
    panel.legend(
        handles=handles, ncols=len(marks), loc="upper center", bbox_to_anchor=(0.47, -0.115),
        frameon=False, fontsize=12, handletextpad=0.2, columnspacing=1.6,
    )  # fmt: skip
