"""What the data themselves say, without asking any counter: holes in numbers, lines, the pace of a replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from readouts.detector import K_ALPHA_KEV
from readouts.readout import PULSE_PER_KEV

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: keV on both sides of a line: two standard deviations, and little of the other line.
_WINDOW_KEV: Final = 1.0


@dataclass(frozen=True, slots=True)
class Holes:
    """What is missing among received numbers.

    Attributes
    ----------
    first, last : int
        The first and the last number that was received; -1 if none was.
    lost : int
        Numbers between them that were not.
    gaps : int
        Runs of such numbers.
    unseen : int
        Numbers after the last one, which no receiver can know of.
    """

    first: int
    last: int
    lost: int
    gaps: int
    unseen: int


def holes(numbers: NDArray[np.unsignedinteger[Any]], sent: int) -> Holes:
    """Find what is missing.

    Parameters
    ----------
    numbers : ndarray, shape (received,), unsigned integers
        Rising.
    sent : int
        How many were sent, from 0.
    """
    if not len(numbers):
        return Holes(-1, -1, 0, 0, sent)
    left_out = np.diff(numbers.astype(np.int64)) - 1
    first, last = int(numbers[0]), int(numbers[-1])
    return Holes(first, last, int(left_out.sum()), int(np.count_nonzero(left_out)), sent - 1 - last)


def are_sent(received: NDArray[np.void], sent: NDArray[np.void]) -> bool:
    """Whether every received hit is one that was sent, bit for bit, in order and none twice."""
    numbers = received["number"].astype(np.int64)
    if np.any(np.diff(numbers) <= 0) or np.any(numbers >= len(sent)):
        return False
    return received.tobytes() == sent[numbers].tobytes()


def k_alpha_kev(hits: NDArray[np.void]) -> float:
    """Return where the K-alpha line is, keV; nan without hits."""
    energies = hits["pulse"] / PULSE_PER_KEV
    # The window follows the line, so that a line elsewhere is not cut into place.
    middle = K_ALPHA_KEV
    for _ in range(5):
        inside = energies[np.abs(energies - middle) < _WINDOW_KEV]
        if not len(inside):
            return float("nan")
        middle = float(inside.mean())
    return middle


def pace(recorded_s: NDArray[np.float64], replayed_s: NDArray[np.float64]) -> float:
    """Return how many times as fast as it was recorded something was replayed; nan if that cannot be said."""
    if len(recorded_s) != len(replayed_s) or len(recorded_s) < 2:
        return float("nan")
    slope = np.polyfit(recorded_s - recorded_s[0], replayed_s - replayed_s[0], 1)[0]
    return float(1.0 / slope) if slope > 0 else float("nan")
