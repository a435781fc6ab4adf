"""What counts calls of Python functions and memory, and marks between which a tracer counts system calls.

A scenario says which of its own calls are part of a message by ``with counted("part"):``; what it does
outside, as a peer or while it waits until something has arrived, is nobody's cost. It is run with N and with
2 N messages, and the difference divided by N is the cost of a message, so that what a run costs once does
not count.
"""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Self

#: Marks the calls of a part of a message.
Counted = Callable[[str], AbstractContextManager[object]]
#: Makes so many messages; returns what else it has counted, by name, if anything.
Run = Callable[[int], Mapping[str, float] | None]

SYSTEM_CALLS = "system calls"
#: The same with those of all other threads, where it is chance who waits.
MOST_CALLS = "system calls at most"
PYTHON_CALLS = "Python calls"
PEAK = "peak bytes"
#: The same, for long messages.
COPIES = "peak / size"
KEPT = "kept bytes"
#: Counted by the scenario itself, or by the package.
OWN = "count"

#: Times that N and 2 N messages are counted. The least is taken: what the system adds now and then, such as
#: an interrupted wait, no package can help, and what a package does it does each time.
TIMES = 3
#: Times as many messages are made to see what they leave behind.
MORE_MESSAGES = 5


@dataclass(frozen=True)
class Scenario:
    """A conversation whose cost is counted.

    `messages` is the N above; `per` how many readouts, say, are in one of them, and `size` its bytes if they
    are many: its peak is in multiples of them. `units` are what is counted, and `warm_up` the messages
    before, until memories of a bounded size are full. `times` is more where a message that is slow on a busy
    machine costs more: among many there are some that were not.
    """

    name: str
    open: Callable[[Counted], AbstractContextManager[Run]]
    messages: int
    units: tuple[str, ...]
    per: int = 1
    warm_up: int = 2
    size: int = 1
    times: int = TIMES


def per_message(
    counts: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], messages: int
) -> dict[str, float]:
    """Cost of a message, by name, of what was counted several times for so many and for twice as many.

    Where it is chance how many of them wait, the difference may be more than any of them costs; their mean
    is not.
    """
    costs = {}
    for name in sorted({name for pair in counts for count in pair for name in count}):
        once = min(each.get(name, 0) for each, _ in counts)
        twice = min(each.get(name, 0) for _, each in counts)
        costs[name] = min((twice - once) / messages, twice / (2 * messages))
    return costs


@contextmanager
def uncounted(_part: str) -> Iterator[None]:
    """Count nothing."""
    yield


class Marks:
    """Marks for a tracer: the name of a file that is asked for, and does not exist.

    ``cost:begin NAME`` stands before the calls of a part, ``cost:end`` behind them, ``cost:run NAME`` before
    each run of N or 2 N messages of a scenario, and ``cost:over`` behind the last.
    """

    PREFIX = "cost:"

    @classmethod
    def mark(cls, text: str) -> None:
        """One system call that says this."""
        os.access(cls.PREFIX + text, os.F_OK)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Mark the calls of a part."""
        self.mark(f"begin {part}")
        try:
            yield
        finally:
            self.mark("end")

    def count(self, scenario: Scenario) -> None:
        """Run it, for the tracer to count."""
        with scenario.open(self) as run:
            run(scenario.warm_up)
            for _ in range(scenario.times):
                for messages in (scenario.messages, 2 * scenario.messages):
                    self.mark(f"run {scenario.name}")
                    run(messages)
            self.mark("over")


class PythonCalls:
    """Counts calls of functions that are written in Python, in the thread that runs the scenario.

    Comprehensions are left out: some versions of Python call a function for each, others do not.
    """

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._part = ""

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and not frame.f_code.co_name.endswith("comp>"):
            self._calls[self._part] += 1

    def __call__(self, part: str) -> Self:
        """Count the calls of a part."""
        self._part = part
        return self

    def __enter__(self) -> None:
        sys.setprofile(self._note)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        # The call of this method.
        self._calls[self._part] -= 1

    def count(self, scenario: Scenario) -> dict[str, float]:
        """Calls per message, by part."""
        counts = []
        with scenario.open(self) as run:
            run(scenario.warm_up)
            for _ in range(scenario.times):
                pair = []
                for messages in (scenario.messages, 2 * scenario.messages):
                    self._calls.clear()
                    run(messages)
                    pair.append(dict(self._calls))
                counts.append((pair[0], pair[1]))
        return per_message(counts, scenario.messages * scenario.per)


class Memory:
    """Bytes that Python has allocated: the most at a time in a part, and those that are still there later."""

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Look at the most of a part."""
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            yield
        finally:
            peak = tracemalloc.get_traced_memory()[1] - before
            self._peaks[part] = max(self._peaks.get(part, 0), peak)

    def count(self, scenario: Scenario) -> tuple[dict[str, float], float]:
        """The most bytes of each part, and the bytes that a message leaves behind."""
        peaks, growths = [], []
        with scenario.open(self) as run:
            # What is left behind is told from what lies about by chance the better the more there were.
            count = scenario.messages * (MORE_MESSAGES if KEPT in scenario.units else 1)
            tracemalloc.start()
            try:
                run(scenario.warm_up)
                for _ in range(scenario.times):
                    pair = []
                    for messages in (count, 2 * count):
                        self._peaks = {}
                        gc.collect()
                        before = tracemalloc.get_traced_memory()[0]
                        run(messages)
                        gc.collect()
                        pair.append({KEPT: tracemalloc.get_traced_memory()[0] - before})
                    peaks.append(self._peaks)
                    growths.append((pair[0], pair[1]))
            finally:
                tracemalloc.stop()
        least = {part: min(each[part] for each in peaks) / scenario.size for part in peaks[0]}
        return least, max(0.0, per_message(growths, count * scenario.per)[KEPT])


def own_counts(scenario: Scenario) -> dict[str, float]:
    """What the scenario itself counts, per message."""
    counts = []
    with scenario.open(uncounted) as run:
        run(scenario.warm_up)
        for _ in range(scenario.times):
            once, twice = run(scenario.messages), run(2 * scenario.messages)
            assert once, scenario.name
            assert twice, scenario.name
            counts.append((once, twice))
    return per_message(counts, scenario.messages * scenario.per)
