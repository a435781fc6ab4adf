"""Counts over time: the rates that a display and a picture show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from udp_multicast._commands._sources import Totals

#: Rates of a sparkline.
WIDTH: Final = 40
#: Samples that are kept for a picture; twice as many, and every second one goes.
_MAX_SAMPLES: Final = 4096
#: Name of the row for all senders together.
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Sample:
    """What had come at one moment.

    Attributes
    ----------
    seconds : float
        Since the beginning.
    messages, bytes : mapping of str to int
        Received so far, by sender and for `ALL`.
    lost : int
        Lost or dropped so far.
    """

    seconds: float
    messages: Mapping[str, int]
    bytes: Mapping[str, int]
    lost: int


class History:
    """Takes a sample now and then, and keeps a bounded number of them.

    Parameters
    ----------
    totals : Totals
        How it stands at the beginning.
    """

    def __init__(self, totals: Totals) -> None:
        self._last = _sample(0.0, totals)
        self._samples = [self._last]
        self._lines: dict[str, deque[float]] = {}
        self._rates: dict[str, tuple[float, float]] = {}

    def add(self, seconds: float, totals: Totals) -> None:
        """Take a sample; time has passed since the last one."""
        sample, last = _sample(seconds, totals), self._last
        elapsed = seconds - last.seconds
        self._rates = {
            name: (
                (messages - last.messages.get(name, 0)) / elapsed,
                (sample.bytes[name] - last.bytes.get(name, 0)) / elapsed,
            )
            for name, messages in sample.messages.items()
        }
        # Senders that are not known any more take their line with them.
        self._lines = {name: self._lines.get(name, deque(maxlen=WIDTH)) for name in sample.messages}
        for name, line in self._lines.items():
            line.append(self._rates[name][0])
        self._last = sample
        self._samples.append(sample)
        if len(self._samples) >= 2 * _MAX_SAMPLES:
            # Counts, not rates, so that leaving some out loses detail only.
            del self._samples[1:-1:2]

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples that are kept, the oldest first."""
        return self._samples

    def rates(self, name: str) -> tuple[float, float]:
        """Return messages and bytes per second between the last two samples."""
        return self._rates.get(name, (0.0, 0.0))

    def line(self, name: str) -> Sequence[float]:
        """Return the last rates, messages per second, the oldest first."""
        return list(self._lines.get(name, ()))


def _sample(seconds: float, totals: Totals) -> Sample:
    senders = totals.senders.items()
    return Sample(
        seconds,
        {ALL: totals.messages, **{name: one.messages for name, one in senders}},
        {ALL: totals.bytes, **{name: one.bytes for name, one in senders}},
        (totals.lost or 0) if totals.lost is not None else (totals.kernel_drops or 0),
    )
