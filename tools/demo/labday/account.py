"""What is known of the day when it is over: what each process reported, and what the demo did to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controllers.account import Controller, Reign

    from wireframe.eventlog import LogEvent

#: The controllers.
CONTROLLERS: Final = ("north", "middle", "south")
#: Times of their group, in milliseconds: no leader is given up by a computer that makes it wait for a second.
TIMES: Final = {
    "heartbeat": 300,
    "electionMin": 1600,
    "electionMax": 2000,
    "peerTimeout": 3000,
    "consensusTimeout": 1500,
}
#: The rigs: transport, and seconds that each takes for whatever it is told.
RIGS: Final = {"laser": ("udp", 0.02), "camera": ("udp", 0.04), "shutter": ("tcp", 0.03)}
#: Which of them is killed.
MORTAL: Final = "camera"
#: The monitors.
MONITORS: Final = ("early", "late")


@dataclass(frozen=True, slots=True)
class Script:
    """In which settings, counted from 0, what happens.

    Attributes
    ----------
    settings : int
        How many there are.
    late : int
        When it begins, the late monitor is started.
    driver, rig, leader : int
        A driver, a rig, the leader is killed in the middle of it.
    """

    settings: int
    late: int
    driver: int
    rig: int
    leader: int


@dataclass(frozen=True, slots=True)
class Part:
    """A process that took part.

    Attributes
    ----------
    name : str
        The replacement of a rig has the same name.
    reports : sequence of mapping
        All that it told, the oldest first, each with its ``kind``.
    status : int
        Exit status.
    killed_at : float or None
        Monotonic seconds; None if it was let live.
    """

    name: str
    reports: Sequence[Mapping[str, Any]]
    status: int
    killed_at: float | None = None

    def all(self, kind: str) -> list[Mapping[str, Any]]:
        """Return its reports of a kind."""
        return [report for report in self.reports if report["kind"] == kind]


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor, and its recording."""

    part: Part
    recorded: Sequence[LogEvent]

    @property
    def end(self) -> Mapping[str, Any]:
        """Its counts in the end; see `labday.monitor`."""
        return self.part.all("end")[0]


@dataclass(frozen=True, slots=True)
class Measured:
    """A setting, as the station measured it.

    Attributes
    ----------
    number : int
    cavity_frequency, splitting : float
        Atomic units.
    analytic : float
        The splitting of the normal modes, atomic units.
    term : int
        Of the leader who had it measured.
    begin, end : float
        Monotonic seconds.
    same_bits : bool
        Whether the trajectory is that of molecules in one process, which nobody disturbs, bit for bit.
    resolved : bool
        Whether the run was long enough for lines at this distance.
    killed : int
        Drivers that were killed and replaced.
    statuses : sequence of int
        How the other drivers ended.
    killed_at : float or None
        When a driver was killed, to some milliseconds.
    stood_still_s : float
        How long the run did not go on then.
    answers : int
        Steps that molecules have answered.
    """

    number: int
    cavity_frequency: float
    splitting: float
    analytic: float
    term: int
    begin: float
    end: float
    same_bits: bool
    resolved: bool
    killed: int
    statuses: Sequence[int]
    killed_at: float | None
    stood_still_s: float
    answers: int

    @property
    def off(self) -> float:
        """How far the splitting is off the analytic one, relative."""
        return self.splitting / self.analytic - 1.0


@dataclass(frozen=True, slots=True)
class Day:
    """All of the act. All times are monotonic seconds.

    Attributes
    ----------
    script : Script
    controllers : sequence of Controller
        See `labday.controller` for what they reported.
    first, second : Reign
        The first leader, and the successor of the one that was killed.
    station : Part
    measured : sequence of Measured
        In the order in which the station measured.
    sent : sequence of LogEvent
        All readouts of the station.
    rigs : sequence of Part
        In the order of their start: three, and the replacement.
    back_at : float
        When the controllers were told where the replacement listens.
    monitors : sequence of Monitor
        Early, late.
    begin, end : float
        When the first process was started, and when all had ended.
    """

    script: Script
    controllers: Sequence[Controller]
    first: Reign
    second: Reign
    station: Part
    measured: Sequence[Measured]
    sent: Sequence[LogEvent]
    rigs: Sequence[Part]
    back_at: float
    monitors: Sequence[Monitor]
    begin: float
    end: float

    @property
    def dead_leader(self) -> Controller:
        """The controller that was killed."""
        return next(one for one in self.controllers if one.killed_at is not None)

    @property
    def survivors(self) -> list[Controller]:
        """The controllers that were let live."""
        return [one for one in self.controllers if one.killed_at is None]

    @property
    def dead_rig(self) -> Part:
        """The rig process that was killed."""
        return next(one for one in self.rigs if one.killed_at is not None)

    def told(self, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what all controllers reported of a kind, each with the name, in order of time."""
        told = [(one.name, report) for one in self.controllers for report in one.all(kind)]
        return sorted(told, key=lambda pair: float(pair[1]["seconds"]))

    def silent_at(self) -> float | None:
        """Return when the killed rig was first reported by name."""
        killed_at = self.dead_rig.killed_at or 0.0
        moments = [
            float(one["seconds"])
            for _, one in self.told("round")
            if self.dead_rig.name in one["failures"] and one["seconds"] > killed_at
        ]
        return min(moments, default=None)

    def resumed_at(self) -> float | None:
        """Return when the successor began to direct."""
        moments = [one["seconds"] for _, one in self.told("directs") if one["term"] == self.second.term]
        return min(moments, default=None)

    @property
    def processes(self) -> list[tuple[str, int, bool]]:
        """Name, exit status, and whether it was killed, of each process but the drivers."""
        parts = (*self.rigs, self.station, *(one.part for one in self.monitors))
        return [
            *((one.name, one.status, one.killed_at is not None) for one in self.controllers),
            *((one.name, one.status, one.killed_at is not None) for one in parts),
        ]
