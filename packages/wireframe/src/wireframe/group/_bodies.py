"""What messages say: one class for each kind of payload."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

#: Tags that members publish to all members.
PUBLISHED_TAGS: Final = frozenset({b"tic", b"req", b"vot", b"ldr", b"mlt", b"msg", b"rcm", b"ann"})
#: Tags that a member sends to its leader.
QUERY_TAGS: Final = frozenset({b"mtl", b"rfv", b"rtc"})
#: Tags that the leader sends to one member.
ANSWER_TAGS: Final = frozenset({b"mfl"})


@dataclass(slots=True)
class Tic:
    """I am here (``tic``).

    Attributes
    ----------
    member : bytes
        Who, 16 bytes.
    """

    member: bytes


@dataclass(slots=True)
class Request:
    """Make me the leader (``req``).

    Attributes
    ----------
    term : int
        The election, unsigned 32-bit.
    candidate : bytes
        Who wants to lead, 16 bytes.
    """

    term: int
    candidate: bytes


@dataclass(slots=True)
class Ballot:
    """A vote in an election (``vot``).

    Attributes
    ----------
    term : int
        The election, unsigned 32-bit.
    candidate : bytes
        Who wants to lead, 16 bytes.
    vote : bool
        Whether the voter is for it.
    voter : bytes
        Who votes, 16 bytes.
    """

    term: int
    candidate: bytes
    vote: bool
    voter: bytes


@dataclass(slots=True)
class LeaderNote:
    """I lead, and there you find me (``ldr``).

    Attributes
    ----------
    term : int
        The election that made it leader, unsigned 32-bit.
    leader : bytes
        Who leads, 16 bytes.
    host : str
        IPv4 address of its socket for queries. With a port it is one that a
        peer can have: neither 0.x.x.x nor 224.0.0.0 and above.
    port : int
        Port of that socket, 0 if it has none.
    """

    term: int
    leader: bytes
    host: str
    port: int


@dataclass(slots=True)
class Leave:
    """I leave (``mlt``).

    Attributes
    ----------
    member : bytes
        Who, 16 bytes.
    """

    member: bytes


class Vote(IntEnum):
    """How a member or a group decides."""

    YES = 0
    NO = 1
    #: No decision in time: in results, not in ballots.
    TIMEOUT = 2


class Voting(IntEnum):
    """How many must agree."""

    MAJORITY = 0
    CONSENSUS = 1


class Subject(IntEnum):
    """What is voted on."""

    VALUE = 0
    #: Something to be done at a given time.
    ACTION = 1


@dataclass(slots=True)
class RequestForVote:
    """A poll: the wish of a member for one (``rfv``), or its opening by the leader (``rcm``).

    Attributes
    ----------
    rfv_id : str
        Names the poll; at most 256 bytes of UTF-8. The original draws 8 of A-Z and 0-9.
    topic : bytes
        What is voted on, of the application.
    kind : Voting
        How many must agree.
    subject : Subject
        A value or an action.
    release : float
        When to act: seconds since 1970 of the asking member's wall clock; 0.0
        for values.
    started : float
        When it was asked for: seconds since 1970 of the same clock.
    timeout : float
        How long to wait for ballots: seconds, 0.0 for the group's default. The
        peer's word: it may be negative or huge.
    """

    rfv_id: str
    topic: bytes
    kind: Voting = Voting.MAJORITY
    subject: Subject = Subject.VALUE
    release: float = 0.0
    started: float = 0.0
    timeout: float = 0.0


@dataclass(slots=True)
class ReplyToCall:
    """A ballot (``rtc``).

    Attributes
    ----------
    rfv_id : str
        The poll.
    vote : Vote
        The wire can also say ``Vote.TIMEOUT``, which is no ballot; that is for
        the reader to judge.
    """

    rfv_id: str
    vote: Vote


@dataclass(slots=True)
class Announcement:
    """The result of a poll (``ann``).

    Attributes
    ----------
    rfv_id : str
        The poll.
    vote : Vote
        What was decided.
    """

    rfv_id: str
    vote: Vote


#: What a vote message may be.
VoteMessage: TypeAlias = RequestForVote | ReplyToCall | Announcement

#: What a payload may say; messages of the application are their bytes.
Body: TypeAlias = Tic | Request | Ballot | LeaderNote | Leave | VoteMessage | bytes
