"""The simulated detector: pixels under the fluorescence light of silver.

Photons come at random (exponential pauses), in a round spot in the middle of
the sensor, with the energies of the two K lines on a flat background, blurred
by the resolution. The seed is fixed, so that two runs send the same bytes.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from readouts.readout import PULSE_PER_KEV, SIDE, Hit

if TYPE_CHECKING:
    from collections.abc import Iterator

#: keV, of silver; and how many of the photons in a line are K-alpha.
K_ALPHA_KEV: Final = 22.163
K_BETA_KEV: Final = 24.942
K_ALPHA_SHARE: Final = 0.84

#: Share of photons in no line, and their energies in keV.
BACKGROUND_SHARE: Final = 0.1
BACKGROUND_KEV: Final = (10.0, 35.0)

#: keV, one standard deviation.
RESOLUTION_KEV: Final = 0.5

#: Pixels, one standard deviation of the spot.
SPOT_PIXELS: Final = 10.0


def photons(count: int, rate: float, seed: int = 47) -> Iterator[Hit]:
    """Yield hits in the order of their times.

    Parameters
    ----------
    count : int
        How many.
    rate : float
        Hits per second, on average.
    seed : int
        Of the random numbers.
    """
    source = random.Random(seed)
    seconds = 0.0
    for number in range(count):
        seconds += source.expovariate(rate)
        pulse = round(_energy_kev(source) * PULSE_PER_KEV)
        yield Hit(number, round(seconds * 1e9), _pixel(source), _pixel(source), pulse)


def _energy_kev(source: random.Random) -> float:
    if source.random() < BACKGROUND_SHARE:
        return source.uniform(*BACKGROUND_KEV)
    line = K_ALPHA_KEV if source.random() < K_ALPHA_SHARE else K_BETA_KEV
    return source.gauss(line, RESOLUTION_KEV)


def _pixel(source: random.Random) -> int:
    while True:
        pixel = int(source.gauss(SIDE / 2, SPOT_PIXELS) // 1)
        if 0 <= pixel < SIDE:
            return pixel
