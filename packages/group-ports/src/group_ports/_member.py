"""One member of a group, without sockets, clocks or threads.

::

    messages, calls, now ──▶ GroupMember ──▶ actions: publish, send to the leader, bind, connect, report
                             Membership      who is there            (_membership)
                             Election        who leads               (_election, _terms, _healing;
                                             or as a source says it: _sourced_election)
                             Polls           what is decided         (_polls)

The shell around it decodes what arrives (`wireframe.group`), hands it in with
the time, carries the actions out in their order, and calls again no later than
`next_deadline`. A message never delays a timer: each call first does what is
due. That also covers a process that was stopped: when it goes on, its
peers are gone and a leader has stepped down before it reads what piled up.

============ ============= ===================================================================
``tic``      published     each heartbeat; soon, if an unknown member was heard
``req vot``  published     election
``ldr``      published     each heartbeat by the leader
``mlt``      published     by a member that leaves
``rfv rtc``  to the leader please poll; my ballot
``rcm ann``  published     by the leader: please vote; the result
============ ============= ===================================================================

Application messages (``msg``, ``mtl``, ``mfl``) are no business of the core.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from group_ports._actions import MemberJoined, MemberLeft, Publish, Report
from group_ports._election import Election, Role
from group_ports._membership import Membership
from group_ports._sourced_election import SourcedElection
from group_ports._voting import VotingBooth
from wireframe import group

if TYPE_CHECKING:
    import random

    from group_ports._actions import Action
    from group_ports._settings import GroupSettings
    from group_ports._sourced_election import Bulletin


class GroupMember:
    """A member's protocol.

    Parameters
    ----------
    settings : GroupSettings
    own_id : bytes
        16 bytes, unique for each life of the process; also the routing identity of
        its query port.
    random : random.Random
        Draws waits and poll identifiers.
    now : float
        Monotonic seconds, as everywhere here.
    last_term : int, optional
        `GroupMember.last_term` of the former life, if it was stored; then the member need not
        keep its votes back at first.
    bulletin : Bulletin, optional
        Where a leader source says who leads; then there is no election.

    Raises
    ------
    ValueError
        An id that is not 16 bytes, or a term that is none.

    Notes
    -----
    Not safe for several threads at once. Actions are to be carried out in order.
    """

    def __init__(
        self,
        settings: GroupSettings,
        own_id: bytes,
        random: random.Random,
        now: float,
        *,
        last_term: int | None = None,
        bulletin: Bulletin | None = None,
    ) -> None:
        if len(own_id) != 16:
            raise ValueError(f"a member id of {len(own_id)} bytes instead of 16")
        self.own_id = own_id
        self._heartbeat = settings.timing.heartbeat
        self._actions: list[Action] = []
        self._members = Membership(own_id, settings.timing.peer_timeout)
        emit = self._actions.append
        self._election: Election | SourcedElection
        if bulletin is None:
            self._election = Election(settings, own_id, self._members, random, emit, now, last_term)
        else:
            self._election = SourcedElection(bulletin, own_id, emit, last_term)
        self._booth = VotingBooth(settings.timing, own_id, self._members, self._election, random, emit)
        self._has_left = False
        self._last_tic = -math.inf
        self._next_tic = now

    @property
    def leader_id(self) -> bytes | None:
        """Id of the leader, if there is one."""
        return self._election.leader.id

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self._election.role is Role.LEADER

    @property
    def term(self) -> int:
        """Fencing token: the term of the last leader known. Never goes back."""
        return self._election.terms.led

    @property
    def until(self) -> float:
        """When the leader is none any more unless a source says it again; infinite without a source."""
        return self._election.until

    @property
    def last_term(self) -> int:
        """What to store, before carrying actions out, for the next life of this member."""
        return max(self._election.terms.led, self._election.terms.voted)

    @property
    def size(self) -> int:
        """Members known, this one included."""
        return len(self._members)

    @property
    def member_ids(self) -> frozenset[bytes]:
        """Ids of the members known, the own one included."""
        return self._members.ids()

    def next_deadline(self) -> float:
        """Tell when to call `on_time` at the latest (monotonic seconds; infinite after `leave`)."""
        if self._has_left:
            return math.inf
        return min(
            self._next_tic,
            self._members.next_deadline(),
            self._election.next_deadline(),
            self._booth.next_deadline(),
        )

    def on_time(self, now: float) -> list[Action]:
        """Do what is due."""
        self._catch_up(now)
        return self._take_actions()

    def receive(
        self,
        body: group.Body,
        now: float,
        *,
        source: bytes | None = None,
        is_ours: bool = False,
    ) -> list[Action]:
        """Take a message in.

        Parameters
        ----------
        body : Tic, Request, Ballot, LeaderNote, Leave, RequestForVote, ReplyToCall or Announcement
            What it says. Bytes of the application are ignored.
        now : float
        source : bytes, optional
            Routing identity of the sender; for what came through the answer port, and
            only for that.
        is_ours : bool
            The message carried our extension: the sender of a ``tic`` votes under its member id.

        Returns
        -------
        list of Action
        """
        self._catch_up(now)
        if self._has_left:
            return []
        match body:
            case group.Tic():
                self._on_tic(body.member, now, is_ours)
            case group.Request():
                self._election.on_request(body, now)
            case group.Ballot():
                self._election.on_ballot(body, now)
            case group.LeaderNote():
                self._election.on_note(body, now)
            case group.Leave():
                self._on_leave(body.member, now)
            case group.RequestForVote() if source is None:
                self._booth.on_request(body)
            case group.RequestForVote() if source is not None:
                self._booth.on_poll(body, source, now)
            case group.ReplyToCall() if source is not None:
                self._booth.on_reply(body, source)
            case group.Announcement():
                self._booth.on_announcement(body)
        self._booth.on_time(now)
        return self._take_actions()

    def answer_bound(self, host: str, port: int, now: float) -> list[Action]:
        """Take in that the answer port is bound (`BindAnswer`) and where."""
        self._election.answer_bound(host, port, now)
        return self._take_actions()

    def leave(self, now: float) -> list[Action]:
        """Say goodbye; the member does nothing afterwards."""
        if self._has_left:
            return []
        self._election.leave(now)
        self._booth.on_time(now)
        self._has_left = True
        self._actions.append(Publish(group.Leave(self.own_id)))
        return self._take_actions()

    def request_vote(
        self,
        topic: bytes,
        now: float,
        *,
        kind: group.Voting = group.Voting.MAJORITY,
        timeout: float | None = None,
        wall_time: float = 0.0,
        release: float | None = None,
    ) -> tuple[str | None, list[Action]]:
        """Ask for a poll.

        Parameters
        ----------
        topic : bytes
        kind : Voting
        timeout : float, optional
            Seconds.
        wall_time : float
            Seconds of the wall clock, for the message only.
        release : float, optional
            Wall-clock seconds at which an action is to be taken: makes it an action vote.

        Returns
        -------
        rfv_id : str or None
            Identifier of the poll. None without a leader, or with too many open polls of one's own.
        actions : list of Action
        """
        self._catch_up(now)
        if self._has_left:
            return None, []
        rfv_id = self._booth.request(
            topic, now, kind=kind, timeout=timeout, wall_time=wall_time, release=release
        )
        return rfv_id, self._take_actions()

    def cast(self, rfv_id: str, vote: bool, now: float) -> tuple[bool, list[Action]]:
        """Vote in a poll.

        Parameters
        ----------
        rfv_id : str
            Which poll.
        vote : bool
            Yes or no.
        now : float

        Returns
        -------
        is_sent : bool
            False without a leader.
        actions : list of Action
        """
        self._catch_up(now)
        if self._has_left:
            return False, []
        is_sent = self._booth.cast(rfv_id, group.Vote.YES if vote else group.Vote.NO)
        return is_sent, self._take_actions()

    def _catch_up(self, now: float) -> None:
        """Do what is due, before anything that has arrived is looked at."""
        if now < self.next_deadline():
            return
        for member_id in self._members.expire(now):
            self._actions.append(Report(MemberLeft(member_id)))
        if now >= self._next_tic:
            self._last_tic, self._next_tic = now, now + self._heartbeat
            self._actions.append(Publish(group.Tic(self.own_id)))
        self._election.on_time(now)
        self._booth.on_time(now)

    def _on_tic(self, member_id: bytes, now: float, is_ours: bool) -> None:
        if self._members.heard(member_id, now):
            self._actions.append(Report(MemberJoined(member_id)))
            # It may not have heard us either; not sooner, so that invented members cost nothing.
            self._next_tic = min(self._next_tic, self._last_tic + self._heartbeat / 4)
        if is_ours:
            self._booth.mark_ours(member_id)

    def _on_leave(self, member_id: bytes, now: float) -> None:
        if self._members.left(member_id, now):
            self._actions.append(Report(MemberLeft(member_id)))
        if member_id != self.own_id:
            self._election.on_member_left(member_id, now)

    def _take_actions(self) -> list[Action]:
        taken = self._actions.copy()
        self._actions.clear()
        return taken
