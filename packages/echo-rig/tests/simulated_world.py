"""Two ends and a network between them, on a clock that only the schedule moves.

Everything random comes from one seed: what is sent and when, which datagrams
are lost, doubled or late, what is cancelled, which end dies and comes back.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from echo_rig._conversation import Conversation, Limits, Verdict
from wireframe.echo import TAG_LENGTH, is_ping, read_number

#: What is said about a callback that failed; nobody confirms it.
REPORT = b'[0, "ValueError: boom", 2]'


@dataclass
class Plan:
    """What may happen in one run."""

    loss: float
    duplication: float
    delay_s: float
    spread_s: float
    sends: int
    span_s: float
    #: Part of all datagrams that do not get through for a while, however often they are repeated.
    blocked: float = 0.0
    cancelled: float = 0.0
    answered: float = 0.0
    repeated_texts: bool = False
    restarts: int = 0
    away_s: float = 2.0
    timeout_s: float = 1.0
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def roll(cls, rng):
        small = rng.random() < 0.3
        return cls(
            loss=rng.choice([0, 0, 0.05, 0.2, 0.4]),
            duplication=rng.choice([0, 0, 0.1, 0.3]),
            delay_s=rng.choice([0.0001, 0.005, 0.05]),
            spread_s=rng.choice([0, 0.002, 0.05, 0.1]),
            sends=rng.choice([3, 10, 30]),
            span_s=rng.choice([0, 0.2, 3]),
            blocked=rng.choice([0, 0, 0.05]),
            cancelled=rng.choice([0, 0, 0.2]),
            answered=rng.choice([0, 0.5]),
            repeated_texts=rng.random() < 0.3,
            restarts=rng.choice([0, 0, 0, 1, 2]),
            away_s=rng.choice([0.5, 2.0, 7.0]),
            timeout_s=rng.choice([0.3, 1.0, 3.0, 8.0]),
            limits=Limits(window=4, span=16, held_messages=8, sessions=2, identical=64)
            if small
            else Limits(identical=256),
        )


@dataclass(eq=False)
class Fate:
    """One message that an application has sent, and what it was told."""

    text: bytes
    end: object
    life: int
    sending: object = None
    outcome: str = "open"
    peer_lives: tuple = ()

    @property
    def number(self):
        return self.sending.number if self.sending else None


class World:
    def __init__(self, seed, plan=None):
        self.random = random.Random(seed)
        self.plan = plan or Plan.roll(self.random)
        self.now = 100.0
        self.datagrams = 0
        self.fates = []
        self.ends = []
        self._events = []
        self._count = 0
        self._texts = 0
        self._blocked_until = {}

    def at(self, when, action, *arguments):
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action, arguments))

    def transmit(self, source, data):
        """Put a datagram on the wire to the other end."""
        self.datagrams += 1
        plan, dice = self.plan, self.random
        target = self.other(source)
        copies = 0 if dice.random() < plan.loss else 1
        if plan.blocked:
            until = self._blocked_until.get((source, data))
            if until is None:
                until = self.now + 8 * dice.random() if dice.random() < plan.blocked else 0.0
                self._blocked_until[source, data] = until
            if self.now < until:
                return
        if dice.random() < plan.duplication:
            copies += 1
        for _ in range(copies):
            self.at(self.now + plan.delay_s + dice.random() * plan.spread_s, target.arrive, data)

    def other(self, end):
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def text(self, end, kind="command"):
        """Return a message; with `repeated_texts` often one that was sent before."""
        if self.plan.repeated_texts and self.random.random() < 0.5:
            return b"[1, null]"
        self._texts += 1
        return b'[2, "%s of %s", %d]' % (kind.encode(), end.name.encode(), self._texts)

    def play(self, limit=200_000):
        """Let the applications send, and run until nothing is left to happen."""
        plan, dice = self.plan, self.random
        for end in self.ends:
            for _ in range(plan.sends):
                self.at(self.now + dice.random() * plan.span_s, end.command)
        for _ in range(plan.restarts):
            dying = dice.choice(self.ends)
            self.at(self.now + dice.random() * (plan.span_s + 1), dying.die)
        steps = 0
        while self._events:
            steps += 1
            assert steps < limit, "it never ends"
            when, _, action, arguments = heapq.heappop(self._events)
            assert when >= self.now
            self.now = when
            action(*arguments)
        return self


class OurEnd:
    """A conversation of ours with an application behind it."""

    def __init__(self, world, name, numbering, *, datagrams=True):
        self.world = world
        self.name = name
        self.numbering = numbering
        self.datagrams = datagrams
        self.life = 0
        self.alive = True
        #: (life, bytes as delivered)
        self.delivered = []
        self.errors = 0
        self.reports = 0
        self._held_since = {}
        self._alarm = None
        world.ends.append(self)
        self.conversation = self._new()

    def _new(self):
        session = self.world.random.randrange(1, 2**32)
        return Conversation(
            datagrams=self.datagrams,
            session=session,
            numbering=self.numbering,
            limits=self.world.plan.limits,
        )

    # The application.

    def command(self, text=None):
        if not self.alive:
            return
        world = self.world
        fate = Fate(text or world.text(self), self, self.life)
        fate.peer_lives = (world.other(self).life,)
        world.fates.append(fate)
        fate.sending, write = self.conversation.send(fate.text, world.now, context=fate)
        self._write(write)
        timeout_s = world.plan.timeout_s
        if world.random.random() < world.plan.cancelled:
            timeout_s *= world.random.random()
        world.at(world.now + timeout_s, self._expire, fate)

    def _expire(self, fate):
        if fate.outcome == "open":
            self._settle(fate, "failed")
            self._write(self.conversation.give_up(fate.sending, self.world.now))

    def _settle(self, fate, outcome):
        assert fate.outcome == "open", "told twice"
        fate.outcome = outcome
        fate.peer_lives = range(fate.peer_lives[0], self.world.other(self).life + 1)

    def die(self):
        if not self.alive:
            return
        self.alive = False
        self._held_since.clear()
        for sending in self.conversation.lost():
            self._settle(sending.context, "died")
        assert self.conversation.outstanding == self.conversation.queued == 0
        self.world.at(self.world.now + self.world.plan.away_s, self._return)

    def _return(self):
        self.alive = True
        self.life += 1
        self.conversation = self._new()
        self._alarm = None

    # The shell.

    def arrive(self, data):
        if not self.alive:
            return
        world = self.world
        received = self.conversation.receive(data, world.now)
        verdict = received.verdict
        if verdict is Verdict.HELD:
            self._held_since.setdefault(data, world.now)
        if received.sending is not None and received.sending.context is not None:
            self._settle(received.sending.context, "failed" if verdict is Verdict.UNEXPECTED else "confirmed")
        self._write(received.write)
        self._deliver(received.deliver, errors=verdict is Verdict.ERROR_MESSAGE)
        self._check_bounds()

    def _deliver(self, messages, *, errors=False):
        world, plan = self.world, self.world.plan
        for data in messages:
            since = self._held_since.pop(data, world.now)
            assert world.now - since <= plan.limits.held_s + 1e-6, "held for too long"
            if errors:
                self.errors += 1
                continue
            self.delivered.append((self.life, data))
            if plan.answered and world.random.random() < 0.1:
                _, write = self.conversation.send(REPORT, world.now, confirm=False)
                self._write(write)
                self.reports += 1
            if not is_ping(data) and world.random.random() < plan.answered and b"answer" not in data:
                if plan.repeated_texts and world.random.random() < 0.3:
                    answer = data if read_number(data) is None else data[:-TAG_LENGTH]
                    if answer != b"[1, null]":
                        answer = world.text(self, "answer")
                else:
                    answer = world.text(self, "answer")
                if answer == b"[1, null]" and world.random.random() < 0.7:
                    continue
                world.at(world.now + world.random.choice([0, 0, 0.01, 0.2]), self.command, answer)

    def _write(self, datagrams):
        for data in datagrams:
            self.world.transmit(self, data)
        deadline = self.conversation.next_deadline()
        if deadline is not None and (self._alarm is None or deadline < self._alarm):
            self._alarm = deadline
            self.world.at(max(deadline, self.world.now), self._tick, self.conversation)

    def _tick(self, conversation):
        if conversation is not self.conversation or not self.alive:
            return
        self._alarm = None
        due = conversation.on_time(self.world.now)
        self._write(due.write)
        self._deliver(due.deliver)
        # Delivering may have left something to wait for.
        self._write(())

    def _check_bounds(self):
        conversation, limits = self.conversation, self.world.plan.limits
        assert conversation.held <= limits.held_messages
        assert conversation._order.held_bytes <= limits.held_bytes
        assert len(conversation._order._sessions) <= limits.sessions
        assert all(len(one.skipped) <= limits.span for one in conversation._order._sessions.values())
        assert len(conversation._outbox._open) <= limits.window
        assert len(conversation._outbox.recent) <= limits.recent_messages
        assert len(conversation._outbox.late) <= limits.late_messages
        assert len(conversation._inbox._copies) <= limits.held_messages
        assert len(conversation._inbox._breaker) <= limits.recent_messages

    def is_quiet(self):
        conversation = self.conversation
        return (
            conversation.outstanding == conversation.queued == conversation.held == 0
            and conversation.next_deadline() is None
        )
