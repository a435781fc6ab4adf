"""A step of any hub: fields out, amplitudes back, and one thread's step after the other's."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from mxl_sockets._arrays import Fields, fields_of_array
from mxl_sockets._open_hub import CouplingT, OpenHub
from mxl_sockets.errors import FrozenStepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike


class SteppingHub(OpenHub[CouplingT], abc.ABC):
    """How `mxl_sockets.SocketHub` and `mxl_sockets.AggregatedSocketHub` make steps."""

    def step_barrier(
        self, requests: Mapping[int, Mapping[str, Any]], timeout: float | None = None
    ) -> dict[int, dict[str, Any]]:
        """Send every molecule its field and collect every amplitude.

        The first call freezes ids and fields. While a frozen step is not
        complete, later calls continue it and ignore what they are given.

        Parameters
        ----------
        requests : mapping of int to mapping
            ``"efield_au"``: array-like, shape (3,), atomic units, required.
            ``"init"``: INIT parameters for a molecule that has no driver yet;
            if the hub is aggregated, for one that it does not know yet.
            ``"meta"``: accepted, not used.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        dict of int to dict
            ``{id: {"amp": ndarray, shape (3,), float64, atomic units,
            "extra": bytes}}``; empty while paused, when a molecule has no
            driver or its group no bridge, when one is lost before its answer
            (the hub is paused then), when the time is over, and when the hub
            is stopped.

        Raises
        ------
        FrozenStepError
            An evaluation of forces was begun and is not complete.
        ValueError
            A field is missing or is not three numbers, or a driver has served
            more atoms than one; nothing is frozen then.
        TypeError, ValueError
            INIT parameters cannot be JSON, an id is not a 32-bit number, or,
            of an aggregated hub, a group is not what it was; nothing is frozen
            then.
        """
        deadline = self._deadline(timeout)
        with self._held():
            coupling = self._take_turn(deadline)
            if coupling is None:
                return {}
            try:
                if coupling.exchange.paused or not requests:
                    return {}
                self._freeze_requests(coupling, requests)
                coupling.loop.look()
                if self.paused:
                    return {}
                result = self._attempt(coupling, deadline)
            finally:
                coupling.loop.give_turn()
        if result is None:
            return {}
        if self._on_step is not None:
            self._tell_steps()
        ids, rows, extras = result
        return {one: {"amp": row, "extra": extra} for one, row, extra in zip(ids, rows, extras, strict=True)}

    def step(self, fields: ArrayLike, timeout: float | None = None) -> Fields:
        """Make one step with the molecules of the last `wait_until_bound`.

        Lost drivers, or bridges, are replaced by waiting ones within the same call.

        Parameters
        ----------
        fields : array-like, shape (N, 3), float64
            Electric fields, atomic units; row k belongs to the k-th molecule.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        ndarray, shape (N, 3), float64
            Source amplitudes d(mu)/dt, atomic units, in the same order.

        Raises
        ------
        StepTimeout
            Somebody has not answered in time. Calling again with the same
            fields goes on with the same step.
        FrozenStepError
            An unfinished step has other fields or molecules.
        ValueError
            The shape is wrong, `wait_until_bound` was not called, or a driver
            has served more atoms than one.
        HubStopped
            The hub is stopped, or this rank has none.
        """
        deadline = self._deadline(timeout)
        with self._held():
            coupling = self._insist_on_turn(deadline)
            try:
                ids = self._lineup
                if not ids:
                    raise ValueError("no molecules: wait_until_bound has to succeed before the first step")
                barrier, block = coupling.barrier, fields_of_array(fields, len(ids))
                if not barrier.ids:
                    self._freeze_fields(coupling, ids, block)
                elif barrier.ids != ids or barrier.fields != block:
                    raise FrozenStepError("an unfinished step has other fields or molecules; repeat it first")
                amplitudes = self._complete(coupling, deadline)
            finally:
                coupling.loop.give_turn()
        if self._on_step is not None:
            self._tell_steps()
        return amplitudes

    @abc.abstractmethod
    def _freeze_requests(self, coupling: CouplingT, requests: Mapping[int, Mapping[str, Any]]) -> None:
        """Begin a step, unless one is under way; raises as `step_barrier`."""

    @abc.abstractmethod
    def _freeze_fields(self, coupling: CouplingT, ids: tuple[int, ...], fields: bytes) -> None:
        """Begin a step; raises as `step`."""

    @abc.abstractmethod
    def _attempt(
        self, coupling: CouplingT, deadline: float
    ) -> tuple[tuple[int, ...], Fields, Iterable[bytes]] | None:
        """Bring the frozen step as far as it goes; return ids, amplitudes and extras if it is complete."""

    @abc.abstractmethod
    def _complete(self, coupling: CouplingT, deadline: float) -> Fields:
        """Bring the frozen step to its end and return the amplitudes; raises as `step`."""
