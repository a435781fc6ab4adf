"""What a hub tells about itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mxl_sockets._listen import Address

__all__ = ["HubStatus", "Loss", "ReplyTimes"]


@dataclass
class ReplyTimes:
    """Statistics of the time from a request to its reply, seconds.

    Replies that are read together count with the same time, so the resolution
    is that of the hub's own reads.

    Attributes
    ----------
    count : int
    mean_s, maximum_s : float
        Seconds; 0 before the first reply.
    histogram : dict of float to int
        Upper bound of a bin (s, a power of two of microseconds) to replies in it.
    """

    count: int = 0
    mean_s: float = 0.0
    maximum_s: float = 0.0
    histogram: dict[float, int] = field(default_factory=dict)


class ReplyTimer:
    """Collects `ReplyTimes`; made to cost little where the replies come in."""

    #: Bins; the last one ends after half an hour.
    BINS: Final = 32

    def __init__(self) -> None:
        self._count = 0
        self._total = 0.0
        self._maximum = 0.0
        self._bins = [0] * self.BINS

    def add(self, seconds: float, count: int) -> None:
        """Count `count` replies that took `seconds`."""
        self._count += count
        self._total += seconds * count
        if seconds > self._maximum:
            self._maximum = seconds
        index = int(seconds * 1e6).bit_length()
        self._bins[index if index < self.BINS else -1] += count

    def figures(self) -> ReplyTimes:
        """Return the figures of this moment."""
        mean = self._total / self._count if self._count else 0.0
        histogram = {(1 << index) * 1e-6: count for index, count in enumerate(self._bins) if count}
        return ReplyTimes(self._count, mean, self._maximum, histogram)


class StepRate:
    """Steps per second, found by looking at the number of steps now and then: no step pays for it.

    Parameters
    ----------
    now : float
        When the counting begins, seconds, monotonic.
    """

    #: Seconds over which the rate is taken, if somebody looked meanwhile.
    WINDOW: Final = 5.0
    #: Seconds; the least between two looks that are kept, so that few are.
    SPACING: Final = 0.4

    def __init__(self, now: float) -> None:
        self._looks: deque[tuple[float, int]] = deque([(now, 0)], maxlen=1 + int(self.WINDOW / self.SPACING))

    def look(self, now: float, steps: int) -> float:
        """Return the rate since the first look in the last `WINDOW`, or since the look before.

        Parameters
        ----------
        now : float
            Seconds, monotonic.
        steps : int
            Completed steps.
        """
        since, before = next((look for look in self._looks if now - look[0] <= self.WINDOW), self._looks[-1])
        if now - self._looks[-1][0] >= self.SPACING:
            self._looks.append((now, steps))
        return (steps - before) / (now - since) if now > since else 0.0


@dataclass(frozen=True)
class Loss:
    """A connection that the hub closed or lost.

    Attributes
    ----------
    age_s : float
        How long ago.
    text : str
        Who and why.
    """

    age_s: float
    text: str


@dataclass(frozen=True)
class HubStatus:
    """A hub at one moment; nothing in it changes afterwards.

    Attributes
    ----------
    address : (str, int), str or None
        Where the hub listens; None after `stop` and on ranks without a hub.
    bound : dict of int to str
        Molecule to the peer that drives it.
    missing : list of int
        Registered molecules without a driver.
    waiting : list of str
        Peers without a molecule.
    late : dict of int to float
        Molecules that were asked and have not answered, and for how long (s).
    paused : bool
        A driver was lost and `wait_until_bound` was not called since.
    steps : int
        Completed steps.
    dropped : int
        Connections that the hub closed or lost, for whatever reason but STOP.
    last_error : str or None
        The latest of them: who and why; or that newcomers cannot be accepted, and why.
    reply_times : ReplyTimes
    orphaned : list of int
        Molecules of the unfinished step that have not answered and have no driver.
    steps_per_s : float
        Over the last five seconds, or since the status before if that is longer ago.
    losses : list of Loss
        The latest of the dropped connections, the newest last; 16 at the most.
    groups : dict of int to str
        Molecule to its group; only of an `AggregatedSocketHub`.

    Notes
    -----
    `late` and `orphaned` together are who holds an unfinished step.
    """

    address: Address | None
    bound: dict[int, str]
    missing: list[int]
    waiting: list[str]
    late: dict[int, float]
    paused: bool
    steps: int
    dropped: int
    last_error: str | None
    reply_times: ReplyTimes
    orphaned: list[int] = field(default_factory=list)
    steps_per_s: float = 0.0
    losses: list[Loss] = field(default_factory=list)
    groups: dict[int, str] = field(default_factory=dict)
