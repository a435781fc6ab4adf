"""Bodies to payloads, and back by the tag."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wireframe.errors import BadHeader, BadPayload, FrameError
from wireframe.group._bodies import (
    Announcement,
    Ballot,
    Body,
    LeaderNote,
    Leave,
    ReplyToCall,
    Request,
    RequestForVote,
    Tic,
    VoteMessage,
)
from wireframe.group._members import MEMBER_LENGTH, checked_member, octets_of, packed
from wireframe.group._votes import MAX_VOTE_SIZE, decode_vote, encode_vote

if TYPE_CHECKING:
    from collections.abc import Callable

#: Term, candidate.
_REQUEST: Final = struct.Struct(">I16s")
#: Term, candidate, vote, voter.
_BALLOT: Final = struct.Struct(">I16sI16s")
_VOTE_AT: Final = 20
#: Term, leader, host, port.
_LEADER: Final = struct.Struct(">I16s4sI")
_HOST_AT: Final = 20
_MAX_PORT: Final = 65535
#: From here on IPv4 addresses are multicast, reserved or broadcast.
_FIRST_MULTICAST: Final = 224


def decode_body(tag: bytes, payload: bytes, /, *, max_vote_size: int = MAX_VOTE_SIZE) -> Body:
    r"""Read the payload of a message.

    Parameters
    ----------
    tag : bytes
        The tag of the message.
    payload : bytes
        Its payload.
    max_vote_size : int
        Bytes of the longest vote message to accept.

    Returns
    -------
    Tic, Request, Ballot, LeaderNote, Leave, RequestForVote, ReplyToCall, Announcement or bytes
        By the tag; of ``msg``, ``mtl`` and ``mfl`` the payload itself.

    Raises
    ------
    BadHeader
        The tag is none of `PUBLISHED_TAGS`, `QUERY_TAGS` and `ANSWER_TAGS`.
    BadPayload
        The length, a vote, a port or a host is impossible, or the vote message
        is damaged or another than the tag says.
    FrameTooLarge, TruncatedFrame
        From `decode_vote`.

    Examples
    --------
    >>> decode_body(b"req", b"\x00\x00\x00\x07" + b"0123456789abcdef")
    Request(term=7, candidate=b'0123456789abcdef')
    """
    reader = _READERS.get(tag)
    if reader is not None:
        return reader(payload)
    kind = _VOTES.get(tag)
    if kind is None:
        raise BadHeader(f"there is no message with the tag {tag[:32]!r}", tag)
    vote = decode_vote(payload, max_size=max_vote_size)
    if type(vote) is not kind:
        raise BadPayload(f"a {kind.__name__} expected, got a {type(vote).__name__}", payload)
    return vote


def encode_body(body: Body) -> bytes:
    """Return the payload that says this.

    Parameters
    ----------
    body : Tic, Request, Ballot, LeaderNote, Leave, RequestForVote, ReplyToCall, Announcement or bytes
        What to say; the tag is sent beside it.

    Returns
    -------
    bytes
        The payload.

    Raises
    ------
    TypeError
        It is none of these, or a part of it is not of its type.
    ValueError
        A part of it does not fit the wire.

    Examples
    --------
    >>> encode_body(LeaderNote(7, b"0123456789abcdef", "127.0.0.1", 40123)).hex(" ", 4)
    '00000007 30313233 34353637 38396162 63646566 7f000001 00009cbb'
    """
    match body:
        case bytes():
            return body
        case Tic() | Leave():
            return checked_member(body.member)
        case Request():
            return packed(_REQUEST, body.term, checked_member(body.candidate))
        case Ballot():
            return packed(
                _BALLOT,
                body.term,
                checked_member(body.candidate),
                bool(body.vote),
                checked_member(body.voter),
            )
        case LeaderNote():
            return _leader_bytes(body)
        case _:
            return encode_vote(body)


def _tic(payload: bytes) -> Tic:
    if len(payload) != MEMBER_LENGTH:
        raise _wrong_length(b"tic", MEMBER_LENGTH, payload)
    return Tic(payload)


def _request(payload: bytes) -> Request:
    if len(payload) != _REQUEST.size:
        raise _wrong_length(b"req", _REQUEST.size, payload)
    return Request(*_REQUEST.unpack(payload))


def _ballot(payload: bytes) -> Ballot:
    if len(payload) != _BALLOT.size:
        raise _wrong_length(b"vot", _BALLOT.size, payload)
    term, candidate, vote, voter = _BALLOT.unpack(payload)
    if vote > 1:
        raise BadPayload(f"a vote is 0 or 1, not {vote}", payload, at=_VOTE_AT)
    return Ballot(term, candidate, vote == 1, voter)


def _leader(payload: bytes) -> LeaderNote:
    if len(payload) != _LEADER.size:
        raise _wrong_length(b"ldr", _LEADER.size, payload)
    term, leader, octets, port = _LEADER.unpack(payload)
    host = ".".join(map(str, octets))
    if not _is_endpoint(octets, port):
        raise BadPayload(f"nobody can be reached at {host}, port {port}", payload, at=_HOST_AT)
    return LeaderNote(term, leader, host, port)


def _leave(payload: bytes) -> Leave:
    if len(payload) != MEMBER_LENGTH:
        raise _wrong_length(b"mlt", MEMBER_LENGTH, payload)
    return Leave(payload)


def _application(payload: bytes) -> bytes:
    return payload


_READERS: Final[dict[bytes, Callable[[bytes], Body]]] = {
    b"tic": _tic,
    b"req": _request,
    b"vot": _ballot,
    b"ldr": _leader,
    b"mlt": _leave,
    b"msg": _application,
    b"mtl": _application,
    b"mfl": _application,
}
_VOTES: Final[dict[bytes, type[VoteMessage]]] = {
    b"rcm": RequestForVote,
    b"rfv": RequestForVote,
    b"rtc": ReplyToCall,
    b"ann": Announcement,
}


def _wrong_length(tag: bytes, size: int, payload: bytes) -> FrameError:
    return BadPayload(f"the payload of {tag.decode()} has {size} bytes, not {len(payload)}", payload)


def _is_endpoint(octets: bytes, port: int) -> bool:
    """Whether a peer can have this address, or says that it has none."""
    return port == 0 or (port <= _MAX_PORT and 0 < octets[0] < _FIRST_MULTICAST)


def _leader_bytes(note: LeaderNote) -> bytes:
    octets = octets_of(note.host)
    if not _is_endpoint(octets, note.port):
        raise ValueError(f"nobody can be reached at {note.host}, port {note.port}")
    return packed(_LEADER, note.term, checked_member(note.leader), octets, note.port)
