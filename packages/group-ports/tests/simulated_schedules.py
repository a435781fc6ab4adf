"""What happens to a simulated group, by the dice: one seed, one schedule.

A schedule is a row of episodes. Each begins with something going wrong, or right
again, and lasts for a moment or for long. In a long one without loss, if a quorum
can talk in both directions, there must be a leader in the end. At last everything
is healed, and all must agree on one leader.
"""

from __future__ import annotations

import itertools

from .simulated_network import FAST, Network, Wrong

#: Seconds within which a quorum that can talk has a leader, and a healed group one opinion.
BOUND = 5 * (FAST.peer_timeout + FAST.election_max)


class Schedule:
    """The dice."""

    def __init__(self, seed, size, *, mixed):
        network = Network(
            seed, size, references=self._references(seed, size) if mixed else 0, stores_terms=seed % 2 == 0
        )
        self.network = network
        self.random = network.random
        self.slots = range(size)
        self.mixed = mixed
        self.took = 0.0
        self.led_after = []

    @staticmethod
    def _references(seed, size):
        """Some of each kind."""
        return 1 + seed % (size - 1)

    def run(self):
        for slot in self.slots:
            self.network.at(self.random.uniform(0.0, 1.0), self._start_if_missing, slot)
        self.network.run(self.random.uniform(0.2, 4.0))
        for _ in range(self.random.randint(3, 9)):
            for _ in range(self.random.choice((1, 1, 2, 3))):
                self.random.choice(self.incidents)(self)
            self._last()
        self._heal()

    def _start_if_missing(self, slot):
        if self.network.lives[slot] is None:
            self.network.start(slot)

    def _last(self):
        network = self.network
        is_calm = not network.loss and network.delay <= 0.02
        if self.random.random() < 0.75 or not is_calm:
            network.run(self.random.choice((0.1, 0.5, 1.5, 3.0)) * self.random.random())
            return
        can_talk = not self.mixed and self._quorum_can_talk()
        began = network.now
        if can_talk and not network.run(BOUND, until=network.is_led):
            raise Wrong(f"a quorum could talk for {BOUND} s without getting a leader")
        self.led_after.append(network.now - began)
        network.run(self.random.uniform(0.0, 2.0))

    def _quorum_can_talk(self):
        network = self.network
        running = [life.slot for life in network.live() if not life.is_paused]
        return any(
            not any(pair in network.cuts for pair in itertools.permutations(some, 2))
            for some in itertools.combinations(running, network.settings.enough)
        )

    def _heal(self):
        network = self.network
        network.cuts.clear()
        network.loss = network.doubling = 0.0
        network.delay = 0.003
        for slot in self.slots:
            self._start_if_missing(slot)
            network.resume(slot)
            if not network.lives[slot].is_alive:
                network.start(slot)
        began = network.now
        if not network.run(BOUND, until=network.agreed):
            raise Wrong(f"no agreement {BOUND} s after everything was healed")
        self.took = network.now - began
        network.run(2 * BOUND / 5)
        if not network.agreed():
            raise Wrong("agreement did not last")

    # -- incidents

    def _weather(self):
        self.network.loss = self.random.choice((0.0, 0.0, 0.05, 0.2, 0.5))
        self.network.doubling = self.random.choice((0.0, 0.05, 0.3))
        self.network.delay = self.random.choice((0.001, 0.003, 0.02, 0.15))

    def _clear_lines(self):
        self.network.cuts.clear()
        self.network.loss = self.network.doubling = 0.0
        self.network.delay = 0.003

    def _partition(self):
        sides = [self.random.random() < 0.5 for _ in self.slots]
        for one, other in itertools.permutations(self.slots, 2):
            if sides[one] != sides[other]:
                self.network.cuts.add((one, other))

    def _one_way_partition(self):
        sides = [self.random.random() < 0.5 for _ in self.slots]
        for one, other in itertools.permutations(self.slots, 2):
            if sides[one] and not sides[other]:
                self.network.cuts.add((one, other))

    def _cut_lines(self):
        pairs = list(itertools.permutations(self.slots, 2))
        self.network.cuts.update(self.random.sample(pairs, self.random.randint(1, len(pairs) // 2)))

    def _isolate_leader(self):
        for life in self.network.live():
            if life.member.is_leader:
                others = [slot for slot in self.slots if slot != life.slot]
                if self.random.random() < 0.7:
                    self.network.cuts.update((life.slot, slot) for slot in others)
                if self.random.random() < 0.7:
                    self.network.cuts.update((slot, life.slot) for slot in others)

    def _pause(self):
        lives = self.network.live()
        if lives:
            slot = self._someone(lives)
            self.network.pause(slot)
            self.network.at(
                self.network.now + self.random.choice((0.2, 1.0, 3.0, 10.0)) * self.random.random(),
                self.network.resume,
                slot,
            )

    def _crash(self):
        lives = self.network.live()
        if lives:
            slot = self._someone(lives)
            (self.network.crash if self.random.random() < 0.6 else self._leave)(slot)
            if self.random.random() < 0.6:
                back = self.network.now + self.random.choice((0.3, 1.0, 3.0)) * self.random.random()
                self.network.at(back, self._restart, slot)

    def _leave(self, slot):
        if self.network.lives[slot].is_paused:
            self.network.resume(slot)
        self.network.leave(slot)

    def _restart(self, slot):
        if not self.network.lives[slot].is_alive:
            self.network.start(slot)

    def _restart_all(self):
        for slot in self.slots:
            if self.network.lives[slot] is not None:
                self._restart(slot)

    def _someone(self, lives):
        leaders = [life for life in lives if life.member.is_leader]
        return self.random.choice(leaders if leaders and self.random.random() < 0.5 else lives).slot

    incidents = (
        _weather,
        _clear_lines,
        _clear_lines,
        _partition,
        _one_way_partition,
        _cut_lines,
        _isolate_leader,
        _pause,
        _crash,
        _crash,
        _restart_all,
    )
