"""Polls, as the leader holds them and as a member follows them.

::

    asker ── rfv ──▶ leader ── rcm ──▶ all ── rtc ──▶ leader ── ann ──▶ all

======================= ====================================================================
electorate              The members the leader knows when the poll starts, itself included: n.
majority                yes at n // 2 + 1 yes, no as soon as that is out of reach.
consensus               yes at n yes, no at the first no.
timeout                 The deadline passed undecided: counted from the arrival of ``rfv`` on the
                        leader's monotonic clock. The asker's clock (``started``) is not looked at.
one ballot per member   The first counts. A ballot names no voter, so the voter is the routing
                        identity of its sender. Members of ours use their member id.
reference members       use the decimal digits of an address, which nobody can match with an
                        id. Such identities are let in as long as there are members in the
                        electorate that might be theirs: not known to be of ours, and without
                        a ballot in their own name.
======================= ====================================================================

A poll is decided as soon as no further ballot can change the result. (The
original waits for every ballot, counts repeats and strangers, and reads its
default of 1500 ms as seconds; its members see only that results come sooner.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wireframe.group import Vote, Voting

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

#: Polls open at a time, at most; further ones are refused.
MAX_POLLS = 256
#: No poll is open for longer (seconds).
MAX_TIMEOUT = 86_400.0
#: Digits of a 64-bit number.
_MAX_DIGITS = 20


def is_reference_identity(identity: bytes) -> bool:
    """Tell whether a routing identity looks like that of a reference member.

    Examples
    --------
    >>> is_reference_identity(b"140229011234"), is_reference_identity(b"0123456789abcdef")
    (True, False)
    """
    return len(identity) <= _MAX_DIGITS and identity.isdigit()


@dataclass(slots=True)
class Poll:
    """One open poll.

    Attributes
    ----------
    electorate : set of bytes
        Member ids.
    needed : int
        Ballots with yes that carry it.
    deadline : float
        Monotonic seconds.
    ballots : dict
        Vote by identity.
    """

    electorate: AbstractSet[bytes]
    needed: int
    deadline: float
    ballots: dict[bytes, bool] = field(default_factory=dict)

    def admits(self, identity: bytes, ours: AbstractSet[bytes]) -> bool:
        """Tell whether this identity has a ballot, and has not used it."""
        if identity in self.ballots or len(self.ballots) >= len(self.electorate):
            return False
        if identity in self.electorate:
            return True
        nameless = self.electorate - ours - self.ballots.keys()
        guests = sum(voter not in self.electorate for voter in self.ballots)
        return is_reference_identity(identity) and guests < len(nameless)

    def result(self) -> Vote | None:
        """Tell the result if it is certain."""
        yes = sum(self.ballots.values())
        if yes >= self.needed:
            return Vote.YES
        if len(self.electorate) - (len(self.ballots) - yes) < self.needed:
            return Vote.NO
        return None


class Polls:
    """The polls of a leader.

    Parameters
    ----------
    default_timeout : float
        Seconds, for polls that name none.

    Notes
    -----
    Not safe for several threads at once.
    """

    def __init__(self, default_timeout: float) -> None:
        self._default_timeout = default_timeout
        self._open: dict[str, Poll] = {}

    def start(
        self, rfv_id: str, kind: Voting, timeout: float, electorate: AbstractSet[bytes], now: float
    ) -> bool:
        """Open a poll.

        Parameters
        ----------
        timeout : float
            Seconds; the default if it is 0, negative or no number.

        Returns
        -------
        bool
            False if it is open already, or too many are.
        """
        if rfv_id in self._open or len(self._open) >= MAX_POLLS:
            return False
        members = len(electorate)
        needed = members if kind is Voting.CONSENSUS else members // 2 + 1
        deadline = now + effective_timeout(timeout, self._default_timeout)
        self._open[rfv_id] = Poll(electorate, needed, deadline)
        return True

    def ballot(self, rfv_id: str, identity: bytes, vote: bool, ours: AbstractSet[bytes]) -> Vote | None:
        """Count a ballot.

        Parameters
        ----------
        identity : bytes
            Routing identity of its sender, or the leader's own id.
        ours : set of bytes
            Members that are known to vote under their id.

        Returns
        -------
        Vote or None
            The result, if the poll is decided by this ballot.
        """
        poll = self._open.get(rfv_id)
        if poll is None or not poll.admits(identity, ours):
            return None
        poll.ballots[identity] = vote
        result = poll.result()
        if result is not None:
            del self._open[rfv_id]
        return result

    def expire(self, now: float) -> list[str]:
        """Close and return the polls whose time is over."""
        if now < self.next_deadline():
            return []
        over = [rfv_id for rfv_id, poll in self._open.items() if poll.deadline <= now]
        for rfv_id in over:
            del self._open[rfv_id]
        return over

    def close(self) -> list[str]:
        """Close and return all polls."""
        over = list(self._open)
        self._open.clear()
        return over

    def next_deadline(self) -> float:
        """Tell when the next poll is over."""
        return min((poll.deadline for poll in self._open.values()), default=math.inf)


def effective_timeout(timeout: float, default: float) -> float:
    """Bound what a message asks for (seconds).

    Examples
    --------
    >>> effective_timeout(0.25, 1.5), effective_timeout(0.0, 1.5), effective_timeout(float("nan"), 1.5)
    (0.25, 1.5, 1.5)
    """
    return min(timeout, MAX_TIMEOUT) if timeout > 0.0 else default
