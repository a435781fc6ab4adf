"""Who decides what happens next in a simulated world: a path, a search, or dice."""

from __future__ import annotations

import random


class Known(Exception):
    """A search has come to a state from which it has seen everything."""


class Replay:
    """A schedule written down as the numbers of its choices; then always the first."""

    def __init__(self, path):
        self._given = path
        self.path = []

    def choose(self, world, options, timeout):
        if len(options) == 1:
            return options[0]
        position = len(self.path)
        number = (
            self._given[position] if position < len(self._given) else self.decide(world, options, timeout)
        )
        self.path.append(number)
        return options[number]

    def decide(self, world, options, timeout):
        return 0

    def number(self, low, high):
        return high

    def meet(self, world):
        pass


class Search(Replay):
    """Follows a path, then new ground only, and notes the ways it did not take.

    Without `memory` it goes on where it has been before.
    """

    def __init__(self, path, seen, ahead, memory):
        super().__init__(path)
        self._seen = seen
        self._ahead = ahead
        self._memory = memory

    def decide(self, world, options, timeout):
        self._note(world, timeout, tuple(option[0] for option in options))
        self._ahead.extend((*self.path, other) for other in range(1, len(options)))
        return 0

    def meet(self, world):
        self._note(world, 0.0, ())

    def _note(self, world, timeout, options):
        key = hash((world.key(timeout), options))
        if self._memory and key in self._seen:
            raise Known
        self._seen.add(key)


class Dice:
    """A schedule from a seed; the rare things stay rare."""

    RARE = frozenset({"wait", "leave", "die", "hang", "chatter"})

    def __init__(self, seed):
        self._random = random.Random(seed)

    def choose(self, world, options, timeout):
        if len(options) == 1:
            return options[0]
        weights = [1 if option[0] in self.RARE else 12 for option in options]
        return self._random.choices(options, weights)[0]

    def number(self, low, high):
        return self._random.randint(low, high)

    def meet(self, world):
        pass
