"""What the pure core asks its shell to do, and what it has to tell the user.

The core answers each call with a list of these, to be carried out in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from wireframe.group import (
        Announcement,
        Ballot,
        LeaderNote,
        Leave,
        ReplyToCall,
        Request,
        RequestForVote,
        Subject,
        Tic,
        Vote,
        Voting,
    )


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member was heard for the first time."""

    member_id: bytes


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member said goodbye, or was silent for longer than the peer timeout."""

    member_id: bytes


@dataclass(frozen=True, slots=True)
class LeaderElected:
    """There is a leader, perhaps this member; `term` is its fencing token."""

    leader_id: bytes
    term: int


@dataclass(frozen=True, slots=True)
class LeaderExited:
    """The leader is gone, silent, replaced, or has stepped down."""

    leader_id: bytes


@dataclass(frozen=True, slots=True)
class VoteRequested:
    """A poll is open: answer with `GroupMember.cast`.

    `release` is when the action is to be taken, seconds of the wall clock of
    the asker; None for a poll about a value.
    """

    rfv_id: str
    topic: bytes
    kind: Voting
    subject: Subject
    release: float | None


@dataclass(frozen=True, slots=True)
class VoteResult:
    """A poll is over."""

    rfv_id: str
    vote: Vote


Event: TypeAlias = MemberJoined | MemberLeft | LeaderElected | LeaderExited | VoteRequested | VoteResult


@dataclass(frozen=True, slots=True)
class Publish:
    """Send to all members; a `RequestForVote` goes out as ``rcm``."""

    body: Tic | Request | Ballot | LeaderNote | Leave | RequestForVote | Announcement


@dataclass(frozen=True, slots=True)
class ToLeader:
    """Send to the leader through the query port (``rfv`` or ``rtc``)."""

    body: RequestForVote | ReplyToCall


@dataclass(frozen=True, slots=True)
class ConnectQuery:
    """Point the query port to a leader, away from any other."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class DisconnectQuery:
    """Take the query port off its leader and drop what it has not sent."""


@dataclass(frozen=True, slots=True)
class BindAnswer:
    """Bind the answer port, then call `GroupMember.answer_bound` with its address."""


@dataclass(frozen=True, slots=True)
class UnbindAnswer:
    """Close the answer port: this member does not lead any more."""


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the user."""

    event: Event


Action: TypeAlias = Publish | ToLeader | ConnectQuery | DisconnectQuery | BindAnswer | UnbindAnswer | Report
