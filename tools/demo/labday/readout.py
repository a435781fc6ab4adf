"""What the measurement station sends: the field of each run in pieces, and its spectrum.

All is little-endian; each kind has a channel of its own. All messages of the
station are numbered in one row, by the channel protocol.

======= ===========================================
Field
===================================================
0-3     number of the setting, u32, from 0
4-7     first step, u32, from 0
8-      velocity of the cavity at `PIECE` steps, f64
======= ===========================================

======= ===========================================
Spectrum
===================================================
0-3     number of the setting, u32, from 0
4-7     points, u32
8-15    first frequency, f64, atomic units
16-23   spacing of the frequencies, f64
24-     magnitudes, f32
======= ===========================================
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cavity.spectrum import Spectrum
    from numpy.typing import NDArray

FIELD: Final = "FIELD"
SPECTRUM: Final = "SPECTRUM"
#: Steps of a piece.
PIECE: Final = 10
#: Angular frequencies that are of interest, atomic units.
SHOWN: Final = (0.04, 0.18)

_FIELD: Final = struct.Struct("<II")
_SPECTRUM: Final = struct.Struct("<IIdd")


def field_pieces(setting: int, velocity: NDArray[np.float64]) -> Iterator[bytes]:
    """Yield the field of a run, piece by piece; the last may be shorter."""
    for first in range(0, len(velocity), PIECE):
        yield _FIELD.pack(setting, first) + velocity[first : first + PIECE].astype("<f8").tobytes()


def spectrum_bytes(setting: int, spectrum: Spectrum) -> bytes:
    """Return the interesting part of a spectrum as a message."""
    first, end = np.searchsorted(spectrum.frequency, SHOWN)
    frequency, magnitude = spectrum.frequency[first:end], spectrum.magnitude[first:end]
    spacing = spectrum.frequency[1] - spectrum.frequency[0]
    return _SPECTRUM.pack(setting, len(frequency), frequency[0], spacing) + magnitude.astype("<f4").tobytes()


def read_spectrum(data: bytes) -> tuple[int, NDArray[np.float64], NDArray[np.float32]]:
    """Return number of the setting, frequencies (points,) and magnitudes (points,) of a message.

    Raises
    ------
    ValueError, struct.error
        It is not as long as it says.
    """
    setting, points, first, spacing = _SPECTRUM.unpack_from(data)
    magnitude = np.frombuffer(data, "<f4", points, _SPECTRUM.size)
    return setting, first + spacing * np.arange(points), magnitude
