"""Waiting for requests under a deadline, in a way that can be taken up again.

What is to be done is written as a generator that yields the requests it waits
for. `Activity` polls them outside of it: when the deadline passes, or a signal
handler raises, while it polls, nothing is lost, and the next call goes on
where it was. The machinery polls as MPI itself does, without sleeping, and
lets other processes have the core between two looks.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from mxl_sockets.mpi._world import RankFailed
from mxl_sockets.mpi.errors import CommunicatorBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ResultT = TypeVar("ResultT")
#: Yields requests to wait for; returns its result.
Steps: TypeAlias = "Generator[list[Any], None, ResultT]"


class DeadlinePassed(Exception):
    """Not everything is complete."""


def _take_a_breath() -> None:
    time.sleep(0)


#: Gives the core to another process if one wants it.
let_others_run: Callable[[], None] = getattr(os, "sched_yield", _take_a_breath)


class Activity(Generic[ResultT]):
    """Something under way.

    Parameters
    ----------
    steps : generator
    test : callable
        Tells whether a request is complete, or raises `RankFailed` or
        `CommunicatorBroken`, which are raised in the generator.

    Attributes
    ----------
    since : float
        When it began, monotonic.
    """

    def __init__(self, steps: Steps[ResultT], test: Callable[[Any], bool]) -> None:
        self.since = time.monotonic()
        self._steps = steps
        self._test = test
        self._requests: list[Any] = []
        self._result: list[ResultT] = []
        self._inside = False
        self._reason: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return bool(self._result)

    def run(self, deadline: float | None = None) -> ResultT:
        """Go on until it is complete.

        Parameters
        ----------
        deadline : float or None
            Monotonic time; None waits for ever. Everything is looked at once
            whatever the time is.

        Raises
        ------
        DeadlinePassed
            It is still under way.
        Exception
            What came out of the generator; it cannot be gone on with then.
        CommunicatorBroken
            It is tried nevertheless.
        """
        if self._inside:
            raise CommunicatorBroken(
                f"an earlier call was broken off inside MPI: {self._reason!r}"
            ) from self._reason
        while not self._result:
            try:
                requests = [request for request in self._requests if not self._test(request)]
            except (RankFailed, CommunicatorBroken) as error:
                self._go_on(error)
                continue
            if not requests:
                self._go_on()
                continue
            self._requests = requests
            if deadline is not None and time.monotonic() >= deadline:
                raise DeadlinePassed
            let_others_run()
        return self._result[0]

    def _go_on(self, error: Exception | None = None) -> None:
        # An interrupt may come at any point of this; only the last line says that none has.
        self._inside = True
        try:
            self._requests = next(self._steps) if error is None else self._steps.throw(error)
        except StopIteration as end:
            self._result.append(end.value)
        except BaseException as reason:
            self._reason = reason
            raise
        self._inside = False
