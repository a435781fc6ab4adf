"""One candidacy: who has voted for it, and who cannot any more.

Members vote once in a term. So a vote for another candidate, or another candidate
itself, is a vote that will not come; a "no" is none, because it may be followed by
a yes when the voter is no longer bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from group_ports._membership import Membership


class Candidacy:
    """The votes of one candidate in one term.

    Parameters
    ----------
    own_id : bytes
        The candidate, which has its own vote.
    membership : Membership
        Votes of others than its members do not count.
    quorum : int
        Votes that are needed at least; more than half of the members are, too.
    """

    def __init__(self, own_id: bytes, membership: Membership, quorum: int) -> None:
        self._membership = membership
        self._quorum = quorum
        self._votes = {own_id}
        self._lost: set[bytes] = set()
        self.is_contested = False

    def add(self, voter: bytes) -> None:
        """Count the vote of a member."""
        self._votes.add(voter)

    def lose(self, voter: bytes) -> None:
        """Count a vote for another one."""
        if voter in self._membership:
            self._lost.add(voter)

    def is_won(self) -> bool:
        """Tell whether enough members that are still there have voted for it."""
        return sum(voter in self._membership for voter in self._votes) >= self._needed()

    def is_lost(self) -> bool:
        """Tell whether enough votes cannot come together any more."""
        return len(self._membership) - len(self._lost) < self._needed()

    def _needed(self) -> int:
        return max(self._quorum, len(self._membership) // 2 + 1)
