"""Telling the solver about each step of a hub of bridges; see `mxl_sockets._step_watch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mxl_sockets._aggregate_coupling import GroupCoupling
from mxl_sockets._aggregate_link import LinkPhase
from mxl_sockets._aggregate_links import BridgeLinks
from mxl_sockets._step_watch import StepClock

if TYPE_CHECKING:
    from mxl_sockets._access import Allowed
    from mxl_sockets._aggregate_connection import BridgeConnection
    from mxl_sockets._aggregate_roster import GroupRoster
    from mxl_sockets._aggregate_settings import AggregateSettings
    from mxl_sockets._aggregate_shares import Answer
    from mxl_sockets._poll import Poller
    from wireframe import aggregate


class WatchedBridgeLinks(BridgeLinks):
    """Connections of bridges that note who answers last."""

    def __init__(
        self,
        poller: Poller,
        roster: GroupRoster[BridgeConnection],
        settings: AggregateSettings,
        allowed: Allowed,
    ) -> None:
        super().__init__(poller, roster, settings, allowed)
        self.step_clock = StepClock()

    def _answer(self, connection: BridgeConnection, result: aggregate.Result) -> None:
        super()._answer(connection, result)
        if connection.phase is LinkPhase.READY:
            share = self.barrier.shares[connection.group_id or ""]
            self.step_clock.answered(self._now, share.ids[0], connection.peer)


class WatchedGroupCoupling(GroupCoupling):
    """A coupling of groups that times its steps."""

    exchange: WatchedBridgeLinks
    step_clock: StepClock

    def __init__(
        self,
        roster: GroupRoster[BridgeConnection],
        settings: AggregateSettings,
        allowed: Allowed,
        latency: float,
    ) -> None:
        super().__init__(roster, settings, allowed, latency, WatchedBridgeLinks)
        self.step_clock = self.exchange.step_clock

    def attempt(self, deadline: float) -> dict[str, Answer] | None:
        """Bring the frozen step as far as it goes before the deadline."""
        self.step_clock.begin(self.steps, time.monotonic())
        answers = super().attempt(deadline)
        if answers is not None:
            self.step_clock.end(self.steps, time.monotonic())
        return answers
