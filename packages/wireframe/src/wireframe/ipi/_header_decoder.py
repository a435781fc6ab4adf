"""What the decoders of all frames behind a header of twelve characters have in common.

The header is a message's name, padded with blanks, and tells what follows.
Numbers that announce how much follows are checked as soon as they are here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wireframe._decoder import NEED_DATA, EventT, NeedData, StreamDecoder
from wireframe.errors import MAX_EXCERPT, BadHeader, BadPayload, FrameTooLarge
from wireframe.ipi._encode import encode_header
from wireframe.ipi._messages import HEADER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    #: ``reader(decoder, data, start, held)`` reads one frame that begins at
    #: ``data[start]`` and of which ``held`` bytes are here. It looks at it again
    #: from its first byte each time more has come, and takes it when it is whole.
    Reader = Callable[[Any, bytes | bytearray, int, int], Any]

    #: For each header the message's name, and what reads its body, if there is one.
    Frames = Mapping[bytes, tuple[bytes, Reader | None]]


def frames_of(names: Iterable[bytes], readers: Mapping[bytes, Reader]) -> Frames:
    """Return the table of all frames of a protocol; those without a reader have no body."""
    return {encode_header(name): (name, readers.get(name)) for name in names}


class HeaderDecoder(StreamDecoder[EventT]):
    """Finds the reader for each header, and helps it to ask, to check and to finish.

    Parameters
    ----------
    accept : set of bytes
        Message names that may come.
    frames : mapping
        All frames of the protocol, see `frames_of`.
    protocol : str
        Its name, for a caller who accepts what there is not.

    Raises
    ------
    ValueError
        `accept` names what is no message of this protocol.
    """

    __slots__ = ("_accept", "_frames")

    def __init__(self, accept: AbstractSet[bytes], frames: Frames, protocol: str) -> None:
        super().__init__(HEADER_LENGTH)
        unknown = accept - {name for name, _ in frames.values()}
        if unknown:
            raise ValueError(f"accept names no {protocol} messages: {sorted(unknown, key=repr)}")
        self._accept = frozenset(accept)
        self._frames = frames

    def _parse(self) -> Any:
        buffer = self._buffer
        data, start = buffer.data, buffer.start
        header = bytes(data[start : start + HEADER_LENGTH])
        found = self._frames.get(header)
        if found is None or found[0] not in self._accept:
            raise BadHeader(
                f"peer sent {header!r}, which is not a header it may send",
                header,
                at=_first_difference(header, self._accept),
            )
        name, reader = found
        if reader is not None:
            return reader(self, data, start, len(data) - start)
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

    def _check(self, number: int, limit: int, what: str, at: int, before: int = 0) -> int:
        """Return a number that stands `at` bytes from the first of the frame and announces something.

        Raises
        ------
        BadPayload
            It is negative.
        FrameTooLarge
            With what came `before` it is above the limit.
        """
        if number < 0:
            raise self._bad(f"peer sent {what} {number}", at)
        if before + number > limit:
            raise FrameTooLarge(what, before + number, limit, self._excerpt(), at=at)
        return number

    def _bad(self, message: str, at: int) -> BadPayload:
        return BadPayload(message, self._excerpt(), at=at)

    def _excerpt(self) -> bytes:
        return self._buffer.peek(MAX_EXCERPT)


def _first_difference(header: bytes, names: Iterable[bytes]) -> int:
    """Return how many first bytes of a bad header agree with one of the good ones."""
    most = 0
    for name in names:
        good = name.ljust(HEADER_LENGTH)
        same = next(
            (at for at, (one, other) in enumerate(zip(header, good, strict=False)) if one != other), 0
        )
        most = max(most, same)
    return most
