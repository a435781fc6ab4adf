"""The nemesis: which driver dies when, and the hands that do it.

A driver can die at three different moments of a step, and a fourth kind of
death keeps to no plan:

===============  ============================================================
``IDLE``         between two steps: answered, nothing asked
``COMMITTED``    it has made its step and dies before its reply (`cavity.mortal`)
``UNANSWERED``   asked and silent: it is paused, the step's deadline passes
                 while the others have made their step, then it is killed
``ANY_TIME``     a thread kills it a moment after a step has begun
===============  ============================================================

The plan is fixed and not random, so that two runs of the demo kill alike;
only where the ``ANY_TIME`` death falls is left to the machine.
"""

from __future__ import annotations

import enum
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

    from cavity.drivers import DriverProcesses

#: Seconds after the beginning of a step at which an ``ANY_TIME`` death is due.
ANY_TIME_DELAY_S: Final = 0.0007

#: Steps within which it must have fallen, so that the run cannot end before.
ANY_TIME_STEPS: Final = 10

#: Steps: in a shorter run the deaths of the plan would be too close together.
SHORTEST_RUN: Final = 100

#: Seconds that the barrier waits for a driver that will never answer.
SILENCE_S: Final = 0.1


class Moment(enum.Enum):
    """When in a step a driver dies."""

    IDLE = "idle"
    COMMITTED = "committed"
    UNANSWERED = "unanswered"
    ANY_TIME = "any time"


@dataclass(frozen=True, slots=True)
class Kill:
    """One planned death: before or in the given step, counted from 1."""

    step: int
    moment: Moment


def plan(steps: int, *, mortal: bool = True) -> list[Kill]:
    """Return the deaths of a run, in the order of their steps.

    Parameters
    ----------
    steps : int
        Of the run.
    mortal : bool
        Whether the victims can be made to die by themselves, ``COMMITTED``.
    """
    moments = [Moment.IDLE, Moment.COMMITTED, Moment.UNANSWERED, Moment.ANY_TIME]
    if not mortal:
        moments.remove(Moment.COMMITTED)
    if not hasattr(signal, "SIGSTOP"):
        moments.remove(Moment.UNANSWERED)
    return [Kill(steps * 2 * (index + 1) // 9, moment) for index, moment in enumerate(moments)]


class Nemesis:
    """Carries out the plan on the drivers of one run.

    The victim is always the oldest driver. A ``COMMITTED`` death is the death
    of the driver that replaced the victim before, so it cannot come first.

    Parameters
    ----------
    drivers : DriverProcesses
        All drivers of the run.
    kills : list of Kill
        The plan, in the order of the steps.
    """

    def __init__(self, drivers: DriverProcesses, kills: list[Kill]) -> None:
        self._drivers = drivers
        self._moments = {kill.step: kill.moment for kill in kills}
        self._step = 0
        self._any_time_over = sys.maxsize
        self._paused: subprocess.Popen[bytes] | None = None
        self._timers: list[threading.Timer] = []

    def before_step(self, step: int) -> None:
        """Do what the plan says for this step."""
        self._step = step
        if step >= self._any_time_over:
            self.close()
        moment = self._moments.get(step)
        if moment is None or moment is Moment.COMMITTED:
            return
        victim = self._drivers.living[0]
        if moment is Moment.IDLE:
            self._drivers.kill(victim)
        elif moment is Moment.UNANSWERED:
            self._drivers.pause(victim)
            self._paused = victim
        else:
            timer = threading.Timer(ANY_TIME_DELAY_S, self._drivers.kill, (victim,))
            self._timers.append(timer)
            self._any_time_over = step + ANY_TIME_STEPS
            timer.start()

    @property
    def patience_s(self) -> float | None:
        """How long the barrier may wait in this step, if that is to be short."""
        return SILENCE_S if self._paused is not None else None

    def after_silence(self) -> None:
        """Kill the paused driver: the others have had their time to answer."""
        if self._paused is not None:
            self._drivers.kill(self._paused)
            self._paused = None

    def commits_of_replacement(self) -> int | None:
        """How many steps the replacement of a driver that died now may make, if not all."""
        coming = [step for step in self._moments if step > self._step]
        if not coming or self._moments[coming[0]] is not Moment.COMMITTED:
            return None
        return coming[0] - self._step + 1

    def close(self) -> None:
        """Wait for the death that keeps to no plan."""
        self._any_time_over = sys.maxsize
        for timer in self._timers:
            timer.join()
