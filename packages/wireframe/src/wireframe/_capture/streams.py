"""Segments of one direction of a TCP connection to its bytes in order."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wireframe._capture.packets import Segment

#: Bytes that may wait for a segment that is missing; then the capture is taken to have lost it.
MAX_AHEAD: Final = 16 << 20
_WRAP: Final = 1 << 32


class Stream:
    """One direction of a connection.

    It begins with the first segment that is seen: the opening, or whatever
    comes first in a capture that was started later.

    Attributes
    ----------
    ended : bool
        Whether the sender has closed it and all its bytes are out.
    missing : int
        Bytes that the capture has lost, and with them the boundaries of frames.
    size : int
        Bytes that are out.
    """

    def __init__(self) -> None:
        self.ended = False
        self.missing = 0
        self.size = 0
        self._first: int | None = None
        self._next = 0  # the sequence number of the byte at `_at`
        self._at = 0  # counted from the first byte, without the wrap of sequence numbers
        self._end: int | None = None
        self._ahead: dict[int, bytes] = {}
        self._order: list[int] = []  # a heap of the places in `_ahead`
        self._held = 0

    def add(self, segment: Segment) -> bytes:
        """Take a segment in any order, and return the bytes that are next."""
        sequence, data = segment.sequence, segment.data
        if segment.opens:
            sequence = (sequence + 1) % _WRAP
        if self._first is None:
            self._first = self._next = sequence
        place = self._at + (sequence - self._next + _WRAP // 2) % _WRAP - _WRAP // 2
        if segment.closes:
            self._end = place + len(data)
        ready: list[bytes] = []
        if place <= self._at:
            self._take(place, data, ready)
            while self._order and self._order[0] <= self._at:
                place = heapq.heappop(self._order)
                data = self._ahead.pop(place)
                self._held -= len(data)
                self._take(place, data, ready)
        elif data:
            self._hold(place, data)
        self.ended = self.ended or self._at == self._end
        out = b"".join(ready)
        self.size += len(out)
        return out

    def is_reopened(self, segment: Segment) -> bool:
        """Whether a segment opens another connection between the same ports, and not this one again."""
        return segment.opens and (self.ended or (segment.sequence + 1) % _WRAP != self._first)

    def finish(self) -> None:
        """Say that nothing more comes: what still waits, or the end, is behind bytes that are missing."""
        if self._first is None or self.ended:
            return
        known = self._order[:1] if self._end is None else [*self._order[:1], self._end]
        gaps = [place - self._at for place in known if place > self._at]
        if gaps:
            self.missing = min(gaps)
            self.ended = True
            self._ahead.clear()
            self._order.clear()
            self._held = 0

    def _take(self, place: int, data: bytes, ready: list[bytes]) -> None:
        """Take bytes that begin at or before the next one; what was sent again is left out."""
        data = data[self._at - place :]
        ready.append(data)
        self._at += len(data)
        self._next = (self._next + len(data)) % _WRAP

    def _hold(self, place: int, data: bytes) -> None:
        """Keep bytes until those before them come."""
        known = self._ahead.get(place)
        if known is None:
            heapq.heappush(self._order, place)
        if known is None or len(known) < len(data):
            self._held += len(data) - len(known or b"")
            self._ahead[place] = data
        if self._held > MAX_AHEAD:
            self.finish()
