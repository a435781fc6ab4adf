"""How long a member waits before it does something about the leadership.

============= ====================== ===============================================
wait          seconds                for
============= ====================== ===============================================
`for_leader`  election_max to        the next note of the leader, or somebody else's
              peer_timeout           candidacy
`for_votes`   election_min to        votes
              election_max
`shortly`     0 to election_max      nothing but that others may be faster
              - election_min
`for_other`   as `for_votes`, added  a candidate that has this member's vote; not
                                     beyond one peer timeout after the last
                                     leader, or the last own candidacy
============= ====================== ===============================================

All are random. The limit of the last one is there because candidates can be many,
and invented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from group_ports._settings import Timing


class Waits:
    """The one deadline of a follower or candidate, always set.

    Parameters
    ----------
    timing : Timing
    random : random.Random
    start : float
        When the member may stand at first (monotonic seconds).
    """

    def __init__(self, timing: Timing, random: random.Random, start: float) -> None:
        self._timing = timing
        self._random = random
        self.deadline = start
        self.limit(start)
        self.shortly(start)

    def limit(self, now: float) -> None:
        """Leaderless from now on: begin the time within which others may be waited for."""
        self._limit = now + self._timing.peer_timeout

    def for_leader(self, now: float) -> None:
        """Wait for the leader, or for whoever wants to become it."""
        self.deadline = now + self._random.uniform(self._timing.election_max, self._timing.peer_timeout)

    def for_votes(self, now: float) -> None:
        """Wait for votes."""
        self.deadline = now + self._votes_wait()

    def shortly(self, now: float) -> None:
        """Wait just so long that not all members do the same at once."""
        self.deadline = now + self._short_wait()

    def hurry(self, now: float) -> None:
        """Wait no longer than shortly."""
        self.deadline = min(self.deadline, now + self._short_wait())

    def for_other(self, now: float) -> None:
        """Wait until another candidate has had its chance, within limits."""
        self.deadline = max(self.deadline, min(now + self._votes_wait(), self._limit))

    def _votes_wait(self) -> float:
        return self._random.uniform(self._timing.election_min, self._timing.election_max)

    def _short_wait(self) -> float:
        return self._random.uniform(0.0, self._timing.election_max - self._timing.election_min)
