"""Which setting is measured next: the search for the cavity frequency at which the two lines are closest.

The splitting of the two polaritons obeys ``S^2 = (wc - w0)^2 + G^2`` exactly, so it
has one minimum, at resonance. The search is a golden section; its last
setting is the vertex of the parabola through all that was measured.

The next setting follows from the measurements alone. So every controller that
knows them would choose the same one, and a new leader goes on where the old
one was.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Cavity frequencies in which the resonance is looked for, atomic units.
BRACKET: Final = (0.070, 0.136)
#: A parabola needs three measurements.
FEWEST_SETTINGS: Final = 4

_GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0


def next_frequency(frequencies: Sequence[float], splittings: Sequence[float], settings: int) -> float | None:
    """Choose the next cavity frequency.

    Parameters
    ----------
    frequencies, splittings : sequence of float
        What was measured so far, in the order in which this function chose it;
        atomic units.
    settings : int
        How many there are to be in all; at least `FEWEST_SETTINGS`.

    Returns
    -------
    float or None
        Atomic units; None if all were measured.
    """
    if len(splittings) >= settings:
        return None
    if len(splittings) == settings - 1:
        return _vertex(frequencies, splittings)
    return _golden_section(splittings)


def _golden_section(splittings: Sequence[float]) -> float:
    low, high = BRACKET
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    if len(splittings) < 2:
        return (left, right)[len(splittings)]
    at_left, at_right = splittings[:2]
    for value in [*splittings[2:], math.nan]:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left, at_left = high - _GOLDEN * (high - low), value
            chosen = left
        else:
            low, left, at_left = left, right, at_right
            right, at_right = low + _GOLDEN * (high - low), value
            chosen = right
    return chosen


def _vertex(frequencies: Sequence[float], splittings: Sequence[float]) -> float:
    """Return the minimum of the least-squares parabola, but nothing outside of the bracket."""
    curvature, slope, _ = np.polyfit(frequencies, np.square(splittings), 2)
    low, high = BRACKET
    return min(max(float(-slope / (2.0 * curvature)), low), high) if curvature > 0.0 else low
