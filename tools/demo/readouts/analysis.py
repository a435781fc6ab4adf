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


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast something was replayed; all is nan if that cannot be said.

    Attributes
    ----------
    factor : float
        Times as fast as it was recorded.
    uncertainty : float
        Relative. A computer that makes somebody wait moves events off the line through all of them, and
        turns that line: by three times the largest distance, per length of the replay, if it does so once.
        Twice as much is allowed for.
    """

    factor: float
    uncertainty: float


def pace(recorded_s: NDArray[np.float64], replayed_s: NDArray[np.float64]) -> Pace:
    """Find the pace of a replay, by the line through the moments of all events."""
    nan = float("nan")
    if len(recorded_s) != len(replayed_s) or len(recorded_s) < 2:
        return Pace(nan, nan)
    recorded, replayed = recorded_s - recorded_s[0], replayed_s - replayed_s[0]
    slope, start = np.polyfit(recorded, replayed, 1)
    if slope <= 0:
        return Pace(nan, nan)
    scatter = float(np.abs(replayed - slope * recorded - start).max())
    return Pace(float(1.0 / slope), 6.0 * scatter / float(slope * recorded[-1]))
