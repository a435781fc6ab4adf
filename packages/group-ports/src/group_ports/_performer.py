"""What a member has decided, carried out: stored, shown, published, sent, bound, connected, reported.

A term is stored before anything of it is said, and the status shows what the others are
going to hear.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from group_ports._actions import (
    BindAnswer,
    ConnectQuery,
    DisconnectQuery,
    Publish,
    Report,
    ToLeader,
    UnbindAnswer,
)
from group_ports._letters import Letter
from group_ports._status import GroupStatus, StatusBoard
from group_ports.errors import PortTimeout
from wireframe import group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from group_ports._actions import Action
    from group_ports._inbox import Inbox
    from group_ports._letters import Letters
    from group_ports._member import GroupMember
    from group_ports._member_ports import MemberPorts
    from group_ports._reception import Arrival
    from group_ports.leader_source import LeaderSource

_TAGS: Final[dict[type[object], bytes]] = {
    group.Tic: b"tic",
    group.Request: b"req",
    group.Ballot: b"vot",
    group.LeaderNote: b"ldr",
    group.Leave: b"mlt",
    group.RequestForVote: b"rcm",
    group.Announcement: b"ann",
}


class Performer:
    """Carries out the actions of a member.

    Parameters
    ----------
    member : GroupMember
    ports : MemberPorts
    inbox : Inbox
    letters : Letters
    letter_s : float
        Seconds that messages of the protocol may wait for the leader.
    store_term : callable or None
        Gets `GroupMember.last_term` whenever it is new, before anything is sent.
    source : LeaderSource or None
        Told where the member answers.

    Attributes
    ----------
    board : StatusBoard
    unsent : int
        Messages of the protocol for which there was no room.

    Notes
    -----
    For one thread, that of the ports.
    """

    def __init__(
        self,
        member: GroupMember,
        ports: MemberPorts,
        inbox: Inbox,
        letters: Letters,
        *,
        letter_s: float,
        store_term: Callable[[int], None] | None,
        source: LeaderSource | None,
    ) -> None:
        self._member = member
        self._ports = ports
        self._inbox = inbox
        self._letters = letters
        self._letter_s = letter_s
        self._store_term = store_term
        self._stored = member.last_term
        self._source = source
        #: It leads, and its answer port could not be bound yet.
        self._lacks_answer = False
        #: What a member asks at the moment, as it came.
        self._asked: Arrival | None = None
        self.unsent = 0
        self.board = StatusBoard(self._status())

    def do(self, actions: Iterable[Action], *, asked: Arrival | None = None) -> None:
        """Carry actions out, in their order.

        Parameters
        ----------
        actions : iterable of Action
        asked : Arrival, optional
            The message that they are the answer to, if a member asked.
        """
        self._asked = asked
        last_term = self._member.last_term
        if last_term != self._stored:
            if self._store_term is not None:
                self._store_term(last_term)
            self._stored = last_term
        self.board.show(self._status())
        waiting = deque(actions)
        while waiting:
            waiting.extendleft(reversed(self._do_one(waiting.popleft())))
        self._asked = None

    def _do_one(self, action: Action) -> list[Action]:
        match action:
            case Publish():
                self._publish(action)
                if isinstance(action.body, group.Tic):
                    return self._mend()
            case ToLeader():
                now = time.monotonic()
                tag = b"rfv" if isinstance(action.body, group.RequestForVote) else b"rtc"
                self._letters.post(Letter(tag, group.encode_body(action.body), now + self._letter_s), now)
            case ConnectQuery():
                self._letters.drop()
                self._ports.point_query(action.host, action.port)
            case DisconnectQuery():
                self._letters.drop()
                self._ports.point_query(None, None)
            case BindAnswer():
                return self._bind_answer()
            case UnbindAnswer():
                self._lacks_answer = False
                self._ports.close_answer()
            case Report():
                self._inbox.put(action.event)
        return []

    def _mend(self) -> list[Action]:
        """Open what could not be opened before, as with too many open files; at each heartbeat."""
        self._ports.point_query_again()
        self._ports.drop_unwanted()
        return self._bind_answer() if self._lacks_answer and self._member.is_leader else []

    def _bind_answer(self) -> list[Action]:
        place = self._ports.bind_answer()
        self._lacks_answer = place is None
        if place is None:
            return []
        if self._source is not None:
            self._source.answers_at(*place)
        return self._member.answer_bound(*place, time.monotonic())

    def _publish(self, action: Publish) -> None:
        body = action.body
        try:
            self._ports.publisher.sendGroup(_TAGS[type(body)], self._payload(body))
        except PortTimeout:
            # With back pressure: a subscriber is slow. The next heartbeat says the same.
            self.unsent += 1

    def _payload(self, body: group.Body) -> bytes:
        # A question goes on as it came, also with what a later version has put in.
        asked = self._asked
        if asked is not None and body is asked.body:
            return asked.payload
        return group.encode_body(body)

    def _status(self) -> GroupStatus:
        member = self._member
        return GroupStatus(member.leader_id, member.is_leader, member.term, member.member_ids, member.until)
