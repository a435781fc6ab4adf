"""`SocketHub`: couples a field solver to many molecule drivers, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mxl_sockets._arrays import Fields, fields_of_requests, vectors_of
from mxl_sockets._force_calls import ForceCalls
from mxl_sockets._listen import Address, listen_tcp, listen_unix
from mxl_sockets._roster import checked_id
from mxl_sockets.errors import FrozenStepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mxl_sockets._coupling import Coupling

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
    silence_timeout : float or None
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
        to ``mxl-sockets watch``: True for a path that is found by the hub's
        address, a name, or an absolute path (see `status_path`).
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

    def _freeze_requests(self, coupling: Coupling, requests: Mapping[int, Mapping[str, Any]]) -> None:
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

    def _freeze_fields(self, coupling: Coupling, ids: tuple[int, ...], fields: bytes) -> None:
        coupling.freeze_fields(ids, fields)

    def _attempt(
        self, coupling: Coupling, deadline: float
    ) -> tuple[tuple[int, ...], Fields, Iterable[bytes]] | None:
        result = coupling.attempt(deadline)
        return None if result is None else (result.ids, vectors_of(result.amplitudes), result.extras)

    def _complete(self, coupling: Coupling, deadline: float) -> Fields:
        result = coupling.complete(deadline)
        coupling.exchange.unpause(self._lineup)
        return vectors_of(result.amplitudes)
