r"""Numbers that old peers cannot see, in the white space behind a message.

JSON ignores white space behind a value, and every peer echoes the bytes it got
exactly. So a message may carry a tag: 96 characters, a blank for 0 and a tab
for 1, the most significant bit first:

===== ======================================================================
bits  content
===== ======================================================================
8     ``a5``, the mark of a number
32    session: at random, not 0, one for each communicator
32    number of the message, from 1, consecutive for each destination
16    distance: the number minus the floor
8     check: CRC-8 (polynomial 0x07, from 0) of the 88 bits before
===== ======================================================================

The floor is the oldest number that its sender still wants delivered: all below
are confirmed or given up, so nobody needs to wait for them. After number
2^32 - 1 a sender takes a new session. Only messages that are JSON lists are
numbered, never raw text or bytes.

A ping ``[32]`` may carry a note about the clock between its list and the tag,
which both ends send only when they know that the other end reads numbers:

======== ============================================ ==============================
note     bits
======== ============================================ ==============================
request  8: ``a6``, 64: time of transmission, 8: check  80 characters
answer   8: ``a7``, 64: time of transmission of the     208 characters
         request, 64: time of its reception, 64: time
         of transmission of the answer, 8: check
======== ============================================ ==============================

Times are nanoseconds of the clock of the end that took them, unsigned. The
check is the same CRC-8 of all bits of the note before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

#: Characters of the tag at the end of a numbered message.
TAG_LENGTH: Final = 96
#: The last number of a session.
MAX_NUMBER: Final = 2**32 - 1
#: The farthest that a number may be from its floor.
MAX_DISTANCE: Final = 2**16 - 1

_NUMBER: Final = struct.Struct(">BIIH")
_REQUEST: Final = struct.Struct(">BQ")
_ANSWER: Final = struct.Struct(">BQQQ")
_NUMBER_KIND: Final = 0xA5
_REQUEST_KIND: Final = 0xA6
_ANSWER_KIND: Final = 0xA7
_NUMBER_MARK: Final = b"\t \t  \t \t"
_PING: Final = b"[32]"
_REQUEST_SIZE: Final = len(_PING) + 8 * (_REQUEST.size + 1) + TAG_LENGTH
_ANSWER_SIZE: Final = len(_PING) + 8 * (_ANSWER.size + 1) + TAG_LENGTH

_TO_BLANKS: Final = str.maketrans("01", " \t")
#: All but blank and tab becomes what int() refuses; it takes more than zeros and ones.
_TO_DIGITS: Final = bytes({0x20: 0x30, 0x09: 0x31}.get(octet, 0x78) for octet in range(256))


def _remainder(octet: int) -> int:
    for _ in range(8):
        octet = octet << 1 ^ (0x107 if octet & 0x80 else 0)
    return octet


_REMAINDERS: Final = bytes(_remainder(octet) for octet in range(256))


def _check(octets: bytes) -> int:
    """CRC-8. Behind its own check the result is 0."""
    remainders, check = _REMAINDERS, 0
    for octet in octets:
        check = remainders[check ^ octet]
    return check


def _blanks(octets: bytes) -> bytes:
    """Return octets and their check as blanks and tabs."""
    size = len(octets) + 1
    number = int.from_bytes(octets, "big") << 8 | _check(octets)
    return format(number, f"0{8 * size}b").translate(_TO_BLANKS).encode("ascii")


def _octets(run: bytes) -> bytes | None:
    """Return what `_blanks` was given; None if it cannot have been this."""
    try:
        bits = int(run.translate(_TO_DIGITS), 2)
    except ValueError:
        return None
    octets = bits.to_bytes(len(run) // 8, "big")
    return None if _check(octets) else octets[:-1]


@dataclass(slots=True)
class Number:
    """The number of a message.

    Attributes
    ----------
    session : int
        Whose numbers these are, 1 to 2^32 - 1.
    number : int
        From 1 to 2^32 - 1.
    floor : int
        The oldest number still wanted, from 1 to `number`, at most 65535 below it.
    """

    session: int
    number: int
    floor: int


@dataclass(slots=True)
class ClockRequest:
    """A question for the other end's clock.

    Attributes
    ----------
    transmit_ns : int
        When it was sent, nanoseconds of the asking end's clock, unsigned 64-bit.
    """

    transmit_ns: int


@dataclass(slots=True)
class ClockAnswer:
    """The answer to a `ClockRequest`.

    Attributes
    ----------
    asked_ns : int
        `transmit_ns` of the request, nanoseconds of the asking end's clock.
    receive_ns : int
        When the request came, nanoseconds of the answering end's clock.
    transmit_ns : int
        When this answer was sent, nanoseconds of the answering end's clock.
    """

    asked_ns: int
    receive_ns: int
    transmit_ns: int


def add_number(message: bytes, number: Number) -> bytes:
    """Return a message with a number behind it.

    Parameters
    ----------
    message : bytes
        The text of a JSON list, without a number.
    number : Number
        The number.

    Returns
    -------
    bytes
        96 more than before.

    Raises
    ------
    ValueError
        A part of the number does not fit its bits, or the floor is not from 1
        to the number.

    Notes
    -----
    Safe for use by several threads at once.

    Examples
    --------
    >>> numbered = add_number(b"[1, null]", Number(0xC0FFEE, 7, 5))
    >>> len(numbered), read_number(numbered)
    (105, Number(session=12648430, number=7, floor=5))
    """
    session, count, floor = number.session, number.number, number.floor
    if not (0 < session <= MAX_NUMBER and 0 < floor <= count <= MAX_NUMBER and count - floor <= MAX_DISTANCE):
        raise ValueError(f"not the number of a message: {number!r}")
    octets = _NUMBER.pack(_NUMBER_KIND, session, count, count - floor)
    bits = int.from_bytes(octets, "big") << 8 | _check(octets)
    # `_blanks` for a known size, because this runs for every message.
    return message + format(bits, "096b").translate(_TO_BLANKS).encode("ascii")


def read_number(data: bytes) -> Number | None:
    """Return the number behind a message.

    Parameters
    ----------
    data : bytes
        A message as it was received. Only its last 96 bytes are looked at.

    Returns
    -------
    Number or None
        None if there is none; white space with a wrong check is just that.

    Notes
    -----
    Never raises for what the peer sent. Safe for use by several threads at once.

    Examples
    --------
    >>> read_number(b"[1, null]") is None
    True
    """
    tag = data[-TAG_LENGTH:]
    if not tag.startswith(_NUMBER_MARK) or len(tag) != TAG_LENGTH:
        return None
    octets = _octets(tag)
    if octets is None:
        return None
    _, session, count, distance = _NUMBER.unpack(octets)
    if not session or distance >= count:
        return None
    return Number(session, count, count - distance)


def add_clock_request(message: bytes, request: ClockRequest) -> bytes:
    """Return a ping with a question for the clock behind it; its number comes last.

    Parameters
    ----------
    message : bytes
        ``[32]``.
    request : ClockRequest
        The question.

    Raises
    ------
    ValueError
        `message` is another one, or the time does not fit 64 bits.

    Examples
    --------
    >>> question = add_clock_request(b"[32]", ClockRequest(1_764_000_000_000_000_000))
    >>> read_clock_note(add_number(question, Number(0xC0FFEE, 1, 1)))
    ClockRequest(transmit_ns=1764000000000000000)
    """
    return _with_note(message, _REQUEST, _REQUEST_KIND, request.transmit_ns)


def add_clock_answer(message: bytes, answer: ClockAnswer) -> bytes:
    """Return a ping with an answer about the clock behind it; its number comes last.

    Parameters
    ----------
    message : bytes
        ``[32]``.
    answer : ClockAnswer
        The answer.

    Raises
    ------
    ValueError
        `message` is another one, or a time does not fit 64 bits.
    """
    return _with_note(message, _ANSWER, _ANSWER_KIND, answer.asked_ns, answer.receive_ns, answer.transmit_ns)


def _with_note(message: bytes, layout: struct.Struct, kind: int, *times_ns: int) -> bytes:
    if message != _PING:
        raise ValueError(f"a note about the clock goes behind {_PING!r}, not {message[:32]!r}")
    try:
        return message + _blanks(layout.pack(kind, *times_ns))
    except struct.error as error:
        raise ValueError(f"times are unsigned 64-bit integers, not {times_ns!r}") from error


def read_clock_note(data: bytes) -> ClockRequest | ClockAnswer | None:
    """Return what a numbered ping says about the clock.

    Parameters
    ----------
    data : bytes
        A message as it was received.

    Returns
    -------
    ClockRequest, ClockAnswer or None
        None if this is no such ping, or if a check is wrong.

    Notes
    -----
    Never raises for what the peer sent. Safe for use by several threads at once.
    """
    size = len(data)
    if size not in (_REQUEST_SIZE, _ANSWER_SIZE) or not data.startswith(_PING) or read_number(data) is None:
        return None
    octets = _octets(data[len(_PING) : -TAG_LENGTH])
    if octets is None:
        return None
    if size == _REQUEST_SIZE:
        kind, transmit_ns = _REQUEST.unpack(octets)
        return ClockRequest(transmit_ns) if kind == _REQUEST_KIND else None
    kind, asked_ns, receive_ns, transmit_ns = _ANSWER.unpack(octets)
    return ClockAnswer(asked_ns, receive_ns, transmit_ns) if kind == _ANSWER_KIND else None
