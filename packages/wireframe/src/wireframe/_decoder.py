"""What all stream decoders of this package have in common.

A decoder is fed with whatever the transport delivers and asked for events
until it has no more::

    decoder.feed(piece)
    while (event := decoder.next_event()) is not NEED_DATA:
        ...

Feeding never raises; asking does. After a `FrameError` the stream has lost its
frame boundaries for good, so the decoder is dead: it drops what it holds,
ignores what it is fed and repeats the same error.
"""

from __future__ import annotations

import copy
import enum
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from wireframe._buffer import ReceiveBuffer
from wireframe.errors import MAX_EXCERPT, FrameError, TruncatedFrame

if TYPE_CHECKING:
    from typing_extensions import Buffer

EventT = TypeVar("EventT")


class NeedData(enum.Enum):
    """The type of `NEED_DATA`, so that type checkers can narrow it away."""

    NEED_DATA = "NEED_DATA"

    def __repr__(self) -> str:
        return "NEED_DATA"


#: "Not yet." Not None, because None is a legal JSON value.
NEED_DATA: Final = NeedData.NEED_DATA


class StreamDecoder(ABC, Generic[EventT]):
    """Bytes in, events out; one per connection and direction.

    Not safe for use by several threads at once; needs no event loop.
    """

    __slots__ = ("_buffer", "_ended", "_error", "_needed")

    def __init__(self, first_need: int) -> None:
        self._buffer = ReceiveBuffer()
        self._needed = first_need
        self._ended = False
        self._error: FrameError | None = None

    @property
    def needed(self) -> int:
        """Bytes until the next decision, at least 1 while the stream is open.

        A blocking reader may read exactly that many without ever reading
        beyond the frame. It is 0 after the end of the stream or an error.
        """
        if self._ended or self._error is not None:
            return 0
        return max(1, self._needed - len(self._buffer))

    @property
    def buffered(self) -> int:
        """Bytes that were fed and belong to no event yet."""
        return len(self._buffer)

    def feed(self, data: Buffer, /) -> None:
        """Add bytes as they arrived. Never raises for what the peer sent.

        Parameters
        ----------
        data : bytes-like
            Any number of bytes; they are copied if their buffer is mutable.
            Ignored after `feed_eof` and after an error.

        Raises
        ------
        TypeError
            `data` is not bytes-like.
        """
        if self._error is None and not self._ended:
            self._buffer.feed(data)

    def feed_eof(self) -> None:
        """Say that the peer will send nothing more."""
        self._ended = True

    def next_event(self) -> EventT | Literal[NeedData.NEED_DATA]:
        """Return the next event, or `NEED_DATA`.

        After a stream that ended between two frames it answers `NEED_DATA`
        for ever.

        Raises
        ------
        FrameError
            The peer sent something illegal (which subclass says what), or the
            stream ended inside a frame (`TruncatedFrame`). The decoder is dead
            from then on and repeats the error.
        """
        if self._error is not None:
            raise copy.copy(self._error)
        buffer = self._buffer
        try:
            # Not len(buffer): this line runs for every event.
            if len(buffer.data) - buffer.start >= self._needed:
                event = self._parse()
                if event is not NEED_DATA:
                    return event
            if self._ended and len(buffer):
                raise TruncatedFrame(len(buffer), self._needed, buffer.peek(MAX_EXCERPT))
        except FrameError as error:
            # A copy, because the error itself collects a traceback on its way
            # up and with it everything that the callers hold at that moment.
            self._error = copy.copy(error)
            buffer.clear()
            raise
        return NEED_DATA

    @abstractmethod
    def _parse(self) -> EventT | Literal[NeedData.NEED_DATA]:
        """Take one frame, or raise `_needed` and answer `NEED_DATA`.

        Called only while the buffer holds at least `_needed` bytes.
        """
