"""The picture: spectra of all settings, the search for the resonance, and the day on a time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cavity.normal_modes import analytic_lines
from picture_style import COLOURS, DASHES, INK, QUIET, slide

from labday.account import CONTROLLERS, RIGS
from labday.optimiser import BRACKET
from labday.readout import SPECTRUM, read_spectrum
from labday.station import MOLECULES, PARAMETERS, parameters_at

if TYPE_CHECKING:
    from pathlib import Path

    from controllers.account import Controller
    from matplotlib.axes import Axes

    from labday.account import Day, Part

BAD: Final = "#CC3311"
SHADE: Final = "#EEEEEE"
COLOUR_OF: Final = dict(zip(CONTROLLERS, COLOURS, strict=False))
MONITOR_COLOURS: Final = (COLOURS[4], COLOURS[5])
#: Lanes of the time axis, from the top.
LANES: Final = (*CONTROLLERS, *RIGS, "settings")
LANE_OF: Final = {name: lane for lane, name in enumerate(reversed(LANES))}
BAR: Final = 0.76
#: Atomic units times this are shown.
MILLI: Final = 1000.0
#: Angular frequencies that are shown, in thousandths of an atomic unit.
SHOWN: Final = (55.0, 148.0)
#: How far a spectrum reaches towards the row above.
HEIGHT: Final = 0.95
SMALL: Final = 11


def draw(day: Day, path: Path, *, passed: bool) -> None:
    """Write the picture of a day as a PNG.

    Parameters
    ----------
    day : Day
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
    equal = sum(one.same_bits for one in day.measured)
    caption = (
        f"{len(day.measured)} settings, {len(day.sent)} readouts; a driver, a rig and the leader killed (X);"
        f" {equal} of {len(day.measured)} runs equal to undisturbed ones bit for bit"
    )
    if passed:
        caption += "; all checks passed"
    with slide("One day at the laboratory, five packages", caption, path) as figure:
        figure.texts[-1].set_fontsize(12.5)
        _draw_spectra(figure.add_axes((0.045, 0.54, 0.46, 0.30)), day)
        _draw_search(figure.add_axes((0.585, 0.54, 0.395, 0.275)), day)
        lanes = figure.add_axes((0.085, 0.205, 0.895, 0.235))
        readouts = figure.add_axes((0.085, 0.075, 0.895, 0.115), sharex=lanes)
        _draw_lanes(lanes, day)
        _draw_readouts(readouts, day)


# -- what was measured ------------------------------------------------------------------------------


def _draw_spectra(panel: Axes, day: Day) -> None:
    """Draw one row for each setting, as a monitor has recorded it, and ticks at the analytic lines."""
    numbers = {one.number: one for one in day.measured}
    recorded = {setting: (frequency, magnitude) for setting, frequency, magnitude in _recorded(day)}
    rows = sorted(recorded.keys() & numbers.keys())
    for setting in rows:
        frequency, magnitude = recorded[setting]
        row = rows[-1] - setting
        curve = row + HEIGHT * magnitude / magnitude.max()
        colour = INK if setting == rows[-1] else COLOURS[0]
        panel.fill_between(MILLI * frequency, row, curve, color=colour, alpha=0.25, linewidth=0, zorder=-row)
        panel.plot(MILLI * frequency, curve, color=colour, linewidth=1.2, zorder=-row)
        one = numbers[setting]
        for line in analytic_lines(parameters_at(one.cavity_frequency), MOLECULES):
            panel.plot([MILLI * line] * 2, [row - 0.3, row], color=COLOURS[1], linewidth=2.0, zorder=9)
        panel.plot([MILLI * one.cavity_frequency], [row], "|", color=QUIET, markersize=7, zorder=9)
    panel.set_yticks([rows[-1] - row for row in rows], [str(row) for row in rows], fontsize=SMALL)
    panel.set_ylim(-0.45, rows[-1] + HEIGHT + 0.05)
    panel.set_xlim(*SHOWN)
    panel.tick_params(axis="x", labelsize=SMALL)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.set_ylabel("setting", fontsize=12)
    panel.set_xlabel("frequency (10⁻³ a.u.); red: lines expected, grey: cavity", fontsize=12, labelpad=1)


def _recorded(day: Day) -> list[tuple[int, Any, Any]]:
    """Return the spectra that the early monitor has recorded."""
    return [read_spectrum(event.data) for event in day.monitors[0].recorded if event.channel == SPECTRUM]


def _draw_search(panel: Axes, day: Day) -> None:
    """Draw the splitting over the cavity frequency: each setting, and the normal modes."""
    cavity = np.linspace(*BRACKET, 200)
    lines = [analytic_lines(parameters_at(float(one)), MOLECULES) for one in cavity]
    panel.plot(
        MILLI * cavity,
        [MILLI * line.splitting for line in lines],
        color=QUIET,
        linestyle=DASHES,
        linewidth=1.4,
        label="normal modes",
        zorder=1,
    )
    for one in day.measured:
        is_last = one is day.measured[-1]
        panel.plot(
            [MILLI * one.cavity_frequency],
            [MILLI * one.splitting],
            "o",
            color=INK if is_last else COLOURS[0],
            markersize=9,
            markeredgecolor="white",
            zorder=3 if is_last else 2,
        )
    _number_settings(panel, day)
    last = day.measured[-1]
    panel.set_title(
        f"resonance found at {MILLI * last.cavity_frequency:.2f},"
        f" molecules at {MILLI * PARAMETERS.molecule_frequency:.0f}",
        fontsize=12,
        pad=2,
    )
    panel.tick_params(labelsize=SMALL)
    panel.set_xlabel("cavity frequency (10⁻³ a.u.)", fontsize=12, labelpad=1)
    panel.set_ylabel("splitting (10⁻³ a.u.)", fontsize=12)


def _number_settings(panel: Axes, day: Day) -> None:
    """Write the number of each setting above it, side by side where they are close."""
    width = MILLI * (BRACKET[1] - BRACKET[0])
    top = MILLI * max(one.splitting for one in day.measured)
    bottom = MILLI * min(one.analytic for one in day.measured)
    span = 1.9 * (top - bottom)
    panel.set_ylim(bottom - 0.22 * span, bottom + span)
    place = -np.inf
    for one in sorted(day.measured, key=lambda one: one.cavity_frequency):
        x, y = MILLI * one.cavity_frequency, MILLI * one.splitting
        place = max(x, place + 0.032 * width)
        panel.annotate(
            str(one.number),
            (x, y),
            (place, y + 0.22 * span),
            ha="center",
            fontsize=SMALL,
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.7, "shrinkB": 4},
        )


# -- who was there, and when ------------------------------------------------------------------------


def _draw_lanes(panel: Axes, day: Day) -> None:
    """Draw the life of controllers and rigs, and the settings."""
    for name, reign in (("election", day.first), ("succession", day.second)):
        since, until = reign.vacant_since - day.begin, reign.known_at - day.begin
        panel.axvspan(since, until, facecolor=SHADE, edgecolor="none", zorder=0)
        panel.text(
            until, len(LANES) - 0.45, f"{name} {reign.seconds:.2f} s", ha="right", va="bottom", fontsize=SMALL
        )
    for controller in day.controllers:
        _draw_controller(panel, day, controller)
    for rig in day.rigs:
        _draw_rig(panel, day, rig)
    _draw_settings(panel, day)
    panel.set_yticks(list(LANE_OF.values()), list(LANE_OF), fontsize=12)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelbottom=False, length=0)
    panel.set_ylim(-0.55, len(LANES) - 0.4)
    panel.set_xlim(-0.01 * (day.end - day.begin), day.end - day.begin)
    panel.spines[["left", "bottom"]].set_visible(False)


def _draw_controller(panel: Axes, day: Day, one: Controller) -> None:
    """Draw whom it followed, as long as it lived."""
    names = {other.member_id: other.name for other in day.controllers}
    lane, end = LANE_OF[one.name], day.end if one.killed_at is None else one.killed_at
    panel.barh(
        lane,
        end - one.begin,
        BAR,
        one.begin - day.begin,
        facecolor="white",
        edgecolor=QUIET,
        linewidth=1.0,
        zorder=2,
    )
    news = [report for report in one.reports if report["kind"] in {"elected", "exited"}]
    for report, until in zip(news, [*(later["seconds"] for later in news[1:]), end], strict=False):
        since, until = report["seconds"], min(until, end)
        if report["kind"] == "exited" or since >= end:
            continue
        leads = report["leader"] == one.member_id
        panel.barh(
            lane,
            until - since,
            BAR,
            since - day.begin,
            color=COLOUR_OF[names[report["leader"]]],
            alpha=1.0 if leads else 0.3,
            zorder=2,
        )
        if leads:
            panel.text(
                since - day.begin + 0.004 * (day.end - day.begin),
                lane,
                f"leads, term {report['term']}",
                color="white",
                va="center_baseline",
                fontsize=SMALL - 1,
                weight="bold",
                zorder=5,
            )
    _draw_death(panel, day, one.killed_at, lane)


def _draw_rig(panel: Axes, day: Day, rig: Part) -> None:
    """Draw its life, and a tick for each command that it was given."""
    lane = LANE_OF[rig.name]
    begin = rig.all("event")[0]["seconds"] if rig.all("event") else day.back_at
    events = [event["seconds"] for event in rig.all("event")]
    end = rig.killed_at if rig.killed_at is not None else max([begin, *events])
    panel.plot([begin - day.begin, end - day.begin], [lane] * 2, color=COLOURS[2], linewidth=2.5, zorder=2)
    ticks = [moment - day.begin for moment in events]
    panel.vlines(ticks, lane - BAR / 2, lane + BAR / 2, colors=COLOURS[2], linewidth=1.8, zorder=3)
    _draw_death(panel, day, rig.killed_at, lane)
    silent_at = day.silent_at()
    if rig.killed_at is not None and silent_at is not None:
        panel.plot([silent_at - day.begin], [lane], "D", color=BAD, markersize=6, zorder=6)


def _draw_settings(panel: Axes, day: Day) -> None:
    lane = LANE_OF["settings"]
    names = {report["term"]: name for name, report in day.told("directs")}
    for one in day.measured:
        panel.barh(
            lane,
            one.end - one.begin,
            BAR,
            one.begin - day.begin,
            color=COLOUR_OF.get(names.get(one.term, ""), QUIET),
            edgecolor="white",
            linewidth=1.5,
        )
        # On the left: a death is in the middle.
        place = one.begin - day.begin + 0.006 * (day.end - day.begin)
        panel.text(
            place,
            lane,
            str(one.number),
            color="white",
            va="center_baseline",
            fontsize=SMALL - 1,
            weight="bold",
        )
        _draw_death(panel, day, one.killed_at, lane)


def _draw_death(panel: Axes, day: Day, at: float | None, lane: int) -> None:
    if at is not None:
        place = [at - day.begin], [lane]
        panel.plot(*place, "X", color=BAD, markersize=11, markeredgecolor="white", zorder=6)


def _draw_readouts(panel: Axes, day: Day) -> None:
    """Draw what each monitor had received and lost, now and then."""
    for monitor, colour, width in zip(day.monitors, MONITOR_COLOURS, (5.0, 2.0), strict=True):
        samples = [*monitor.part.all("sample"), monitor.end]
        seconds = [one["seconds"] - day.begin for one in samples]
        received = [one["received"] for one in samples]
        label = f"{monitor.part.name}: {received[-1]} received, {monitor.end['lost']} lost"
        panel.plot(seconds, received, color=colour, linewidth=width, label=label, drawstyle="steps-post")
        panel.plot(seconds, [one["lost"] for one in samples], color=BAD, linewidth=1.2, linestyle=":")
    marks = "ticks: commands to a rig; ◆: its silence is reported; dotted: readouts lost"
    panel.text(1.0, -0.44, marks, transform=panel.transAxes, ha="right", fontsize=SMALL, color=QUIET)
    panel.legend(loc="upper left", frameon=False, fontsize=SMALL, handlelength=1.4)
    panel.set_ylim(-0.04 * len(day.sent), 1.08 * len(day.sent))
    panel.tick_params(labelsize=SMALL)
    panel.set_xlabel("time (s)", fontsize=12, labelpad=1, loc="left")
    panel.set_ylabel("readouts", fontsize=12)
