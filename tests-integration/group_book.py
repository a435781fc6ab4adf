"""The book of what the members of a group publish. All of it has to be in order, at any time::

one leader in a term, and one vote of each member
no member goes back to a lower term, as a leader or as a voter
the result of a poll comes once, and from the leader that held it
"""

from __future__ import annotations

import math
from typing import Any


class Book:
    """What the observer hears. What is wrong by itself is said at once."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        # When which leader was heard, and in which term.
        self.notes: list[tuple[float, str, int]] = []
        self.votes: dict[tuple[int, str], str] = {}
        self.polls: dict[str, tuple[str, bool]] = {}
        self.results: dict[str, int] = {}
        self._led: dict[str, int] = {}
        self._voted: dict[str, int] = {}

    def take(self, said: dict[str, Any], sender: str) -> None:
        match said["tag"]:
            case "ldr":
                self._take_note(said["term"], said["leader"], sender, said["at"])
            case "req":
                assert said["candidate"] == sender
                self._take_vote(said["term"], sender, sender)
            case "vot":
                assert said["voter"] == sender
                if said["vote"]:
                    self._take_vote(said["term"], sender, said["candidate"])
            case "rcm":
                self.polls[said["rfv_id"]] = (sender, bool(said["kind"]))
            case "ann":
                assert said["rfv_id"] not in self.results, "announced twice"
                assert self.polls[said["rfv_id"]][0] == sender, "announced by another than who held the poll"
                self.results[said["rfv_id"]] = said["vote"]

    def count_notes(self, leader: str, since: float, term: float = math.inf) -> int:
        """Return how often a leader has been heard since then, of a term up to this one."""
        return sum(at > since and known == leader and led <= term for at, known, led in self.notes)

    def _take_note(self, term: int, leader: str, sender: str, at: float) -> None:
        if leader == sender and term >= self._led.get(leader, 0):
            assert self.leaders.setdefault(term, leader) == leader, f"two leaders in term {term}"
            self._led[leader] = term
            self.notes.append((at, leader, term))
        else:
            # Somebody tells a leader of a lower term, in the only term it listens to, whom it has to follow.
            assert self.leaders.get(term) != leader, f"{leader} went back to term {term}"
            assert self._led.get(leader, 0) > term, f"{leader} never led a term above {term}"

    def _take_vote(self, term: int, voter: str, candidate: str) -> None:
        assert term >= self._voted.get(voter, 0), f"{voter} voted in term {term} after {self._voted[voter]}"
        self._voted[voter] = term
        assert self.votes.setdefault((term, voter), candidate) == candidate, f"{voter} voted twice in {term}"
