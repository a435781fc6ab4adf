"""The processes of the day: started, watched, killed, and let end in order."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controllers.plant import Member, Plant
from processes import LEAVE_TIMEOUT_S, ProcessError

from labday.account import CONTROLLERS, RIGS, Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from players import Player
    from readouts.stage import Stage


@dataclass(slots=True)
class Rig:
    """A rig process; `killed_at` in monotonic seconds."""

    name: str
    player: Player
    killed_at: float | None = None

    @property
    def uri(self) -> str:
        """Where it listens; waits until it does."""
        return str(self.player.wait_for("listening")["uri"])


class House(Plant):
    """Everybody who takes part.

    Parameters
    ----------
    stage : Stage
        Ports, files, and who ends all processes.
    doomed : int
        The setting in which the station kills a driver.

    Attributes
    ----------
    station : Player
    monitors : list of Player
        In the order of their start.
    rigs : list of Rig
        In the order of their start.
    """

    def __init__(self, stage: Stage, doomed: int) -> None:
        super().__init__(stage.players)
        self._stage = stage
        self.station = stage.players.start("station", "labday.station", (stage.port, doomed, stage.folder))
        self.monitors: list[Player] = []
        self.rigs: list[Rig] = []

    def open(self) -> float:
        """Start rigs and controllers, introduce the controllers; return when they all were told of all.

        Raises
        ------
        ProcessError
            A process did not get as far as that.
        """
        players = {name: self._players.start(name, "labday.controller", ()) for name in CONTROLLERS}
        self.rigs += [self._start_rig(name) for name in RIGS]
        for monitor in self.monitors:
            monitor.wait_for("joined")
        self.station.wait_for("listening")
        for name, player in players.items():
            ready = player.wait_for("listening")
            self.members.append(Member(name, player, ready["member_id"], ready["seconds"]))
        places = [player.wait_for("listening") for player in players.values()]
        for member in self.members:
            member.tell({"do": "meet", "addresses": [(place["host"], place["port"]) for place in places]})
        return time.monotonic()

    def begin(self, settings: int) -> None:
        """Tell the controllers where everything is; who leads, begins."""
        uris = {rig.name: rig.uri for rig in self.rigs}
        port = self.station.wait_for("listening")["port"]
        for member in self.members:
            member.tell({"do": "begin", "rigs": uris, "station": port, "settings": settings})

    def release(self, settings: int) -> None:
        """Let the first so many settings be measured."""
        for member in self.living:
            member.tell({"do": "release", "settings": settings})

    def start_monitor(self, name: str) -> Player:
        """Start a monitor; it is not waited for."""
        place = (self._stage.port, self._stage.folder / f"{name}.lcmlog")
        self.monitors.append(self._players.start(name, "labday.monitor", place))
        return self.monitors[-1]

    def kill_rig(self, name: str) -> float:
        """Kill a rig (SIGKILL); return when, in monotonic seconds."""
        rig = next(rig for rig in self.rigs if rig.name == name)
        rig.killed_at = killed_at = time.monotonic()
        rig.player.process.kill()
        return killed_at

    def replace_rig(self, name: str) -> float:
        """Start a new process for a rig and tell the controllers where it listens; return when."""
        rig = self._start_rig(name)
        self.rigs.append(rig)
        uri = rig.uri
        for member in self.living:
            member.tell({"do": "rig", "name": name, "uri": uri})
        return time.monotonic()

    def director(self, setting: int) -> str:
        """Return the name of the living controller that has had this setting measured."""
        commands = [
            (command["seconds"], member.name)
            for member in self.living
            for command in member.player.all("command")
            if command["setting"] == setting
        ]
        return max(commands)[1]

    def within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds; tell whether it did in time.

        Raises
        ------
        ProcessError
            A process ended that nobody killed.
        """

        def watched() -> bool:
            for player in self._others:
                if player.process.poll() is not None:
                    raise ProcessError(self._players.last_words(player.process))
            return condition()

        return super().within(seconds, watched)

    def close(self) -> tuple[list[Part], Part, list[Part]]:
        """Let rigs, station and monitors end; return what they told, in this order."""
        for player in self._others:
            player.dismiss()
        for player in self._others:
            player.finish()
        rigs = [_told(rig.player, rig.name, rig.killed_at) for rig in self.rigs]
        return rigs, _told(self.station, "station"), [_told(one, one.name) for one in self.monitors]

    def give_up(self) -> None:
        """Let the station end its drivers, whatever has happened: killed, it could not."""
        self.station.dismiss()
        try:
            self.station.process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return  # it is killed then, and its drivers end because they lose their hub

    @property
    def _others(self) -> list[Player]:
        return [
            self.station,
            *self.monitors,
            *(rig.player for rig in self.rigs if rig.killed_at is None),
        ]

    def _start_rig(self, name: str) -> Rig:
        scheme, work_s = RIGS[name]
        title = f"{name}-{len(self.rigs)}"
        return Rig(name, self._players.start(title, "rigs.rig", (scheme, name, work_s)))


def _told(player: Player, name: str, killed_at: float | None = None) -> Part:
    status = player.process.wait(LEAVE_TIMEOUT_S)
    player.close()
    return Part(name, player.reports, status, killed_at)
