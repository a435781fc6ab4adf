"""Whether one rig is live, late or gone, and when to ping it.

No I/O and no clock: what was heard and `now` go in.

::

    heard   --- interval_s --->  ping  --- interval_s --->  ping  ...
      |
      '---- LIVE ---- late_s ---- LATE ---- gone_s ---- GONE         LIVE again when heard

Anything that comes from a rig is a sign of life, so a rig that talks is not
pinged. A rig that was never heard is late at first. One whose network says that
nobody is there is gone at once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import inf


class RigState(enum.Enum):
    """How a rig is doing."""

    #: It was heard a short time ago.
    LIVE = "live"
    #: It should have been heard by now.
    LATE = "late"
    #: It has been silent for long, or nobody is there.
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a heartbeat.

    Parameters
    ----------
    interval_s : float
        Seconds of silence after which a rig is pinged, and between two pings.
    late_s, gone_s : float
        Seconds of silence after which it is late, and gone.

    Raises
    ------
    ValueError
        They are not in this order: 0, interval_s, late_s, gone_s.
    """

    interval_s: float = 1.0
    late_s: float = 2.5
    gone_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.interval_s < self.late_s < self.gone_s < inf:
            raise ValueError(
                f"0 < interval < late < gone is wanted, not {self.interval_s}, {self.late_s}, {self.gone_s} s"
            )


class Pulse:
    """What is known about the life of one rig.

    Parameters
    ----------
    pace : Pace
    now : float
        Monotonic seconds, here and everywhere.

    Attributes
    ----------
    state : RigState
        As of the last `look`.
    since : float
        When it came into this state.
    heard_at : float or None
        When anything came from it last.
    round_trip_s : float or None
        Of the last ping that was echoed.

    Examples
    --------
    >>> pulse = Pulse(Pace(interval_s=1, late_s=3, gone_s=10), now=100.0)
    >>> pulse.is_ping_due(100.0)
    True
    >>> pulse.pinged(100.0)
    >>> pulse.heard(100.2, round_trip_s=0.2)
    >>> pulse.look(100.2), pulse.state.name, pulse.next_deadline()
    (True, 'LIVE', 101.2)
    >>> pulse.look(103.2), pulse.state.name
    (True, 'LATE')
    """

    __slots__ = ("_lost", "_pace", "_ping_at", "_started_at", "heard_at", "round_trip_s", "since", "state")

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._started_at = self._ping_at = self.since = now
        self._lost = False
        self.state = RigState.LATE
        self.heard_at: float | None = None
        self.round_trip_s: float | None = None

    def heard(self, at: float, round_trip_s: float | None = None) -> None:
        """Take note that something came from the rig at a time, perhaps the echo of a ping."""
        if round_trip_s is not None:
            self.round_trip_s = round_trip_s
        if self.heard_at is None or at > self.heard_at:
            self.heard_at = at
            self._lost = False
            self._ping_at = max(self._ping_at, at + self._pace.interval_s)

    def lost(self) -> None:
        """Take note that nobody is there: the connection was refused, or has been closed."""
        self._lost = True

    def pinged(self, now: float) -> None:
        """Take note that a ping was sent, or that it was better not to."""
        self._ping_at = now + self._pace.interval_s

    def is_ping_due(self, now: float) -> bool:
        """Whether to ping now."""
        return now >= self._ping_at

    def look(self, now: float) -> bool:
        """Bring `state` up to date, and tell whether it has changed."""
        state = self._state(now)
        if state is self.state:
            return False
        self.state = state
        self.since = now
        return True

    def next_deadline(self) -> float:
        """When to ping or to look again, unless the rig is heard before."""
        return min(self._ping_at, self.next_turn())

    def next_turn(self) -> float:
        """When silence alone will change the state; infinity for never."""
        silent_from = self._started_at if self.heard_at is None else self.heard_at
        if self.state is RigState.LIVE:
            return silent_from + self._pace.late_s
        return silent_from + self._pace.gone_s if self.state is RigState.LATE else inf

    def _state(self, now: float) -> RigState:
        if self._lost:
            return RigState.GONE
        silent_from = self._started_at if self.heard_at is None else self.heard_at
        # As in `next_turn`: a difference is rounded in another way, and at that time nothing would turn.
        if now >= silent_from + self._pace.gone_s:
            return RigState.GONE
        if self.heard_at is None or now >= silent_from + self._pace.late_s:
            return RigState.LATE
        return RigState.LIVE
