"""The stream of one TCP connection, cut into messages; no I/O and no clock.

What has no end in itself, such as a word without brackets, counts as complete
when the stream ends or nothing follows for a while. The caller keeps the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wireframe.echo import NEED_DATA, Oversized, Splitter

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes of the longest message taken from a stream. Above `max_message_size`, because an old peer too reads
#: longer ones if it is lucky.
MAX_STREAM_MESSAGE: Final = 1 << 20
#: Seconds of silence after which a word without brackets counts as complete. Messages of the protocol are
#: lists and never wait for it.
SILENCE_S: Final = 0.05
#: Seconds of silence after which a list without its end counts as given up. It would swallow what follows.
UNFINISHED_S: Final = 5.0


class MessageCutter:
    """Cuts the stream of one connection into messages.

    Parameters
    ----------
    oversized : callable
        ``oversized(size, limit)`` is told of each message beyond the limit, which is dropped.

    Examples
    --------
    >>> cutter = MessageCutter(oversized=print)
    >>> cutter.feed(b"[1, null][2, ")
    >>> cutter.next_message(), cutter.next_message(), cutter.silence_s
    (b'[1, null]', None, 5.0)
    >>> cutter.end()
    4
    """

    __slots__ = ("_incomplete", "_limit", "_oversized", "_splitter")

    def __init__(self, oversized: Callable[[int, int], object]) -> None:
        self._limit = MAX_STREAM_MESSAGE
        self._splitter = Splitter(self._limit)
        self._oversized = oversized
        #: Bytes of a message whose end has not come.
        self._incomplete = 0

    @property
    def silence_s(self) -> float | None:
        """After how many seconds without anything new to call `flush`; None if everything is complete."""
        if not self._incomplete:
            return None
        return SILENCE_S if self._splitter.waiting else UNFINISHED_S

    def feed(self, data: bytes) -> None:
        """Take a piece of the stream."""
        self._incomplete += len(data)
        self._splitter.feed(data)

    def flush(self) -> None:
        """Take what has no end for complete, because nothing followed."""
        self._splitter.flush(unfinished=True)

    def end(self) -> int:
        """Take the end of the stream; return how many bytes of a message it has cut off.

        They are lost with the connection. What was complete but for the end is the next message.
        """
        if self._splitter.waiting:
            self._splitter.feed_eof()
            return 0
        return self._incomplete

    def next_message(self) -> bytes | None:
        """Return the next complete message, None if there is none yet."""
        while (piece := self._splitter.next_event()) is not NEED_DATA:
            if not isinstance(piece, Oversized):
                self._incomplete -= len(piece)
                return piece
            self._incomplete -= piece.size
            self._oversized(piece.size, self._limit)
        return None
