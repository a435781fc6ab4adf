"""Three controllers elect a leader and vote; the leader is killed, and its successor goes on.

::

    election    all three name one leader
    open        action vote: all say yes, and all open their valves at the same moment
    raise       action vote: one gauge shows too much, so it is refused
    succession  the leader is killed (SIGKILL); the other two name a successor, with a higher term
    close       action vote of the two
    rejoin      a replacement of the dead controller joins, and unseats nobody
    reopen      action vote: the replacement is killed before it has voted; time is up

Meanwhile all but the leader send it numbered messages.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from players import Players
from processes import ProcessError

from controllers.account import CONTROLLERS, MOTIONS, Session, Vote
from controllers.controller import AHEAD_S
from controllers.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from progress import Progress

    from controllers.account import Reign
    from controllers.plant import Member

#: The steps of the progress.
STEPS: Final = 7
#: Seconds that a look at the gauge takes; that of the replacement is slow, and never comes to an end.
GAUGE_S: Final = 0.05
SLOW_GAUGE_S: Final = 60.0
#: Seconds that things go on undisturbed before what comes next.
RUNNING_S: Final = 0.5
#: Seconds that an action may be late, and after which one that must not be is not to be expected any more.
LATE_S: Final = 10.0
QUIET_S: Final = 0.4


def run(progress: Progress) -> Session:
    """Play the act.

    Parameters
    ----------
    progress : Progress
        Shown meanwhile.

    Raises
    ------
    processes.ProcessError
        A process ended early, or something took too long.
    """
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(
            tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True)
        )
        return _Script(Plant(cleanup.enter_context(Players(Path(folder)))), progress).play()


class _Script:
    """What happens, in order."""

    def __init__(self, plant: Plant, progress: Progress) -> None:
        self._plant = plant
        self._progress = progress
        self._votes: list[Vote] = []

    def play(self) -> Session:
        plant = self._plant
        with self._step("election") as say:
            introduced_at = plant.start(dict.fromkeys(CONTROLLERS, GAUGE_S))
            first = plant.agree(introduced_at)
            say(_leads(first))
        for member in plant.living:
            member.tell({"do": "talk"})
        self._vote("open", first.leader)
        self._vote("raise", first.leader)
        with self._step("succession") as say:
            plant.run_for(2 * RUNNING_S)
            killed_at = plant.kill(first.leader)
            self._progress.note(f"{first.leader} is killed")
            second = plant.agree(killed_at)
            say(_leads(second))
        self._vote("close", second.leader)
        with self._step("rejoin") as say:
            joined = plant.agree(plant.start({first.leader: SLOW_GAUGE_S}))
            say(f"{first.leader} is back; {_leads(joined)}")
        self._vote("reopen", joined.leader, victim=first.leader)
        self._hush()
        ended_at = time.monotonic()
        return Session(plant.finish(), first, second, joined, self._votes, ended_at)

    def _vote(self, motion: str, asker: str, victim: str | None = None) -> None:
        """Have a controller ask for a vote, and wait for the result and what follows from it."""
        plant = self._plant
        with self._step(f"vote: {motion}") as say:
            plant.run_for(RUNNING_S)
            member = plant.named(asker)
            before = len(member.player.all("asked"))
            member.tell({"do": "ask", "motion": motion, "limit": MOTIONS[motion]})
            asked = member.player.wait_for("asked", before + 1)
            rfv_id = asked["rfv_id"]
            if rfv_id is None:
                raise ProcessError(f"{asker} knows no leader that it could ask for a vote")
            if victim is not None:
                doomed = plant.named(victim)
                plant.until(lambda: _has(doomed, "motion", rfv_id), f"{victim} is asked to vote")
                plant.kill(victim)
                self._progress.note(f"{victim} is killed before it votes")
            living = plant.living
            self._votes.append(
                Vote(motion, rfv_id, asker, asked["seconds"], tuple(one.name for one in living))
            )
            plant.until(lambda: all(_has(one, "result", rfv_id) for one in living), "all know the result")
            result = next(one for one in member.player.all("result") if one["rfv_id"] == rfv_id)["vote"]
            if result == "yes":
                plant.within(AHEAD_S + LATE_S, lambda: all(_has(one, "acted", rfv_id) for one in living))
            say(result)

    def _hush(self) -> None:
        """Let the messages come to an end, and the moment of the last vote pass."""
        plant = self._plant
        for member in plant.living:
            member.tell({"do": "hush"})
        plant.until(lambda: all(one.player.all("quiet") for one in plant.living), "no more messages are sent")
        plant.run_for(self._votes[-1].asked_at + AHEAD_S + QUIET_S - time.monotonic())

    @contextlib.contextmanager
    def _step(self, label: str) -> Iterator[Callable[[str], None]]:
        self._progress.begin_run(label, 1)
        outcome: list[str] = []
        yield outcome.append
        self._progress.end_run(*outcome)


def _has(member: Member, kind: str, rfv_id: str) -> bool:
    return any(report["rfv_id"] == rfv_id for report in member.player.all(kind))


def _leads(reign: Reign) -> str:
    return f"{reign.leader} leads, term {reign.term}"
