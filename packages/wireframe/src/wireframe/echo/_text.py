r"""One message: the text of a JSON value.

The bytes of `encode` are those of the standard JSON encoder with its defaults:
pure ASCII, a blank after each comma and colon, bare ``NaN`` and ``Infinity``.
Read is every spelling of the same value, also behind a UTF-8 byte order mark
and with white space around it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wireframe._json_text import place_in
from wireframe.echo._vocabulary import ExpMessage
from wireframe.errors import MAX_EXCERPT, BadPayload

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Digits of the longest integer to read: what the interpreter converts by
#: default. More would take it quadratic time.
MAX_DIGITS: Final = 4300
#: Lists and objects inside each other that `decode` accepts. Real messages need
#: five; a thousand would exhaust the interpreter's stack.
MAX_DEPTH: Final = 64


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits, the limit is {MAX_DIGITS}")
    return int(digits)


_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_ENCODER: Final = json.JSONEncoder()
_DECODER: Final = json.JSONDecoder()
#: For texts that are long enough to hold too long an integer, because it is slower.
_LONG_DECODER: Final = json.JSONDecoder(parse_int=_integer)
#: A string, also one without an end, or one bracket. Strings are matched so
#: that what they contain is never looked at twice.
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]', re.DOTALL)
_PING: Final = re.compile(rb"[ \t\r\n]*+\[[ \t\r\n]*+32[ \t\r\n]*+\][ \t\r\n]*+")


@dataclass(slots=True)
class EventMessage:
    """A message about an event.

    Attributes
    ----------
    event : ExpMessage
        A single event, or 0 for an error that the other end reports.
    arguments : list
        The other items, at least one: what callbacks get as data.
    """

    event: ExpMessage
    arguments: list[Any]


def encode(value: Any) -> bytes:
    r"""Return the bytes of a message.

    Parameters
    ----------
    value : bytes, bytearray, str or JSON value
        Bytes are the message itself, a str is its text; neither is quoted.
        All else becomes JSON: None, bool, int, float, list, tuple, dict, at any
        depth, and str inside of them. Enumerations of int become plain numbers.

    Returns
    -------
    bytes
        Without any delimiter.

    Raises
    ------
    TypeError
        `value` holds something JSON cannot carry.
    ValueError
        `value` contains itself, is nested too deeply, or is a str with half a
        surrogate pair.

    Notes
    -----
    Safe for use by several threads at once.

    Examples
    --------
    >>> encode((ExpMessage.EXPSTART, "2022-01-01_1_subject", None))
    b'[2, "2022-01-01_1_subject", null]'
    >>> encode(["\N{MICRO SIGN}m", True]), encode("raw text")
    (b'["\\u00b5m", true]', b'raw text')
    """
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    try:
        return _ENCODER.encode(value).encode("ascii")
    except RecursionError as error:
        raise ValueError("the value is nested too deeply for JSON") from error


def decode(data: Buffer, *, max_depth: int = MAX_DEPTH) -> Any:
    r"""Return the JSON value of a message.

    Parameters
    ----------
    data : bytes-like
        One message: UTF-8, perhaps behind a byte order mark.
    max_depth : int
        Lists and objects inside each other to accept.

    Raises
    ------
    BadPayload
        It is not UTF-8, not exactly one JSON value, nested deeper than
        `max_depth`, or holds an integer of more than 4300 digits.
    TypeError
        `data` is not bytes-like: a mistake of the caller, never of the peer.

    Notes
    -----
    Time and memory are linear in the length of `data`. Read as by the standard
    library: ``NaN``, ``Infinity``, ``1e999`` (infinity), escapes of lone
    surrogates, repeated keys (the last one counts).

    Safe for use by several threads at once.

    Examples
    --------
    >>> decode(b' [1,null] ')
    [1, None]
    >>> decode(b'[' * 30000)
    Traceback (most recent call last):
    ...
    wireframe.errors.BadPayload: lists and objects nested deeper than 64
    """
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise BadPayload(f"not UTF-8: {error}", _excerpt(data), at=error.start) from error
    mark = len(_BYTE_ORDER_MARK) if text.startswith("\ufeff") else 0
    text = text.removeprefix("\ufeff")
    # Mostly there are so few brackets that nothing needs to be looked at closer.
    if text.count("[") + text.count("{") > max_depth and _is_deeper(text, max_depth):
        raise BadPayload(f"lists and objects nested deeper than {max_depth}", _excerpt(data))
    try:
        return (_DECODER if len(text) <= MAX_DIGITS else _LONG_DECODER).decode(text)
    except (ValueError, RecursionError) as error:
        # RecursionError: the caller asked for more depth than the interpreter has.
        at = mark + place_in(text, error)
        raise BadPayload(f"not JSON: {error}"[:200], _excerpt(data), at=at) from error


def _excerpt(data: Buffer) -> bytes:
    return bytes(memoryview(data)[:MAX_EXCERPT])


def _is_deeper(text: str, limit: int) -> bool:
    """Whether brackets outside of strings are open at any place more than `limit` deep."""
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        one = found[0]
        if one in "[{":
            depth += 1
            if depth > limit:
                return True
        elif one in "]}":
            depth -= 1
    return False


def is_echoed(data: bytes) -> bool:
    """Whether a receiver has to send these bytes back: not when the second one is ``0``.

    Parameters
    ----------
    data : bytes
        One message, as it was received.

    Notes
    -----
    The rule is about the character alone, not about event 0: ``10`` is not
    echoed, ``[ 0, "text", 1]`` is. Both ends have to see it the same way.

    Examples
    --------
    >>> is_echoed(b'[1, null]'), is_echoed(b'[0, "ValueError: boom", 1]')
    (True, False)
    """
    return data[1:2] != b"0"


def is_ping(data: bytes) -> bool:
    """Whether this is ``[32]``, with any white space: a message without a meaning.

    Every receiver echoes it, and none has a callback for it, so it asks for a
    sign of life and nothing else.

    Parameters
    ----------
    data : bytes
        One message, as it was received.

    Examples
    --------
    >>> is_ping(b"[32]   "), is_ping(b"[32, 20]")
    (True, False)
    """
    return _PING.fullmatch(data) is not None


def decode_event(data: Buffer) -> EventMessage:
    """Return a message about an event.

    Parameters
    ----------
    data : bytes-like
        One message.

    Raises
    ------
    BadPayload
        `decode` cannot read it; it is not a list of two items or more; or the
        first one is no single event: anything false (0, null) means 0, true
        means 1, names are read as by `ExpMessage.validate`.
    TypeError
        `data` is not bytes-like.

    Notes
    -----
    Safe for use by several threads at once. A number that is no event leaves
    nothing behind.

    Examples
    --------
    >>> decode_event(b'[32, 20]')
    EventMessage(event=<ExpMessage.EXPSTATUS: 32>, arguments=[20])
    >>> decode_event(b'[0, "ValueError: boom", 1]').event
    <ExpMessage: 0>
    """
    value = decode(data)
    if not isinstance(value, list):
        raise BadPayload("Expected list of two items or more, got none", _excerpt(data))
    if len(value) < 2:
        raise BadPayload(f"Expected list of two items or more, got {len(value)}", _excerpt(data))
    first = value[0]
    if not first:
        return EventMessage(ExpMessage(0), value[1:])
    try:
        return EventMessage(ExpMessage.validate(first, allow_bitwise=False), value[1:])
    except (TypeError, ValueError) as error:
        raise BadPayload(f"not an event: {error}", _excerpt(data)) from error
