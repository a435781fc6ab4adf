"""The day: who is started when, and who is killed.

::

    three controllers elect a leader; it takes three rigs into service
    for each setting:  the rigs are asked  ->  the optimiser chooses  ->  the station measures  ->  readouts
    the rigs are stopped, the station is closed, the controllers leave

Meanwhile, each in a setting of its own: a monitor joins late, a driver is
killed, a rig is killed and replaced, the leader is killed. The next setting is
released only then: so all has its place, however busy the computer is.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from cavity.analysis import analyse
from cavity.experiment import run_in_process
from cavity.solver import Trajectory
from event_logs import read_log
from processes import ProcessError
from readouts.stage import open_stage

from labday.account import MONITORS, MORTAL, Day, Measured, Monitor, Script
from labday.house import House
from labday.station import MOLECULES, STEPS, parameters_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from controllers.account import Reign
    from players import Player
    from progress import Progress
    from readouts.stage import Stage

    from labday.account import Part

#: Seconds that a setting, or the end of the day, may take.
PATIENCE_S: Final = 120.0
#: The whole day, and a short one.
DAY: Final = Script(settings=9, late=1, driver=2, rig=3, leader=5)
QUICK_DAY: Final = Script(settings=5, late=1, driver=1, rig=2, leader=3)


def run(script: Script, progress: Progress) -> Day:
    """Play the act.

    Parameters
    ----------
    script : Script
        What happens when.
    progress : Progress
        Shown meanwhile; its steps are those of all runs of the cavity, and as
        many for the beginning and the end of the day.

    Raises
    ------
    processes.ProcessError
        A process ended early, or something took too long.
    OSError
        The loopback interface takes no multicast.
    """
    with open_stage() as stage, contextlib.ExitStack() as cleanup:
        begin = time.monotonic()
        house = House(stage, script.driver)
        cleanup.callback(house.give_up)
        return _Day(stage, house, script, progress).play(begin)


def steps_of(script: Script) -> int:
    """Return the steps of the progress."""
    return (script.settings + 2) * STEPS


class _Day:
    """What happens, in order."""

    def __init__(self, stage: Stage, house: House, script: Script, progress: Progress) -> None:
        self._stage = stage
        self._house = house
        self._script = script
        self._progress = progress
        self._second: Reign | None = None
        self._back_at = 0.0

    def play(self, begin: float) -> Day:
        house = self._house
        with self._part("morning") as say:
            house.start_monitor(MONITORS[0])
            first = house.agree(house.open())
            house.begin(self._script.settings)
            say(f"{first.leader} is elected in {first.seconds:.1f} s, term {first.term}")
        for number in range(self._script.settings):
            self._setting(number)
        with self._part("evening") as say:
            self._until(lambda: all(member.player.all("over") for member in house.living), "the day is over")
            controllers = house.finish()
            rigs, station, monitors = house.close()
            say("rigs stopped, station closed, all have ended")
        if self._second is None:
            raise ProcessError("the leader was not killed")
        return Day(
            script=self._script,
            controllers=controllers,
            first=first,
            second=self._second,
            station=station,
            measured=[self._measured(station, result) for result in station.all("measured")],
            sent=read_log(self._stage.folder / "sent.lcmlog"),
            rigs=rigs,
            back_at=self._back_at,
            monitors=[
                Monitor(part, read_log(self._stage.folder / f"{part.name}.lcmlog")) for part in monitors
            ],
            begin=begin,
            end=time.monotonic(),
        )

    def _setting(self, number: int) -> None:
        house, script, station = self._house, self._script, self._house.station
        with self._part(f"setting {number}") as say:
            house.release(number + 1)
            self._until(lambda: _of(station, "begun", number) is not None, f"setting {number} begins")
            if number == script.late:
                house.start_monitor(MONITORS[1]).wait_for("joined")
            if number == script.rig:
                self._await_middle(number)
                house.kill_rig(MORTAL)
                self._progress.note(f"{MORTAL} is killed")
            if number == script.leader:
                self._await_middle(number)
                self._replace_leader(number)
            if number == script.rig + 1:
                self._replace_rig()
            result = self._await_result(number)
            killed = f"; {result['killed']} driver killed and replaced" if result["killed"] else ""
            say(f"cavity at {result['cavity_frequency']:.4f}: splitting {result['splitting']:.5f}{killed}")

    def _replace_rig(self) -> None:
        """Wait until the leader reports the dead rig by name, and start another one."""
        told = [member.player for member in self._house.members]
        self._until(
            lambda: any(MORTAL in one["failures"] for player in told for one in player.all("round")),
            f"{MORTAL} is reported",
        )
        self._progress.note(f"{MORTAL} is reported silent by the leader")
        self._back_at = self._house.replace_rig(MORTAL)
        self._progress.note(f"a new {MORTAL} is there")

    def _replace_leader(self, number: int) -> None:
        """Kill the leader, and wait for another one."""
        leader = self._house.director(number)
        killed_at = self._house.kill(leader)
        self._progress.note(f"{leader}, who leads, is killed")
        self._second = second = self._house.agree(killed_at)
        self._progress.note(f"{second.leader} is elected after {second.seconds:.1f} s, term {second.term}")

    def _await_middle(self, number: int) -> None:
        station = self._house.station
        self._until(lambda: _of(station, "step", number) is not None, f"setting {number} is under way")

    def _await_result(self, number: int) -> Mapping[str, Any]:
        station = self._house.station

        def look() -> bool:
            steps = station.all("step")
            if steps and steps[-1]["setting"] == number:
                self._progress(steps[-1]["step"])
            return _of(station, "measured", number) is not None

        self._until(look, f"setting {number} is measured")
        return _of(station, "measured", number) or {}

    def _measured(self, station: Part, result: Mapping[str, Any]) -> Measured:
        """Hold a result against the same run without any process or socket."""
        number = int(result["setting"])
        parameters = parameters_at(result["cavity_frequency"])
        reference = run_in_process(parameters, MOLECULES, STEPS)
        trajectory, populations = _kept(self._stage.folder / f"setting-{number}.npz")
        analysis = analyse(parameters, MOLECULES, reference.trajectory, reference.populations.total)
        begun = _of(station, "begun", number) or result
        kill = _of(station, "kill", number)
        healed = _of(station, "healed", number)
        return Measured(
            number=number,
            cavity_frequency=float(result["cavity_frequency"]),
            splitting=float(result["splitting"]),
            analytic=analysis.analytic.splitting,
            term=int(result["term"]),
            begin=float(begun["seconds"]),
            end=float(result["seconds"]),
            same_bits=reference.trajectory.same_bits_as(trajectory)
            and reference.populations.total == populations,
            resolved=analysis.resolved,
            killed=int(result["killed"]),
            statuses=result["statuses"],
            killed_at=None if kill is None else float(kill["seconds"]),
            stood_still_s=0.0 if kill is None or healed is None else healed["seconds"] - kill["seconds"],
            answers=int(result["answers"]),
        )

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        if not self._house.within(PATIENCE_S, condition):
            raise ProcessError(f"waited {PATIENCE_S} s in vain until {what}")

    @contextlib.contextmanager
    def _part(self, label: str) -> Iterator[Callable[[str], None]]:
        self._progress.begin_run(label, STEPS)
        outcome: list[str] = []
        yield outcome.append
        self._progress.end_run(*outcome)


def _of(player: Player | Part, kind: str, number: int) -> Mapping[str, Any] | None:
    """Return the first report of a kind about a setting."""
    return next((one for one in player.all(kind) if one["setting"] == number), None)


def _kept(file: Path) -> tuple[Trajectory, list[float]]:
    with np.load(file) as arrays:
        trajectory = Trajectory(arrays["coordinate"], arrays["velocity"], arrays["current"])
        return trajectory, list(arrays["populations"].tolist())
