"""`MPIHub`: couples a field solver on rank 0 to molecules on all other ranks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mxl_sockets._arrays import fields_of_requests, reals
from mxl_sockets.errors import HubStopped
from mxl_sockets.mpi._activity import Activity
from mxl_sockets.mpi._lifecycle import MPIHubLifecycle
from mxl_sockets.mpi.errors import CommunicatorBroken, RanksLate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from mxl_sockets._arrays import Fields
    from mxl_sockets.mpi._talk import Outcome

__all__ = ["MPIHub"]


class MPIHub(MPIHubLifecycle):
    """Couples a field solver to molecules on the other ranks of an MPI job.

    The same `step`, `step_barrier` and `wait_until_bound` as `SocketHub`: a
    step is frozen when it begins, each molecule commits it exactly once, and
    no answer is taken for another step.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The communicator; ``COMM_WORLD`` if None. Its rank 0 makes the hub, and
        all other ranks an `MPIDriver` each. It is duplicated, so the program
        may use it for itself.
    timeout : float
        Seconds a call waits when it is given no timeout of its own.
    extras : bool
        Let drivers send the extras of their models; one message more from each
        rank and step. Without it every extra is empty.
    resume : bool
        Keep the last ``"state"`` that each molecule sent in the JSON of its
        extra, and give it to the model that takes the molecule over in its
        INIT parameters; implies `extras`.

    Raises
    ------
    ImportError
        There is no mpi4py, or no MPI library.
    ValueError
        This is not rank 0, there are no other ranks, or the timeout is not a number.

    Notes
    -----
    **Late ranks.** A call that meets its deadline raises `RanksLate`, or
    answers "not yet" as with sockets. MPI cannot take back what was begun: the
    communicator carries nothing else until the late ranks have answered. Repeat
    the call, or end the job with `abort`.

    **Dead ranks.** Under Open MPI 5 with ``mpiexec --with-ft ulfm`` the
    survivors go on: the molecules of the dead begin afresh on them
    (`generation` counts it), and the frozen step is sent again; blocks that
    have made it give the answer that they kept. Otherwise MPI ends the job.

    While it waits it uses its core fully, as MPI's own calls do. A hub is used
    by one thread at a time, never in a forked child nor by a signal handler.
    """

    # -- binding -------------------------------------------------------------

    def wait_until_bound(
        self,
        init_payloads: Mapping[int, Mapping[str, Any]],
        require_init: bool = True,
        timeout: float | None = None,
    ) -> bool:
        """Spread molecules over the driver ranks in contiguous blocks.

        Molecules that are bound already are left alone, whatever their
        parameters; those of ranks whose models failed begin afresh.

        Parameters
        ----------
        init_payloads : mapping of int to mapping
            INIT parameters of each molecule, for JSON. The key
            ``molecule_id`` is set by the driver. Rows of `step` are in this
            order. A mapping that many molecules share is sent once.
        require_init : bool
            Not used: ranks get their INIT at once.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        bool
            False if some ranks have not answered at the end of the time.

        Raises
        ------
        TypeError, ValueError
            An id is not a 32-bit number, or some parameters cannot be JSON;
            nothing was sent then.
        FrozenStepError
            These are other molecules, and a step is under way.
        ModelError
            Models refuse their parameters; the ranks are named.
        CommunicatorBroken
            MPI failed.
        """
        deadline = self._deadline(timeout)
        with self._turn():
            if self._stopped:
                return False
            try:
                self._finish_init(deadline)
                self._finish_step(deadline)
                if tuple(init_payloads) != self._book.ids:
                    self._book.bind(init_payloads)
                else:
                    self._book.renew_failed()
                self._initialising = Activity(self._talk.initialise(), self._world.test)
                self._finish_init(deadline)
            except RanksLate as error:
                self._last_error = str(error)
                return False
            self._check_models()
            return True

    # -- stepping ------------------------------------------------------------

    def step(self, fields: ArrayLike, timeout: float | None = None) -> Fields:
        """Make one step with the molecules of the last `wait_until_bound`.

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
        RanksLate
            Ranks have not answered in time. Calling again with the same fields
            goes on with the same step.
        FrozenStepError
            An unfinished step has other fields.
        ModelError
            Models failed; the ranks are named. `wait_until_bound` lets their
            molecules begin afresh, then the step can be repeated.
        ValueError
            The shape is wrong, or `wait_until_bound` was not called.
        HubStopped
            The hub is stopped.
        CommunicatorBroken
            MPI failed, or no driver rank is left.
        """
        deadline = self._deadline(timeout)
        with self._turn():
            return self._step(fields, deadline).amplitudes

    def step_barrier(
        self, requests: Mapping[int, Mapping[str, Any]], timeout: float | None = None
    ) -> dict[int, dict[str, Any]]:
        """Send every molecule its field and collect every amplitude.

        A thin view of `step`, for programs that keep dictionaries.

        Parameters
        ----------
        requests : mapping of int to mapping
            ``"efield_au"``: array-like, shape (3,), atomic units, required.
            ``"init"``: INIT parameters, used if nothing is bound yet. The
            molecules must be those that are bound, in any order.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        dict of int to dict
            ``{id: {"amp": ndarray, shape (3,), float64, atomic units,
            "extra": bytes}}``; empty when the time is over and when the hub is
            stopped. While a step is not complete, later calls continue it and
            ignore what they are given.

        Raises
        ------
        ValueError
            A field is missing or is not three numbers, or these are not the
            molecules that are bound; nothing is frozen then.
        ModelError, CommunicatorBroken
            As `step`.
        """
        deadline = self._deadline(timeout)
        if not requests or self._stopped:
            return {}
        if not self._book.ids and not self.wait_until_bound(
            {one: request.get("init") or {} for one, request in requests.items()}, timeout=timeout
        ):
            return {}
        with self._turn():
            fields = None
            if not self._book.frozen:
                ids = self._book.ids
                if tuple(requests) != ids:
                    if set(requests) != set(ids):
                        raise ValueError("the requests are not for the molecules that are bound")
                    requests = {one: requests[one] for one in ids}
                fields = np.frombuffer(fields_of_requests(requests)).reshape(-1, 3)
            try:
                outcome = self._step(fields, deadline)
            except RanksLate as error:
                self._last_error = str(error)
                return {}
        extras = outcome.extras or [b""] * len(self._book.ids)
        return {
            one: {"amp": row, "extra": extra}
            for one, row, extra in zip(self._book.ids, outcome.amplitudes, extras, strict=True)
        }

    def _step(self, fields: ArrayLike | None, deadline: float) -> Outcome:
        """Make the step with these fields; None is for the fields that are frozen."""
        if self._stopped:
            raise HubStopped("the hub was stopped")
        book = self._book
        if not book.ids:
            raise ValueError("no molecules: wait_until_bound has to succeed before the first step")
        block = None if fields is None else _checked(fields, len(book.ids))
        begin = time.monotonic()
        self._finish_init(deadline)
        if block is not None:
            book.freeze(block)
        if self._stepping is None:
            self._stepping = Activity(self._talk.step(), self._world.test)
        outcome = self._run(self._stepping, deadline, f"step {book.number}")
        self._stepping = None
        if outcome is None:
            self._check_models()
            raise CommunicatorBroken("models failed, and no rank says which")
        book.finish(outcome.extras)
        self._steps += 1
        self._timer.add(time.monotonic() - begin, len(book.ids))
        return outcome


def _checked(fields: ArrayLike, count: int) -> Fields:
    """Return fields as an array, without a copy if they are one; they are copied when they are sent."""
    try:
        array = reals(fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields are no array of real numbers: {error}") from error
    if array.shape != (count, 3):
        raise ValueError(f"fields have shape {array.shape}, the molecules need ({count}, 3)")
    return array
