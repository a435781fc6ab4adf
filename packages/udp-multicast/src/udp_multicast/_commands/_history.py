"""Counts over time: the rates that a display and a picture show."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from udp_multicast._commands._sources import Totals

    _Counts = dict[str, tuple[int, int]]

#: Rates of a sparkline.
WIDTH: Final = 40
#: Senders of a sample that is kept, besides those that become as loud with the next one.
LOUDEST: Final = 10
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
    messages : dict of str to int
        Received so far, for `ALL` and by sender, the loudest only.
    lost : int
        Lost or dropped so far.
    """

    seconds: float
    messages: dict[str, int]
    lost: int


class History:
    """Takes a sample now and then, and keeps a bounded number of them.

    Parameters
    ----------
    totals : Totals
        How it stands at the beginning.
    keep : bool
        Keep samples, for a picture; the display needs the last one only.

    Attributes
    ----------
    seconds : float
        When the last sample was taken.
    """

    def __init__(self, totals: Totals, *, keep: bool = False) -> None:
        self.seconds = 0.0
        self._keep = keep
        self._last = _counts(totals, {})
        self._samples: list[Sample] = []
        self._lines: dict[str, deque[float]] = {}
        self._rates: dict[str, tuple[float, float]] = {}
        if keep:
            self._samples.append(_sample(0.0, self._last, totals))

    def add(self, seconds: float, totals: Totals) -> None:
        """Take a sample; time has passed since the last one."""
        last, elapsed = self._last, seconds - self.seconds
        counts = _counts(totals, last)
        self._rates = {}
        for name, (messages, size) in counts.items():
            before = last.get(name, (0, 0))
            self._rates[name] = (messages - before[0]) / elapsed, (size - before[1]) / elapsed
        # Senders that are not known any more take their line with them.
        self._lines = {name: self._lines.get(name, deque(maxlen=WIDTH)) for name in counts}
        for name, line in self._lines.items():
            line.append(self._rates[name][0])
        self._last = counts
        self.seconds = seconds
        if self._keep:
            self._add_sample(_sample(seconds, counts, totals), last)

    def _add_sample(self, sample: Sample, last: _Counts) -> None:
        # Who becomes loud now was there before: without that his rate would be unknown.
        before = self._samples[-1].messages
        before.update({name: last.get(name, (0, 0))[0] for name in sample.messages if name not in before})
        self._samples.append(sample)
        if len(self._samples) >= 2 * _MAX_SAMPLES:
            # Counts, not rates, so that leaving some out loses detail only.
            del self._samples[1:-1:2]

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples that are kept, the oldest first; none unless told to."""
        return self._samples

    def rates(self, name: str) -> tuple[float, float]:
        """Return messages and bytes per second between the last two samples."""
        return self._rates.get(name, (0.0, 0.0))

    def line(self, name: str) -> Sequence[float]:
        """Return the last rates, messages per second, the oldest first."""
        return list(self._lines.get(name, ()))


def _counts(totals: Totals, last: _Counts) -> _Counts:
    """Return messages and bytes, for `ALL` and by sender; names of senders exist once."""
    names = {name: name for name in last}
    counts = {ALL: (totals.messages, totals.bytes)}
    for name, one in totals.senders.items():
        counts[names.get(name, name)] = one.messages, one.bytes
    return counts


def _sample(seconds: float, counts: _Counts, totals: Totals) -> Sample:
    loudest = heapq.nlargest(LOUDEST + 1, counts, key=lambda name: (name == ALL, counts[name][0]))
    lost = totals.kernel_drops if totals.lost is None else totals.lost
    return Sample(seconds, {name: counts[name][0] for name in loudest}, lost or 0)
