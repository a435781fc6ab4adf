"""The four ports of a member, none of which ever makes the worker wait."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import zmq

from group_ports._duplex import GroupAnsPort, GroupQryPort
from group_ports._publish import GroupPubPort
from group_ports._quiet_log import QuietLogger
from group_ports._subscribe import GroupSubPort
from group_ports.errors import PortError, PortTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from group_ports._parent import Parent
    from group_ports._port_settings import PortSettings

#: Publishers that were taken back and are still connected, at the most.
_MAX_UNWANTED: Final = 1024

_quiet = QuietLogger(logging.getLogger(__name__))


class MemberPorts:
    """Publisher and subscriber and, if the group has a leader, query and answer port.

    Parameters
    ----------
    parent : Parent
    name : str
        Of the group.
    spec : mapping
        ``message`` and ``timed``.
    settings : PortSettings
        With the member id and the group.
    is_coordinated : bool
        Whether the group has a leader.

    Attributes
    ----------
    poller : zmq.Poller
        Polls them for messages.

    Raises
    ------
    PortError
        The publisher cannot be bound.

    Notes
    -----
    For one thread at a time.
    """

    def __init__(
        self,
        parent: Parent,
        name: str,
        spec: Mapping[str, Any],
        settings: PortSettings,
        *,
        is_coordinated: bool,
    ) -> None:
        settings = replace(settings, send_timeout=0.0, recv_timeout=0.0)
        self.poller = zmq.Poller()
        # Numbered, so that members of another group know them for strangers: its publisher
        # may have got the TCP port of one that left. Members of the original take no notice.
        numbered = replace(settings, numbering=True)
        self.publisher = GroupPubPort(parent, f"{name}.pub", spec, settings=numbered)
        self.subscriber = GroupSubPort(parent, f"{name}.sub", spec, settings=settings)
        self.query: GroupQryPort | None = None
        self.answer: GroupAnsPort | None = None
        self._waits_for_leader = False
        #: Publishers that discovery takes back, in the order of that, while they are connected.
        self._unwanted: dict[tuple[str, int], None] = {}
        #: Where the query port was to point and could not.
        self._missed: tuple[str | None, int | None] | None = None
        if is_coordinated:
            self.query = GroupQryPort(parent, f"{name}.qry", spec, settings=settings)
            # The TCP port of the settings is the publisher's.
            self.answer = GroupAnsPort(parent, f"{name}.ans", spec, settings=replace(settings, port=0))
        try:
            self.publisher.setupSocket(None)
            self.poller.register(self.publisher.getSocket(), zmq.POLLIN)
            self.subscriber.setupSocket(None)
            self.poller.register(self.subscriber.getSocket(), zmq.POLLIN)
            if self.query is not None:
                self.query.setupSocket(None)
                self.poller.register(self.query.getSocket(), zmq.POLLIN)
        except BaseException:
            self.close()
            raise

    def follow(self, host: str, port: int) -> None:
        """Follow a publisher."""
        self._unwanted.pop((host, port), None)
        self.subscriber.update(host, port)

    def forget_once_broken(self, host: str, port: int) -> None:
        """Forget a publisher once its connection is no more: anybody can say goodbye for another one."""
        self._unwanted[host, port] = None
        while len(self._unwanted) > _MAX_UNWANTED:
            place = next(iter(self._unwanted))
            del self._unwanted[place]
            self.subscriber.forget(*place)
        self.drop_unwanted()

    def drop_unwanted(self) -> None:
        """Forget those whose connection is no more; at each heartbeat."""
        for place in list(self._unwanted):
            if not self.subscriber.is_reached(*place):
                del self._unwanted[place]
                self.subscriber.forget(*place)

    def look_who_subscribed(self, sockets: Mapping[Any, int]) -> None:
        """Take subscriptions out of the queue of ZeroMQ, which has no end."""
        if self.publisher.getSocket() in sockets:
            self.publisher.subscribers()

    def ready(self, sockets: Mapping[Any, int]) -> list[GroupSubPort | GroupQryPort | GroupAnsPort]:
        """Return the ports with something to read, those that matter most first."""
        return [
            port
            for port in (self.answer, self.query, self.subscriber)
            if port is not None and sockets.get(port.getSocket(), 0) & zmq.POLLIN
        ]

    def send_to_leader(self, tag: bytes, payload: bytes) -> bool:
        """Send; False without a leader, PortTimeout if it is not connected."""
        if self._missed is not None and self._missed[1] is not None:
            raise PortTimeout("there is a leader, and no way to it yet", PortError.EAGAIN)
        return self.query is not None and self._missed is None and self.query.sendToLeader(tag, payload)

    def send_to_member(self, identity: bytes, payload: bytes) -> bool:
        """Send ``mfl``; PortError if this member does not lead, or the other is not connected."""
        if self.answer is None or self.answer.getSocket() is None:
            raise PortError("send error: only the leader writes to one member", PortError.EROUTE)
        self.answer.set_identity(identity)
        return self.answer.send(payload)

    def point_query(self, host: str | None, port: int | None) -> None:
        """Point the query port to a leader, or to nobody; if that fails, see `point_query_again`."""
        if self.query is None:
            return
        former, self._missed = self.query.getSocket(), None
        try:
            # It has no socket if the last one could not be replaced.
            self.query.setupSocket(None)
            self.query.update(host, port)
        except (PortError, ValueError) as error:
            self._missed = host, port
            _quiet.warn(self.query.name, "leader", "cannot connect to a leader at %r: %s", host, error)
        socket = self.query.getSocket()
        if socket is not former:
            # Polled by its address, a closed socket would be taken for standard input.
            if former is not None:
                self.poller.unregister(former)
            if socket is not None:
                self.poller.register(socket, zmq.POLLIN)
            self._waits_for_leader = False

    def point_query_again(self) -> None:
        """Try once more, if the query port could not be pointed to where it should be."""
        if self._missed is not None:
            self.point_query(*self._missed)

    def bind_answer(self) -> tuple[str, int] | None:
        """Bind the answer port and return where; None if that fails."""
        if self.answer is None:
            return None
        try:
            self.answer.setupSocket(None)
            self.answer.updatePoller(self.poller)
        except PortError as error:
            _quiet.warn(self.answer.name, "bind", "leads, but cannot bind its answer port: %s", error)
            return None
        return self.answer.address

    def close_answer(self) -> None:
        """Close the answer port."""
        if self.answer is not None and (socket := self.answer.getSocket()) is not None:
            if socket in self.poller:
                self.poller.unregister(socket)
            self.answer.closeSocket()

    def wait_for_leader(self, waits: bool) -> None:
        """Let the poller tell, or not, when the leader can be written to."""
        if self.query is None or (socket := self.query.getSocket()) is None:
            return
        if waits != self._waits_for_leader:
            self._waits_for_leader = waits
            self.poller.modify(socket, zmq.POLLIN | (zmq.POLLOUT if waits else 0))

    def close(self) -> None:
        """Close them all. Twice is fine."""
        for port in (self.answer, self.query, self.subscriber, self.publisher):
            if port is not None:
                port.closeSocket()
