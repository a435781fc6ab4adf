"""Group members, ours and the reference's, on a simulated network with a simulated clock.

Messages take their time, get lost, arrive twice; lines are cut in one direction or
both; processes stop for a while, die, leave, and come back. Everything is drawn from one
seeded generator, so a seed is a schedule. While it runs, the world watches:

* Leaders of ours: never two in one term.
* Terms of a member of ours never go back.
* A result "yes" announced by a leader of ours has the ballots it needs, cast by
  members of its electorate; results come no later than the deadline says.
"""

from __future__ import annotations

import heapq
import random

from group_ports._actions import (
    BindAnswer,
    ConnectQuery,
    DisconnectQuery,
    LeaderElected,
    Publish,
    Report,
    ToLeader,
    UnbindAnswer,
    VoteRequested,
)
from group_ports._member import GroupMember
from group_ports._settings import GroupSettings, Timing
from wireframe.group import Announcement, ReplyToCall, RequestForVote, Tic, Vote, Voting

from .reference_member import ReferenceMember

FAST = Timing.from_params(
    {
        "heartbeat": 300,
        "electionMin": 450,
        "electionMax": 600,
        "peerTimeout": 900,
        "consensusTimeout": 450,
    }
)
#: A process wakes up that much late (seconds), at most.
WAKE_LATENCY = 0.002


class Wrong(AssertionError):
    """What must never happen did."""


class Life:
    """One life of the process in a slot."""

    def __init__(self, slot, member, is_ours):
        self.slot = slot
        self.member = member
        self.is_ours = is_ours
        self.is_alive = True
        self.is_paused = False
        self.queue = []
        self.port = None
        self.query = None
        self.wake_at = None
        self.term = 0
        self.was_leader = False
        # What a reference member's query port is called: digits.
        self.identity = member.own_id if is_ours else str(10**14 + hash(member.own_id) % 10**9).encode()


class Network:
    """The world.

    Parameters
    ----------
    seed : int
    size : int
        Slots.
    references : int
        The first slots are for reference members.
    stores_terms : bool
        A process that comes back knows the `last_term` of its former life.
    """

    def __init__(self, seed, size, *, references=0, stores_terms=False, timing=FAST, talks=True):
        self.random = random.Random(seed)
        self.settings = GroupSettings(size, timing=timing)
        self.size = size
        self.references = references
        self.stores_terms = stores_terms
        self.now = 0.0
        self.loss = self.doubling = 0.0
        self.delay = 0.003
        self.cuts = set()
        self.lives = [None] * size
        self.leaders = {}
        self.history = {}
        self.elected_at = []
        self.polls = {}
        self.ballots = {}
        self.yes = self.messages = 0
        self._events = []
        self._serial = 0
        self._ports = {}
        self._terms = {}
        if talks:
            self.at(self.random.uniform(0.5, 1.0), self._ask)

    # -- clock

    def at(self, time, call, *arguments):
        self._serial += 1
        heapq.heappush(self._events, (time, self._serial, call, arguments))

    def run(self, duration=None, *, until=None):
        """Go on for a time, or until something is so; tell whether it became so."""
        end = self.now + duration
        while self._events and self._events[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
            if until is not None and until():
                return True
        self.now = end
        return False

    # -- processes

    def start(self, slot):
        own_id = bytes([127, slot]) + self.random.randbytes(14)
        generator = random.Random(self.random.getrandbits(64))
        is_ours = slot >= self.references
        if is_ours:
            known = self._terms.get(slot) if self.stores_terms else None
            member = GroupMember(self.settings, own_id, generator, self.now, last_term=known)
        else:
            member = ReferenceMember(self.settings, own_id, generator, self.now)
        life = self.lives[slot] = Life(slot, member, is_ours)
        self._done(life, [])

    def live(self):
        return [life for life in self.lives if life is not None and life.is_alive]

    def crash(self, slot):
        life = self.lives[slot]
        life.is_alive = False
        self._ports.pop(life.port, None)
        self.leaders.pop(life, None)

    def leave(self, slot):
        life = self.lives[slot]
        self._done(life, life.member.leave(self.now))
        self.crash(slot)

    def pause(self, slot):
        self.lives[slot].is_paused = True

    def resume(self, slot):
        life = self.lives[slot]
        if not life.is_paused:
            return
        life.is_paused = False
        if not life.is_alive:
            return
        queue, life.queue = life.queue, []
        if self.random.random() < 0.5:
            self._done(life, life.member.on_time(self.now))
        for body, source, is_ours in queue:
            self._receive(life, body, source, is_ours)
        self._done(life, life.member.on_time(self.now))

    # -- messages

    def _send(self, sender, receiver, body, source=None):
        """Put a message on its way, or several, or none."""
        if sender is not receiver:
            if (sender.slot, receiver.slot) in self.cuts or self.random.random() < self.loss:
                return
            if self.random.random() < self.doubling:
                self._travel(sender, receiver, body, source)
        self._travel(sender, receiver, body, source)

    def _travel(self, sender, receiver, body, source):
        delay = self.random.uniform(0.0003, self.delay)
        self.at(self.now + delay, self._arrive, receiver, body, source, sender.is_ours)

    def _arrive(self, life, body, source, is_ours):
        if not life.is_alive:
            return
        if life.is_paused:
            life.queue.append((body, source, is_ours))
        else:
            self._receive(life, body, source, is_ours)

    def _receive(self, life, body, source, is_ours):
        if life.is_alive:
            self.messages += 1
            is_ours = is_ours and isinstance(body, Tic)
            self._done(life, life.member.receive(body, self.now, source=source, is_ours=is_ours))

    # -- actions

    def _done(self, life, actions):
        """Carry actions out; look at what has become of the member; wake it when it is time."""
        for action in actions:
            self._act(life, action)
        if life.is_alive:
            self._watch(life)
            deadline = max(life.member.next_deadline(), self.now)
            if deadline != life.wake_at:
                life.wake_at = deadline
                late = self.random.uniform(0.0, WAKE_LATENCY)
                self.at(min(deadline + late, self.now + 1e6), self._wake, life, deadline)

    def _wake(self, life, deadline):
        if life.is_alive and not life.is_paused and life.wake_at == deadline:
            life.wake_at = None
            self._done(life, life.member.on_time(self.now))

    def _act(self, life, action):
        match action:
            case Publish():
                self._note_publication(life, action.body)
                for other in self.live():
                    self._send(life, other, action.body)
            case ToLeader():
                leader = self._ports.get(life.query)
                if leader is not None:
                    self._send(life, leader, action.body, life.identity)
            case ConnectQuery():
                life.query = action.port
            case DisconnectQuery():
                life.query = None
            case BindAnswer():
                if not life.is_alive:
                    return
                self._ports.pop(life.port, None)
                life.port = 10_000 + len(self.history) + self._serial % 40_000
                self._ports[life.port] = life
                self._done(life, life.member.answer_bound("127.0.0.1", life.port, self.now))
            case UnbindAnswer():
                self._ports.pop(life.port, None)
            case Report(event=LeaderElected() as event):
                if event.leader_id == life.member.own_id:
                    self.elected_at.append((self.now, life))
            case Report(event=VoteRequested() as event):
                for _ in range(self.random.choices((0, 1, 2), (2, 7, 1))[0]):
                    when = self.now + self.random.uniform(0.0, 0.3)
                    self.at(when, self._cast, life, event.rfv_id, self.random.random() < 0.8)

    # -- the polls

    def _ask(self):
        lives = [life for life in self.live() if not life.is_paused]
        if lives:
            life = self.random.choice(lives)
            kind = self.random.choice((Voting.MAJORITY, Voting.CONSENSUS))
            timeout = self.random.choice((None, self.random.uniform(0.05, 1.0)))
            _, actions = life.member.request_vote(b"topic", self.now, kind=kind, timeout=timeout)
            self._done(life, actions)
        self.at(self.now + self.random.uniform(0.2, 1.0), self._ask)

    def _cast(self, life, rfv_id, vote):
        if life.is_alive and not life.is_paused:
            self.ballots.setdefault(rfv_id, []).append((life.member.own_id, life.is_ours, vote))
            self._done(life, life.member.cast(rfv_id, vote, self.now)[1])
            if self.random.random() < 0.1:
                self._forge(rfv_id)

    def _forge(self, rfv_id):
        """Somebody who is no member votes."""
        digits = str(self.random.getrandbits(47)).encode()
        # Among reference members nobody could tell such digits from theirs.
        identity = self.random.randbytes(16) if self.references else digits
        for leader in list(self._ports.values()):
            self._arrive(leader, ReplyToCall(rfv_id, Vote.YES), identity, False)

    def _note_publication(self, life, body):
        if isinstance(body, RequestForVote) and life.is_ours:
            deadline = self.now + (body.timeout or self.settings.timing.consensus_timeout)
            self.polls[body.rfv_id] = (life, body.kind, life.member.member_ids, deadline)
        elif isinstance(body, Announcement) and life.is_ours:
            leader, kind, electorate, deadline = self.polls[body.rfv_id]
            if leader is not life:
                raise Wrong(f"{body} by another than the leader that opened the poll")
            if self.now > deadline + WAKE_LATENCY and body.vote is not Vote.TIMEOUT:
                raise Wrong(f"{body} after the deadline")
            if body.vote is Vote.YES:
                self._judge_yes(body, kind, electorate)

    def _judge_yes(self, announcement, kind, electorate):
        voters = {
            voter
            for voter, is_known, vote in self.ballots.get(announcement.rfv_id, ())
            # A reference member may be in the electorate under the id of its former life.
            if vote and (voter in electorate or not is_known)
        }
        needed = len(electorate) if kind is Voting.CONSENSUS else len(electorate) // 2 + 1
        if len(voters) < needed:
            raise Wrong(f"{announcement} with {len(voters)} ballots, {needed} needed")
        self.yes += 1

    # -- watching

    def _watch(self, life):
        member = life.member
        if not life.is_ours:
            return
        if member.term < life.term:
            raise Wrong(f"the term of {member.own_id.hex()} went from {life.term} to {member.term}")
        life.term = member.term
        self._terms[life.slot] = member.last_term
        if member.next_deadline() == float("inf") and life.is_alive:
            return
        if not member.is_leader:
            self.leaders.pop(life, None)
        elif self.leaders.get(life) != member.term:
            self.leaders[life] = member.term
            self._judge_leader(life, member.term)

    def _judge_leader(self, life, term):
        if self.references:
            return  # they may vote twice in a term
        if list(self.leaders.values()).count(term) > 1:
            raise Wrong(f"two leaders in term {term}")
        if self.stores_terms and self.history.setdefault(term, life) is not life:
            raise Wrong(f"a second leader in term {term}")

    def agreed(self):
        """Tell whether all that live name one leader, which thinks so too."""
        members = [life.member for life in self.live()]
        leaders = [member for member in members if member.is_leader]
        return (
            len(leaders) == 1
            and all(member.leader_id == leaders[0].own_id for member in members)
            and len({member.term for member in members}) == 1
        )

    def is_led(self):
        """Tell whether a member that runs leads, and a quorum that runs names it."""
        running = [life.member for life in self.live() if not life.is_paused]
        named = [member.leader_id for member in running]
        return any(
            member.is_leader and named.count(member.own_id) >= self.settings.enough for member in running
        )
