"""What a member of a group can be asked: how the group stands, and what has come."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from group_ports._events import Message, MessageKind
from group_ports._group_calls import GroupCalls
from group_ports._handlers import call_handler
from group_ports._objects import loads
from group_ports._port_settings import milliseconds
from group_ports.errors import PortError, PortTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    import zmq

    from group_ports._doorbell import Doorbell
    from group_ports._events import GroupEvent
    from group_ports._status import GroupStatistics, GroupStatus


class GroupReading(GroupCalls):
    """Status and events; the part of `Group` that the worker has prepared."""

    _name: str
    _address: tuple[str, int]
    _component: object
    _bell: Doorbell
    #: What `recv` returns while a handler runs.
    _current: bytes | None = None

    # -- what it is ---------------------------------------------------------------------------------

    def status(self) -> GroupStatus:
        """Return how the group stands now, as far as this member knows: one moment, all of it."""
        return self._worker.board.status

    @property
    def address(self) -> tuple[str, int]:
        """Host and TCP port of the publisher, for `update` of the others."""
        return self._address

    @property
    def term(self) -> int:
        """Fencing token: the term of the last leader known. Never goes back."""
        return self.status().term

    @property
    def error(self) -> BaseException | None:
        """What ended the member, if it was not `Group.leave`."""
        return self._worker.error

    def hasLeader(self) -> bool:
        """Tell whether there is a leader."""
        return self.status().leader_id is not None

    def isLeader(self) -> bool:
        """Tell whether this member leads."""
        return self.status().is_leader

    def getLeaderId(self) -> bytes | None:
        """Return the member id of the leader; None if there is none."""
        return self.status().leader_id

    def groupSize(self) -> int:
        """Return how many members are known, this one included."""
        return self.status().size

    def getGroupName(self) -> str:
        """Return ``type.instance``."""
        return self._name

    def getGroupId(self) -> bytes:
        """Return the id of this member, 16 bytes."""
        own_id: bytes = self._worker.member.own_id
        return own_id

    @property
    def statistics(self) -> GroupStatistics:
        """What was counted so far; also after `leave`."""
        try:
            return self._call(self._worker.statistics)
        except PortError as error:
            if error.errno != PortError.ECLOSED:
                raise
            return self._worker.statistics()

    def wait_until(self, condition: Callable[[GroupStatus], bool], timeout: float | None = None) -> bool:
        """Wait until the status is as wanted; tell whether it was in time.

        Parameters
        ----------
        condition : callable
            Takes a `GroupStatus`; quick, and without calls to the group.
        timeout : float or None
            Seconds; None is the longest wait, 10 s.
        """
        return self._worker.board.wait(condition, milliseconds(timeout) / 1000)

    # -- what comes ---------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> GroupEvent | None:
        """Return the next message or news of the group; None if none came in time.

        Parameters
        ----------
        timeout : float or None
            Seconds; None is the longest wait, 10 s.

        Returns
        -------
        Message, MemberJoined, MemberLeft, LeaderElected, LeaderExited, VoteRequested, VoteResult, \
MessageFailed or None

        Raises
        ------
        PortError
            ECLOSED: the member has left, or has ended, and there is nothing left; or
            it joined in another process.
        """
        self._check_process()
        return self._noted(self._inbox.take(milliseconds(timeout) / 1000))

    async def receive_async(self, timeout: float | None = None) -> GroupEvent | None:
        """Return the next message or news as `receive` does, for asyncio.

        The other methods wait for the worker, mostly for some microseconds;
        `sendToLeader` while a leader is not connected, and `leave`, longer: call
        those with `asyncio.to_thread`.
        """
        self._check_process()
        return self._noted(await self._inbox.take_async(milliseconds(timeout) / 1000))

    def recv(self) -> bytes:
        """Return the bytes of the message, or the topic of the vote, that is being handled.

        Outside a handler, those of the next message of any kind; news wait.

        Raises
        ------
        PortTimeout
            None came within the receive timeout.
        PortError
            The member has left, or it joined in another process.
        """
        self._check_process()
        if self._current is not None:
            return self._current
        event = self._inbox.take(milliseconds(self._settings.recv_timeout) / 1000, only_messages=True)
        if not isinstance(event, Message):
            raise PortTimeout("recv error: no message in time", PortError.EAGAIN)
        self._noted(event)
        return event.data

    def recv_pyobj(self) -> Any:
        """Return the object in what `recv` returns: plain data and allowed classes.

        Raises
        ------
        ObjectRefused
            It is neither, or damaged.
        PortTimeout, PortError
            As `recv`.
        """
        settings = self._settings
        return loads(self.recv(), allowed=settings.allowed_classes, max_objects=settings.max_objects)

    def getSocket(self) -> zmq.Socket[bytes]:
        """Return a socket that is readable while something waits for `handleMessage`; only to be polled."""
        return self._bell.socket

    def handleMessage(self, timeout: float | None = 0.0) -> bool:
        """Call the handler for the next message or news.

        Handlers are called in this thread, one at a time; what they raise comes
        out here. `group_ports._handlers` lists them.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for something to handle; None is the longest wait, 10 s.

        Returns
        -------
        bool
            False if there was nothing.

        Raises
        ------
        PortError
            As `receive`.
        """
        event = self.receive(timeout)
        self._inbox.settle(self._bell.quiet)
        if event is None:
            return False
        self._current = getattr(event, "data", getattr(event, "topic", None))
        try:
            call_handler(self._component, self, event)
        finally:
            self._current = None
        return True

    def _noted(self, event: GroupEvent | None) -> GroupEvent | None:
        if isinstance(event, Message) and event.kind is MessageKind.TO_LEADER:
            self._sender = event.sender
        return event
