"""How the pictures of all acts look: the shape of a slide, title, caption, colours.

Drawn with matplotlib's file backend; no display is needed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

#: Inches: the shape of a slide.
SIZE: Final = (12.8, 7.2)
DOTS_PER_INCH: Final = 150

#: One colour per curve, told apart also without colour vision.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES: Final = (0, (5, 3))
INK: Final = "#222222"
QUIET: Final = "#777777"

STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 14,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.labelsize": 15,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


@contextlib.contextmanager
def slide(title: str, caption: str, path: Path) -> Iterator[Figure]:
    """Give an empty figure to draw on, and write it as a PNG in the end.

    Parameters
    ----------
    title, caption : str
        One line each.
    path : Path
        The file; its folder is made if it is missing.

    Raises
    ------
    OSError
        The file could not be written.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = plt.figure(figsize=SIZE)
        try:
            figure.text(0.035, 0.925, title, fontsize=24, weight="bold")
            figure.text(0.035, 0.872, caption, fontsize=14, color=QUIET)
            yield figure
            figure.savefig(path, dpi=DOTS_PER_INCH)
        finally:
            plt.close(figure)
