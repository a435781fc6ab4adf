"""What a hub's status is made of. Nothing is changed by looking, and no socket is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mxl_sockets.status import HubStatus, StepRate

if TYPE_CHECKING:
    from mxl_sockets._coupling import Coupling
    from mxl_sockets._listen import Address


class Snapshots(Protocol):
    """Takes the status of a hub; it knows the hub's parts but not the hub, which may be forgotten."""

    def take(self, now: float) -> HubStatus:
        """Return the status; the hub's lock is held.

        Parameters
        ----------
        now : float
            Seconds, monotonic.
        """


class DirectSnapshots:
    """Takes the status of a `SocketHub`.

    Parameters
    ----------
    coupling : Coupling
    address : address
        Where the hub listens.
    now : float
        Seconds, monotonic.
    """

    def __init__(self, coupling: Coupling, address: Address, now: float) -> None:
        self._coupling = coupling
        self._address = address
        self._rate = StepRate(now)

    def take(self, now: float) -> HubStatus:
        """Return the status; the hub's lock is held."""
        coupling, exchange, barrier = self._coupling, self._coupling.exchange, self._coupling.barrier
        roster = coupling.roster
        late = barrier.late(now)
        if exchange.lineup.unsettled:
            # Their replies were read, but are judged together with those of the others.
            for molecule_id, size in zip(barrier.ids, exchange.lineup.sizes, strict=False):
                if size > 0:
                    late.pop(molecule_id, None)
        return HubStatus(
            address=None if coupling.stopping else self._address,
            bound={molecule_id: client.peer for molecule_id, client in roster.bound.items()},
            missing=sorted(roster.missing(roster.expected)),
            waiting=[client.peer for client in roster.waiting],
            late=late,
            paused=exchange.paused,
            steps=coupling.steps,
            dropped=exchange.losses.count,
            last_error=exchange.losses.last,
            reply_times=exchange.reply_times.figures(),
            orphaned=roster.missing(barrier.ids[slot] for slot in barrier.unanswered()),
            steps_per_s=self._rate.look(now, coupling.steps),
            losses=exchange.losses.recent(),
        )
