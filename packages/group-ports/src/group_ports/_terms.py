"""Terms: which was led, in which this member has voted, and which were heard of.

A term is the number of an election. Three of them matter to a member:

=========== ===============================================================================
`led`       Term of the last leader it knew. Never goes back; the user's fencing token.
`voted`     The highest term in which it voted, or stood (that is, voted for itself). In each
            term it votes for one candidate only, and never again in a lower one.
`highest`   The highest term in any message. Its own next candidacy goes above it.
=========== ===============================================================================

As long as the quorum is more than half of the group, two leaders of one term
would need a member that voted twice. A candidacy that fails changes nothing about
`led`, so that a member with a bad line cannot unseat a leader by its attempts. After a
partition two leaders may overlap for a moment, because the old one steps down when its
peers have been silent for the peer timeout; the newer one has the higher term.

A vote is forgotten when a process dies. Whoever does not know the term it may have
voted in keeps its votes back for one peer timeout: by then a candidate or leader that
counted on its former self has lost it. What is assumed: between the last message of
the former life being read by the others and the first vote of the new one lies a
peer timeout. Who cannot rely on that stores `GroupMember.last_term`.
"""

from __future__ import annotations

#: Terms are 32 bits on the wire.
MAX_TERM = 2**32 - 1
#: A term further ahead than this is noise: at one election a second a group needs half a year for it.
#: Believed, one wrong message could use all terms up.
MAX_TERM_JUMP = 2**24


class Terms:
    """The terms as one member knows them.

    Parameters
    ----------
    last_term : int
        The highest term in which the member may have voted before.

    Examples
    --------
    >>> terms = Terms(0)
    >>> terms.may_vote(1, b"a"), terms.may_vote(0, b"a")
    (True, False)
    >>> terms.vote(1, b"a")
    >>> terms.may_vote(1, b"a"), terms.may_vote(1, b"b"), terms.may_vote(2, b"b")
    (True, False, True)
    """

    def __init__(self, last_term: int) -> None:
        if not 0 <= last_term <= MAX_TERM:
            raise ValueError(f"a term of {last_term}")
        self.led = last_term
        self.voted = last_term
        self.highest = last_term
        self._voted_for: bytes | None = None

    def take(self, term: int) -> bool:
        """Note a term that was heard of; False if it is out of all reason."""
        if term - self.highest > MAX_TERM_JUMP:
            return False
        self.highest = max(self.highest, term)
        return True

    def may_vote(self, term: int, candidate: bytes) -> bool:
        """Tell whether a vote for this candidate can be given without giving a second one."""
        return term > self.led and (
            term > self.voted or (term == self.voted and candidate == self._voted_for)
        )

    def vote(self, term: int, candidate: bytes) -> None:
        """Note that this vote is given."""
        self.highest = max(self.highest, term)
        self.voted, self._voted_for = term, candidate
