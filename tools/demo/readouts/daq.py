"""The DAQ process: sends the hits of an exposure whenever it is told ``expose``.

Every hit is a readout of its own, at a steady pace. After each `MAP_INTERVAL_S`
the map of all hits so far goes out on a channel, in fragments of one Ethernet
frame. In the end it writes down what it has sent, for the checks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reporting import report

from readouts.detector import photons
from readouts.readout import CHANNEL, SIDE, HitMap
from udp_multicast import ChannelSender, MulticastSender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from readouts.readout import Hit

#: Readouts per second while the shutter is open.
RATE: Final = 20_000.0
#: Seconds from map to map.
MAP_INTERVAL_S: Final = 0.05
#: Readouts from map to map.
READOUTS_PER_MAP: Final = round(RATE * MAP_INTERVAL_S)
#: Faster than the rate, so that there is time left for the map.
_PACE: Final = 1.3 * RATE
#: Bytes of a datagram that travels in one frame of Ethernet.
_ONE_FRAME: Final = 1472
#: Nothing may leave this computer.
_TTL: Final = 0


class Daq:
    """Sends exposures.

    Parameters
    ----------
    hits : MulticastSender
        For single hits.
    maps : ChannelSender
        For maps.

    Attributes
    ----------
    sent, sent_maps : list of bytes
        Everything that went out.
    """

    def __init__(self, hits: MulticastSender, maps: ChannelSender) -> None:
        self._hits = hits
        self._maps = maps
        self._pixels = [0] * (SIDE * SIDE)
        self.sent: list[bytes] = []
        self.sent_maps: list[bytes] = []

    def expose(self, hits: Sequence[Hit]) -> None:
        """Send hits and maps in real time."""
        due = time.monotonic()
        for start in range(0, len(hits), READOUTS_PER_MAP):
            part = hits[start : start + READOUTS_PER_MAP]
            self._hits.send_readouts(part, readouts_per_s=_PACE)
            self.sent += [hit.to_bytes() for hit in part]
            for hit in part:
                self._pixels[hit.row * SIDE + hit.column] += 1
            hit_map = HitMap(len(self.sent_maps), len(self.sent), self._pixels)
            self._maps.send_readout(hit_map)
            self.sent_maps.append(hit_map.to_bytes())
            report("sample", seconds=time.monotonic(), sent=len(self.sent))
            due += MAP_INTERVAL_S
            time.sleep(max(0.0, due - time.monotonic()))


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("group")
    parser.add_argument("port", type=int, help="of the hits")
    parser.add_argument("map_port", type=int, help="of the maps")
    parser.add_argument("exposures", type=int)
    parser.add_argument("readouts", type=int, help="of each exposure")
    parser.add_argument("directory", type=Path, help="for what was sent")
    options = parser.parse_args()
    hits = list(photons(options.exposures * options.readouts, RATE))
    with (
        MulticastSender(options.group, options.port, _TTL, interface="127.0.0.1") as hit_sender,
        ChannelSender(
            CHANNEL, options.group, options.map_port, _TTL, interface="127.0.0.1", max_datagram=_ONE_FRAME
        ) as map_sender,
    ):
        daq = Daq(hit_sender, map_sender)
        report("ready")
        for line in sys.stdin:
            if line.strip() == "expose":
                begin = time.monotonic()
                start = len(daq.sent)
                daq.expose(hits[start : start + options.readouts])
                report("exposed", begin=begin, end=time.monotonic(), sent=len(daq.sent))
    (options.directory / "daq.hits").write_bytes(b"".join(daq.sent))
    (options.directory / "daq.maps").write_bytes(b"".join(daq.sent_maps))
    report("end", sent=len(daq.sent), maps=len(daq.sent_maps))


if __name__ == "__main__":
    main()
