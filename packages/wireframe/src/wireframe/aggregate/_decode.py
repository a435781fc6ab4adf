"""Bytes to messages: the decoder of the aggregate frames."""

from __future__ import annotations

import itertools
import json
import struct
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder
from wireframe._json_text import place_in
from wireframe.aggregate._messages import (
    AGGHELLO,
    AGGINIT,
    AGGRESULT,
    AGGSTEP,
    FROM_BRIDGE,
    FROM_HUB,
    MAX_EXTRAS,
    MAX_HELLO,
    MAX_INIT,
    MAX_RECORDS,
    RESULT_EXTRA_OFFSET,
    RESULT_HEAD,
    RESULT_RECORD,
    STEP_HEAD,
    STEP_RECORD,
    VECTOR,
    VERSION,
    Event,
    GroupInit,
    Hello,
    Result,
    Step,
)
from wireframe.errors import MAX_EXCERPT, BadHeader, BadPayload, FrameTooLarge
from wireframe.ipi import HEADER_LENGTH, encode_header
from wireframe.ipi._primitives import first_difference

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    #: ``column(data, first, stride, count)``: the int32 that stand at ``first``,
    #: ``first + stride``, ... as one block of bytes, as they are.
    Column = Callable[[bytes, int, int, int], bytes]

_WORD: Final = 4
_INT_AT: Final = struct.Struct("<i").unpack_from
_TEXT_AT: Final = HEADER_LENGTH + _WORD
_STEP_AT: Final = STEP_HEAD.unpack_from
_RESULT_AT: Final = RESULT_HEAD.unpack_from
_NAMES: Final = {encode_header(name): name for name in FROM_BRIDGE | FROM_HUB}
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1

_Parsed: TypeAlias = Event | Literal[NeedData.NEED_DATA]


def _strided(data: bytes, first: int, stride: int, count: int) -> bytes:
    """Take a column of int32 out of records."""
    words = memoryview(data)[: stride * count].cast("i")
    return words[first // _WORD :: stride // _WORD].tobytes()


class Decoder(StreamDecoder[Event]):
    r"""Incremental decoder for one direction of a connection between hub and bridge.

    Parameters
    ----------
    accept : set of bytes, optional
        Message names that may come; any other header is a `BadHeader`.
        `FROM_BRIDGE` for a hub, `FROM_HUB` for a bridge; both by default.
    max_hello, max_init : int
        Largest JSON text of ``AGGHELLO`` and ``AGGINIT``, bytes.
    max_records : int
        Most molecules in one message.
    max_extras : int
        Most bytes of all extras of one result together.
    column : callable, optional
        ``column(data, first, stride, count) -> bytes`` replaces what takes a
        column of int32 out of records, such as
        ``numpy.ndarray((count,), "i4", data, first, (stride,)).tobytes()``.

    Attributes
    ----------
    accept : frozenset of bytes
        May be changed between two messages, as may the limits.
    max_records, max_extras : int

    Raises
    ------
    ValueError
        `accept` names unknown messages, or a limit is negative.

    Notes
    -----
    `next_event` returns a `Hello`, `GroupInit`, `Step`, `Result`, or the name
    of a message without body. It raises

    * `BadHeader`: the header is none that may come;
    * `FrameTooLarge`: a count or length is above its limit, known as soon as
      the number itself has come;
    * `BadPayload`: a negative count or length, a molecule that stands twice, a
      field position outside of the table, more fields than requests, or JSON
      that is not what the message needs;
    * `TruncatedFrame`: the stream ended inside a frame.

    Examples
    --------
    >>> decoder = Decoder(accept=FROM_BRIDGE)
    >>> decoder.feed(b'AGGHELLO    !\x00\x00\x00{"group_id":"node-0","version":1}')
    >>> decoder.next_event()
    Hello(group_id='node-0')
    """

    __slots__ = (
        "_column",
        "_known_ids",
        "_known_places",
        "_max_hello",
        "_max_init",
        "accept",
        "max_extras",
        "max_records",
    )

    def __init__(
        self,
        *,
        accept: AbstractSet[bytes] = FROM_BRIDGE | FROM_HUB,
        max_hello: int = MAX_HELLO,
        max_init: int = MAX_INIT,
        max_records: int = MAX_RECORDS,
        max_extras: int = MAX_EXTRAS,
        column: Column = _strided,
    ) -> None:
        super().__init__(HEADER_LENGTH)
        unknown = accept - FROM_BRIDGE - FROM_HUB
        if unknown:
            raise ValueError(f"accept names no aggregate messages: {sorted(unknown)}")
        if min(max_hello, max_init, max_records, max_extras) < 0:
            raise ValueError("limits must be at least 0")
        self.accept = frozenset(accept)
        self.max_records = max_records
        self.max_extras = max_extras
        self._max_hello = max_hello
        self._max_init = max_init
        self._column = column
        # Columns that were found to be good: the next message mostly has the same.
        self._known_ids = b""
        self._known_places = (0, b"")

    def _parse(self) -> _Parsed:
        buffer = self._buffer
        data, start = buffer.data, buffer.start
        header = bytes(data[start : start + HEADER_LENGTH])
        name = _NAMES.get(header)
        if name is None or name not in self.accept:
            raise BadHeader(
                f"peer sent {header!r}, which is not a header it may send",
                header,
                at=first_difference(header, self.accept),
            )
        body = _BODIES.get(name)
        if body is not None:
            return body(self, data, start, len(data) - start)
        buffer.skip(HEADER_LENGTH)
        return name

    def _ask(self, size: int) -> Literal[NeedData.NEED_DATA]:
        """Wait for the frame's first `size` bytes."""
        self._needed = size
        return NEED_DATA

    def _done(self, size: int) -> None:
        """Drop a frame that was read."""
        self._needed = HEADER_LENGTH
        self._buffer.skip(size)

    def _bad(self, message: str, at: int) -> BadPayload:
        return BadPayload(message, self._buffer.peek(MAX_EXCERPT), at=at)

    def _check_count(self, count: int, at: int, what: str) -> None:
        if count < 0:
            raise self._bad(f"peer sent {what} {count}", at)
        if count > self.max_records:
            raise FrameTooLarge(what, count, self.max_records, self._buffer.peek(MAX_EXCERPT), at=at)

    # -- JSON --------------------------------------------------------------

    def _text(self, data: bytes | bytearray, start: int, held: int, limit: int) -> dict[str, Any] | None:
        """Take a message of one JSON object; None if it is not all here."""
        if held < _TEXT_AT:
            self._ask(_TEXT_AT)
            return None
        length = _INT_AT(data, start + HEADER_LENGTH)[0]
        if length < 0:
            raise self._bad(f"peer sent text length {length}", HEADER_LENGTH)
        if length > limit:
            raise FrameTooLarge(
                "text length", length, limit, self._buffer.peek(MAX_EXCERPT), at=HEADER_LENGTH
            )
        size = _TEXT_AT + length
        if held < size:
            self._ask(size)
            return None
        try:
            text = str(self._buffer.copy(_TEXT_AT, size), "utf-8")
        except UnicodeDecodeError as error:
            raise self._bad(f"the text is not UTF-8: {error}", _TEXT_AT + error.start) from error
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            at = _TEXT_AT + place_in(text, error)
            raise self._bad(f"the text is no JSON: {error}"[:200], at) from error
        if not isinstance(value, dict):
            raise self._bad(f"the text is a JSON {type(value).__name__}, not an object", _TEXT_AT)
        return value

    def _group(self, said: dict[str, Any]) -> str:
        group_id = said.get("group_id")
        if not isinstance(group_id, str) or not group_id.strip():
            raise self._bad(f"group_id is {group_id!r:.80}, not a name", _TEXT_AT)
        return group_id.strip()

    def _hello(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        said = self._text(data, start, held, self._max_hello)
        if said is None:
            return NEED_DATA
        version = said.get("version", VERSION)
        if version != VERSION:
            raise self._bad(f"version is {version!r:.80}, not {VERSION}", _TEXT_AT)
        event = Hello(self._group(said))
        self._done(_TEXT_AT + _INT_AT(data, start + HEADER_LENGTH)[0])
        return event

    def _init(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        said = self._text(data, start, held, self._max_init)
        if said is None:
            return NEED_DATA
        ids, payloads = said.get("molecule_ids"), said.get("init_payloads")
        if not isinstance(ids, list) or not isinstance(payloads, dict):
            raise self._bad("molecule_ids or init_payloads are missing", _TEXT_AT)
        self._check_count(len(ids), _TEXT_AT, "number of molecules")
        found: dict[int, dict[str, Any]] = {}
        for one in ids:
            if type(one) is not int or not _INT_MIN <= one <= _INT_MAX or one in found:
                raise self._bad(f"molecule_ids hold {one!r:.80}, which is no id or stands twice", _TEXT_AT)
            payload = payloads.get(str(one))
            if not isinstance(payload, dict):
                raise self._bad(f"init_payloads has no object for molecule {one}", _TEXT_AT)
            found[one] = payload
        if len(payloads) != len(found):
            raise self._bad("init_payloads names molecules that molecule_ids does not", _TEXT_AT)
        event = GroupInit(self._group(said), found, said.get("resume") is True)
        self._done(_TEXT_AT + _INT_AT(data, start + HEADER_LENGTH)[0])
        return event

    # -- blocks --------------------------------------------------------------

    def _step(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        if held < STEP_HEAD.size:
            return self._ask(STEP_HEAD.size)
        _, requests, fields = _STEP_AT(data, start)
        self._check_count(requests, HEADER_LENGTH, "number of requests")
        self._check_count(fields, HEADER_LENGTH + _WORD, "number of fields")
        if fields > requests:
            raise self._bad(f"peer sent {fields} fields for {requests} requests", HEADER_LENGTH + _WORD)
        records_at = STEP_HEAD.size + VECTOR * fields
        size = records_at + STEP_RECORD.size * requests
        if held < size:
            return self._ask(size)
        records = self._buffer.copy(records_at, size)
        self._check_ids(self._column(records, 0, STEP_RECORD.size, requests), records_at, STEP_RECORD.size)
        self._check_places(self._column(records, _WORD, STEP_RECORD.size, requests), fields, records_at)
        event = Step(self._buffer.copy(STEP_HEAD.size, records_at), records)
        self._done(size)
        return event

    def _result(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        if held < RESULT_HEAD.size:
            return self._ask(RESULT_HEAD.size)
        _, count = _RESULT_AT(data, start)
        self._check_count(count, HEADER_LENGTH, "number of answers")
        extras_at = RESULT_HEAD.size + RESULT_RECORD.size * count
        if held < extras_at:
            return self._ask(extras_at)
        records = self._buffer.copy(RESULT_HEAD.size, extras_at)
        lengths = self._column(records, RESULT_EXTRA_OFFSET, RESULT_RECORD.size, count)
        size = extras_at + (self._sum(lengths) if lengths != bytes(len(lengths)) else 0)
        if held < size:
            return self._ask(size)
        self._check_ids(
            self._column(records, 0, RESULT_RECORD.size, count), RESULT_HEAD.size, RESULT_RECORD.size
        )
        event = Result(records, self._buffer.copy(extras_at, size))
        self._done(size)
        return event

    def _sum(self, lengths: bytes) -> int:
        """Add up the lengths of extras, which are not all 0."""
        numbers = struct.unpack(f"<{len(lengths) // _WORD}i", lengths)
        if min(numbers) < 0:
            place = next(place for place, number in enumerate(numbers) if number < 0)
            at = RESULT_HEAD.size + RESULT_RECORD.size * place + RESULT_EXTRA_OFFSET
            raise self._bad(f"peer sent extra length {numbers[place]}", at)
        total: int = sum(numbers)
        if total > self.max_extras:
            sums = itertools.accumulate(numbers)
            place = next(place for place, so_far in enumerate(sums) if so_far > self.max_extras)
            at = RESULT_HEAD.size + RESULT_RECORD.size * place + RESULT_EXTRA_OFFSET
            raise FrameTooLarge("extra length", total, self.max_extras, self._buffer.peek(MAX_EXCERPT), at=at)
        return total

    def _check_ids(self, column: bytes, first: int, stride: int) -> None:
        if column == self._known_ids:
            return
        numbers = struct.unpack(f"<{len(column) // _WORD}i", column)
        if len(set(numbers)) != len(numbers):
            first_places = {number: place for place, number in reversed(list(enumerate(numbers)))}
            place = next(place for place, number in enumerate(numbers) if first_places[number] != place)
            raise self._bad(f"molecule {numbers[place]} stands twice", first + stride * place)
        self._known_ids = column

    def _check_places(self, column: bytes, fields: int, records_at: int) -> None:
        if (fields, column) == self._known_places:
            return
        numbers = struct.unpack(f"<{len(column) // _WORD}i", column)
        for place, number in enumerate(numbers):
            if not 0 <= number < fields:
                at = records_at + STEP_RECORD.size * place + _WORD
                raise self._bad(f"peer sent field position {number}, there are {fields} fields", at)
        self._known_places = fields, column


#: How to read what follows a header; the others have no body.
_BODIES: Final = {
    AGGHELLO: Decoder._hello,
    AGGINIT: Decoder._init,
    AGGSTEP: Decoder._step,
    AGGRESULT: Decoder._result,
}
