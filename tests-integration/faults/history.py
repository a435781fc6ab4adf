"""What was asked and what came of it, written down by the players and judged afterwards by checkers.

Checkers know nothing about how a history came about, and return what is wrong as sentences: nothing, if
nothing is.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

#: How an operation ended. A failed one did not happen; an unknown one may have.
WAITS, DONE, FAILED, UNKNOWN = "waits", "done", "failed", "unknown"


@dataclass
class Operation:
    """One thing that one process asked for."""

    process: Hashable
    request: Any
    outcome: str = WAITS
    reply: Any = None
    ended: Callable[[], None] = field(default=lambda: None, repr=False)

    def done(self, reply: Any = None) -> None:
        """It happened, with this reply."""
        self._end(DONE, reply)

    def failed(self, reason: Any) -> None:
        """It did not happen."""
        self._end(FAILED, reason)

    def unknown(self, reason: Any) -> None:
        """Nobody told."""
        self._end(UNKNOWN, reason)

    def _end(self, outcome: str, reply: Any) -> None:
        assert self.outcome == WAITS, f"it ended twice: {self}"
        self.outcome, self.reply = outcome, reply


class History:
    """Operations of all processes in the order of their beginning; for any thread."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._lock = threading.Lock()

    def begin(self, process: Hashable, request: Any) -> Operation:
        """Write down what is asked for; the caller says later how it ended."""
        operation = Operation(process, request)
        with self._lock:
            self.operations.append(operation)
        return operation

    def requests(self, *outcomes: str) -> list[Any]:
        """What was asked for with one of these ends; with any, if none is said."""
        return [one.request for one in self.operations if not outcomes or one.outcome in outcomes]


def unended(history: History) -> list[str]:
    """Operations that never ended."""
    return [
        f"never ended: {one.request!r} of {one.process!r}"
        for one in history.operations
        if one.outcome == WAITS
    ]


def wrongly_paired(history: History, answer: Callable[[Any], Any]) -> list[str]:
    """Replies that are not the answer to their own request."""
    return [
        f"{one.request!r} got {one.reply!r}"
        for one in history.operations
        if one.outcome == DONE and one.reply != answer(one.request)
    ]


def not_exactly_once(history: History, effects: Iterable[Hashable]) -> list[str]:
    """Effects that do not fit what callers were told.

    What is done has one effect, what failed none, and what is unknown one or none; nothing else has any.
    """
    counts = Counter(effects)
    bounds = {DONE: (1, 1), FAILED: (0, 0), UNKNOWN: (0, 1), WAITS: (0, 1)}
    wrong = []
    for one in history.operations:
        times = counts.pop(one.request, 0)
        low, high = bounds[one.outcome]
        if not low <= times <= high:
            wrong.append(f"{one.outcome}, but happened {times} times: {one.request!r}")
    return wrong + [f"nobody asked for {effect!r}" for effect in counts]


def not_rising(numbers: Iterable[Any]) -> list[str]:
    """Places where a number is not above the one before it."""
    listed = list(numbers)
    return [f"{after!r} after {before!r}" for before, after in itertools.pairwise(listed) if after <= before]
