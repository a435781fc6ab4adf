"""The wire between the solver and its molecules: one barrier of a hub per step.

`HubCoupling` is the ``couple`` of `cavity.solver.run`. It speaks the dict API that
our hub and the hub of the maxwelllink package have in common, and does what
every caller of that API must do: an empty answer means that the step is not
complete, so have the dead replaced, wait until all molecules are bound, and
ask again.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from acts import ActBroke

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Seconds after which a step, or the first binding, is given up for good.
GIVE_UP_S: Final = 180.0

#: Seconds between two looks at the driver processes while somebody is missing.
LOOK_INTERVAL_S: Final = 0.2

#: Axis of the field and of the dipoles: z.
AXIS: Final = 2


class Hub(Protocol):
    """What the solver needs of a hub."""

    def wait_until_bound(
        self, init_payloads: dict[int, dict[str, Any]], require_init: bool = ..., timeout: float | None = ...
    ) -> bool:
        """Wait until every molecule has a driver."""
        ...

    def step_barrier(
        self, requests: dict[int, dict[str, Any]], timeout: float | None = ...
    ) -> Mapping[int, Mapping[str, Any]]:
        """Send the fields, return all amplitudes or nothing."""
        ...


class Populations:
    """Excited populations that the molecules told with their replies.

    Attributes
    ----------
    total : list of float
        Sum over all molecules after each step.
    highest : float
        Highest of a single molecule so far.
    """

    def __init__(self) -> None:
        self.total: list[float] = []
        self.highest = 0.0

    def note(self, populations: Sequence[float]) -> None:
        """Note the excited population of every molecule after one step."""
        self.total.append(math.fsum(populations))
        self.highest = max(self.highest, *populations)


class CouplingError(ActBroke):
    """The molecules did not answer within `GIVE_UP_S`."""


class HubCoupling:
    """Carry the field to all molecules through a hub and bring their amplitudes back.

    Parameters
    ----------
    hub : Hub
        A hub that drivers can reach.
    molecules : int
        How many; their ids are ``0 ... molecules - 1``.
    time_step : float
        Told to the drivers as ``dt_au``, atomic units.
    groups : sequence of str
        Names of the groups behind bridges: molecules are divided among them in
        contiguous blocks. Empty for a hub that knows no groups.
    recover : callable, optional
        Called while somebody is missing: replace dead drivers here. May raise.
    patience_s : float
        How long one call of the barrier may take before the drivers are looked at.

    Attributes
    ----------
    populations : Populations
        What the replies told beside the amplitudes.
    """

    def __init__(
        self,
        hub: Hub,
        molecules: int,
        time_step: float,
        *,
        groups: Sequence[str] = (),
        recover: Callable[[], None] | None = None,
        patience_s: float = 5.0,
    ) -> None:
        self._hub = hub
        self._recover = recover
        self.patience_s = patience_s
        self._inits: dict[int, dict[str, Any]] = {
            molecule: {"dt_au": time_step} for molecule in range(molecules)
        }
        for molecule, init in self._inits.items() if groups else ():
            init["aggregate_group"] = group_of(molecule, molecules, groups)
        self.populations = Populations()

    def bind(self) -> None:
        """Wait until every molecule has a driver.

        Raises
        ------
        CouplingError
            Not all are there after `GIVE_UP_S`.
        """
        deadline = time.monotonic() + GIVE_UP_S
        while not self._hub.wait_until_bound(self._inits, timeout=LOOK_INTERVAL_S):
            self._look(deadline, "be bound")

    def __call__(self, field: float) -> list[float]:
        """Make one step of all molecules.

        Parameters
        ----------
        field : float
            Electric field along z, atomic units.

        Returns
        -------
        list of float
            ``d(mu)/dt`` along z of each molecule at the end of the step.

        Raises
        ------
        CouplingError
            The step is not complete after `GIVE_UP_S`.
        """
        vector = np.zeros(3)
        vector[AXIS] = field
        requests: dict[int, dict[str, Any]] = {molecule: {"efield_au": vector} for molecule in self._inits}
        replies = self._hub.step_barrier(requests, timeout=self.patience_s)
        if not replies:
            deadline = time.monotonic() + GIVE_UP_S
            while not replies:
                self._look(deadline, "answer")
                self._hub.wait_until_bound(self._inits, timeout=LOOK_INTERVAL_S)
                replies = self._hub.step_barrier(requests, timeout=LOOK_INTERVAL_S)
        self.populations.note([excited_population(reply["extra"]) for reply in replies.values()])
        return [float(reply["amp"][AXIS]) for reply in replies.values()]

    def _look(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            message = f"{len(self._inits)} molecules did not all {what} within {GIVE_UP_S} s"
            raise CouplingError(message)
        if self._recover is not None:
            self._recover()


def group_of(molecule: int, molecules: int, groups: Sequence[str]) -> str:
    """Return the group of a molecule: contiguous blocks, as equal as can be."""
    return groups[molecule * len(groups) // molecules]


def excited_population(extra: bytes) -> float:
    """Excited population in the extra bytes of a reply of the two-level model.

    They are JSON, ``{"state": [Re rho01, Im rho01, rho11]}``. Drivers that say
    nothing of the kind count as not excited.
    """
    told = json.loads(extra) if extra else {}
    state = told.get("state") if isinstance(told, dict) else None
    return float(state[2]) if state else 0.0
