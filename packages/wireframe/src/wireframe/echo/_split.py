r"""The messages in a stream that has no frames.

Over TCP messages follow each other without any delimiter, and a read may hold
several of them or a part of one. A message ends where its JSON value ends:

=============================  =============================================
it begins with                 it ends
=============================  =============================================
``[`` or ``{``                 where as many brackets are closed as opened,
                               those in strings not counted
``"``                          at the next quote that is not escaped
anything else (a number, a     before white space, an opening bracket or a
word, text that is not JSON)   quote; until one comes it waits for `flush`
=============================  =============================================

White space in front of a value belongs to its message, and so does all white
space behind it that is here by then, where numbers are told. What comes later
is a filler, an event of nothing but white space, so that it can be echoed at
once.

Strategy: a list or object that is here whole and not nested too deeply is one
match of a regular expression. All others are walked through in jumps from
bracket to bracket, and the place and depth are remembered while more is waited
for. So each byte is looked at a few times at most, however it is nested and cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes. The longest message that the original reads at once.
MAX_SIZE: Final = 65535

_BLANK: Final = rb"[ \t\r\n]*+"
#: What follows the opening quote of a string, up to the closing one, a lone
#: backslash at the very end, or the end.
_IN_STRING: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING: Final = b'"' + _IN_STRING + b'"'
_NO_BRACKET: Final = rb'[^\[\]{}"]*+'


def _nested(levels: int) -> bytes:
    """Return the expression of a list or object with so many levels of others inside."""
    inner = _STRING + b"|" + _nested(levels - 1) if levels else _STRING
    return rb"[\[{]" + _NO_BRACKET + b"(?:(?:" + inner + b")" + _NO_BRACKET + rb")*+[\]}]"


#: A whole message with few levels, as nearly all are.
_match_whole: Final = re.compile(_BLANK + _nested(3) + _BLANK, re.DOTALL).match
_skip_blank: Final = re.compile(_BLANK).match
#: Anything up to a bracket outside of strings, or to a string without an end.
_skip_flat: Final = re.compile(_NO_BRACKET + b"(?:" + _STRING + _NO_BRACKET + b")*+", re.DOTALL).match
_skip_string: Final = re.compile(_IN_STRING, re.DOTALL).match
_skip_bare: Final = re.compile(rb'[^ \t\r\n\[{"]*+').match

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_OPENING: Final = b"[{"
_QUOTE: Final = ord('"')


class _Place(Enum):
    """Where in a message the scan stopped."""

    BEFORE = "before the value"
    BARE = "in a value without brackets or quotes"
    INSIDE = "between the brackets of a value"
    STRING = "in a string"


@dataclass(slots=True)
class Oversized:
    """A message that was too long to be kept.

    Attributes
    ----------
    size : int
        Its bytes, with the white space around it.
    """

    size: int


class Splitter(StreamDecoder["bytes | Oversized"]):
    r"""Bytes of a stream in, its messages out; one per connection and direction.

    Parameters
    ----------
    max_size : int
        Bytes of the longest value to keep, 65535 unless told otherwise. White
        space around it does not count.

    Raises
    ------
    ValueError
        `max_size` is less than 3.

    Notes
    -----
    `next_event` returns the bytes of one message, a filler, an `Oversized` or
    `NEED_DATA`; it never raises. Joined, the events are the stream: who echoes
    each echoes the stream exactly. What is JSON and what is a message about an
    event is for `decode` to say: ``[}`` ends here, too.

    Of a value longer than `max_size` only the length is kept; at its end comes
    an `Oversized`, and what is behind it is split as ever.

    Memory: twice `max_size`, and what is fed at once. Time is linear in the
    bytes, however they are cut. Not safe for use by several threads at once.

    Examples
    --------
    >>> splitter = Splitter()
    >>> splitter.feed(b'[1, 42][8, null] [2, "r')
    >>> splitter.next_event(), splitter.next_event(), splitter.next_event()
    (b'[1, 42]', b'[8, null] ', NEED_DATA)
    >>> splitter.feed(b'ef"]42')
    >>> splitter.next_event(), splitter.next_event()
    (b'[2, "ref"]', NEED_DATA)
    >>> splitter.flush()
    >>> splitter.next_event()
    b'42'
    """

    __slots__ = ("_depth", "_dropped", "_is_flushed", "_lead", "_max_size", "_place", "_scanned")

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        if max_size < len(_BYTE_ORDER_MARK):  # which must be kept until its value begins
            raise ValueError(f"max_size is a number of bytes from {len(_BYTE_ORDER_MARK)}, not {max_size}")
        super().__init__(1)
        self._max_size = max_size
        self._restart()

    def _restart(self) -> None:
        """Be between two messages."""
        self._place = _Place.BEFORE
        self._depth = 0
        self._lead = 0  # white space before the value
        self._scanned = 0  # bytes of the buffer that need no second look
        self._dropped = 0  # bytes of this message that are not in the buffer any more
        self._is_flushed = False
        self._needed = 1

    @property
    def waiting(self) -> bool:
        """Whether `flush` would make a message of what waits for its end."""
        return self._place is _Place.BARE

    def flush(self, *, unfinished: bool = False) -> None:
        """Make a message of what waits for its end, because the stream is silent.

        To be called when `next_event` has answered `NEED_DATA`; the next one
        returns the message. If nothing waits, nothing happens.

        Parameters
        ----------
        unfinished : bool
            Take also a list, an object or a string whose end is missing. That
            is for long silences, when the other end has surely given it up: it
            would swallow the messages that follow.
        """
        if self._place is _Place.BARE or (unfinished and self._place is not _Place.BEFORE):
            self._is_flushed = True
            self._needed = 0

    def feed_eof(self) -> None:
        """Say that the peer will send nothing more; what is left becomes the last message."""
        super().feed_eof()
        # The length of what was dropped is still to be told, even if nothing of it is here.
        self._needed = 0 if self._dropped else 1

    def _parse(self) -> bytes | Oversized | Literal[NeedData.NEED_DATA]:
        buffer = self._buffer
        data, start = buffer.data, buffer.start
        if self._place is _Place.BEFORE:
            found = _match_whole(data, start)
            if found is not None and found.end() - start <= self._max_size:
                return buffer.take(found.end() - start)
            blank = _end(_skip_blank, data, start) - start
            if blank == len(buffer) or blank > self._max_size:
                return buffer.take(blank)
            self._lead = self._scanned = blank
            self._enter(data[start + blank])
        end = self._scan()
        if end < 0:
            return self._wait()
        return self._emit(end - start, _end(_skip_blank, data, end) - start)

    def _enter(self, first: int) -> None:
        """Note what kind of value begins with this byte, which is scanned next unless it is a quote."""
        if first in _OPENING:
            self._place = _Place.INSIDE
        elif first == _QUOTE:
            self._place = _Place.STRING
            self._scanned += 1
        else:
            self._place = _Place.BARE

    def _scan(self) -> int:
        """Go on to the end of the value and return where it is in the data; -1 if it is not here."""
        data, start = self._buffer.data, self._buffer.start
        size = len(data)
        while True:
            at = start + self._scanned
            if self._place is _Place.BARE:
                at = _end(_skip_bare, data, at)
                self._scanned = at - start
                if at == size:
                    return -1
                if (
                    data[at] in b" \t\r\n"
                    or self._dropped
                    or data[start + self._lead : at] != _BYTE_ORDER_MARK
                ):
                    return at
                self._enter(data[at])
            elif self._place is _Place.STRING:
                at = _end(_skip_string, data, at)
                self._scanned = at - start
                if at == size or data[at] != _QUOTE:
                    return -1
                self._scanned += 1
                if not self._depth:
                    return at + 1
                self._place = _Place.INSIDE
            else:
                at = _end(_skip_flat, data, at)
                self._scanned = at - start
                if at == size:
                    return -1
                self._scanned += 1
                if data[at] in _OPENING:
                    self._depth += 1
                elif data[at] == _QUOTE:
                    self._place = _Place.STRING
                else:
                    self._depth -= 1
                    if not self._depth:
                        return at + 1

    def _wait(self) -> bytes | Oversized | Literal[NeedData.NEED_DATA]:
        """Keep what is here of a message and wait for more, unless it is flushed."""
        buffer = self._buffer
        if self._is_flushed or self._ended:
            return self._emit(len(buffer), len(buffer))
        if self._is_oversized(self._scanned):
            self._dropped += self._scanned
            buffer.skip(self._scanned)
            self._scanned = 0
        # If anything here is not scanned, it is a backslash, and what it escapes is missing.
        self._needed = len(buffer) + 1
        return NEED_DATA

    def _emit(self, end: int, blank_end: int) -> bytes | Oversized:
        """Take a message of which the buffer holds the value up to `end`."""
        buffer, dropped = self._buffer, self._dropped
        is_oversized = self._is_oversized(end)
        self._restart()
        if not is_oversized:
            return buffer.take(blank_end)
        buffer.skip(blank_end)
        return Oversized(dropped + blank_end)

    def _is_oversized(self, end: int) -> bool:
        return self._dropped + end - self._lead > self._max_size


def _end(
    skip: Callable[[bytes | bytearray, int], re.Match[bytes] | None], data: bytes | bytearray, at: int
) -> int:
    """Return where a match that begins at `at` ends; these expressions also match nothing."""
    found = skip(data, at)
    return at if found is None else found.end()
