"""What a group is told once: how many members, how many are enough, and how long things take.

::

    heartbeat < election_min < election_max < peer_timeout          consensus_timeout < election_max

    heartbeat         every member says that it lives; a leader says that it leads
    election_min/max  a candidate waits this long for votes; a leader's note binds voters for election_max
    peer_timeout      a member silent for longer is gone; followers give a silent leader up between
                      election_max and peer_timeout
    consensus_timeout a poll without a time of its own is open this long

The names in ``params`` (``electionMin`` and so on), the defaults and the order
are those of the RIAPS group that this package succeeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Names in ``params``, and ours.
_PARAMS = {
    "heartbeat": "heartbeat",
    "electionMin": "election_min",
    "electionMax": "election_max",
    "peerTimeout": "peer_timeout",
    "consensusTimeout": "consensus_timeout",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """The five times of a group, in seconds.

    Parameters
    ----------
    heartbeat, election_min, election_max, peer_timeout, consensus_timeout : float
        Seconds; see the module for their meaning and order.

    Raises
    ------
    ValueError
        Not finite, not positive, or not in order.

    Examples
    --------
    >>> Timing.from_params({"peerTimeout": 4000}).peer_timeout
    4.0
    """

    heartbeat: float = 1.0
    election_min: float = 1.5
    election_max: float = 2.0
    peer_timeout: float = 3.0
    consensus_timeout: float = 1.5

    def __post_init__(self) -> None:
        ordered = 0.0 < self.heartbeat < self.election_min < self.election_max < self.peer_timeout < math.inf
        if not ordered or not 0.0 < self.consensus_timeout < self.election_max:
            raise ValueError(
                "heartbeat < electionMin < electionMax < peerTimeout and consensusTimeout < electionMax "
                f"do not hold: {self}"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, float] | None) -> Timing:
        """Read the ``params`` of a group specification.

        Parameters
        ----------
        params : mapping of str to float, or None
            Milliseconds; what is missing keeps its default.

        Returns
        -------
        Timing

        Raises
        ------
        ValueError
            An unknown name, or times out of order.
        TypeError
            Not a number.
        """
        seconds = {}
        for name, milliseconds in (params or {}).items():
            if name not in _PARAMS:
                raise ValueError(f"unknown group parameter {name!r}; known are {', '.join(_PARAMS)}")
            if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
                raise TypeError(f"{name} wants milliseconds, not {milliseconds!r}")
            seconds[_PARAMS[name]] = milliseconds / 1000.0
        return cls(**seconds)


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """How large a group is meant to be, and its times.

    Parameters
    ----------
    size : int
        The number of members the group is configured for (``groupMinSize`` of
        the original).
    quorum : int, optional
        Members, itself included, without whom nobody leads. More than half of
        `size` if not given. With half or fewer, two leaders at a time are
        possible by arithmetic; that is the caller's decision.
    timing : Timing

    Raises
    ------
    ValueError
        `size` or `quorum` below 1, or a quorum above `size`.

    Notes
    -----
    A candidate needs at least `quorum` votes, and more than half of the
    members it hears: a group that has grown beyond its configured size must not
    elect two leaders in one term while all of them can talk. Only the
    configured part holds through a partition, so configure the largest size.

    Examples
    --------
    >>> GroupSettings(size=4).enough
    3
    """

    size: int = 2
    quorum: int | None = None
    timing: Timing = Timing()

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a group of {self.size} members")
        if self.quorum is not None and not 1 <= self.quorum <= self.size:
            raise ValueError(f"a quorum of {self.quorum} in a group of {self.size}")

    @property
    def enough(self) -> int:
        """The quorum: members without whom nobody leads."""
        return self.size // 2 + 1 if self.quorum is None else self.quorum
