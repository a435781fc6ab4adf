"""An aggregated hub's operations: bind, step, stop. What to wait for, and for how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mxl_sockets._aggregate_links import BridgeLinks
from mxl_sockets._running import Running
from mxl_sockets.errors import HubStopped, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mxl_sockets._access import Allowed
    from mxl_sockets._aggregate_connection import BridgeConnection
    from mxl_sockets._aggregate_roster import Group, GroupRoster
    from mxl_sockets._aggregate_settings import AggregateSettings
    from mxl_sockets._aggregate_shares import Answer


class GroupCoupling(Running[BridgeLinks]):
    """An aggregated hub's sockets and rules behind its public face.

    Every method but `close_in_child` wants `lock` to be held.

    Parameters
    ----------
    roster : GroupRoster
    settings : AggregateSettings
    allowed : tuple of networks or None
    latency : float
        Seconds a step waits for a bridge that is missing.
    links : type of BridgeLinks, optional
        What holds the conversation, if it is not a plain one.
    """

    def __init__(
        self,
        roster: GroupRoster[BridgeConnection],
        settings: AggregateSettings,
        allowed: Allowed,
        latency: float,
        links: type[BridgeLinks] | None = None,
    ) -> None:
        super().__init__(lambda poller: (links or BridgeLinks)(poller, roster, settings, allowed), latency)
        self.roster = roster
        self.barrier = self.exchange.barrier

    def bind(
        self, groups: Iterable[Group[BridgeConnection]], deadline: float, *, require_init: bool = True
    ) -> bool:
        """Give bridges to all `groups` that have none; False at the deadline or when stopping.

        Parameters
        ----------
        groups : iterable of Group
        deadline : float
            Seconds, monotonic.
        require_init : bool
            Wait until the bridges have all their drivers.
        """
        wanted = list(groups)
        seen = -1

        def done() -> bool:
            nonlocal seen
            if self.stopping:
                return True
            while self.roster.generation != seen:
                seen = self.roster.generation
                self.exchange.start_groups(wanted)
            return all(one.serves if require_init else one.link is not None for one in wanted)

        return self.loop.run_until(done, deadline) and not self.stopping

    def attempt(self, deadline: float) -> dict[str, Answer] | None:
        """Bring the frozen step as far as it goes before the deadline.

        The caller has looked at the sockets: what was sent before the request
        must not pass for its answer.

        Returns
        -------
        dict of str to Answer or None
            None at the deadline, when stopping, when a group has no bridge,
            or as soon as a bridge that owed an answer is lost.
        """
        barrier, exchange = self.barrier, self.exchange
        open_groups = self.open_groups()
        if not all(one.serves for one in open_groups):
            soon = min(deadline, time.monotonic() + self._latency)
            if not self.bind(open_groups, soon):
                return None
            self.loop.look()
        exchange.interrupted = False
        exchange.ask(time.monotonic())
        if barrier.unasked():
            return None  # a bridge that owed nothing went away at the last moment

        def done() -> bool:
            return barrier.complete or exchange.interrupted or self.stopping

        self.loop.run_until(done, deadline)
        if not barrier.complete:
            return None
        self.steps += 1
        return barrier.take()

    def complete(self, deadline: float) -> dict[str, Answer]:
        """Bring the frozen step to its end, with waiting bridges in place of lost ones.

        Raises
        ------
        StepTimeout
            Not before the deadline.
        HubStopped
            The hub is being stopped.
        """
        self.loop.look()
        while (answers := self.attempt(deadline)) is None:
            if not self.bind(self.open_groups(), deadline) or time.monotonic() >= deadline:
                if self.stopping:
                    raise HubStopped("the hub was stopped during the step")
                unserved = [group for group in self.open_groups() if not group.serves]
                without = [one for group in unserved for one in group.payloads]
                raise StepTimeout(self.barrier.late(time.monotonic()), without)
            self.loop.look()
        return answers

    def open_groups(self) -> list[Group[BridgeConnection]]:
        """Return the groups of the frozen step that have not answered."""
        return [self.roster.groups[group_id] for group_id in self.barrier.unanswered()]
