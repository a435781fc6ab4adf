"""One member's part in the election: follower, candidate, leader.

::

                 nobody leads, quorum heard            enough votes
     FOLLOWER ──────────────────────────▶ CANDIDATE ────────────────▶ LEADER
        ▲  ▲      too late, beaten, or a leader│                         │
        │  └───────────────────────────────────┘                         │
        └──────────── quorum lost, or a leader with a higher term ───────┘

======================= ====================================================================
FOLLOWER, time is up    Give the leader up. Quorum heard: a new term, vote for itself,
                        publish ``req``. Otherwise wait again.
CANDIDATE, heartbeat/2  Publish ``req`` again for those that missed it or were not free to vote.
CANDIDATE, time is up   FOLLOWER, wait again; after a short wait if too many voted for others.
                        Another one in the same term: stand again after a short wait.
LEADER, heartbeat       Publish ``ldr``.
LEADER, quorum lost     FOLLOWER: fewer than the quorum heard within the peer timeout.
``req``                 Vote, if `_terms` allow it and no other leader was heard within
                        election_max. Otherwise vote no. A LEADER answers with ``ldr``.
``vot``                 A CANDIDATE counts members it knows, each once, for its own term.
``vot`` no, to the      A member knows a higher term and cannot follow (below). A LEADER stands
leader, term higher     again, above that term; a FOLLOWER may vote before election_max.
``ldr``, term higher    Follow. A LEADER steps down.
``ldr``, term the same  Follow, if the term has no leader yet. A LEADER: `_healing`.
``ldr``, term lower     Never followed. With a leader: `_healing`. Without: publish ``vot`` no, with
                        the higher term, so that the two come together again.
``mlt`` of the leader   Election at once, after a short wait.
======================= ====================================================================

A deadline is set in every state (`_waits`) and looked at on every call. What may
overlap, and why never in one term: `_terms`. Members of the reference: `_healing`.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

from group_ports._actions import BindAnswer, LeaderElected, LeaderExited, Publish, Report, UnbindAnswer
from group_ports._candidacy import Candidacy
from group_ports._healing import Healing
from group_ports._leader import NOWHERE, KnownLeader
from group_ports._terms import MAX_TERM, Terms
from group_ports._waits import Waits
from wireframe.group import Ballot, LeaderNote, Request

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from group_ports._actions import Action
    from group_ports._membership import Membership
    from group_ports._settings import GroupSettings


class Role(enum.Enum):
    """What a member is at the moment."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Election:
    """The election as one member sees it.

    Parameters
    ----------
    settings, own_id, random, now, last_term
        As of `GroupMember`.
    membership : Membership
        Kept up to date by the owner, before `on_time`.
    emit : callable
        Gets each action, in order.

    Attributes
    ----------
    role : Role
    terms : Terms
    leader : KnownLeader
    until : float
        Infinite: that a leader is silent is found out by looking for it.
    """

    until = math.inf

    def __init__(
        self,
        settings: GroupSettings,
        own_id: bytes,
        membership: Membership,
        random: random.Random,
        emit: Callable[[Action], None],
        now: float,
        last_term: int | None = None,
    ) -> None:
        self._settings, self._timing = settings, settings.timing
        self._own_id = own_id
        self._membership = membership
        self._emit = emit
        self.role = Role.FOLLOWER
        self.terms = Terms(last_term or 0)
        self.leader = KnownLeader(emit)
        self._candidacy = Candidacy(own_id, membership, settings.enough)
        self._next_publication = now  # `req` in CANDIDATE, `ldr` in LEADER
        self._last_note = now
        self._healing = Healing(self._timing.heartbeat)
        self._votes_from = now if last_term is not None else now + self._timing.peer_timeout
        self._waits = Waits(self._timing, random, self._votes_from)

    def next_deadline(self) -> float:
        """Tell when `on_time` has something to do."""
        if self.role is Role.LEADER:
            return self._next_publication
        if self.role is Role.CANDIDATE:
            return min(self._waits.deadline, self._next_publication)
        return self._waits.deadline

    def on_time(self, now: float) -> None:
        """Do what is due; the membership is up to date."""
        if self.role is Role.LEADER:
            if len(self._membership) < self._settings.enough:
                self._step_down(now)
            elif now >= self._next_publication:
                self._publish_note(now)
        elif now >= self._waits.deadline:
            if self.role is Role.CANDIDATE and not self._candidacy.is_contested:
                self._give_up(now)
                self._waits.for_leader(now)
            else:
                self._lose_leader(now)
                self._stand(now)
        elif self.role is Role.CANDIDATE and now >= self._next_publication:
            self._next_publication = now + self._timing.heartbeat / 2
            self._emit(Publish(Request(self.terms.voted, self._own_id)))

    def on_request(self, request: Request, now: float) -> None:
        """``req``: somebody stands."""
        candidate = request.candidate
        if candidate == self._own_id or not self.terms.take(request.term):
            return
        if self.role is Role.LEADER:
            self._hurry_note()
            return
        if self.role is Role.CANDIDATE and request.term == self.terms.voted:
            self._contest(candidate, now)
            return
        is_bound = now < self._votes_from or self.leader.binds(candidate, now)
        grants = not is_bound and self.terms.may_vote(request.term, candidate)
        if grants:
            self.role = Role.FOLLOWER
            self._lose_leader(now)
            self.terms.vote(request.term, candidate)
            self._waits.for_other(now)
        self._emit(Publish(Ballot(request.term, candidate, grants, self._own_id)))

    def on_ballot(self, ballot: Ballot, now: float) -> None:
        """``vot``: somebody votes."""
        if not self.terms.take(ballot.term) or ballot.voter not in self._membership:
            return
        if self.role is not Role.CANDIDATE:
            if not ballot.vote and ballot.candidate == self.leader.id and ballot.term > self.terms.led:
                self._on_refusal(now)
            return
        if ballot.term != self.terms.voted or not ballot.vote:
            return
        if ballot.candidate == self._own_id:
            self._candidacy.add(ballot.voter)
            self._count(now)
        else:
            self._candidacy.lose(ballot.voter)
            self._check_hope(now)

    def on_note(self, note: LeaderNote, now: float) -> None:
        """``ldr``: somebody leads."""
        leader, term = note.leader, note.term
        if leader == self._own_id or self._membership.is_departed(leader) or not self.terms.take(term):
            return
        if term < self.terms.led:
            self._heal(note, now)
        elif term > self.terms.led or self.leader.id in (None, leader):
            self._follow(note, now)
        elif self.role is Role.LEADER:
            self._face_rival(leader, now)

    def on_member_left(self, member_id: bytes, now: float) -> None:
        """``mlt``: if it was the leader, there is an election at once."""
        if member_id == self.leader.id:
            self._lose_leader(now)
            self._waits.shortly(now)

    def answer_bound(self, host: str, port: int, now: float) -> None:
        """Tell the group where the leader answers."""
        if self.role is Role.LEADER:
            self.leader.address = (host, port)
            self._publish_note(now)

    def leave(self, now: float) -> None:
        """Give up whatever this member is."""
        if self.role is Role.LEADER:
            self._step_down(now)
        self._lose_leader(now)

    def _follow(self, note: LeaderNote, now: float) -> None:
        if self.role is Role.LEADER:
            self._step_down(now)
        self.role = Role.FOLLOWER
        self.leader.follow(note, is_new_term=note.term != self.terms.led)
        self.leader.bind(now + self._timing.election_max)
        self.terms.led = note.term
        self._waits.for_leader(now)

    def _lose_leader(self, now: float) -> None:
        if self.leader.lose():
            self._waits.limit(now)

    def _stand(self, now: float) -> None:
        term = self.terms.highest + 1
        if len(self._membership) < self._settings.enough or now < self._votes_from or term > MAX_TERM:
            self.role = Role.FOLLOWER
            self._waits.for_leader(now)
            return
        self.role = Role.CANDIDATE
        self.terms.vote(term, self._own_id)
        self._candidacy = Candidacy(self._own_id, self._membership, self._settings.enough)
        self._waits.for_votes(now)
        self._next_publication = now
        self.on_time(now)
        self._count(now)

    def _count(self, now: float) -> None:
        if not self._candidacy.is_won():
            return
        self.role = Role.LEADER
        self.terms.led = self.terms.voted
        self.leader.id, self.leader.address = self._own_id, NOWHERE
        # Should the port not be bound by then, the group learns at least who leads.
        self._last_note, self._next_publication = now, now + self._timing.heartbeat / 2
        self._emit(BindAnswer())
        self._emit(Report(LeaderElected(self._own_id, self.terms.led)))

    def _contest(self, rival: bytes, now: float) -> None:
        """Another one stands in the same term: if neither wins at once, the first to try again does."""
        self._emit(Publish(Ballot(self.terms.voted, rival, False, self._own_id)))
        if not self._candidacy.is_contested:
            self._candidacy.is_contested = True
            self._waits.hurry(now)
        self._candidacy.lose(rival)
        self._check_hope(now)

    def _check_hope(self, now: float) -> None:
        if self._candidacy.is_lost():
            self._give_up(now)
            self._waits.shortly(now)

    def _give_up(self, now: float) -> None:
        self.role = Role.FOLLOWER
        self._waits.limit(now)

    def _publish_note(self, now: float) -> None:
        self._last_note = now
        self._next_publication = now + self._timing.heartbeat
        self._emit(Publish(LeaderNote(self.terms.led, self._own_id, *self.leader.address)))

    def _hurry_note(self) -> None:
        """Have the next note early, but not as often as a flood of messages asks for it."""
        self._next_publication = min(self._next_publication, self._last_note + self._timing.heartbeat / 4)

    def _step_down(self, now: float) -> None:
        self.role = Role.FOLLOWER
        self.leader.id = None
        self._waits.limit(now)
        self._waits.for_leader(now)
        self._emit(UnbindAnswer())
        self._emit(Report(LeaderExited(self._own_id)))

    def _face_rival(self, rival: bytes, now: float) -> None:
        """Two leaders in one term: see `_healing`."""
        if self._healing.insists(rival, 0.5, now) and self._own_id < rival:
            self._step_down(now)
        else:
            self._hurry_note()

    def _heal(self, note: LeaderNote, now: float) -> None:
        """Tell a stale leader, in the only term it listens to: its own."""
        if self.leader.id is None:
            better = self._healing.better(note, now)
            if self._healing.may_tell(note.leader, now):
                self._emit(Publish(better or Ballot(self.terms.led, note.leader, False, self._own_id)))
        elif note.leader != self.leader.id and (
            (self.role is Role.LEADER or self._healing.insists(note.leader, 2.0, now))
            and self._healing.may_tell(note.leader, now)
        ):
            self._emit(Publish(LeaderNote(note.term, self.leader.id, *self.leader.address)))

    def _on_refusal(self, now: float) -> None:
        """Make way: a member that knows a higher term cannot follow the leader of ours."""
        if self.role is not Role.LEADER:
            self.leader.bind(now)
        elif self._healing.may_tell(self._own_id, now):
            self._step_down(now)
            self._stand(now)
