"""The thread that owns the sockets of a member.

::

    each round:  poll no longer than the next deadline
                 do what is due (so nothing that has piled up comes before a timer)
                 calls from other threads, letters to the leader
                 up to BUDGET messages of each port

A message that comes in a flood costs its own handling and no more: the clock is
read for each one, and the member does what is due before it looks at it.
"""

from __future__ import annotations

import errno
import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Final

import zmq

from group_ports._calls import Calls
from group_ports._duplex import GroupAnsPort
from group_ports._events import Message, MessageFailed, MessageKind
from group_ports._letters import Letters
from group_ports._performer import Performer
from group_ports._status import GroupStatistics, GroupStatus
from group_ports.errors import GroupError, PortError
from wireframe import group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from group_ports._actions import Action
    from group_ports._duplex import GroupQryPort
    from group_ports._inbox import Inbox
    from group_ports._member import GroupMember
    from group_ports._member_ports import MemberPorts
    from group_ports._reception import Arrival
    from group_ports._subscribe import GroupSubPort
    from group_ports.leader_source import LeaderSource

#: Messages of one port in one round.
BUDGET: Final = 100
#: Milliseconds of the longest poll; nothing depends on it.
_LONGEST_POLL_MS: Final = 10_000
#: All that a group without a leader listens to.
_MEMBERSHIP: Final = (group.Tic, group.Leave)

_logger = logging.getLogger(__name__)


class Worker:
    """Runs a member.

    Parameters
    ----------
    member : GroupMember
    ports : MemberPorts
        The worker's from `start` on; it closes them.
    inbox : Inbox
    letter_s : float
        Seconds that messages of the protocol may wait for the leader.
    store_term : callable
        Gets `GroupMember.last_term` whenever it is new, before anything is sent.
    source : LeaderSource or None
        Told where the member answers, and stopped at the end.

    Attributes
    ----------
    calls : Calls
    board : StatusBoard
    error : BaseException or None
        What ended the worker.
    """

    def __init__(
        self,
        member: GroupMember,
        ports: MemberPorts,
        inbox: Inbox,
        *,
        letter_s: float,
        store_term: Callable[[int], None] | None,
        source: LeaderSource | None = None,
    ) -> None:
        self.member = member
        self.ports = ports
        self.calls = Calls()
        self.letters = Letters(ports.send_to_leader)
        self.error: BaseException | None = None
        self._inbox = inbox
        self._source = source
        self._failed = 0
        self._stopping = False
        self._performer = Performer(
            member,
            ports,
            inbox,
            self.letters,
            letter_s=letter_s,
            store_term=store_term,
            source=source,
        )
        self.board = self._performer.board
        self._last_statistics: GroupStatistics | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"group-ports {ports.publisher.name}", daemon=True
        )

    def start(self) -> None:
        """Begin; PortError if there is no room for one more thread."""
        try:
            self._thread.start()
        except RuntimeError as error:
            failure = PortError(f"the member cannot begin: {error}", errno.EAGAIN)
            self.calls.close(failure)
            raise failure from error

    def join(self, wait_s: float) -> bool:
        """Wait for the end; tell whether it came in time."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def is_running(self) -> bool:
        """Tell whether it has begun and not ended."""
        return self._thread.is_alive()

    def statistics(self) -> GroupStatistics:
        """Return what was counted; in the worker, or when it has ended."""
        if self._last_statistics is not None:
            return self._last_statistics
        ports, inbox = self.ports, self._inbox
        counted = {
            name: port.statistics
            for name, port in (("query", ports.query), ("answer", ports.answer))
            if port is not None
        }
        return GroupStatistics(
            ports.publisher.statistics,
            ports.subscriber.statistics,
            dropped_messages=inbox.dropped_messages,
            dropped_news=inbox.dropped_news,
            unsent=self._performer.unsent + self.letters.lost,
            failed=self._failed,
            **counted,
        )

    # -- in the thread ------------------------------------------------------------------------------

    def leave(self) -> None:
        """Say goodbye and end."""
        self.do(self.member.leave(time.monotonic()))
        self._stopping = True

    def do(self, actions: Iterable[Action]) -> None:
        """Carry actions out, in their order."""
        self._performer.do(actions)

    def _run(self) -> None:
        why = PortError("the member has left the group", PortError.ECLOSED)
        try:
            self.ports.poller.register(self.calls.bell, zmq.POLLIN)
            while not self._stopping:
                self._round()
        except BaseException as error:
            self.error = error
            why = PortError(f"the member has ended: {type(error).__name__}: {error}", PortError.ECLOSED)
            _logger.exception("a member of a group has ended")
        finally:
            self.letters.drop()
            self._last_statistics = self.statistics()
            self.ports.close()
            self.board.show(GroupStatus(term=self.member.term))
            self.calls.close(why)
            self._inbox.close(why)
            self._stop_source()

    def _stop_source(self) -> None:
        """Let another one lead; last, when nothing of this member can be mistaken for a leader's."""
        if self._source is None:
            return
        try:
            self._source.stop()
        except Exception:
            _logger.exception("a leader source could not be stopped")

    def _round(self) -> None:
        deadline = min(self.member.next_deadline(), self.letters.next_deadline())
        wait_ms = (deadline - time.monotonic()) * 1000
        sockets = dict(self.ports.poller.poll(math.ceil(min(max(wait_ms, 0.0), _LONGEST_POLL_MS))))
        now = time.monotonic()
        if now >= self.member.next_deadline():
            self.do(self.member.on_time(now))
        if self.calls.bell.fileno() in sockets:
            self.calls.run()
        if self.letters:
            self.letters.flush(now)
        self.ports.wait_for_leader(len(self.letters) > 0)
        self.ports.look_who_subscribed(sockets)
        for port in self.ports.ready(sockets):
            # A port that has been closed meanwhile has nothing to tell.
            while_open = (port.take() for _ in range(BUDGET) if port.getSocket() is not None)
            for arrival in while_open:
                if arrival is None or self._stopping:
                    break
                self._handle(port, arrival)

    def _handle(self, port: GroupSubPort | GroupQryPort | GroupAnsPort, arrival: Arrival) -> None:
        try:
            if isinstance(arrival.body, bytes):
                sender, kind = arrival.sender, MessageKind(arrival.tag.decode())
                self._inbox.put(Message(kind, arrival.payload, sender, arrival.stamp))
            elif self.ports.query is not None or isinstance(arrival.body, _MEMBERSHIP):
                self._tell_member(port, arrival)
        except GroupError:
            raise
        except Exception as error:
            self._failed += 1
            _logger.exception("a message could not be handled")
            self._inbox.put(MessageFailed(f"{type(error).__name__}: {error}"))

    def _tell_member(self, port: GroupSubPort | GroupQryPort | GroupAnsPort, arrival: Arrival) -> None:
        now = time.monotonic()
        body = arrival.body
        if isinstance(port, GroupAnsPort):
            self._performer.do(self.member.receive(body, now, source=arrival.sender), asked=arrival)
            return
        is_ours = isinstance(body, group.Tic) and body.member == arrival.sender
        self.do(self.member.receive(body, now, is_ours=is_ours))
