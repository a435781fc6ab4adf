"""The process that views a replay: takes hit maps from their channel and notes when they came."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

from reporting import end_of_input, report

from readouts.readout import CHANNEL, HitMap
from udp_multicast import ChannelReceiver

#: Seconds without a map after which nothing is on its way any more.
QUIET_S: Final = 0.1


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("group")
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path, help="for what was received")
    options = parser.parse_args()
    maps: list[HitMap] = []
    with ChannelReceiver(
        HitMap, [CHANNEL], options.group, options.port, interface="127.0.0.1", timeout=QUIET_S
    ) as receiver:
        over = end_of_input()
        report("joined", seconds=time.monotonic())
        while True:
            try:
                maps.append(receiver.receive().readout)
            except TimeoutError:
                if over.is_set():
                    break
            else:
                report("map", seconds=time.monotonic(), number=maps[-1].number)
        counts = receiver.statistics
    options.file.write_bytes(b"".join([one.to_bytes() for one in maps]))
    report(
        "end",
        messages=counts.messages,
        datagrams=counts.datagrams,
        bytes=counts.bytes,
        lost=counts.lost,
        broken=counts.broken + counts.unreadable,
        kernel_drops=counts.kernel_drops,
    )


if __name__ == "__main__":
    main()
