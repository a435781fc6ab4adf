"""A member of a group: joins, talks, votes, and knows who leads."""

# ruff: noqa: N803 - the names are those of the original
from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from group_ports._doorbell import Doorbell
from group_ports._group_reading import GroupReading
from group_ports._inbox import Inbox
from group_ports._member import GroupMember
from group_ports._member_ports import MemberPorts
from group_ports._parent import StandaloneParent
from group_ports._port_settings import LONGEST_WAIT_S, PortSettings
from group_ports._settings import GroupSettings, Timing
from group_ports._sourced_election import Bulletin
from group_ports._worker import Worker
from group_ports.errors import PortError, PortTimeout
from wireframe.group import member_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from group_ports._parent import Parent
    from group_ports.discovery import Discovery
    from group_ports.leader_source import Leadership, LeaderSource

__all__ = ["Group"]

_UNCOORDINATED: Final = "default"
_KINDS: Final = (_UNCOORDINATED, "leader", "consensus")
#: More members than any member remembers: nobody ever stands for election.
_NEVER: Final = 1 << 30


class Group(GroupReading):
    """One member of one group; it joins at once.

    Parameters
    ----------
    parent : Parent
        Context, interface (an IPv4 address) and keys.
    thread : object
        Its ``component`` offers the handlers, unless `component` is given. May be None.
    groupType : str
    groupInstance : str
        An identifier.
    componentId : object
        Of the caller's; kept, not used.
    groupSpec : mapping
        ``message``: type of message; ``timed``: whether messages are stamped;
        ``kind``: ``"default"`` for a group without a leader, else ``"leader"`` or
        ``"consensus"``; ``params``: times in milliseconds (`Timing.from_params`).
    groupMinSize : int
        Members that the group is configured for; more than half of them are the
        quorum without which nobody leads.
    component : object, optional
        Offers handlers (`handleMessage`).
    settings : PortSettings, optional
        Of its ports. ``port`` is that of the publisher; ``recv_hwm`` also limits
        the messages that wait for the user; ``group`` is set by the group.
    discovery : Discovery, optional
        Tells where the others are; else call `update` for each of them.
    quorum : int, optional
        Another quorum; see `GroupSettings`.
    leader_source : LeaderSource, optional
        Says who leads, instead of an election (`group_ports.leader_source`). All
        members use one, and of the same kind. `groupMinSize` and `quorum` mean
        nothing then.
    last_term : int, optional
    store_term : callable, optional
        A member that stores what this is given (an int) where a restart finds it,
        and hands it in as `last_term`, need not keep its votes back at first. An
        error in it ends the member.

    Raises
    ------
    KeyError
        `groupSpec` lacks ``message`` or ``timed``.
    PortError
        The address cannot be bound.
    TypeError, ValueError
        An impossible name, size, kind, time or address.

    Notes
    -----
    A thread of its own does the work. The object may be used by any number of
    threads; each event goes to one of them. It is a context manager: it leaves at
    the end. Its events come in one of three ways: `receive` and `recv` wait in a
    thread, `receive_async` in an event loop, and `handleMessage` calls handlers.

    Examples
    --------
    >>> with Group.standalone("rack", "a", size=1, params={"heartbeat": 20, "electionMin": 40,
    ...         "electionMax": 60, "peerTimeout": 100, "consensusTimeout": 50}) as group:
    ...     group.wait_until(lambda status: status.is_leader, timeout=5.0)
    True
    """

    def __init__(
        self,
        parent: Parent,
        thread: object,
        groupType: str,
        groupInstance: str,
        componentId: object,
        groupSpec: Mapping[str, Any],
        groupMinSize: int = 2,
        *,
        component: object = None,
        settings: PortSettings | None = None,
        discovery: Discovery | None = None,
        quorum: int | None = None,
        leader_source: LeaderSource | None = None,
        last_term: int | None = None,
        store_term: Callable[[int], None] | None = None,
    ) -> None:
        if not groupInstance.isidentifier():
            raise ValueError(f"the instance of a group is an identifier, not {groupInstance!r}")
        kind = groupSpec.get("kind", "leader")
        if kind not in _KINDS:
            raise ValueError(f"the kind of a group is one of {', '.join(_KINDS)}, not {kind!r}")
        timing = Timing.from_params(groupSpec.get("params"))
        group_settings = GroupSettings(groupMinSize, quorum, timing)
        if kind == _UNCOORDINATED:
            if leader_source is not None:
                raise ValueError("a group of this kind has no leader, so no leader source either")
            group_settings = GroupSettings(_NEVER, None, timing)
        self.parent, self.componentId = parent, componentId
        self._name = f"{groupType}.{groupInstance}"
        self._key = f"{groupSpec['message']}@{self._name}"
        self._component = getattr(thread, "component", None) if component is None else component
        self._process = os.getpid()
        host = parent.parent.getGlobalIface()
        settings = PortSettings() if settings is None else settings
        own_id = settings.member_id or member_id(host, self._process, secrets.randbits(64))
        self._settings = replace(settings, group=self._name, member_id=own_id)
        self._current: bytes | None = None
        self._own_parent: StandaloneParent | None = None
        self._discovery: Discovery | None = None
        self._bulletin = Bulletin()
        member = GroupMember(
            group_settings,
            own_id,
            random.SystemRandom(),
            time.monotonic(),
            last_term=last_term,
            bulletin=None if leader_source is None else self._bulletin,
        )
        with contextlib.ExitStack() as on_error:
            self._bell = Doorbell(parent)
            on_error.callback(self._bell.close)
            ports = MemberPorts(
                parent, self._name, groupSpec, self._settings, is_coordinated=kind != _UNCOORDINATED
            )
            on_error.callback(ports.close)
            self._address = ports.publisher.address
            self._inbox = Inbox(settings.recv_hwm, self._bell.ring)
            self._worker = Worker(
                member,
                ports,
                self._inbox,
                letter_s=timing.consensus_timeout,
                store_term=store_term,
                source=leader_source,
            )
            self._worker.start()
            on_error.pop_all()
        try:
            if leader_source is not None:
                leader_source.start(self._key, own_id, self._tell)
            if discovery is not None:
                discovery.register(self._key, *self._address, own_id, found=self.update, gone=self._gone)
                self._discovery = discovery
        except BaseException:
            self.leave()
            raise

    @classmethod
    def standalone(
        cls,
        groupType: str,
        groupInstance: str,
        *,
        size: int = 2,
        host: str = "127.0.0.1",
        kind: str = "leader",
        message: str = "message",
        timed: bool = False,
        params: Mapping[str, float] | None = None,
        settings: PortSettings | None = None,
        **more: Any,
    ) -> Self:
        """Join without a component.

        Parameters
        ----------
        groupType, groupInstance : str
        size : int
            Members that the group is configured for.
        host : str
            IPv4 address of the interface.
        kind, message, timed, params
            As in ``groupSpec``.
        settings : PortSettings, optional
            With ``keys.allowed``, an `AllowList` runs beside the member.
        **more
            ``component``, ``discovery``, ``quorum``, ``leader_source``, ``last_term``,
            ``store_term``.

        Returns
        -------
        Group

        Raises
        ------
        PortError, TypeError, ValueError
            As the class.
        """
        spec = {"message": message, "timed": timed, "kind": kind, "params": params}
        parent = StandaloneParent(host, settings.keys if settings else None)
        try:
            group = cls(parent, None, groupType, groupInstance, None, spec, size, settings=settings, **more)
        except BaseException:
            parent.close()
            raise
        group._own_parent = parent
        return group

    def _tell(self, word: Leadership | None) -> None:
        """Take in what the leader source says; from any thread."""
        self._bulletin.post(word)
        self._worker.calls.wake()

    def _gone(self, host: str, port: int) -> None:
        """Take in what discovery says; from any thread."""
        self._call(lambda: self._worker.ports.forget_once_broken(host, port))

    # -- its end ------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Say goodbye, close everything and wait for the worker, 10 s at the most. Twice is fine.

        Raises
        ------
        PortTimeout
            The worker is held up. It ends when it can.
        """
        if os.getpid() != self._process:
            return
        discovery, self._discovery = self._discovery, None
        try:
            if discovery is not None:
                discovery.unregister(self._key, *self._address)
        finally:
            try:
                self._call(self._worker.leave)
            except PortError as error:
                if error.errno != PortError.ECLOSED:
                    raise
            if not self._worker.join(LONGEST_WAIT_S):
                raise PortTimeout("the member of the group does not end", PortError.EAGAIN)
            self._bell.close()
            own_parent, self._own_parent = self._own_parent, None
            if own_parent is not None:
                own_parent.close()

    close = leave

    def __del__(self) -> None:
        worker = getattr(self, "_worker", None)
        if worker is not None and self._process == os.getpid() and worker.is_running():
            said = f"the member of the group {self._name} has not left"
            warnings.warn(said, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
