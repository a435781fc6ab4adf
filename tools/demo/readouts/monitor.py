"""A monitor process: takes hits, counts what is missing, and may be slow on purpose.

A slow monitor draws: for so many milliseconds in every `DRAW_INTERVAL_S` it
does not read its socket, as programs do that draw in the thread that reads.
"""

from __future__ import annotations

import argparse
import time
from operator import attrgetter
from pathlib import Path
from typing import Final

from reporting import end_of_input, report

from readouts.readout import Hit
from udp_multicast import DEFAULT_BUFFER_SIZE, MulticastReceiver

#: Seconds from drawing to drawing.
DRAW_INTERVAL_S: Final = 0.1
#: Seconds between two reports of the counts.
SAMPLE_INTERVAL_S: Final = 0.025
#: Seconds without a readout after which nothing is on its way any more.
QUIET_S: Final = 0.1


def watch(receiver: MulticastReceiver[Hit], drawing_s: float) -> list[Hit]:
    """Take readouts until there are no more and standard input is closed."""
    over = end_of_input()
    taken: list[Hit] = []
    now = heard = next_sample = next_drawing = time.monotonic()
    while not over.is_set() or now - heard < QUIET_S:
        try:
            taken.append(receiver.receive())
        except TimeoutError:
            now = time.monotonic()
        else:
            now = heard = time.monotonic()
        if now >= next_sample:
            next_sample = now + SAMPLE_INTERVAL_S
            _report_counts("sample", receiver)
        if drawing_s and now >= next_drawing:
            next_drawing = now + DRAW_INTERVAL_S
            time.sleep(drawing_s)
    return taken


def _report_counts(kind: str, receiver: MulticastReceiver[Hit]) -> None:
    counts = receiver.statistics
    report(
        kind,
        seconds=time.monotonic(),
        received=counts.received,
        bytes=counts.bytes,
        broken=counts.broken,
        lost=counts.lost,
        gaps=counts.gaps,
        duplicates=counts.duplicates,
        late=counts.late,
        kernel_drops=counts.kernel_drops,
        granted_buffer=counts.granted_buffer,
    )


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("group")
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path, help="for what was received")
    parser.add_argument("--buffer", type=int, default=DEFAULT_BUFFER_SIZE, metavar="BYTES")
    parser.add_argument("--drawing", type=float, default=0.0, metavar="MS")
    options = parser.parse_args()
    with MulticastReceiver(
        Hit,
        options.group,
        options.port,
        interface="127.0.0.1",
        buffer_size=options.buffer,
        timeout=SAMPLE_INTERVAL_S,
        readout_id=attrgetter("number"),
    ) as receiver:
        report("joined", seconds=time.monotonic())
        taken = watch(receiver, options.drawing / 1000.0)
        options.file.write_bytes(b"".join([hit.to_bytes() for hit in taken]))
        _report_counts("end", receiver)


if __name__ == "__main__":
    main()
