"""Bytes to messages: the decoder of the aggregate frames."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from wireframe._decoder import NEED_DATA, NeedData
from wireframe.aggregate._greetings import TEXT_AT, hello_of, init_of, object_in
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
    Event,
    Result,
    Step,
)
from wireframe.errors import FrameTooLarge
from wireframe.ipi import HEADER_LENGTH
from wireframe.ipi._header_decoder import HeaderDecoder, frames_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    #: ``column(data, first, stride, count)``: the int32 that stand at ``first``,
    #: ``first + stride``, ... as one block of bytes, as they are.
    Column = Callable[[bytes, int, int, int], bytes]

_WORD: Final = 4
_INT_AT: Final = struct.Struct("<i").unpack_from
_STEP_AT: Final = STEP_HEAD.unpack_from
_RESULT_AT: Final = RESULT_HEAD.unpack_from

_Parsed: TypeAlias = Event | Literal[NeedData.NEED_DATA]


def _strided(data: bytes, first: int, stride: int, count: int) -> bytes:
    """Take a column of int32 out of records."""
    words = memoryview(data)[: stride * count].cast("i")
    return words[first // _WORD :: stride // _WORD].tobytes()


class Decoder(HeaderDecoder[Event]):
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
        super().__init__(accept, _FRAMES, "aggregate")
        if min(max_hello, max_init, max_records, max_extras) < 0:
            raise ValueError("limits must be at least 0")
        self.max_records = max_records
        self.max_extras = max_extras
        self._max_hello = max_hello
        self._max_init = max_init
        self._column = column
        # Columns that were found to be good: the next message mostly has the same.
        self._known_ids = b""
        self._known_places = (0, b"")

    @property
    def accept(self) -> frozenset[bytes]:
        """Names of the messages that may come."""
        return self._accept

    @accept.setter
    def accept(self, names: frozenset[bytes]) -> None:
        self._accept = names

    def _hello(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        said = self._object(data, start, held, self._max_hello)
        if said is None:
            return NEED_DATA
        event = hello_of(said, self._bad)
        self._done(self._needed)
        return event

    def _init(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        said = self._object(data, start, held, self._max_init)
        if said is None:
            return NEED_DATA
        event = init_of(said, self._bad)
        self._check(len(event.payloads), self.max_records, "number of molecules", TEXT_AT)
        self._done(self._needed)
        return event

    def _object(self, data: bytes | bytearray, start: int, held: int, limit: int) -> dict[str, Any] | None:
        """Return what a message in JSON says; None if it is not all here."""
        size = TEXT_AT
        if held >= size:
            size += self._check(_INT_AT(data, start + HEADER_LENGTH)[0], limit, "text length", HEADER_LENGTH)
        self._ask(size)
        return None if held < size else object_in(self._buffer.copy(TEXT_AT, size), self._bad)

    def _step(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        if held < STEP_HEAD.size:
            return self._ask(STEP_HEAD.size)
        _, requests, fields = _STEP_AT(data, start)
        self._check(requests, self.max_records, "number of requests", HEADER_LENGTH)
        self._check(fields, self.max_records, "number of fields", HEADER_LENGTH + _WORD)
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
        self._check(count, self.max_records, "number of answers", HEADER_LENGTH)
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
            raise FrameTooLarge("extra length", total, self.max_extras, self._excerpt(), at=at)
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


_FRAMES: Final = frames_of(
    FROM_BRIDGE | FROM_HUB,
    {
        AGGHELLO: Decoder._hello,
        AGGINIT: Decoder._init,
        AGGSTEP: Decoder._step,
        AGGRESULT: Decoder._result,
    },
)
