"""Cap'n Proto messages, as far as votes need them: structs, data and text.

A message is a table, u32 number of segments minus 1 and u32 words of each,
padded to 8 bytes, and then the segments. A word is 8 bytes, all integers are
little-endian. The first word of the first segment is a pointer to the root.
A pointer is one word:

====== ====================== ================================================
kind   low 32 bits            high 32 bits
====== ====================== ================================================
struct 0 and i30 words from   u16 words of data, u16 pointers behind them
       the end of the pointer
list   1 and i30 words        u3 size of an element (2: a byte), u29 elements
far    2, bit 2: two words    number of the segment where the landing pad is
       of pad, u29 its place
====== ====================== ================================================

A landing pad of one word is the pointer itself. One of two words is a far
pointer to the object and a pointer that tells the object's kind and size. A
word of zeros is a null pointer; what is behind it reads as zeros, and so does
what an older writer left out of a struct.

Every place is checked against its segment before it is read. No pointer is
followed unless it is asked for, and at most two others stand behind it, so the
cost is bounded by what the schema asks for and not by what the peer wrote.

Layouts: the encoding specification of Cap'n Proto, and pycapnp 2.2.4.
"""

from __future__ import annotations

import struct
from typing import Final

from wireframe.errors import BadPayload, FrameTooLarge, TruncatedFrame

#: A writer takes a new segment when the last one is full; four objects, as
#: votes have, never need more than eight.
MAX_SEGMENTS: Final = 64

#: Bytes of a word.
WORD: Final = 8

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_F64: Final = struct.Struct("<d")
#: Signed low half, which carries a signed offset, and high half.
_POINTER: Final = struct.Struct("<iI")
_STRUCT: Final = 0
_LIST: Final = 1
_FAR: Final = 2
_DOUBLE_FAR: Final = 6
_BYTE_ELEMENTS: Final = 2
#: Where the null pointer leads: nowhere, and there is nothing.
_NOTHING: Final = (0, 0, 0, 0)


class Message:
    """A message whose table of segments has been read.

    Parameters
    ----------
    data : bytes
        The whole message. Words behind the last segment are ignored.

    Raises
    ------
    BadPayload
        The length is not a multiple of 8, or there is no root.
    FrameTooLarge
        There are more than `MAX_SEGMENTS` segments.
    TruncatedFrame
        The table or a segment is not all here.
    """

    __slots__ = ("_data", "_spans")

    def __init__(self, data: bytes) -> None:
        size = len(data)
        if size < WORD:
            raise TruncatedFrame(size, WORD, data)
        if size % WORD:
            raise BadPayload(
                f"a vote message is a row of 8-byte words, not {size} bytes", data, at=size // WORD * WORD
            )
        count = _U32.unpack_from(data)[0] + 1
        if count > MAX_SEGMENTS:
            raise FrameTooLarge("segment count", count, MAX_SEGMENTS, data)
        begin = (count // 2 + 1) * WORD
        if size < begin:
            raise TruncatedFrame(size, begin, data)
        spans = []
        for words in struct.unpack_from(f"<{count}I", data, 4):
            end = begin + words * WORD
            spans.append((begin, end))
            begin = end
        if size < begin:
            raise TruncatedFrame(size, begin, data)
        if spans[0][0] == spans[0][1]:
            raise BadPayload("the vote message has no root", data)
        self._data = data
        self._spans = spans

    def root(self) -> Struct:
        """Return the root.

        Raises
        ------
        BadPayload
            It is not a struct, or not inside the message.
        """
        return self.struct_at(self._spans[0], self._spans[0][0])

    def struct_at(self, span: tuple[int, int], at: int) -> Struct:
        """Follow the pointer at this place in this segment to a struct."""
        if not any(self._data[at : at + WORD]):
            return Struct(self, _NOTHING)
        (begin, end), low, high, target = self._follow(span, at)
        if low & 3 != _STRUCT:
            raise self._bad("a pointer to a struct expected", at)
        pointers = target + (high & 0xFFFF) * WORD
        stop = pointers + (high >> 16) * WORD
        if not begin <= target <= stop <= end:
            raise self._bad("a struct reaches beyond its segment", at)
        return Struct(self, (begin, end, target, pointers), stop)

    def bytes_at(self, span: tuple[int, int], at: int) -> bytes | None:
        """Follow the pointer at this place in this segment to a list of bytes; None if it is null."""
        if not any(self._data[at : at + WORD]):
            return None
        (begin, end), low, high, target = self._follow(span, at)
        if low & 3 != _LIST or high & 7 != _BYTE_ELEMENTS:
            raise self._bad("a pointer to bytes expected", at)
        stop = target + (high >> 3)
        if not begin <= target <= stop <= end:
            raise self._bad("data reach beyond their segment", at)
        return self._data[target:stop]

    def _follow(self, span: tuple[int, int], at: int) -> tuple[tuple[int, int], int, int, int]:
        """Return the segment of the object, both halves of its pointer, and its place."""
        low, high = _POINTER.unpack_from(self._data, at)
        if low & 3 != _FAR:
            return span, low, high, at + WORD + (low >> 2) * WORD
        is_double = low & 7 == _DOUBLE_FAR
        span, pad = self._far(at, low, high, 2 * WORD if is_double else WORD)
        low, high = _POINTER.unpack_from(self._data, pad)
        if not is_double:
            # Another far pointer here is a kind that nobody expects.
            return span, low, high, pad + WORD + (low >> 2) * WORD
        if low & 7 != _FAR:
            raise self._bad("a landing pad of two words begins with a plain far pointer", pad)
        span, target = self._far(pad, low, high, 0)
        return span, *_POINTER.unpack_from(self._data, pad + WORD), target

    def _far(self, at: int, low: int, high: int, size: int) -> tuple[tuple[int, int], int]:
        """Return the segment and the place the far pointer at `at` names, where `size` bytes must be."""
        if high >= len(self._spans):
            raise self._bad(f"there is no segment {high}", at)
        begin, end = self._spans[high]
        place = begin + ((low & 0xFFFFFFFF) >> 3) * WORD
        if place + size > end:
            raise self._bad("a far pointer leads beyond its segment", at)
        return (begin, end), place

    def _bad(self, message: str, at: int) -> BadPayload:
        return BadPayload(f"the vote message is damaged: {message}", self._data, at=at)


class Struct:
    """A struct in a message; what is not there reads as zeros."""

    __slots__ = ("_at", "_data", "_message", "_pointers", "_span", "_stop")

    def __init__(self, message: Message, place: tuple[int, int, int, int], stop: int = 0) -> None:
        self._message = message
        self._data = message._data
        begin, end, self._at, self._pointers = place
        self._span = begin, end
        self._stop = stop

    def u16(self, offset: int) -> int:
        """Return the unsigned integer at this offset into the data, bytes."""
        at = self._at + offset
        if at >= self._pointers:
            return 0
        return int(_U16.unpack_from(self._data, at)[0])

    def f64(self, offset: int) -> float:
        """Return the number at this offset into the data, bytes."""
        at = self._at + offset
        if at >= self._pointers:
            return 0.0
        return float(_F64.unpack_from(self._data, at)[0])

    def struct(self, index: int) -> Struct:
        """Follow the pointer of this index to a struct."""
        at = self._pointers + index * WORD
        if at >= self._stop:
            return Struct(self._message, _NOTHING)
        return self._message.struct_at(self._span, at)

    def bytes(self, index: int) -> bytes | None:
        """Follow the pointer of this index to bytes; None if there are none."""
        at = self._pointers + index * WORD
        if at >= self._stop:
            return None
        return self._message.bytes_at(self._span, at)


def struct_pointer(offset: int, data_words: int, pointers: int) -> bytes:
    """Return the pointer to a struct, `offset` words behind the end of this pointer."""
    return _POINTER.pack(offset << 2 | _STRUCT, pointers << 16 | data_words)


def bytes_pointer(offset: int, size: int) -> bytes:
    """Return the pointer to a list of `size` bytes, `offset` words behind the end of this pointer."""
    return _POINTER.pack(offset << 2 | _LIST, size << 3 | _BYTE_ELEMENTS)


def far_pointer(segment: int) -> bytes:
    """Return a pointer to the landing pad of one word at the head of a segment."""
    return _POINTER.pack(_FAR, segment)


def padded(data: bytes) -> bytes:
    """Return data and the zeros that fill their last word."""
    return data + bytes(-len(data) % WORD)


def joined(segments: list[bytes]) -> bytes:
    """Return the message of these segments, each a row of whole words."""
    table = struct.pack(f"<{len(segments) + 1}I", len(segments) - 1, *(len(one) // WORD for one in segments))
    return b"".join([padded(table), *segments])
