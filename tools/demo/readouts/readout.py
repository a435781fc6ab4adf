"""What the detector's DAQ sends: every hit as a datagram, now and then a map of all hits on a channel.

======= ====================================
Hit, 16 bytes, little-endian
============================================
0-3     number, u32, from 0
4-11    time, ns since the detector's start, u64
12, 13  column and row of the pixel, u8
14-15   pulse height, `PULSE_PER_KEV`, u16
======= ====================================

======= ====================================
HitMap, 8200 bytes, little-endian
============================================
0-3     number, u32, from 0
4-7     hits so far, u32
8-      hits of each pixel, row by row, u16
======= ====================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Pixels of the sensor, in a column and in a row.
SIDE: Final = 64

#: Pulse height of a keV.
PULSE_PER_KEV: Final = 1000

#: Channel of the hit maps.
CHANNEL: Final = "HITMAP"

_HIT: Final = struct.Struct("<IQBBH")
_MAP: Final = struct.Struct(f"<II{SIDE * SIDE}H")

#: Bytes.
HIT_SIZE: Final = _HIT.size
MAP_SIZE: Final = _MAP.size


class Hit(NamedTuple):
    """One photon in one pixel: a readout.

    Attributes
    ----------
    number : int
        Which one, from 0. Its gaps tell what was lost.
    time_ns : int
        Of the detector's clock.
    column, row : int
        Of the pixel.
    pulse : int
        `PULSE_PER_KEV` of them are a keV.
    """

    number: int
    time_ns: int
    column: int
    row: int
    pulse: int

    def to_bytes(self) -> bytes:
        """Return the datagram."""
        return _HIT.pack(*self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Hit:
        """Read a datagram.

        Raises
        ------
        struct.error
            It is not 16 bytes long.
        """
        return cls._make(_HIT.unpack(data))


@dataclass(frozen=True, slots=True)
class HitMap:
    """All hits so far, pixel by pixel: a readout that takes several datagrams.

    Attributes
    ----------
    number : int
        Which one, from 0.
    hits : int
        How many so far.
    pixels : sequence of int, length SIDE * SIDE
        Hits of each, row by row.
    """

    number: int
    hits: int
    pixels: Sequence[int]

    def to_bytes(self) -> bytes:
        """Return the message."""
        return _MAP.pack(self.number, self.hits, *self.pixels)

    @classmethod
    def from_bytes(cls, data: bytes) -> HitMap:
        """Read a message.

        Raises
        ------
        struct.error
            It is not `MAP_SIZE` bytes long.
        """
        number, hits, *pixels = _MAP.unpack(data)
        return cls(number, hits, pixels)
