"""One member under the hand of a test: messages in, what it publishes and reports out."""

from __future__ import annotations

import random

from group_ports._actions import Publish, Report, ToLeader
from group_ports._member import GroupMember
from group_ports._settings import GroupSettings
from wireframe.group import Ballot, LeaderNote, Request, Tic

from .simulated_network import FAST

OWN = b"\x7fown" + bytes(12)
A, B, C, D = (b"\x7f" + letter * 15 for letter in (b"a", b"b", b"c", b"d"))


class Scripted:
    """Knows the term it may have voted in (0), so that it votes from the start."""

    def __init__(self, *peers, size=3, own_id=OWN, last_term=0, **settings):
        self.now = 100.0
        self.actions = []
        self.member = GroupMember(
            GroupSettings(size, timing=FAST, **settings),
            own_id,
            random.Random(1),
            self.now,
            last_term=last_term,
        )
        self.peers = peers
        self.hear(*(Tic(peer) for peer in peers))
        self.actions.clear()

    def hear(self, *bodies, source=None, is_ours=True):
        for body in bodies:
            self.do(self.member.receive(body, self.now, source=source, is_ours=is_ours))

    def do(self, actions):
        self.actions += actions

    def taken(self):
        taken, self.actions = self.actions, []
        return taken

    def published(self, *kinds):
        """What was published since, and forget everything else."""
        return [
            action.body
            for action in self.taken()
            if isinstance(action, Publish) and isinstance(action.body, kinds or object)
        ]

    def events(self):
        return [action.event for action in self.taken() if isinstance(action, Report)]

    def to_leader(self):
        return [action.body for action in self.taken() if isinstance(action, ToLeader)]

    def pass_time(self, duration, *, note=None):
        """Let time pass, with the peers alive and perhaps a leader."""
        end = self.now + duration
        next_tic = self.now
        while True:
            self.now = min(self.member.next_deadline(), next_tic, end)
            self.do(self.member.on_time(self.now))
            if self.now >= end:
                return
            if self.now >= next_tic:
                self.hear(*(Tic(peer) for peer in self.peers))
                if note is not None:
                    self.hear(note)
                next_tic += 0.25

    def stand(self):
        """Wait until it stands, and return the request."""
        for _ in range(100):
            self.pass_time(0.02)
            requests = self.published(Request)
            if requests:
                return requests[-1]
        raise AssertionError("it does not stand")

    def win(self):
        """Make it the leader, bound to a port; return its first note."""
        request = self.stand()
        self.hear(*(Ballot(request.term, self.member.own_id, True, peer) for peer in self.peers))
        assert self.member.is_leader
        self.do(self.member.answer_bound("127.0.0.1", 4000, self.now))
        (note,) = self.published(LeaderNote)
        return note


def note(term, leader, port=5000):
    return LeaderNote(term, leader, "127.0.0.1", port)
