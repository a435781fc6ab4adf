"""A RIAPS group member, as it was observed: the other side of compatibility.

It does what the reference does, defects included: a quorum relative to the peers it
sees, lower terms adopted, no deadline after a vote, ballots of nobody in
particular, polls that are decided by the last ballot or too late. It has the
face of `GroupMember`, so that the simulated world need not know which is which.
"""

from __future__ import annotations

import math

from group_ports._actions import (
    BindAnswer,
    ConnectQuery,
    DisconnectQuery,
    LeaderElected,
    LeaderExited,
    Publish,
    Report,
    ToLeader,
    UnbindAnswer,
    VoteRequested,
    VoteResult,
)
from wireframe.group import (
    Announcement,
    Ballot,
    LeaderNote,
    Leave,
    ReplyToCall,
    Request,
    RequestForVote,
    Subject,
    Tic,
    Vote,
    Voting,
)


class ReferenceMember:
    def __init__(self, settings, own_id, random, now):
        self._timing = settings.timing
        self._minimum = settings.size
        self._random = random
        self.own_id = own_id
        self.state = "FOLLOWER"
        self.term = 0
        self.leader_id = None
        self._peers = {own_id: now}
        self._voted_for = None
        self._count = 0
        self._polls = {}
        self._actions = []
        self._last_tic = -math.inf
        self._deadline = None
        self._address = ("0.0.0.0", 0)
        self._arm(now)
        self._wait = self._timing.heartbeat
        self._poll_from = now
        self._gone = False

    @property
    def is_leader(self):
        return self.state == "LEADER"

    @property
    def size(self):
        return len(self._peers)

    def next_deadline(self):
        return math.inf if self._gone else self._poll_from + self._wait

    # -- the loop

    def _wake(self, now):
        if now - self._last_tic > self._timing.heartbeat:
            self._last_tic = now
            self._emit(Publish(Tic(self.own_id)))
        for peer, heard in list(self._peers.items()):
            if peer != self.own_id and now - heard > self._timing.peer_timeout:
                del self._peers[peer]

    def on_time(self, now):
        if self._gone or now < self.next_deadline():
            return []
        self._wake(now)
        getattr(self, f"_{self.state.lower()}_time")(now)
        self._poll_from = now
        return self._take()

    def receive(self, body, now, *, source=None, is_ours=False):
        if self._gone:
            return []
        self._wake(now)
        elapsed = math.floor((now - self._poll_from) * 1000) / 1000
        self._wait = max(0.001, self._wait - elapsed)
        self._poll_from = now
        match body:
            case Tic():
                self._peers[body.member] = now
            case Leave():
                if body.member != self.own_id:
                    self._peers.pop(body.member, None)
            case Request() | Ballot() | LeaderNote():
                handler = f"_{self.state.lower()}_{type(body).__name__.lower()}"
                getattr(self, handler, lambda *_: None)(body, now)
            case RequestForVote() if source is None:
                self._arm(now)
                self._request(body)
            case RequestForVote():
                self._start_poll(body, now)
            case ReplyToCall():
                self._ballot(body, now)
            case Announcement():
                self._arm(now)
                self._emit(Report(VoteResult(body.rfv_id, body.vote)))
        return self._take()

    def _emit(self, action):
        self._actions.append(action)

    def _take(self):
        taken, self._actions = self._actions, []
        return taken

    def _arm(self, now):
        if self.state == "FOLLOWER":
            low, high = self._timing.election_max, self._timing.peer_timeout
            self._deadline = now + self._random.randrange(round(low * 1000), round(high * 1000)) / 1000

    def _election_wait(self):
        low, high = self._timing.election_min, self._timing.election_max
        return self._random.randrange(round(low * 1000), round(high * 1000)) / 1000

    # -- follower

    def _follower_time(self, now):
        if self._deadline is None or now < self._deadline:
            return
        if len(self._peers) <= self._minimum // 2 + 1:
            self._arm(now)
            self._wait = self._timing.heartbeat
            return
        self._drop_leader()
        self.term += 1
        self.state = "CANDIDATE"
        self._count = 1
        self._deadline = None
        self._emit(Publish(Request(self.term, self.own_id)))
        self._wait = self._election_wait()

    def _drop_leader(self):
        if self.leader_id is not None:
            self._emit(Report(LeaderExited(self.leader_id)))
        self.leader_id = None
        self._emit(DisconnectQuery())

    def _follower_leadernote(self, note, now):
        if note.leader == self.own_id:
            return
        self.state = "FOLLOWER"
        if note.leader != self.leader_id:
            self._emit(Report(LeaderElected(note.leader, note.term)))
        self.term, self.leader_id = note.term, note.leader
        self._voted_for = None
        self._arm(now)
        self._emit(ConnectQuery(note.host, note.port) if note.port else DisconnectQuery())
        self._wait = self._election_wait()

    def _follower_request(self, request, now):
        if request.candidate == self.own_id:
            return
        grants = self._voted_for is None or request.term > self.term or request.candidate == self._voted_for
        if grants:
            self._voted_for = request.candidate
        self._emit(Publish(Ballot(request.term, request.candidate, grants, self.own_id)))
        self.term = request.term
        self._drop_leader()
        self._deadline = None
        self._wait = self._election_wait()

    def _follower_ballot(self, ballot, now):
        self._wait = self._election_wait()

    # -- candidate

    def _candidate_time(self, now):
        self.state = "FOLLOWER"
        self._voted_for = self.leader_id = None
        self._arm(now)
        self._wait = self._timing.heartbeat

    def _candidate_request(self, request, now):
        if request.candidate == self.own_id or request.term < self.term:
            return
        grants = request.term > self.term
        self._emit(Publish(Ballot(request.term, request.candidate, grants, self.own_id)))
        if grants:
            self.state, self.term, self._voted_for = "FOLLOWER", request.term, request.candidate
        self._wait = self._election_wait()

    def _candidate_ballot(self, ballot, now):
        if not ballot.vote or ballot.candidate != self.own_id:
            return
        self._count += 1
        if self._count < len(self._peers) // 2 + 1:
            return
        self.state, self.leader_id = "LEADER", self.own_id
        self._emit(BindAnswer())
        self._emit(Report(LeaderElected(self.own_id, self.term)))
        self._wait = self._timing.heartbeat

    _candidate_leadernote = _follower_leadernote

    # -- leader

    def answer_bound(self, host, port, now):
        self._address = (host, port)
        self._emit(Publish(LeaderNote(self.term, self.own_id, host, port)))
        return self._take()

    def _leader_time(self, now):
        self._emit(Publish(LeaderNote(self.term, self.own_id, *self._address)))
        for rfv_id, poll in list(self._polls.items()):
            if now >= poll["deadline"]:
                self._decide(rfv_id, Vote.TIMEOUT)
        self._wait = self._timing.heartbeat

    def _leader_leadernote(self, note, now):
        if note.leader != self.own_id and note.term == self.term:
            self._emit(UnbindAnswer())
            self._polls.clear()
            self._follower_leadernote(note, now)

    # -- polls

    def _request(self, poll):
        release = poll.release if poll.subject is Subject.ACTION else None
        self._emit(Report(VoteRequested(poll.rfv_id, poll.topic, poll.kind, poll.subject, release)))

    def _start_poll(self, poll, now):
        if not self.is_leader:
            return
        self._polls[poll.rfv_id] = {
            "n": len(self._peers),
            "kind": poll.kind,
            "votes": [],
            "deadline": now + (poll.timeout or 1500.0),
        }
        self._emit(Publish(poll))

    def _ballot(self, reply, now):
        poll = self._polls.get(reply.rfv_id)
        if poll is None:
            return
        poll["votes"].append(reply.vote)
        if now >= poll["deadline"]:
            self._decide(reply.rfv_id, Vote.TIMEOUT)
        elif len(poll["votes"]) == poll["n"]:
            yes = poll["votes"].count(Vote.YES)
            needed = poll["n"] if poll["kind"] is Voting.CONSENSUS else poll["n"] // 2 + 1
            self._decide(reply.rfv_id, Vote.YES if yes >= needed else Vote.NO)

    def _decide(self, rfv_id, vote):
        del self._polls[rfv_id]
        self._emit(Publish(Announcement(rfv_id, vote)))

    def cast(self, rfv_id, vote, now):
        reply = ReplyToCall(rfv_id, Vote.YES if vote else Vote.NO)
        if self.is_leader:
            self._ballot(reply, now)
        elif self.leader_id is not None:
            self._emit(ToLeader(reply))
        return self.leader_id is not None, self._take()

    def request_vote(self, topic, now, *, kind, timeout):
        if self.leader_id is None or self._gone:
            return None, []
        rfv_id = "".join(self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=8))
        poll = RequestForVote(rfv_id, topic, kind, timeout=timeout or 0.0)
        if self.is_leader:
            self._start_poll(poll, now)
        else:
            self._emit(ToLeader(poll))
        return rfv_id, self._take()

    def leave(self, now):
        if not self._gone:
            self._gone = True
            self._emit(Publish(Leave(self.own_id)))
        return self._take()
