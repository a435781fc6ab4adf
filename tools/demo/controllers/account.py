"""What is known of the controllers when all is over: what each reported, and what the demo did to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The controllers, and what the gauge of each shows, in mbar.
CONTROLLERS: Final = {"north": 4.1, "middle": 4.3, "south": 4.6}
#: What is voted on, in this order, and the pressure in mbar above which a controller says no.
MOTIONS: Final = {"open": 5.0, "raise": 4.4, "close": 5.0, "reopen": 5.0}
#: Times of the group, in milliseconds: no leader is given up by a computer that makes it wait for a second.
TIMES: Final = {
    "heartbeat": 300,
    "electionMin": 1600,
    "electionMax": 2000,
    "peerTimeout": 3000,
    "consensusTimeout": 1500,
}


@dataclass(frozen=True, slots=True)
class Controller:
    """A controller process.

    Attributes
    ----------
    name : str
        Of the controller; its replacement has the same.
    member_id : str
        Hexadecimal.
    begin : float
        When it was in the group, in monotonic seconds.
    killed_at : float or None
        Monotonic seconds; None if it was let live.
    reports : sequence of mapping
        All that it told, the oldest first, each with its ``kind``; see `controllers.controller`.
    status : int
        Exit status of the process.
    """

    name: str
    member_id: str
    begin: float
    killed_at: float | None
    reports: Sequence[Mapping[str, Any]]
    status: int

    def all(self, kind: str) -> list[Mapping[str, Any]]:
        """Return its reports of a kind."""
        return [report for report in self.reports if report["kind"] == kind]

    def about(self, kind: str, vote: Vote) -> list[Mapping[str, Any]]:
        """Return its reports of a kind that belong to a vote."""
        return [report for report in self.all(kind) if report["rfv_id"] == vote.rfv_id]


@dataclass(frozen=True, slots=True)
class Reign:
    """A leader that all living controllers named.

    Attributes
    ----------
    leader : str
    term : int
    vacant_since : float
        When the controllers were introduced to each other, or the leader before was killed.
    known_at : float
        When the last of them knew. All times in monotonic seconds.
    """

    leader: str
    term: int
    vacant_since: float
    known_at: float

    @property
    def seconds(self) -> float:
        """How long it took to get this leader."""
        return self.known_at - self.vacant_since


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote about an action.

    Attributes
    ----------
    motion : str
        One of `MOTIONS`.
    rfv_id : str
        Its identifier.
    asker : str
        Who asked for it.
    asked_at : float
        Monotonic seconds.
    living : sequence of str
        Controllers that outlived it.
    """

    motion: str
    rfv_id: str
    asker: str
    asked_at: float
    living: Sequence[str]


@dataclass(frozen=True, slots=True)
class Session:
    """All of the act.

    Attributes
    ----------
    controllers : sequence of Controller
        In the order of their start: three, and the replacement.
    first, second, joined : Reign
        The leader, its successor, and whom all named when the replacement had joined.
    votes : sequence of Vote
        In their order.
    ended_at : float
        When the controllers were told to end, in monotonic seconds.
    """

    controllers: Sequence[Controller]
    first: Reign
    second: Reign
    joined: Reign
    votes: Sequence[Vote]
    ended_at: float

    def vote(self, motion: str) -> Vote:
        """Return the vote about this."""
        return next(vote for vote in self.votes if vote.motion == motion)

    def controllers_named(self, name: str) -> list[Controller]:
        """Return the controllers of a name, the oldest first."""
        return [one for one in self.controllers if one.name == name]

    @property
    def survivors(self) -> list[Controller]:
        """Controllers that were let live."""
        return [one for one in self.controllers if one.killed_at is None]

    @property
    def killed(self) -> list[Controller]:
        """Controllers that were killed: the first leader, then its replacement."""
        return [one for one in self.controllers if one.killed_at is not None]

    def ballots(self, vote: Vote) -> dict[str, bool]:
        """Return who voted, and how."""
        return {one.name: bool(ballot["yes"]) for one, ballot in self._about("ballot", vote)}

    def results(self, vote: Vote) -> dict[str, str]:
        """Return what each was told of the result."""
        return {one.name: str(result["vote"]) for one, result in self._about("result", vote)}

    def actions(self, vote: Vote) -> list[tuple[str, float, float]]:
        """Return who carried it out, when that was due and when it was done, in monotonic seconds."""
        return [(one.name, float(act["due"]), float(act["done"])) for one, act in self._about("acted", vote)]

    def apart_s(self, vote: Vote) -> float:
        """Return the time from the first to the last that carried it out; infinite if nobody did."""
        done = [moment for _, _, moment in self.actions(vote)]
        return max(done) - min(done) if done else float("inf")

    def _about(self, kind: str, vote: Vote) -> list[tuple[Controller, Mapping[str, Any]]]:
        return [(one, report) for one in self.controllers for report in one.about(kind, vote)]
