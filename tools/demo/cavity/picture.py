"""The picture: spectra of all numbers of molecules, and how the splitting grows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from picture_style import COLOURS, DASHES, INK, QUIET, slide

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from cavity.analysis import Analysis
    from cavity.solver import Parameters


def draw(analyses: Sequence[Analysis], parameters: Parameters, caption: str, path: Path) -> None:
    """Write the spectra as a PNG.

    Parameters
    ----------
    analyses : sequence of Analysis
        One panel each, from top to bottom.
    parameters : Parameters
        For the empty cavity's line and the units.
    caption : str
        One line under the title.
    path : Path
        The file; its folder is made if it is missing.

    Raises
    ------
    OSError
        The file could not be written.
    """
    with slide("Polaritons of a cavity with N molecules", caption, path) as figure:
        grid = figure.add_gridspec(
            len(analyses), 2, width_ratios=(1.75, 1.0), left=0.035, right=0.965, top=0.82, bottom=0.115,
            hspace=0.12, wspace=0.2,
        )  # fmt: skip
        panels = [figure.add_subplot(grid[row, 0]) for row in range(len(analyses))]
        window = _frequency_window(analyses, parameters)
        for number, (panel, analysis) in enumerate(zip(panels, analyses, strict=True)):
            _draw_spectrum(panel, analysis, parameters, window, COLOURS[number % len(COLOURS)])
        for panel in panels[:-1]:
            panel.tick_params(labelbottom=False)
        panels[0].legend(frameon=False, loc="upper right", fontsize=13, borderaxespad=0.0)
        panels[-1].text(1.006, 0.5, "cavity and\nmolecule alone", fontsize=12, color=QUIET, va="center")
        panels[-1].set_xlabel(r"frequency  $\omega\,/\,\omega_{\mathrm{c}}$")
        _draw_splitting(figure.add_subplot(grid[:, 1]), analyses, parameters)


def _frequency_window(analyses: Sequence[Analysis], parameters: Parameters) -> tuple[float, float]:
    """Relative to the cavity: all lines, and some room beside them."""
    widest = max(analyses, key=lambda analysis: analysis.analytic.splitting).analytic
    margin = 0.45 * widest.splitting
    return (
        max(0.0, widest.lower - margin) / parameters.cavity_frequency,
        (widest.upper + margin) / parameters.cavity_frequency,
    )


def _draw_spectrum(
    panel: Axes, analysis: Analysis, parameters: Parameters, window: tuple[float, float], colour: str
) -> None:
    unit = parameters.cavity_frequency
    frequency = analysis.spectrum.frequency / unit
    shown = (frequency >= window[0]) & (frequency <= window[1])
    power = (analysis.spectrum.magnitude / analysis.spectrum.magnitude[shown].max()) ** 2
    panel.axvline(1.0, ymax=0.72, color=QUIET, linewidth=1.2, linestyle=(0, (1, 2)))
    panel.fill_between(frequency[shown], power[shown], color=colour, alpha=0.22, linewidth=0)
    panel.plot(frequency[shown], power[shown], color=colour, linewidth=2.2, label="found in the spectrum")
    for number, line in enumerate(analysis.analytic):
        panel.plot(
            [line / unit] * 2, [0.0, 1.06], color=INK, linewidth=1.4, linestyle=DASHES,
            label="analytic normal mode" if number == 0 else None,
        )  # fmt: skip
    for found in analysis.found:
        panel.text(found / unit, 1.12, f"{found / unit:.4f}", ha="center", fontsize=13, color=colour)
    panel.text(
        0.012, 0.70, f"N = {analysis.molecules}", transform=panel.transAxes, fontsize=19, weight="bold",
        color=colour,
    )  # fmt: skip
    panel.set_xlim(*window)
    panel.set_ylim(0.0, 1.4)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


def _draw_splitting(panel: Axes, analyses: Sequence[Analysis], parameters: Parameters) -> None:
    unit = parameters.cavity_frequency
    most = math.sqrt(max(analysis.molecules for analysis in analyses))
    line = np.array([0.0, 1.15 * most])
    panel.plot(
        line, line * parameters.collective_coupling / unit, color=INK, linewidth=1.4, linestyle=DASHES,
        label=r"analytic:  $G\,\sqrt{N}$",
    )  # fmt: skip
    for number, analysis in enumerate(analyses):
        place = math.sqrt(analysis.molecules), analysis.found.splitting / unit
        colour = COLOURS[number % len(COLOURS)]
        panel.plot(*place, "o", markersize=13, color=colour, markeredgecolor="white")
        deviation = 100.0 * (analysis.found.splitting / analysis.analytic.splitting - 1.0)
        # Labels of the points on the right stand on the other side of the line, or they would leave it.
        right = place[0] > 0.7 * most
        panel.annotate(
            f"N = {analysis.molecules}:  {deviation:+.2f} %", place, xytext=(-16, 4) if right else (14, -16),
            textcoords="offset points", fontsize=13, color=colour, ha="right" if right else "left",
        )  # fmt: skip
    panel.set_xlabel(r"$\sqrt{N}$")
    panel.set_ylabel(r"splitting  $(\omega_+ - \omega_-)\,/\,\omega_{\mathrm{c}}$")
    panel.set_xlim(0.0, 1.15 * most)
    panel.set_ylim(0.0, 1.15 * most * parameters.collective_coupling / unit)
    panel.legend(frameon=False, loc="lower right")
