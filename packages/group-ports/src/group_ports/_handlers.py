"""From events to the handlers of a component, by the names of the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from group_ports._actions import (
    LeaderElected,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    VoteRequested,
    VoteResult,
)
from group_ports._events import Message, MessageFailed, MessageKind

if TYPE_CHECKING:
    from group_ports._actions import Event
    from group_ports._events import GroupEvent

_OF_MESSAGE = {
    MessageKind.GROUP: "handleGroupMessage",
    MessageKind.TO_LEADER: "handleMessageToLeader",
    MessageKind.FROM_LEADER: "handleMessageFromLeader",
}


def call_handler(component: object, group: object, event: GroupEvent) -> None:
    """Call the handler for an event, if the component has one; what it raises is the caller's.

    Parameters
    ----------
    component : object
        Offers any of the handlers below.
    group : Group
        First argument of each.
    event : GroupEvent

    Notes
    -----
    ========================= ==================
    handler                   further arguments
    ========================= ==================
    handleGroupMessage
    handleMessageToLeader
    handleMessageFromLeader
    handleMemberJoined        memberId
    handleMemberLeft          memberId
    handleLeaderElected       leaderId
    handleLeaderExited        leaderId
    handleVoteRequest         rfvId
    handleActionVoteRequest   rfvId, when
    handleVoteResult          rfvId, vote
    ========================= ==================

    The first three read the message with ``group.recv()``, those of vote requests
    the topic. ``vote`` is a `wireframe.group.Vote`, ``when`` in seconds since 1970.
    """
    if isinstance(event, MessageFailed):
        return
    name, arguments = _call_of(event)
    handler = getattr(component, name, None)
    if handler is not None:
        handler(group, *arguments)


def _call_of(event: Message | Event) -> tuple[str, tuple[Any, ...]]:
    match event:
        case Message():
            return _OF_MESSAGE[event.kind], ()
        case MemberJoined():
            return "handleMemberJoined", (event.member_id,)
        case MemberLeft():
            return "handleMemberLeft", (event.member_id,)
        case LeaderElected():
            return "handleLeaderElected", (event.leader_id,)
        case LeaderExited():
            return "handleLeaderExited", (event.leader_id,)
        case VoteRequested(release=None):
            return "handleVoteRequest", (event.rfv_id,)
        case VoteRequested():
            return "handleActionVoteRequest", (event.rfv_id, event.release)
        case VoteResult():
            return "handleVoteResult", (event.rfv_id, event.vote)
