"""What a hub tells about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mxl_sockets._listen import Address

__all__ = ["HubStatus", "ReplyTimes"]


@dataclass
class ReplyTimes:
    """Statistics of the time from a request to its reply, seconds.

    Replies that are read together count with the same time, so the resolution
    is that of the hub's own reads.

    Attributes
    ----------
    count : int
    mean, maximum : float
        Seconds; 0 before the first reply.
    histogram : dict of float to int
        Upper bound of a bin (s, a power of two of microseconds) to replies in it.
    """

    count: int = 0
    mean: float = 0.0
    maximum: float = 0.0
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
        The latest of them: who and why.
    reply_times : ReplyTimes
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
