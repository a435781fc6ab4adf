"""A member's part in polls: asker, voter, and as leader the one who counts.

======================= ====================================================================
asks                    ``rfv`` to the leader. No leader: says so at once. No result by the
                        timeout and one peer timeout more: it is over, as "timeout".
``rcm``                 Reported once.
casts                   ``rtc`` to the leader, under the own member id.
``ann``                 Reported once.
LEADER, ``rfv``         From a member: opens the poll and publishes ``rcm``.
LEADER, ``rtc``         Counts it (`_polls`); decided, or time over: publishes ``ann``.
LEADER no more          Publishes ``ann``, "timeout", for every open poll.
======================= ====================================================================

The leader's own questions and ballots take no way over the wire; what it
publishes comes back to it through its own subscription and is not news then.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from group_ports._actions import Publish, Report, ToLeader, VoteRequested, VoteResult
from group_ports._election import Role
from group_ports._membership import MAX_MEMBERS
from group_ports._poll_memory import PollMemory
from group_ports._polls import Polls, effective_timeout, is_reference_identity
from wireframe.group import Announcement, ReplyToCall, RequestForVote, Subject, Vote, Voting

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from group_ports._actions import Action
    from group_ports._election import Election
    from group_ports._membership import Membership
    from group_ports._settings import Timing
    from group_ports._sourced_election import SourcedElection

#: What the original draws its identifiers from, and how many characters.
_RFV_ALPHABET = string.ascii_uppercase + string.digits
_RFV_LENGTH = 8


class VotingBooth:
    """Polls as one member sees them.

    Parameters
    ----------
    timing : Timing
    own_id : bytes
    membership : Membership
    election : Election or SourcedElection
    random : random.Random
        Draws identifiers.
    emit : callable
        Gets each action, in order.
    """

    def __init__(
        self,
        timing: Timing,
        own_id: bytes,
        membership: Membership,
        election: Election | SourcedElection,
        random: random.Random,
        emit: Callable[[Action], None],
    ) -> None:
        self._timing = timing
        self._own_id = own_id
        self._members = membership
        self._election = election
        self._random = random
        self._emit = emit
        self._polls = Polls(timing.consensus_timeout)
        self._memory = PollMemory()
        self._ours = {own_id}

    def next_deadline(self) -> float:
        """Tell when `on_time` has something to do."""
        return min(self._polls.next_deadline(), self._memory.next_deadline())

    def on_time(self, now: float) -> None:
        """Close what is over, everything if this member leads no more."""
        is_leader = self._election.role is Role.LEADER
        for rfv_id in self._polls.expire(now) if is_leader else self._polls.close():
            self._announce(rfv_id, Vote.TIMEOUT)
        for rfv_id in self._memory.expire(now):
            self._emit(Report(VoteResult(rfv_id, Vote.TIMEOUT)))

    def mark_ours(self, member_id: bytes) -> None:
        """Note that this member votes under its id."""
        if member_id in self._ours or member_id not in self._members:
            return
        # Those that left are kept as long as possible: they may be in the electorate of an open poll.
        if len(self._ours) >= 2 * MAX_MEMBERS:
            self._ours &= self._members.ids()
        self._ours.add(member_id)

    def request(
        self,
        topic: bytes,
        now: float,
        *,
        kind: Voting,
        timeout: float | None,
        wall_time: float,
        release: float | None,
    ) -> str | None:
        """Ask for a poll; see `GroupMember.request_vote`."""
        rfv_id = "".join(self._random.choices(_RFV_ALPHABET, k=_RFV_LENGTH))
        seconds = effective_timeout(timeout or 0.0, self._timing.consensus_timeout)
        if self._election.leader.id is None:
            return None
        # The leader answers within that time; what is added covers the ways.
        if not self._memory.ask(rfv_id, now + seconds + self._timing.peer_timeout):
            return None
        poll = RequestForVote(
            rfv_id=rfv_id,
            topic=topic,
            kind=kind,
            subject=Subject.VALUE if release is None else Subject.ACTION,
            release=release or 0.0,
            started=wall_time,
            timeout=timeout or 0.0,
        )
        if self._election.role is Role.LEADER:
            self.on_poll(poll, self._own_id, now)
        else:
            self._emit(ToLeader(poll))
        return rfv_id

    def cast(self, rfv_id: str, vote: Vote) -> bool:
        """Vote; False without a leader."""
        reply = ReplyToCall(rfv_id, vote)
        if self._election.role is Role.LEADER:
            self.on_reply(reply, self._own_id)
        elif self._election.leader.id is not None:
            self._emit(ToLeader(reply))
        return self._election.leader.id is not None

    def on_poll(self, poll: RequestForVote, source: bytes, now: float) -> None:
        """``rfv``: somebody asks this leader."""
        if self._election.role is not Role.LEADER or not self._is_admitted(source):
            return
        if self._memory.is_over(poll.rfv_id):
            return
        electorate = self._members.ids()
        if self._polls.start(poll.rfv_id, poll.kind, poll.timeout, electorate, now):
            self._emit(Publish(poll))
            self.on_request(poll)

    def on_request(self, poll: RequestForVote) -> None:
        """``rcm``: the leader asks."""
        if self._memory.request(poll.rfv_id):
            release = poll.release if poll.subject is Subject.ACTION else None
            self._emit(Report(VoteRequested(poll.rfv_id, poll.topic, poll.kind, poll.subject, release)))

    def on_reply(self, reply: ReplyToCall, source: bytes) -> None:
        """``rtc``: somebody votes."""
        if reply.vote is Vote.TIMEOUT or self._election.role is not Role.LEADER:
            return
        self.mark_ours(source)
        result = self._polls.ballot(reply.rfv_id, source, reply.vote is Vote.YES, self._ours)
        if result is not None:
            self._announce(reply.rfv_id, result)

    def on_announcement(self, announcement: Announcement) -> None:
        """``ann``: a result."""
        if self._memory.resolve(announcement.rfv_id):
            self._emit(Report(VoteResult(announcement.rfv_id, announcement.vote)))

    def _announce(self, rfv_id: str, vote: Vote) -> None:
        announcement = Announcement(rfv_id, vote)
        self._emit(Publish(announcement))
        self.on_announcement(announcement)

    def _is_admitted(self, source: bytes) -> bool:
        """Tell whether this routing identity is, or may be, a member's."""
        if source in self._members:
            self.mark_ours(source)
            return True
        return is_reference_identity(source) and not self._members.ids() <= self._ours
