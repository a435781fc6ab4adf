"""A readout class like the one that real DAQ hosts use, for the tests.

======= =============================================
bytes   content
======= =============================================
0-2     fe dc ba
3-6     readout id, u32 little-endian
7-14    timestamp, u64 little-endian, ns
15-18   payload length, u32 little-endian
19-     payload, without trailing ff
======= =============================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEAD = struct.Struct("<3sIQI")
_MAGIC = b"\xfe\xdc\xba"
_HIT_SIZE = 8
_IDLE = (0xBC, 0xFF)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TICKS_PER_US = 20


def _gray(value):
    """Decode a number in Gray code."""
    shift = value >> 1
    while shift:
        value ^= shift
        shift >>= 1
    return value


@dataclass
class Readout:
    """One readout of the chip."""

    readout_id: int
    timestamp: int
    payload: bytes

    def to_bytes(self):
        return _HEAD.pack(_MAGIC, self.readout_id, self.timestamp, len(self.payload)) + self.payload

    @classmethod
    def from_bytes(cls, data):
        if data[:3] != _MAGIC:
            raise RuntimeError(f"not a readout: {data[:3].hex()}")
        _, readout_id, timestamp, size = _HEAD.unpack_from(data)
        if len(data) != _HEAD.size + size:
            raise RuntimeError(f"{len(data) - _HEAD.size} bytes of payload, not {size}")
        return cls(readout_id, timestamp, data[_HEAD.size :])

    def hits(self, rest=b""):
        """Return the hits, and what a hit that was cut left over; `rest` is that of the readout before."""
        data = rest + self.payload
        found, start = [], 0
        while start < len(data):
            if data[start] in _IDLE or data[start] & 0xE0 != 0xE0:
                start += 1
                continue
            if start + _HIT_SIZE > len(data):
                return found, data[start:]
            found.append(self._hit(data[start : start + _HIT_SIZE], len(found)))
            start += _HIT_SIZE
        return found, b""

    def _hit(self, data, order):
        raw = data.translate(_REVERSED)
        bits = f"{int.from_bytes(raw, 'big'):064b}"

        def field(start, end):
            return int(bits[start:end], 2)

        hit = {
            "chip_id": field(0, 5),
            "payload": field(5, 8),
            "readout_id": self.readout_id,
            "timestamp": self.timestamp,
            "decoding_order": order,
            "row": field(8, 13),
            "column": field(13, 18),
        }
        for number, start in ((1, 18), (2, 41)):
            hit[f"ts_neg{number}"] = field(start, start + 1)
            hit[f"ts_coarse{number}"] = field(start + 1, start + 15)
            hit[f"ts_fine{number}"] = field(start + 15, start + 18)
            hit[f"ts_tdc{number}"] = field(start + 18, start + 23)
            hit[f"ts_dec{number}"] = _gray(field(start + 1, start + 18))
        if hit["ts_dec2"] < hit["ts_dec1"]:
            hit["ts_dec2"] += 1 << 17
        hit["tot_us"] = (hit["ts_dec2"] - hit["ts_dec1"]) / _TICKS_PER_US
        hit["raw_data"] = raw.hex()
        return hit
