"""What a member remembers of polls: the requests and results it has told of, and its own questions."""

from __future__ import annotations

import math

from group_ports._polls import MAX_POLLS

#: Identifiers remembered, so that late and doubled messages are known for what they are.
MAX_REMEMBERED = 4 * MAX_POLLS


class PollMemory:
    """Which polls a member has been told of, which are over, and which of its own are open.

    A request and a result are reported once each, whatever is doubled or late.
    A member's own poll that gets no result at all - the leader died - is over
    at a time of its own.
    """

    def __init__(self) -> None:
        self._requested: dict[str, None] = {}
        self._resolved: dict[str, None] = {}
        self._asked: dict[str, float] = {}

    def ask(self, rfv_id: str, deadline: float) -> bool:
        """Note a poll of one's own; False if too many are open."""
        if len(self._asked) >= MAX_POLLS:
            return False
        self._asked[rfv_id] = deadline
        return True

    def request(self, rfv_id: str) -> bool:
        """Note that a vote is requested; tell whether that is news."""
        return rfv_id not in self._resolved and _remember(self._requested, rfv_id)

    def is_over(self, rfv_id: str) -> bool:
        """Tell whether a result is known."""
        return rfv_id in self._resolved

    def resolve(self, rfv_id: str) -> bool:
        """Note a result; tell whether it is the first."""
        self._asked.pop(rfv_id, None)
        return _remember(self._resolved, rfv_id)

    def expire(self, now: float) -> list[str]:
        """Give up and return one's own polls that got no result."""
        if now < self.next_deadline():
            return []
        over = [rfv_id for rfv_id, deadline in self._asked.items() if deadline <= now]
        for rfv_id in over:
            self.resolve(rfv_id)
        return over

    def next_deadline(self) -> float:
        """Tell when the next of one's own polls is given up."""
        return min(self._asked.values(), default=math.inf)


def _remember(memory: dict[str, None], rfv_id: str) -> bool:
    """Add to a memory of limited size; tell whether it is new."""
    if rfv_id in memory:
        return False
    while len(memory) >= MAX_REMEMBERED:
        del memory[next(iter(memory))]
    memory[rfv_id] = None
    return True
