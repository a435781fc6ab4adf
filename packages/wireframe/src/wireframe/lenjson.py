"""One JSON value behind its length in ten decimal digits.

====== ==================================================================
bytes  content
====== ==================================================================
0-9    length of the body: ten ASCII digits, padded with zeros on the left
10-    body: one JSON value, UTF-8
====== ==================================================================

There is no magic, no type, no number and no trailer: ``0000000004"OK"``.

The bytes of `encode` are those of the original sender (optbayesexpt 1.2.0):
the standard JSON encoder with its defaults, so pure ASCII, with a blank after
each comma and colon and with bare ``NaN`` and ``Infinity`` tokens. `Decoder`
reads every body that the original receiver reads. It is stricter about the
header: the original also takes signs, blanks and underscores among the digits,
which no known sender writes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder
from wireframe._json_text import place_in
from wireframe.errors import MAX_EXCERPT, BadHeader, BadPayload, FrameTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HEADER_LENGTH", "MAX_LENGTH", "MAX_SIZE", "NEED_DATA", "Decoder", "encode"]

#: Bytes of the header.
HEADER_LENGTH: Final = 10
#: Bytes. The longest body ten digits can announce.
MAX_LENGTH: Final = 9_999_999_999
#: Bytes. What a decoder accepts unless told otherwise: about ten million
#: numbers, far above any command or result seen, far below a machine's memory.
MAX_SIZE: Final = 256 << 20
#: Bytes of a body up to which it does not matter that it is copied once more.
_QUICK_SIZE: Final = 4096


def _plain(value: Any) -> Any:
    """Turn an array or scalar of numpy, or of a library alike, into plain Python.

    Such objects are known by having both `dtype` and `tolist`; so numpy need
    not be there, and a memoryview or array.array stays refused like bytes.
    Refused is also what `tolist` would change silently: some times become bare
    numbers, depending on their unit, and masked entries become None.
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        if _holds_times(value.dtype):
            raise TypeError(f"times of type {value.dtype} have no JSON form, convert them to numbers or text")
        # Elsewhere `mask` may be a method.
        is_any_masked = getattr(getattr(value, "mask", None), "any", None)
        if is_any_masked is not None and is_any_masked():
            raise TypeError("masked entries have no JSON form, fill them first")
        plain = value.tolist()
        # Extended precision answers with itself: it has no plain equivalent.
        if type(plain) is not type(value):
            return plain
    raise TypeError(f"an object of type {type(value).__name__} has no JSON form")


def _holds_times(dtype: Any) -> bool:
    """Whether an array of this type, or a field of it, holds points in time or spans of it."""
    fields = getattr(dtype, "fields", None) or {}
    return getattr(dtype, "kind", "") in ("M", "m") or any(
        _holds_times(field[0].base) for field in fields.values()
    )


_ENCODER: Final = json.JSONEncoder(default=_plain)


def encode(value: Any, *, dumps: Callable[[Any], str | bytes] | None = None) -> bytes:
    r"""Return the frame that carries `value`.

    Parameters
    ----------
    value : JSON value
        None, bool, int, float, str, list, tuple, dict, and arrays and scalars
        that have `dtype` and `tolist` as numpy's do, at any depth. An array
        becomes nested lists; float32 values are widened exactly. Times
        (datetime64, timedelta64) and masked entries are refused. Keys of a
        dict must be str, int, float, bool or None; numpy integers are refused
        as keys.
    dumps : callable, optional
        ``dumps(value) -> str or bytes`` replaces the standard encoder. It
        decides what it accepts and which bytes it writes; mind that several
        fast encoders write ``null`` for NaN and infinities, which changes the
        data silently.

    Returns
    -------
    bytes
        Ten digits and the body.

    Raises
    ------
    TypeError
        `value` holds something JSON cannot carry.
    ValueError
        `value` contains itself, is nested too deeply, or needs more bytes than
        ten digits can announce.

    Notes
    -----
    Safe for use by several threads at once.

    Examples
    --------
    >>> encode({"command": "newdat", "x": (2.5,), "y": 1.25})
    b'0000000044{"command": "newdat", "x": [2.5], "y": 1.25}'
    >>> encode("\N{MICRO SIGN}m")
    b'0000000009"\\u00b5m"'
    """
    try:
        text = _ENCODER.encode(value) if dumps is None else dumps(value)
    except RecursionError as error:
        raise ValueError("the value is nested too deeply for JSON") from error
    if isinstance(text, str):
        body = text.encode()
    elif isinstance(text, bytes):
        body = text
    else:
        raise TypeError(f"dumps returned {type(text).__name__}, neither str nor bytes")
    length = len(body)
    if length > MAX_LENGTH:
        raise ValueError(f"a body of {length} bytes does not fit ten digits, the limit is {MAX_LENGTH}")
    return b"".join((b"%010d" % length, body))


class Decoder(StreamDecoder[Any]):
    r"""Bytes in, JSON values out; one per connection and direction.

    Parameters
    ----------
    max_size : int
        Bytes of the largest body to accept, 256 MiB unless told otherwise. It
        is compared with the ten digits alone; nothing is ever allocated
        because a peer announced it.
    loads : callable, optional
        ``loads(text) -> value`` replaces the standard JSON reader. It gets the
        body as str; whatever it raises becomes a `BadPayload`.

    Notes
    -----
    `next_event` returns the value itself, or `NEED_DATA`; None is a value. It
    raises

    * `BadHeader`: the first ten bytes are not ten ASCII digits;
    * `FrameTooLarge`: they announce more than `max_size`;
    * `BadPayload`: the body is empty, is not UTF-8, starts with a byte order
      mark, is not exactly one JSON value, is nested deeper than the interpreter
      can follow, or holds an integer longer than the interpreter converts
      (4300 digits);
    * `TruncatedFrame`: the stream ended inside a frame.

    Read as by the standard library: white space around the value, ``NaN``,
    ``Infinity``, ``1e999`` (infinity), escapes of lone surrogates, repeated
    keys (the last one counts), integers of any size up to the limit above.

    Memory: what arrived of the frame, then its text and value. Time is linear
    in the bytes, however they are cut.

    Examples
    --------
    >>> decoder = Decoder()
    >>> decoder.feed(b'0000000004"OK"00000')
    >>> decoder.next_event()
    'OK'
    >>> decoder.next_event(), decoder.needed
    (NEED_DATA, 5)
    """

    __slots__ = ("_loads", "_max_size", "_quick_size")

    def __init__(self, max_size: int = MAX_SIZE, *, loads: Callable[[str], Any] | None = None) -> None:
        super().__init__(HEADER_LENGTH)
        self._max_size = max_size
        self._quick_size = min(max_size, _QUICK_SIZE)
        self._loads = json.loads if loads is None else loads

    def next_event(self) -> Any | Literal[NeedData.NEED_DATA]:
        """Return the next value, or `NEED_DATA`; see `StreamDecoder.next_event`.

        Raises
        ------
        FrameError
            The peer sent something illegal, see the notes of this class.
        """
        # Most frames are short and here as a whole: these take a quarter of the time so (0.4 microseconds
        # with 48 bytes). All others, and all errors, are for `_parse`.
        buffer = self._buffer
        data = buffer.data
        if type(data) is bytes:
            begin = buffer.start + HEADER_LENGTH
            header = data[buffer.start : begin]
            if len(header) == HEADER_LENGTH and header.isdigit():
                end = begin + int(header)
                if end <= len(data) and end - begin <= self._quick_size:
                    try:
                        value = self._loads(data[begin:end].decode())
                    except Exception:  # noqa: BLE001 - whatever it is, it is raised once more, and told there
                        return super().next_event()
                    if end == len(data):
                        buffer.data, buffer.start = b"", 0
                    else:
                        buffer.start = end
                    self._needed = HEADER_LENGTH
                    return value
        return super().next_event()

    def _parse(self) -> Any | Literal[NeedData.NEED_DATA]:
        buffer = self._buffer
        if self._needed == HEADER_LENGTH:
            header = buffer.peek(HEADER_LENGTH)
            if not header.isdigit():
                at = next(place for place, byte in enumerate(header) if not 48 <= byte <= 57)
                raise BadHeader(f"ten digits expected, got {header!r}", header, at=at)
            length = int(header)
            if length > self._max_size:
                raise FrameTooLarge("body length", length, self._max_size, header)
            self._needed = HEADER_LENGTH + length
            if len(buffer) < self._needed:
                return NEED_DATA
        begin = buffer.start + HEADER_LENGTH
        end = buffer.start + self._needed
        # Text, not bytes: the standard reader would guess the encoding of
        # bytes. Made in place and before the buffer lets go, so that body,
        # text and value never stand in memory all three.
        with memoryview(buffer.data) as whole, whole[begin:end] as body:
            excerpt = bytes(body[:MAX_EXCERPT])
            try:
                text = str(body, "utf-8")
            except UnicodeDecodeError as error:
                at = HEADER_LENGTH + error.start
                raise BadPayload(f"the body is not UTF-8: {error}", excerpt, at=at) from error
        buffer.skip(self._needed)
        buffer.take(0)  # a rest behind a long frame becomes cheap bytes again
        self._needed = HEADER_LENGTH
        try:
            return self._loads(text)
        except Exception as error:
            # ValueError and RecursionError from the standard reader; a reader
            # that was plugged in may have exceptions of its own, and what made
            # it raise is what the peer sent.
            at = HEADER_LENGTH + place_in(text, error)
            raise BadPayload(f"the body is not JSON: {_brief(error)}", excerpt, at=at) from error


def _brief(error: Exception) -> str:
    """Name an error in one line; readers may quote the whole text."""
    return f"{type(error).__name__}: {error}"[:200]
