"""Telling the solver about each step: how long it took, and who was the last to answer.

A hub that is not watched has none of this on its way: only with a callback it
is made of the classes below. They have to know who answers last, so they never
read replies in the order of the molecules, but as they come. That costs a
watched hub some of its speed.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from mxl_sockets._barrier import Stage
from mxl_sockets._client import Phase
from mxl_sockets._coupling import Coupling
from mxl_sockets._exchange import Exchange

if TYPE_CHECKING:
    from mxl_sockets._access import Allowed
    from mxl_sockets._barrier import StepResult
    from mxl_sockets._connection import Connection
    from mxl_sockets._lineup import Batch
    from mxl_sockets._poll import Poller
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings
    from wireframe import ipi

__all__ = ["StepRecord"]

logger = logging.getLogger(__name__)

#: Steps that are remembered if their threads were interrupted before they could tell.
MOST_UNTOLD: Final = 64


@dataclass(frozen=True)
class StepRecord:
    """One completed step.

    Attributes
    ----------
    step : int
        Its number; the hub's first step is 1.
    duration_s : float
        From the first attempt to the last answer, waits for replacements
        included, and pauses between calls that each gave up.
    slowest : int or None
        The molecule whose driver kept the hub waiting last; of a group the
        first molecule. None if that is not known.
    peer : str or None
        That driver or bridge.
    """

    step: int
    duration_s: float
    slowest: int | None
    peer: str | None


#: Called after each step.
OnStep: TypeAlias = Callable[[StepRecord], object]


class StepClock:
    """When a step began, and who came last; the books of a watched hub."""

    def __init__(self) -> None:
        self.untold: deque[StepRecord] = deque(maxlen=MOST_UNTOLD)
        self._step = -1
        self._began = 0.0
        self._staged: tuple[float, int | None, str | None] = (0.0, None, None)
        self._answered: tuple[float, int | None, str | None] = (0.0, None, None)

    def begin(self, step: int, now: float) -> None:
        """Note that a step is tried; only the first time counts."""
        if step != self._step:
            self._step, self._began = step, now
            self._staged = self._answered = (now, None, None)

    def staged(self, now: float, molecule_id: int, peer: str) -> None:
        """Note that somebody has staged."""
        self._staged = (now, molecule_id, peer)

    def answered(self, now: float, molecule_id: int, peer: str) -> None:
        """Note that somebody has answered."""
        self._answered = (now, molecule_id, peer)

    def end(self, step: int, now: float) -> None:
        """Note that a step is complete."""
        if self._answered[2] is None:
            self._answered = (now, None, None)  # whoever it was is gone
        # Of two phases the longer one tells who is slow.
        longer = max(self._staged[0] - self._began, self._answered[0] - self._staged[0])
        last = self._staged if self._staged[0] - self._began == longer and self._staged[2] else self._answered
        self.untold.append(StepRecord(step, self._answered[0] - self._began, last[1], last[2]))

    def tell(self, on_step: OnStep) -> None:
        """Call back for each step that was not told; the hub's lock is not held."""
        while self.untold:
            record = self.untold.popleft()
            try:
                on_step(record)
            except Exception:
                # Whatever a watcher does wrong, the step is made and its result is needed.
                logger.exception("on_step failed after step %d", record.step)


class WatchedExchange(Exchange):
    """An exchange that notes who answers last."""

    def __init__(
        self, poller: Poller, roster: Roster[Connection], settings: HubSettings, allowed: Allowed
    ) -> None:
        super().__init__(poller, roster, settings, allowed)
        self.step_clock = StepClock()

    def dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        """Handle what the poller reported, which is in the order in which it came."""
        super().dispatch(events, now)
        for descriptor, _ in reversed(events):
            connection = self.connections.get(descriptor)
            if connection is not None and self._has_answered(connection):
                self.step_clock.answered(now, self.barrier.ids[connection.slot], connection.peer)
                break

    def read_in_order(self, batch: Batch) -> bool:
        """Leave all replies to the poller: it knows who is last."""
        return False

    def _has_answered(self, connection: Connection) -> bool:
        if not (self.barrier.frozen and self.lineup.holds(connection)):
            return False
        return self.lineup.has_read(connection) or self.barrier.stage_of(connection.slot) is Stage.ANSWERED

    def _handle(self, connection: Connection, event: ipi.Event) -> None:
        if connection.phase is Phase.STAGING:
            self.step_clock.staged(self._now, self.barrier.ids[connection.slot], connection.peer)
        super()._handle(connection, event)


class WatchedCoupling(Coupling):
    """A coupling that times its steps."""

    exchange: WatchedExchange
    step_clock: StepClock

    def __init__(
        self, roster: Roster[Connection], settings: HubSettings, allowed: Allowed, latency: float
    ) -> None:
        super().__init__(roster, settings, allowed, latency, WatchedExchange)
        self.step_clock = self.exchange.step_clock

    def attempt(self, deadline: float) -> StepResult | None:
        """Bring the frozen step as far as it goes before the deadline."""
        self.step_clock.begin(self.steps, time.monotonic())
        result = super().attempt(deadline)
        if result is not None:
            self.step_clock.end(self.steps, time.monotonic())
        return result
