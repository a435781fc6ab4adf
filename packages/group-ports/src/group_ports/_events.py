"""What a group tells its user: messages, and what happened to the group."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from group_ports._actions import Event


class MessageKind(Enum):
    """Which way a message took."""

    GROUP = "msg"
    TO_LEADER = "mtl"
    FROM_LEADER = "mfl"


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes from another member, or from oneself.

    Attributes
    ----------
    kind : MessageKind
        To the group, to the leader, or from the leader to this member.
    data : bytes
    sender : bytes or None
        To a leader: who may be answered (`Group.sendToMember`), empty for the leader
        itself. To the group: the publisher, if it numbers its messages.
    stamp : float or None
        When it was sent, in seconds since 1970 of the sender's wall clock.
    """

    kind: MessageKind
    data: bytes
    sender: bytes | None = None
    stamp: float | None = None


@dataclass(frozen=True, slots=True)
class MessageFailed:
    """A message could not be handled, by a fault of this package; the member goes on."""

    error: str


GroupEvent: TypeAlias = Message | Event | MessageFailed
