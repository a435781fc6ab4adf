"""The bytes of one direction of a ZeroMQ connection to what they say.

ZMTP 3.0 and 3.1 (ZeroMQ RFCs 23 and 37): a greeting of 64 bytes, then frames::

    flags  1 more frames of the message follow, 2 the size has 8 bytes, 4 a command
    size   1 byte, or 8 bytes big-endian
    body

A command's body begins with the length of its name and the name. With CURVE the
messages are commands too, and what is in them cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder
from wireframe.errors import BadHeader, BadPayload, FrameTooLarge

GREETING_LENGTH: Final = 64
#: Bytes of the largest message to read, all frames together.
MAX_SIZE: Final = 64 << 20
#: Frames of the longest message to read.
MAX_FRAMES: Final = 64

_MORE, _LONG, _COMMAND = 1, 2, 4


@dataclass(slots=True)
class Greeting:
    """How a connection begins.

    Attributes
    ----------
    version : tuple of (int, int)
    mechanism : str
        ``NULL``, ``PLAIN`` or ``CURVE``.
    """

    version: tuple[int, int]
    mechanism: str


@dataclass(slots=True)
class Command:
    """A frame for the libraries, not for the programs."""

    name: str
    body: bytes


@dataclass(slots=True)
class Multipart:
    """A message.

    Attributes
    ----------
    frames : list of bytes
    places : list of int
        Where each begins, counted from the first byte of the message.
    """

    frames: list[bytes] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


Event: TypeAlias = Greeting | Command | Multipart


class Decoder(StreamDecoder[Event]):
    """Bytes of one direction in, its greeting, commands and messages out."""

    __slots__ = ("_greeted", "_max_size")

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        super().__init__(GREETING_LENGTH)
        self._greeted = False
        self._max_size = max_size

    def _parse(self) -> Event | Literal[NeedData.NEED_DATA]:
        if not self._greeted:
            return self._greeting()
        message = Multipart()
        at = 0
        while True:
            frame = self._frame(at)
            if frame is None:
                return NEED_DATA
            flags, begin, end = frame
            if flags & _COMMAND:
                break
            message.frames.append(self._buffer.copy(begin, end))
            message.places.append(begin)
            if len(message.frames) > MAX_FRAMES:
                raise FrameTooLarge("frame count", len(message.frames), MAX_FRAMES, at=at)
            at = end
            if not flags & _MORE:
                break
        event = self._command(begin, end) if flags & _COMMAND else message
        self._buffer.skip(end)
        self._needed = 2
        return event

    def _greeting(self) -> Greeting:
        data = self._buffer.peek(GREETING_LENGTH)
        for at, good in ((0, 0xFF), (9, 0x7F)):
            if data[at] != good:
                raise BadHeader(f"a greeting of ZeroMQ has 0x{good:02x} at byte {at}", data, at=at)
        if data[10] < 3:
            raise BadHeader(f"version {data[10]} of ZMTP is not read here, only 3", data, at=10)
        mechanism = data[12:32].rstrip(b"\0").decode("ascii", "replace")
        self._buffer.skip(GREETING_LENGTH)
        self._needed, self._greeted = 2, True
        return Greeting((data[10], data[11]), mechanism)

    def _frame(self, at: int) -> tuple[int, int, int] | None:
        """Return the flags of the frame at this place, and where its body begins and ends."""
        held = len(self._buffer)
        head = self._buffer.copy(at, min(at + 9, held))
        if len(head) < 2:
            self._needed = at + 2
            return None
        flags = head[0]
        if flags > _MORE + _LONG + _COMMAND or flags & (_MORE | _COMMAND) == _MORE | _COMMAND:
            raise BadHeader(f"no frame of ZeroMQ has the flags 0x{flags:02x}", head, at=at)
        if flags & _COMMAND and at:
            raise BadHeader("a command stands inside of a message", head, at=at)
        length = 9 if flags & _LONG else 2
        if len(head) < length:
            self._needed = at + length
            return None
        size = int.from_bytes(head[1:length], "big")
        if at + size > self._max_size:
            raise FrameTooLarge("message size", at + size, self._max_size, head, at=at + 1)
        end = at + length + size
        if end > held:
            self._needed = end
            return None
        return flags, at + length, end

    def _command(self, begin: int, end: int) -> Command:
        body = self._buffer.copy(begin, end)
        if not body or len(body) <= body[0]:
            raise BadPayload("a command of ZeroMQ is shorter than its name", body, at=begin)
        return Command(body[1 : 1 + body[0]].decode("ascii", "replace"), body[1 + body[0] :])
