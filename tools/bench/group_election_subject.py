"""Members of a group that elect, hear each other and lose their leader, without a network, in one process.

Started by the bench, never imported::

    python group_election_subject.py MEMBERS

The time is simulated and passes as fast as the members work. What one
publishes, all others get a millisecond later, in the order it was sent. Each
fifth simulated second the leader goes silent for two, so that another one is
elected. A step is one event of the core: a message received, or a timer that
was due. The times told are those of the whole simulation, its queue included.
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import orders

from group_ports._actions import BindAnswer, Publish
from group_ports._member import GroupMember
from group_ports._settings import GroupSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from group_ports._actions import Action
    from wireframe.group import Body

#: Simulated seconds that a message takes.
WAY_S: Final = 0.001
#: Simulated seconds from one silence of a leader to the next, and of its silence.
CALM_S: Final = 5.0
SILENCE_S: Final = 2.0


class Simulation:
    """The members and the messages between them.

    Parameters
    ----------
    size : int
        Members.

    Attributes
    ----------
    events : int
        So far.
    elected : int
        Times that a member became leader.
    """

    def __init__(self, size: int) -> None:
        generator = random.Random(5)
        settings = GroupSettings(size)
        self._now = 0.0
        self._members = [
            GroupMember(settings, bytes([1, number]) + bytes(14), generator, 0.0) for number in range(size)
        ]
        self._due = [0.0] * size
        # All messages take the same time, so the first to be sent is the first to come.
        self._way: deque[tuple[float, int, Body]] = deque()
        self._silent: int | None = None
        self._next_change = CALM_S
        self.events = 0
        self.elected = 0

    def run(self, events: int) -> None:
        """Go on for so many events."""
        end = self.events + events
        while self.events < end:
            timer = min(self._due)
            if self._way and self._way[0][0] <= timer:
                self._deliver()
                continue
            self._now = max(self._now, timer)
            if self._now >= self._next_change:
                self._change()
            number = self._due.index(timer)
            self.events += 1
            self._follow(number, self._members[number].on_time(self._now))

    def _deliver(self) -> None:
        self._now, _sender, body = self._way.popleft()
        now = self._now
        for number, member in enumerate(self._members):
            if number != self._silent:
                self.events += 1
                self._follow(number, member.receive(body, now, is_ours=True))

    def _follow(self, number: int, actions: Sequence[Action]) -> None:
        member = self._members[number]
        for action in actions:
            if isinstance(action, Publish):
                if number != self._silent:
                    self._way.append((self._now + WAY_S, number, action.body))
            elif isinstance(action, BindAnswer):
                self.elected += 1
                self._follow(number, member.answer_bound("127.0.0.1", 10_000 + number, self._now))
        self._due[number] = member.next_deadline()

    def _change(self) -> None:
        """Silence the leader, or let it speak again."""
        if self._silent is None:
            leaders = [number for number, member in enumerate(self._members) if member.is_leader]
            self._silent = leaders[0] if leaders else None
            self._next_change = self._now + SILENCE_S
        else:
            self._silent = None
            self._next_change = self._now + CALM_S


def main() -> None:
    """Make the members, say so, follow the orders of the bench."""
    simulation = Simulation(int(sys.argv[1]))

    def run(steps: int) -> tuple[int, float, float]:
        before, begin, busy = simulation.events, time.perf_counter(), time.process_time()
        simulation.run(steps)
        wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - busy
        return simulation.events - before, wall_s, cpu_s

    simulation.run(20_000)
    if simulation.elected < 2:
        raise RuntimeError(f"{simulation.elected} elections, and the leader was lost more than once")
    orders.say(ready=True)
    orders.follow(run)


if __name__ == "__main__":
    main()
