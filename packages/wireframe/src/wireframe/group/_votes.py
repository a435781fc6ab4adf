"""Vote messages: the poll, the ballot, the result.

They are Cap'n Proto messages of the schema with the id f99c15c18d87043c. The
root is a union in one data word, u16 at 0, and one pointer:

==== ================= ============================== ========================
arm  body              data                           pointers
==== ================= ============================== ========================
0    `RequestForVote`  u16 kind, u16 subject at 2,    topic (bytes),
                       float64 release at 8, started  id (text)
                       at 16, timeout at 24
1    `ReplyToCall`     u16 vote                       id (text)
2    `Announcement`    u16 vote                       id (text)
==== ================= ============================== ========================

Text is UTF-8 and a NUL, which counts. The original writes root, arm, topic and
id behind each other into a first segment of 1024 words; what does not fit goes
into a second one, behind a landing pad.
"""

from __future__ import annotations

import struct
from math import isfinite
from typing import TYPE_CHECKING, Final, TypeVar

from wireframe.errors import BadPayload, FrameTooLarge
from wireframe.group._bodies import (
    Announcement,
    ReplyToCall,
    RequestForVote,
    Subject,
    Vote,
    VoteMessage,
    Voting,
)
from wireframe.group._capnproto import (
    WORD,
    Message,
    Struct,
    bytes_pointer,
    far_pointer,
    joined,
    padded,
    struct_pointer,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Bytes of the longest vote message that is accepted unless told otherwise.
MAX_VOTE_SIZE: Final = 8 << 20
#: Bytes of the longest id of a poll, in UTF-8; the original's have 8. Polls are
#: kept by their ids, so these must not be a way to fill memory.
MAX_RFV_ID: Final = 256

#: Bytes of the first segment, as the original allocates it.
_FIRST_SEGMENT: Final = 1024 * WORD
_REQUEST_ARM: Final = 0
_REPLY_ARM: Final = 1
_ANNOUNCEMENT_ARM: Final = 2
#: Kind, subject, release, started, timeout.
_REQUEST_DATA: Final = struct.Struct("<HH4xddd")
#: Arm or vote, in a word.
_SMALL_DATA: Final = struct.Struct("<H6x")
_MAX_ELEMENTS: Final = (1 << 29) - 1

_Choice = TypeVar("_Choice", Vote, Voting, Subject)


def decode_vote(data: bytes, /, *, max_size: int = MAX_VOTE_SIZE) -> VoteMessage:
    """Read a vote message.

    Parameters
    ----------
    data : bytes
        The whole payload.
    max_size : int
        Bytes of the longest message to accept.

    Returns
    -------
    RequestForVote, ReplyToCall or Announcement
        Parts that the peer left out are empty or zero, as the schema wants it.
        Memory for it is at most that of `data`.

    Raises
    ------
    BadPayload
        It is not a Cap'n Proto message of this schema, a text is not UTF-8, or a
        number is not finite.
    FrameTooLarge
        It is longer than `max_size`, has more than 64 segments, or the id is
        longer than `MAX_RFV_ID`.
    TruncatedFrame
        It ends too early.

    Notes
    -----
    No other error comes from any bytes.
    """
    if len(data) > max_size:
        raise FrameTooLarge("vote message", len(data), max_size, data)
    root = Message(data).root()
    number = root.u16(0)
    if number == _REQUEST_ARM:
        return _request_in(root.struct(0), data)
    if number == _REPLY_ARM:
        arm = root.struct(0)
        return ReplyToCall(_rfv_id_in(arm, 0, data), _choice(Vote, arm.u16(0), data))
    if number == _ANNOUNCEMENT_ARM:
        arm = root.struct(0)
        return Announcement(_rfv_id_in(arm, 0, data), _choice(Vote, arm.u16(0), data))
    raise BadPayload(f"there is no vote message of kind {number}", data)


def _request_in(arm: Struct, data: bytes) -> RequestForVote:
    release, started, timeout = arm.f64(8), arm.f64(16), arm.f64(24)
    if not (isfinite(release) and isfinite(started) and isfinite(timeout)):
        raise BadPayload(f"times are finite, not {release}, {started}, {timeout}", data)
    return RequestForVote(
        rfv_id=_rfv_id_in(arm, 1, data),
        topic=arm.bytes(0) or b"",
        kind=_choice(Voting, arm.u16(0), data),
        subject=_choice(Subject, arm.u16(2), data),
        release=release,
        started=started,
        timeout=timeout,
    )


def _choice(kind: type[_Choice], number: int, data: bytes) -> _Choice:
    try:
        return kind(number)
    except ValueError as error:
        raise BadPayload(f"{number} is not a {kind.__name__}", data) from error


def _rfv_id_in(arm: Struct, index: int, data: bytes) -> str:
    text = arm.bytes(index)
    if text is None:
        return ""
    if not text.endswith(b"\0"):
        raise BadPayload("the id of a poll does not end with a NUL", data)
    if len(text) - 1 > MAX_RFV_ID:
        raise FrameTooLarge("poll id", len(text) - 1, MAX_RFV_ID, data)
    try:
        return text[:-1].decode()
    except UnicodeDecodeError as error:
        raise BadPayload(f"the id of a poll is not UTF-8: {error}", data) from error


def encode_vote(message: VoteMessage) -> bytes:
    """Return the payload of a vote message, the same bytes as the original's.

    Parameters
    ----------
    message : RequestForVote, ReplyToCall or Announcement
        The message. A topic may be any bytes-like object.

    Returns
    -------
    bytes
        A row of 8-byte words.

    Raises
    ------
    TypeError
        It is none of these, or a part of it is not of its type.
    ValueError
        A time is not finite, a number is no choice, the id is longer than
        `MAX_RFV_ID` or not text that UTF-8 can say, or the topic has 2^29 bytes
        or more.

    Examples
    --------
    >>> payload = encode_vote(ReplyToCall("ABCD1234", Vote.NO))
    >>> len(payload), decode_vote(payload)
    (64, ReplyToCall(rfv_id='ABCD1234', vote=<Vote.NO: 1>))
    """
    if isinstance(message, RequestForVote):
        return _request_bytes(message)
    if isinstance(message, ReplyToCall):
        number = _REPLY_ARM
    elif isinstance(message, Announcement):
        number = _ANNOUNCEMENT_ARM
    else:
        raise TypeError(f"not a vote message: {type(message).__name__}")
    text = _text_bytes(message.rfv_id)
    return joined([
        _head(number, 1, 1)
        + _SMALL_DATA.pack(Vote(message.vote))
        + bytes_pointer(0, len(text))
        + padded(text)
    ])  # fmt: skip


def _request_bytes(message: RequestForVote) -> bytes:
    release, started, timeout = message.release, message.started, message.timeout
    if not (isfinite(release) and isfinite(started) and isfinite(timeout)):
        raise ValueError(f"times are finite, not {release}, {started}, {timeout}")
    text, topic = _text_bytes(message.rfv_id), _topic_bytes(message.topic)
    head = _head(_REQUEST_ARM, 4, 2) + _REQUEST_DATA.pack(
        Voting(message.kind), Subject(message.subject), release, started, timeout
    )
    room = _FIRST_SEGMENT - len(head) - 2 * WORD
    words, text_words = padded(topic), padded(text)
    if len(words) + len(text_words) <= room:
        topic_pointer = bytes_pointer(1, len(topic))
        text_pointer = bytes_pointer(len(words) // WORD, len(text))
        return joined([head + topic_pointer + text_pointer + words + text_words])
    if len(words) <= room:
        first = head + bytes_pointer(1, len(topic)) + far_pointer(1) + words
        return joined([first, bytes_pointer(0, len(text)) + text_words])
    first = head + far_pointer(1) + bytes_pointer(0, len(text)) + text_words
    return joined([first, bytes_pointer(0, len(topic)) + words])


def _head(number: int, data_words: int, pointers: int) -> bytes:
    """Return the root pointer, the root, and the pointer to its arm, which comes next."""
    return struct_pointer(0, 1, 1) + _SMALL_DATA.pack(number) + struct_pointer(0, data_words, pointers)


def _text_bytes(rfv_id: str) -> bytes:
    if not isinstance(rfv_id, str):
        raise TypeError(f"the id of a poll is a str, not {type(rfv_id).__name__}")
    text = rfv_id.encode()
    if len(text) > MAX_RFV_ID:
        raise ValueError(f"the id of a poll has {len(text)} bytes, the limit is {MAX_RFV_ID}")
    return text + b"\0"


def _topic_bytes(topic: Buffer) -> bytes:
    octets = topic if isinstance(topic, bytes) else memoryview(topic).tobytes()
    if len(octets) > _MAX_ELEMENTS:
        raise ValueError(f"the topic has {len(octets)} bytes, the limit is {_MAX_ELEMENTS}")
    return octets
