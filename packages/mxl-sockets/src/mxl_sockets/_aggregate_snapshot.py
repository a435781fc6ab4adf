"""What the status of a hub of bridges is made of; see `mxl_sockets._snapshot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mxl_sockets._aggregate_barrier import GroupStage
from mxl_sockets.status import HubStatus, StepRate

if TYPE_CHECKING:
    from mxl_sockets._aggregate_coupling import GroupCoupling
    from mxl_sockets._listen import Address


class GroupSnapshots:
    """Takes the status of an `AggregatedSocketHub`; a molecule's peer is the bridge of its group.

    Parameters
    ----------
    coupling : GroupCoupling
    address : address
        Where the hub listens.
    now : float
        Seconds, monotonic.
    """

    def __init__(self, coupling: GroupCoupling, address: Address, now: float) -> None:
        self._coupling = coupling
        self._address = address
        self._rate = StepRate(now)

    def take(self, now: float) -> HubStatus:
        """Return the status; the hub's lock is held."""
        coupling, exchange, groups = self._coupling, self._coupling.exchange, self._coupling.roster
        return HubStatus(
            address=None if coupling.stopping else self._address,
            bound={
                one: group.link.peer
                for group in groups.groups.values()
                if group.link is not None
                for one in group.payloads
            },
            missing=groups.missing(sorted(groups.ids.expected)),
            waiting=[link.peer for link in groups.parked.values()],
            late=coupling.barrier.late(now),
            paused=exchange.paused,
            steps=coupling.steps,
            dropped=exchange.losses.count,
            last_error=exchange.losses.last,
            reply_times=exchange.reply_times.figures(),
            orphaned=[
                one
                for group in coupling.open_groups()
                # Asked is late; with a bridge that waits for its drivers nobody can be asked.
                if not group.serves and coupling.barrier.stage_of(group.group_id) is GroupStage.UNASKED
                for one in coupling.barrier.shares[group.group_id].ids
            ],
            steps_per_s=self._rate.look(now, coupling.steps),
            losses=exchange.losses.recent(),
            groups=groups.group_of.copy(),
        )
