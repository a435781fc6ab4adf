"""`AggregatedSocketHub`: couples a field solver to many molecules through few connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from mxl_sockets._access import parse_allowed
from mxl_sockets._aggregate_coupling import GroupCoupling
from mxl_sockets._aggregate_roster import GroupRoster
from mxl_sockets._aggregate_settings import AggregateSettings
from mxl_sockets._aggregate_shares import GroupShare, divide, join_amplitudes, join_extras
from mxl_sockets._aggregate_snapshot import GroupSnapshots
from mxl_sockets._aggregate_step_watch import WatchedGroupCoupling
from mxl_sockets._arrays import WIRE_FLOAT, Fields, fields_of_requests
from mxl_sockets._listen import DEFAULT_PORT, adopt, listen_tcp
from mxl_sockets._remote_bridges import RemoteBridges

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

    from mxl_sockets._aggregate_connection import BridgeConnection
    from mxl_sockets._step_watch import OnStep

__all__ = ["AggregatedSocketHub"]

logger = logging.getLogger(__name__)


class AggregatedSocketHub(RemoteBridges):
    """Couples a field solver to groups of molecules, each behind a bridge.

    A bridge (`mxl_sockets.Bridge`, or that of MaxwellLink) stands for the
    molecules of one node: one connection, and one message in each direction
    per step. Methods and results are those of `SocketHub`. The group of a
    molecule is said by its INIT parameters, ``"aggregate_group"``; without it
    the molecule is a group of its own, ``"molecule-<id>"``.

    Parameters
    ----------
    host : str or None
        Address to listen on; None is 127.0.0.1, ``""`` all IPv4 interfaces.
    port : int or None
        TCP port; None is 31415, 0 takes a free one (see `address`).
    timeout : float
        Seconds a call waits when it is given no timeout of its own.
    latency : float
        Seconds a step waits for a bridge that is missing.
    resume : bool
        Keep the last ``"state"`` that each molecule sent in the JSON of its
        extra, and hand it on when a bridge is given its molecules again.
    allow : iterable of str, optional
        Addresses and networks that may connect; None, the default, for all.
        An empty list is a list too: nobody is in it.
    listener : socket.socket, optional
        A bound, listening TCP socket to adopt; the hub owns it afterwards.
    handshake_timeout : float
        Seconds in which a newcomer must say its group.
    silence_timeout : float or None
        Seconds after which a bridge that owes an answer is dropped.
    max_extras : int
        Most bytes of all extras in one answer of a bridge.
    max_waiting : int
        Most bridges without a group.
    on_step : callable, optional
        Called with a `StepRecord` after each completed step, as for
        `SocketHub`; its molecule is the first of the group that came last.
    status_socket : bool or str
        Tell the status on a UNIX socket, as for `SocketHub`.

    Raises
    ------
    OSError
        The address cannot be bound, or the status socket cannot be made.
    ValueError
        A setting is out of range, or an entry of `allow` is no network.
    TypeError
        `allow` is a single text.

    Notes
    -----
    A step is frozen when it begins. A group is asked for it once, and again
    only if its bridge is gone before it has answered; the replacement is then
    given all its molecules anew, so that their drivers start it from an INIT
    that they see. Threads, signals, forks and MPI ranks are as for `SocketHub`.

    Examples
    --------
    >>> with AggregatedSocketHub(port=0) as hub:
    ...     molecule = hub.register_molecule_return_id()
    ...     hub.wait_until_bound({molecule: {"aggregate_group": "node-0"}}, timeout=0)
    False
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = DEFAULT_PORT,
        timeout: float = 60.0,
        latency: float = 0.01,
        *,
        resume: bool = False,
        allow: Iterable[str] | None = None,
        listener: socket.socket | None = None,
        handshake_timeout: float = 10.0,
        silence_timeout: float | None = None,
        max_extras: int = 256 << 20,
        max_waiting: int = 1024,
        on_step: OnStep | None = None,
        status_socket: bool | str = False,
    ) -> None:
        self._groups: GroupRoster[BridgeConnection] = GroupRoster(resume=resume)
        super().__init__(self._groups.ids, timeout, latency, on_step, status_socket)
        self._plan: tuple[tuple[int, ...], dict[str, GroupShare]] = ((), {})
        allowed = parse_allowed(allow)
        settings = AggregateSettings(
            timeout=timeout,
            latency=latency,
            handshake_timeout=handshake_timeout,
            silence_timeout=silence_timeout,
            max_extras=max_extras,
            max_waiting=max_waiting,
        )
        if not self._opens_here():
            return
        if listener is not None:
            own = adopt(listener)
        else:
            own = listen_tcp(host, DEFAULT_PORT if port is None else port)
        kind, groups = GroupCoupling if on_step is None else WatchedGroupCoupling, self._groups
        self._open(own, lambda: kind(groups, settings, allowed, latency), GroupSnapshots, status_socket)
        logger.info("listening for bridges on %s", self._address)

    def all_bound(self, molecule_ids: Iterable[int], require_init: bool = True) -> bool:
        """Whether all these molecules have a living bridge, as far as is known now.

        Parameters
        ----------
        molecule_ids : iterable of int
        require_init : bool
            Count only bridges that have all their drivers.
        """
        with self._held():
            coupling = self._running()
            if coupling is None:
                return False
            coupling.loop.look()
            ids = list(molecule_ids)
            return not (self._groups.unready(ids) if require_init else self._groups.missing(ids))

    def wait_until_bound(
        self,
        init_payloads: Mapping[int, Mapping[str, Any]],
        require_init: bool = True,
        timeout: float | None = None,
    ) -> bool:
        """Give every group a bridge, waiting for bridges and for their drivers.

        On success the hub is no longer paused, and these molecules in this
        order are those of `step`.

        Parameters
        ----------
        init_payloads : mapping of int to mapping
            INIT parameters of each molecule, for JSON; ``aggregate_group``
            names its group. The key ``molecule_id`` is set by the hub.
        require_init : bool
            Wait until the bridges have all their drivers.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        bool
            False if somebody is still missing at the end of the time.

        Raises
        ------
        TypeError, ValueError
            The timeout is not a number, an id is not a 32-bit number, the name
            of a group is empty or not what it was, or some parameters cannot
            be JSON; nothing was sent then.
        """
        ids = tuple(init_payloads)
        with self._held():
            coupling = self._running()
            if coupling is None:
                return False
            self._groups.remember(init_payloads)
            coupling.loop.look()
            groups = self._groups.groups_of(ids)
            if not coupling.bind(groups, self._deadline(timeout), require_init=require_init):
                return False
            coupling.exchange.paused = False
            self._lineup = ids
            return True

    def _freeze_requests(self, coupling: GroupCoupling, requests: Mapping[int, Mapping[str, Any]]) -> None:
        if coupling.barrier.frozen:
            return
        ids, fields = tuple(requests), fields_of_requests(requests)
        unknown = self._groups.unknown(ids)
        self._groups.remember({one: requests[one].get("init") or {} for one in unknown})
        # Nothing is frozen before everything has proved to be good.
        self._freeze(coupling, ids, fields, once=True)

    def _freeze_fields(self, coupling: GroupCoupling, ids: tuple[int, ...], fields: bytes) -> None:
        self._freeze(coupling, ids, fields, once=False)

    def _freeze(self, coupling: GroupCoupling, ids: tuple[int, ...], fields: bytes, *, once: bool) -> None:
        """Begin a step; `once` for frames in which equal fields are sent once."""
        if self._plan[0] != ids:
            self._plan = (ids, divide(ids, self._groups.group_of))
        shares = self._plan[1]
        block: Fields = np.ndarray((len(ids), 3), WIRE_FLOAT, fields)
        for share in shares.values():
            if once:
                share.fill_once(block)
            else:
                share.fill(block)
        coupling.barrier.freeze(ids, fields, shares)

    def _attempt(
        self, coupling: GroupCoupling, deadline: float
    ) -> tuple[tuple[int, ...], Fields, Iterable[bytes]] | None:
        ids, shares = coupling.barrier.ids, coupling.barrier.shares
        answers = coupling.attempt(deadline)
        if answers is None:
            return None
        return ids, join_amplitudes(len(ids), shares, answers), join_extras(len(ids), shares, answers)

    def _complete(self, coupling: GroupCoupling, deadline: float) -> Fields:
        shares = coupling.barrier.shares
        answers = coupling.complete(deadline)
        coupling.exchange.paused = any(self._groups.groups[one].link is None for one in shares)
        return join_amplitudes(len(self._lineup), shares, answers)
