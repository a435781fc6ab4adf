"""`SocketHub`: couples a field solver to many molecule drivers, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mxl_sockets._arrays import Fields, amplitudes_of, fields_of_array, fields_of_requests
from mxl_sockets._force_calls import ForceCalls
from mxl_sockets._listen import Address, listen_tcp, listen_unix
from mxl_sockets._roster import checked_id
from mxl_sockets.errors import FrozenStepError, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike

__all__ = ["SocketHub"]


class SocketHub(ForceCalls):
    """Couples a field solver to many molecule drivers.

    Each step sends every molecule its field and collects every molecule's
    source amplitude. A step is *frozen* when it begins: whatever dies, hangs
    or is replaced on the way, each driver commits it exactly once, and no
    answer is ever taken for another step.

    Parameters
    ----------
    host : str or None
        Address to listen on; IPv4, IPv6 or a name. None is 127.0.0.1;
        ``""`` is all IPv4 interfaces. Not used with `unixsocket`.
    port : int or None
        TCP port; None is 31415, 0 takes a free one (see `address`).
    unixsocket : str or None
        Absolute path, or a name that is appended to ``/tmp/socketmxl_``.
    timeout : float
        Seconds a call waits when it is given no timeout of its own.
    latency : float
        Seconds; upper bound of waits for what no socket announces. Nothing
        sleeps for it.
    resume : bool
        Keep the last ``"state"`` that each molecule sent in the JSON of its
        extra, and give it to a replacement in its INIT parameters.
    allow : iterable of str, optional
        Addresses and networks that may connect over TCP; None, the default, for
        all. An empty list is a list too: nobody is in it.
    match : callable, optional
        ``match(driver, free_ids) -> id or None`` chooses the molecule of a
        `WaitingDriver`; by default order of arrival. It runs inside the hub
        and must not call it.
    two_phase : bool
        Let all drivers stage a step before any commits it.
    handshake : {"init", "status", "init+status"}
        ``"init"`` sends INIT at once. ``"status"`` first asks each newcomer
        for its status, so that strangers get nothing, and sends no INIT to
        drivers that are READY without (ASE). ``"init+status"`` binds only
        once the driver answers READY after its INIT.
    handshake_timeout : float
        Seconds for that answer.
    silence_limit : float or None
        Seconds after which a driver that owes an answer is dropped.
    max_extra : int
        Largest extra of a reply, bytes.
    max_waiting : int
        Most drivers without a molecule.
    listener : socket.socket, optional
        A bound, listening TCP socket to adopt instead of binding `host` and
        `port`; the hub owns it afterwards.
    on_step : callable, optional
        Called with a `StepRecord` after each completed step, by the thread
        that made it, before the step returns. It may call the hub; what it
        raises is logged. Replies are then read as they come, which is slower.
    status_socket : bool or str
        Open a UNIX socket that tells the status to this user's programs, and
        to ``python -m mxl_sockets watch``: True for a path that is found by
        the hub's address, a name, or an absolute path (see `status_path`).
        A thread serves it.

    Attributes
    ----------
    timeout, latency : float
        As given.
    unixsocket_path : str or None
        Path of the UNIX socket, None with TCP.

    Raises
    ------
    OSError
        The address cannot be bound, or the status socket cannot be made.
    RuntimeError
        Another process listens on the UNIX path.
    ValueError
        A setting is out of range, or an entry of `allow` is no network.
    TypeError
        `allow` is a single text.

    Notes
    -----
    All methods may be called from several threads; steps run one after the
    other. `stop` ends the waits of other threads. Do not call a hub from a
    signal handler (raise an exception there instead) nor in a forked child,
    where every method raises `ForeignProcessError`. On MPI ranks other than 0
    nothing is opened and every method answers "nothing": ``{}``, False, None.

    Examples
    --------
    >>> with SocketHub(port=0) as hub:
    ...     molecule = hub.register_molecule_return_id()
    ...     hub.wait_until_bound({molecule: {"dt_au": 0.5}}, timeout=0)
    False
    """

    def add_endpoint(
        self, molecule_id: int, *, host: str | None = None, port: int = 0, unixsocket: str | None = None
    ) -> Address | None:
        """Open an address of its own for one molecule and return it.

        Whoever connects there becomes this molecule and no other, and nobody
        else becomes it: different programs land where they belong.

        Parameters
        ----------
        molecule_id : int
        host, port, unixsocket
            As for the hub; port 0 takes a free one.

        Raises
        ------
        OSError, RuntimeError, ValueError
            As the constructor.
        TypeError
            The id is not an integer.
        """
        checked_id(molecule_id)
        with self._held():
            coupling = self._running()
            if coupling is None:
                return None
            listener = (
                listen_tcp(host, port, endpoint=molecule_id)
                if unixsocket is None
                else listen_unix(unixsocket, endpoint=molecule_id)
            )
            coupling.listen(listener)
            return listener.address

    # -- binding -------------------------------------------------------------

    def all_bound(self, molecule_ids: Iterable[int], require_init: bool = True) -> bool:
        """Whether all these molecules have a living driver, as far as is known now.

        Parameters
        ----------
        molecule_ids : iterable of int
        require_init : bool
            Count only drivers that have their INIT.
        """
        with self._held():
            coupling = self._running()
            if coupling is None:
                return False
            coupling.loop.look()
            ids = list(molecule_ids)
            return not (self._roster.unready(ids) if require_init else self._roster.missing(ids))

    def wait_until_bound(
        self,
        init_payloads: Mapping[int, Mapping[str, Any]],
        require_init: bool = True,
        timeout: float | None = None,
    ) -> bool:
        """Give every molecule a driver, waiting for them to connect.

        On success the hub is no longer paused, and these molecules in this
        order are those of `step`.

        Parameters
        ----------
        init_payloads : mapping of int to mapping
            INIT parameters of each molecule, for JSON. The key
            ``molecule_id`` is set by the hub.
        require_init : bool
            Wait until the drivers have their INIT.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        bool
            False if somebody is still missing at the end of the time.

        Raises
        ------
        TypeError, ValueError
            The timeout is not a number, an id is not a 32-bit number, or some
            parameters cannot be JSON; nothing was sent then.
        """
        ids = tuple(init_payloads)
        with self._held():
            coupling = self._running()
            if coupling is None:
                return False
            self._roster.remember(init_payloads)
            coupling.loop.look()
            if not coupling.bind(ids, self._deadline(timeout), require_init=require_init):
                return False
            coupling.exchange.paused = False
            self._lineup = ids
            return True

    # -- stepping ------------------------------------------------------------

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
            ``"init"``: INIT parameters for a molecule that has no driver yet.
            ``"meta"``: accepted, not used.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        dict of int to dict
            ``{id: {"amp": ndarray, shape (3,), float64, atomic units,
            "extra": bytes}}``; empty while paused, when a molecule has no
            driver, when a driver is lost before its answer (the hub is paused
            then), when the time is over, and when the hub is stopped.

        Raises
        ------
        FrozenStepError
            An evaluation of forces was begun and is not complete.
        ValueError
            A field is missing or is not three numbers, or a driver has served
            more atoms than one; nothing is frozen then.
        TypeError, ValueError
            INIT parameters cannot be JSON, or an id is not a 32-bit number;
            nothing is frozen then.
        """
        deadline = self._deadline(timeout)
        with self._held():
            coupling = self._take_turn(deadline)
            if coupling is None:
                return {}
            try:
                if coupling.exchange.paused or not requests:
                    return {}
                fields = None if coupling.barrier.frozen else fields_of_requests(requests)
                ids = tuple(requests)
                if not coupling.exchange.lineup.stands(ids, self._roster.generation):
                    for one in self._roster.missing(ids):
                        self._roster.remember_init(one, requests[one].get("init"))
                # Nothing is frozen before everything has proved to be good.
                if fields is not None:
                    coupling.freeze_fields(ids, fields)
                elif coupling.barrier.requests:
                    raise FrozenStepError("an evaluation of forces is not finished; repeat it first")
                coupling.loop.look()
                if self.paused:
                    return {}
                result = coupling.attempt(deadline)
            finally:
                coupling.loop.give_turn()
        if result is None:
            return {}
        if self._on_step is not None:
            self._tell_steps()
        rows = amplitudes_of(result.amplitudes)
        return {
            molecule_id: {"amp": row, "extra": extra}
            for molecule_id, row, extra in zip(result.ids, rows, result.extras, strict=True)
        }

    def step(self, fields: ArrayLike, timeout: float | None = None) -> Fields:
        """Make one step with the molecules of the last `wait_until_bound`.

        Lost drivers are replaced by waiting ones within the same call.

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
            coupling = self._take_turn(deadline)
            if coupling is None:
                self._check_running()
                raise StepTimeout({}, [])  # another thread's step takes all the time
            try:
                if not self._lineup:
                    raise ValueError("no molecules: wait_until_bound has to succeed before the first step")
                barrier, block = coupling.barrier, fields_of_array(fields, len(self._lineup))
                if not barrier.frozen:
                    coupling.freeze_fields(self._lineup, block)
                elif barrier.ids != self._lineup or barrier.fields != block:
                    raise FrozenStepError("an unfinished step has other fields or molecules; repeat it first")
                result = coupling.complete(deadline)
                coupling.exchange.unpause(self._lineup)
            finally:
                coupling.loop.give_turn()
        if self._on_step is not None:
            self._tell_steps()
        return amplitudes_of(result.amplitudes)
