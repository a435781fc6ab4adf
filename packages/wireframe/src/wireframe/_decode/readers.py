"""Bytes to lines: a stream that is decoded piece by piece, or one datagram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from wireframe import echo, eventlog
from wireframe._capture.zmtp import Multipart
from wireframe._decode.meanings import of_experiment_message
from wireframe._decoder import NEED_DATA
from wireframe.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wireframe._decode.meanings import Meaning
    from wireframe._decoder import StreamDecoder

#: Bytes shown around a place where something is wrong.
AROUND: Final = 16


@dataclass(slots=True)
class Line:
    """What is said of one frame, or of one place.

    Attributes
    ----------
    at : int
        Its first byte, or the first bad byte; counted from the first of the
        stream or datagram.
    size : int
        Bytes of the frame; 0 for a place.
    direction, text : str
    bad : bool
        Whether something is wrong there.
    """

    at: int
    size: int
    direction: str
    text: str
    bad: bool = False


class Reader(Protocol):
    """Bytes of one direction in, lines out."""

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take bytes."""

    def finish(self) -> Iterator[Line]:
        """Say that nothing more comes."""


class StreamReader:
    """Lines of one direction of a stream, until something in it is wrong.

    Parameters
    ----------
    decoder : StreamDecoder
    meaning : callable
        Explains one of its events.
    """

    def __init__(self, decoder: StreamDecoder[Any], meaning: Callable[[Any], Meaning]) -> None:
        self._decoder, self._meaning = decoder, meaning
        self._fed = 0
        self._recent = bytearray()  # for the bytes around a bad place
        self.failed = False

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take bytes."""
        # From the front of a bytearray bytes go at no cost, however many are left.
        del self._recent[: max(0, len(self._recent) - self._decoder.buffered - AROUND)]
        self._recent += data
        self._fed += len(data)
        self._decoder.feed(data)
        return self._lines()

    def finish(self) -> Iterator[Line]:
        """Say that nothing more comes."""
        self._decoder.feed_eof()
        return self._lines()

    def _lines(self) -> Iterator[Line]:
        while not self.failed:
            begin = self._fed - self._decoder.buffered
            try:
                event = self._decoder.next_event()
            except FrameError as error:
                self.failed = True
                yield self._wrong(begin, error)
                return
            if event is NEED_DATA:
                return
            yield from self._line(begin, self._fed - self._decoder.buffered, event)

    def _line(self, begin: int, end: int, event: Any) -> Iterator[Line]:
        try:
            direction, text = self._meaning(event)
        except FrameError as error:  # of this message alone: the next one begins where it ends
            if isinstance(event, Multipart):
                error.at = _place_in(event, error.at)
            yield self._wrong(begin, error)
        else:
            yield Line(begin, end - begin, direction, text)

    def _wrong(self, begin: int, error: FrameError) -> Line:
        at = begin + error.at
        known = at - (self._fed - len(self._recent))
        around = bytes(self._recent[max(0, known - AROUND // 2) : known + AROUND // 2]) if known >= 0 else b""
        where = f" (in the frame that begins at {begin})" if error.at else ""
        bytes_there = f"; around it: {_marked(around, min(known, AROUND // 2))}" if around else ""
        return Line(at, 0, "", f"{type(error).__name__}: {error}{where}{bytes_there}", bad=True)


class LogReader(StreamReader):
    """Lines of an event log, past any damage."""

    _decoder: eventlog.Decoder

    def __init__(self, decoder: eventlog.Decoder, meaning: Callable[[Any], Meaning]) -> None:
        super().__init__(decoder, meaning)
        self._skipped = 0

    def finish(self) -> Iterator[Line]:
        """Say that nothing more comes."""
        yield from super().finish()
        yield from self._damage(self._fed - self._decoder.buffered)

    def _line(self, begin: int, end: int, event: eventlog.LogEvent) -> Iterator[Line]:
        size = eventlog.HEADER_LENGTH + len(event.channel.encode()) + len(event.data)
        yield from self._damage(end - size)
        yield from super()._line(end - size, end, event)

    def _damage(self, end: int) -> Iterator[Line]:
        count, self._skipped = self._decoder.skipped - self._skipped, self._decoder.skipped
        if count:
            yield Line(end - count, count, "", f"damage: {count} bytes that belong to no event", bad=True)


class ExperimentReader(StreamReader):
    """Lines of a stream of experiment messages, also past one that is too long to be kept."""

    def __init__(self) -> None:
        super().__init__(echo.Splitter(max_size=1 << 20), of_experiment_message)

    def _line(self, begin: int, end: int, event: Any) -> Iterator[Line]:
        if isinstance(event, echo.Oversized):  # its first bytes were dropped while the others came
            begin = end - event.size
        yield from super()._line(begin, end, event)


def read_datagram(data: bytes, decode: Callable[[bytes], Any], meaning: Callable[[Any], Meaning]) -> Line:
    """Return the line of one datagram."""
    try:
        direction, text = meaning(decode(data))
    except FrameError as error:
        around = data[max(0, error.at - AROUND // 2) : error.at + AROUND // 2]
        bytes_there = f"; around it: {_marked(around, min(error.at, AROUND // 2))}" if around else ""
        return Line(error.at, 0, "", f"{type(error).__name__}: {error}{bytes_there}", bad=True)
    return Line(0, len(data), direction, text)


def _place_in(message: Multipart, at: int) -> int:
    """Return where byte `at` of the joined frames is in the message with its flags and sizes."""
    for frame, place in zip(message.frames, message.places, strict=True):
        if at < len(frame):
            return place + at
        at -= len(frame)
    return message.places[-1] + len(message.frames[-1])


def _marked(data: bytes, place: int) -> str:
    """Return bytes as hexadecimal digits, with brackets around one of them."""
    digits = [f"[{byte:02x}]" if at == place else f"{byte:02x}" for at, byte in enumerate(data)]
    return " ".join(digits) if place < len(data) else " ".join([*digits, "[end]"])
