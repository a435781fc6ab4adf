"""A picture of rates and losses; needs matplotlib, the ``plot`` extra."""

from __future__ import annotations

import importlib.util
import itertools
from typing import TYPE_CHECKING, Final

from udp_multicast._commands._history import ALL
from udp_multicast._commands._place import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from udp_multicast._commands._history import Sample

#: Senders with a line of their own.
_MAX_LINES: Final = 10


def require_matplotlib() -> None:
    """Say early what would be missing in the end.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'udp-multicast[plot]'")


def draw(path: Path, samples: Sequence[Sample], title: str) -> None:
    """Draw rates and losses over time.

    Parameters
    ----------
    path : Path
        File to write; its suffix says the format.
    samples : sequence of Sample
        At least one.
    title : str
        What was listened to.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        There is no such format.
    """
    # Without pyplot, which would look for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    last = samples[-1]
    loudest = sorted(last.messages, key=lambda name: (name != ALL, -last.messages[name]))[: _MAX_LINES + 1]
    for name in loudest:
        style = {"color": "black", "linewidth": 1.5} if name == ALL else {"linewidth": 0.8}
        above.plot(*rates(samples, name), label=name, drawstyle="steps-pre", **style)
    above.set_title(title)
    above.set_ylabel("messages per second")
    above.set_ylim(bottom=0)
    above.legend(loc="upper left", fontsize="small")
    below.plot([one.seconds for one in samples], [one.lost for one in samples], color="tab:red")
    below.set_ylabel("lost")
    below.set_ylim(bottom=0)
    below.set_xlabel("seconds")
    figure.savefig(path, dpi=150)


def rates(samples: Sequence[Sample], name: str) -> tuple[list[float], list[float]]:
    """Return when, and how many messages per second came since the sample before that knows the sender."""
    seconds, found = [], []
    for before, after in itertools.pairwise(sample for sample in samples if name in sample.messages):
        seconds.append(after.seconds)
        found.append((after.messages[name] - before.messages[name]) / (after.seconds - before.seconds))
    return seconds, found
