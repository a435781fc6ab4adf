"""The controllers as processes: started, introduced to each other, killed, watched by their reports."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from processes import LEAVE_TIMEOUT_S, ProcessError

from controllers.account import CONTROLLERS, Controller, Reign

if TYPE_CHECKING:
    from collections.abc import Callable

    from players import Player, Players

#: Seconds that anything may take before the act is given up.
PATIENCE_S: Final = 60.0
#: Seconds between two looks at the reports.
LOOK_INTERVAL_S: Final = 0.005


@dataclass(slots=True)
class Member:
    """A controller process; `killed_at` in monotonic seconds."""

    name: str
    player: Player
    member_id: str
    begin: float
    killed_at: float | None = None

    def leader(self) -> tuple[str, int, float] | None:
        """Return whom it names as leader: member id, term, and since when; None for nobody."""
        for report in reversed(self.player.reports[:]):
            if report["kind"] == "exited":
                return None
            if report["kind"] == "elected":
                return report["leader"], report["term"], report["seconds"]
        return None

    def size(self) -> int:
        """Return how many members it knows, itself included."""
        changes = (one for one in reversed(self.player.reports[:]) if one["kind"] in {"joined", "left"})
        return int(next(changes, {"size": 1})["size"])

    def tell(self, order: dict[str, Any]) -> None:
        """Have it do something; see `controllers.controller`."""
        self.player.tell(json.dumps(order))


class Plant:
    """All controllers.

    Parameters
    ----------
    players : Players
        Who ends all processes.

    Attributes
    ----------
    members : list of Member
        In the order of their start.
    """

    def __init__(self, players: Players) -> None:
        self._players = players
        self.members: list[Member] = []

    @property
    def living(self) -> list[Member]:
        """Those that were not killed."""
        return [member for member in self.members if member.killed_at is None]

    def start(self, gauges: dict[str, float]) -> float:
        """Start controllers and introduce all to each other.

        Parameters
        ----------
        gauges : dict of str to float
            Seconds that a look at the gauge takes, by name.

        Returns
        -------
        float
            When the last was told of all, in monotonic seconds.
        """
        players = {
            name: self._players.start(
                f"{name}-{len(self.members)}", "controllers.controller", (CONTROLLERS[name], gauge_s)
            )
            for name, gauge_s in gauges.items()
        }
        for name, player in players.items():
            ready = player.wait_for("listening")
            self.members.append(Member(name, player, ready["member_id"], ready["seconds"]))
        places = [member.player.wait_for("listening") for member in self.living]
        addresses = [(place["host"], place["port"]) for place in places]
        for member in self.living:
            member.tell({"do": "meet", "addresses": addresses})
        return time.monotonic()

    def agree(self, vacant_since: float) -> Reign:
        """Wait until all name one and the same leader, and know as many members as live.

        Parameters
        ----------
        vacant_since : float
            Since when there is none; monotonic seconds.

        Raises
        ------
        ProcessError
            They do not.
        """
        self.until(lambda: self._reign(vacant_since) is not None, "all name the same leader")
        size = len(self.living)
        self.until(lambda: all(one.size() == size for one in self.living), "all know who is there")
        # Since then it may have changed once more, on a computer that has no time.
        self.until(lambda: self._reign(vacant_since) is not None, "all name the same leader")
        reign = self._reign(vacant_since)
        if reign is None:
            raise ProcessError("the leaders change too fast")
        return reign

    def named(self, name: str) -> Member:
        """Return the living controller of that name."""
        return next(member for member in self.living if member.name == name)

    def kill(self, name: str) -> float:
        """Kill a controller (SIGKILL); return when, in monotonic seconds."""
        member = self.named(name)
        member.killed_at = killed_at = time.monotonic()
        member.player.process.kill()
        return killed_at

    def within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds; tell whether it did in time.

        Raises
        ------
        ProcessError
            A controller ended that nobody killed.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            for member in self.living:
                if member.player.process.poll() is not None:
                    raise ProcessError(self._players.last_words(member.player.process))
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_INTERVAL_S)
        return True

    def run_for(self, seconds: float) -> None:
        """Let so much time pass.

        Raises
        ------
        ProcessError
            A controller ended that nobody killed.
        """
        self.within(seconds, lambda: False)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds.

        Raises
        ------
        ProcessError
            It does not, or a controller ended that nobody killed.
        """
        if not self.within(PATIENCE_S, condition):
            raise ProcessError(f"waited {PATIENCE_S} s in vain until {what}")

    def finish(self) -> list[Controller]:
        """Let the living leave, wait for all, and return what they told."""
        for member in self.living:
            member.player.dismiss()
        for member in self.living:
            member.player.finish()
        return [self._told(member) for member in self.members]

    def _told(self, member: Member) -> Controller:
        status = member.player.process.wait(LEAVE_TIMEOUT_S)
        member.player.close()
        return Controller(
            member.name, member.member_id, member.begin, member.killed_at, member.player.reports, status
        )

    def _reign(self, vacant_since: float) -> Reign | None:
        """Return the leader that all name, if that is so, and it is one of them."""
        named = [member.leader() for member in self.living]
        leaders = [one for one in named if one is not None]
        names = {member.member_id: member.name for member in self.living}
        if len(leaders) < len(named) or len({(leader, term) for leader, term, _ in leaders}) != 1:
            return None
        leader, term, _ = leaders[0]
        if leader not in names:
            return None
        return Reign(names[leader], term, vacant_since, max(since for *_, since in leaders))
