"""The picture: rates, losses and maps on one time axis; beside them what the detector saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from picture_style import COLOURS, DASHES, INK, QUIET, slide

from readouts.analysis import holes
from readouts.detector import K_ALPHA_KEV, K_BETA_KEV
from readouts.readout import PULSE_PER_KEV, SIDE, HitMap
from readouts.session import SPEED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from readouts.account import Monitor, Session

#: Seconds of a point of a rate: the period of the slow monitor's drawing.
RATE_INTERVAL_S: Final = 0.1
COLOUR_OF: Final = dict(zip(("early", "late", "slow"), COLOURS, strict=False))
#: keV, shown of the spectrum.
SHOWN_KEV: Final = (17.0, 30.0)
BINS: Final = 105


def draw(session: Session, path: Path, *, passed: bool) -> None:
    """Write the picture of a session as a PNG.

    Parameters
    ----------
    session : Session
        What was seen.
    path : Path
        The file; its folder is made if it is missing.
    passed : bool
        Whether all checks passed, which the caption then says.

    Raises
    ------
    OSError
        The file could not be written.
    """
    begin = session.exposures[0]["begin"]
    caption = f"{len(session.sent)} readouts in {len(session.exposures)} exposures, one process per monitor"
    if passed:
        caption += "; every readout that a monitor missed is accounted for"
    with slide("A detector's readouts, multicast to three monitors", caption, path) as figure:
        grid = figure.add_gridspec(
            1, 2, width_ratios=(1.9, 1.0), left=0.085, right=0.975, top=0.815, bottom=0.11, wspace=0.2
        )
        left = grid[0].subgridspec(3, 1, height_ratios=(2.2, 1.7, 0.8), hspace=0.2)
        rates = figure.add_subplot(left[0])
        losses = figure.add_subplot(left[1], sharex=rates)
        maps = figure.add_subplot(left[2], sharex=rates)
        for panel in (rates, losses, maps):
            for exposure in session.exposures:
                panel.axvspan(
                    exposure["begin"] - begin, exposure["end"] - begin, color=QUIET, alpha=0.11, linewidth=0
                )
        _draw_rates(rates, session, begin)
        _draw_losses(losses, session, begin)
        _draw_maps(maps, session, begin)
        for panel in (rates, losses):
            panel.tick_params(labelbottom=False)
        end = max([session.exposures[-1]["end"], *session.replayed_s])
        rates.set_xlim(-0.05, end - begin + 0.1)
        figure.align_ylabels([rates, losses])
        right = grid[1].subgridspec(2, 1, height_ratios=(1.35, 1.0), hspace=0.35)
        _draw_sensor(figure.add_subplot(right[0]), session)
        _draw_spectrum(figure.add_subplot(right[1]), session)


def _draw_rates(panel: Axes, session: Session, begin: float) -> None:
    edges = np.arange(-RATE_INTERVAL_S, session.exposures[-1]["end"] - begin + 0.2, RATE_INTERVAL_S)
    sent = _rate(session.samples, "sent", edges + begin) / 1000.0
    panel.stairs(sent, edges, color=QUIET, fill=True, alpha=0.35, label="sent")
    for monitor in session.monitors:
        rate = _rate(monitor.samples, "received", edges + begin) / 1000.0
        middle = (edges[1:] + edges[:-1]) / 2.0
        # Before its first report a monitor was not there.
        there = middle > monitor.samples[0]["seconds"] - begin
        panel.plot(
            middle[there], rate[there], color=COLOUR_OF[monitor.name], label=monitor.name,
            linewidth=4.5 if monitor.name == "early" else 2.2,
        )  # fmt: skip
    panel.set_ylabel("readouts / ms")
    panel.set_ylim(0.0, 1.12 * max(sent))
    panel.legend(frameon=False, loc="center right", fontsize=13)


def _rate(samples: Sequence[Mapping[str, Any]], key: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the increase of a count per second, between edges."""
    seconds = [sample["seconds"] for sample in samples]
    # A monitor may have found some in its buffer before its first report; a sender has sent none.
    counts = np.interp(edges, seconds, [sample[key] for sample in samples], left=samples[0][key])
    rate: NDArray[np.float64] = np.diff(counts) / np.diff(edges)
    return rate


def _draw_losses(panel: Axes, session: Session, begin: float) -> None:
    for monitor in session.monitors:
        colour, end = COLOUR_OF[monitor.name], monitor.end
        seconds = [sample["seconds"] - begin for sample in monitor.samples]
        lost = [sample["lost"] / 1000.0 for sample in monitor.samples]
        # Early and late lie on each other as a rule.
        panel.plot(seconds, lost, color=colour, linewidth=4.5 if monitor.name == "early" else 2.2)
        if end["lost"]:
            drops = [(sample["kernel_drops"] or 0) / 1000.0 for sample in monitor.samples]
            panel.plot(seconds, drops, "o", color=colour, markersize=4.5, markeredgecolor="white")
            unseen = holes(monitor.hits["number"], len(session.sent)).unseen
            at_end = f"\n+ {unseen} at the end" if unseen else ""
            panel.text(
                seconds[-1] + 0.06, max(lost[-1], drops[-1]),
                f"{monitor.name}: {end['lost']} left out (line){at_end}\n"
                f"= {end['kernel_drops']} kernel drops (dots)",
                color=colour, fontsize=12, va="top",
            )  # fmt: skip
    unharmed = [monitor.name for monitor in session.monitors if not monitor.end["lost"]]
    if unharmed:
        panel.text(
            session.exposures[-1]["end"] - begin + 0.3, 0.0, f"{' and '.join(unharmed)}: nothing lost",
            fontsize=12, va="bottom",
        )  # fmt: skip
    panel.set_ylabel("lost / 1000")
    panel.set_ylim(bottom=-0.04 * panel.get_ylim()[1])


def _draw_maps(panel: Axes, session: Session, begin: float) -> None:
    panel.eventplot(
        [session.recorded_s - begin, session.replayed_s - begin],
        lineoffsets=[1.0, 0.0], linelengths=0.72, linewidths=[1.1, 0.6], colors=[INK, COLOURS[3]],
    )  # fmt: skip
    if len(session.replayed_s):
        panel.text(
            session.replayed_s[0] - begin - 0.05, 0.0, f"replayed {SPEED:g} times as fast",
            ha="right", va="center", fontsize=13, color=COLOURS[3],
        )  # fmt: skip
    if len(session.recorded_s):
        panel.text(
            session.recorded_s[-1] - begin + 0.06, 1.0, f"{len(session.recorded_s)} maps recorded",
            va="center", fontsize=13,
        )  # fmt: skip
    panel.set_yticks([])
    panel.set_ylim(-0.55, 1.55)
    panel.spines["left"].set_visible(False)
    panel.set_xlabel("time (s); the shutter is open where it is grey")


def _draw_sensor(panel: Axes, session: Session) -> None:
    hits = HitMap.from_bytes(session.replayed[-1]) if session.replayed else HitMap(0, 0, [0] * (SIDE * SIDE))
    shown = panel.imshow(np.reshape(hits.pixels, (SIDE, SIDE)), cmap="viridis", origin="lower")
    panel.set_title(f"last map of the replay: {hits.hits} hits", fontsize=14, pad=8)
    panel.set_xticks([0, 31, 63])
    panel.set_yticks([0, 31, 63])
    panel.figure.colorbar(shown, ax=panel, pad=0.03, label="hits in a pixel")


def _draw_spectrum(panel: Axes, session: Session) -> None:
    early, _, slow = session.monitors
    edges = np.linspace(*SHOWN_KEV, BINS + 1)
    for monitor in (early, slow):
        counts, _ = np.histogram(_energies_kev(monitor), edges)
        panel.stairs(
            counts, edges, color=COLOUR_OF[monitor.name], fill=monitor is slow, linewidth=2.0,
            alpha=0.5 if monitor is slow else 1.0, label=monitor.name,
        )  # fmt: skip
    top = panel.get_ylim()[1]
    for name, line in ((r"Ag K$\alpha$", K_ALPHA_KEV), (r"K$\beta$", K_BETA_KEV)):
        panel.axvline(line, ymax=0.88, color=INK, linewidth=1.2, linestyle=DASHES)
        panel.text(line, 1.02 * top, name, ha="center", fontsize=13)
    panel.set_ylim(0.0, 1.12 * top)
    panel.set_xlim(*SHOWN_KEV)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.set_xlabel("photon energy (keV)")
    panel.legend(frameon=False, loc="center right", fontsize=13)


def _energies_kev(monitor: Monitor) -> NDArray[np.float64]:
    energies: NDArray[np.float64] = monitor.hits["pulse"] / PULSE_PER_KEV
    return energies
