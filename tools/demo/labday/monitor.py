"""A monitor process: takes all readouts of the station, records them, and counts what is missing."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

from readouts.stage import GROUP, INTERFACE
from reporting import end_of_input
from reporting import timed_report as report

from labday.readout import FIELD, SPECTRUM
from udp_multicast import ChannelReceiver
from wireframe.eventlog import encode_event

#: Seconds between two reports of the counts.
SAMPLE_INTERVAL_S: Final = 0.1
#: Seconds without a readout after which nothing is on its way any more.
QUIET_S: Final = 0.2


class Recorder:
    """Records what a receiver gets.

    Parameters
    ----------
    receiver : ChannelReceiver
        Of all channels of the station; its timeout is how often the counts are reported.
    file : Path
        The recording, an event log of LCM. Its events have the numbers of the sender.
    """

    def __init__(self, receiver: ChannelReceiver[bytes], file: Path) -> None:
        self._receiver = receiver
        self._file = file
        self._first: int | None = None
        self._last: int | None = None

    def record(self) -> None:
        """Take readouts until there are no more and standard input is closed."""
        over = end_of_input()
        now = heard = next_sample = time.monotonic()
        with self._file.open("wb") as log:
            while not over.is_set() or now - heard < QUIET_S:
                try:
                    message = self._receiver.receive()
                except TimeoutError:
                    now = time.monotonic()
                else:
                    now = heard = time.monotonic()
                    self._first = message.sequence if self._first is None else self._first
                    self._last = message.sequence
                    stamp_us = round(time.time() * 1e6)
                    log.writelines(encode_event(message.sequence, stamp_us, message.channel, message.readout))
                if now >= next_sample:
                    next_sample = now + SAMPLE_INTERVAL_S
                    self.tell("sample")
        self.tell("end")

    def tell(self, kind: str) -> None:
        """Report the counts."""
        counts = self._receiver.statistics
        report(
            kind,
            received=counts.messages,
            lost=counts.lost,
            gaps=counts.gaps,
            duplicates=counts.duplicates,
            broken=counts.broken + counts.foreign + counts.incomplete,
            kernel_drops=counts.kernel_drops,
            first=self._first,
            last=self._last,
        )


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path, help="for what was received")
    options = parser.parse_args()
    with ChannelReceiver(
        None,
        [FIELD, SPECTRUM],
        GROUP,
        options.port,
        interface=INTERFACE,
        timeout=SAMPLE_INTERVAL_S,
    ) as receiver:
        report("joined")
        Recorder(receiver, options.file).record()


if __name__ == "__main__":
    main()
