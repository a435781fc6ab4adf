"""Segments of one direction of a TCP connection to its bytes in order."""

from __future__ import annotations

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
        self._next: int | None = None
        self._end: int | None = None
        self._ahead: dict[int, bytes] = {}
        self._held = 0

    def add(self, segment: Segment) -> bytes:
        """Take a segment in any order, and return the bytes that are next."""
        sequence, data = segment.sequence, segment.data
        if segment.opens:
            sequence = (sequence + 1) % _WRAP
        if self._next is None:
            self._first = self._next = sequence
        if segment.closes:
            self._end = (sequence + len(data)) % _WRAP
        behind = (self._next - sequence) % _WRAP
        if behind < _WRAP // 2:
            data = data[behind:]  # what was sent again
            ready = [data]
            self._next = (self._next + len(data)) % _WRAP
            ready += self._continue()
        else:
            ready = []
            if data and len(self._ahead.get(sequence, b"")) < len(data):
                self._held += len(data) - len(self._ahead.get(sequence, b""))
                self._ahead[sequence] = data
            if self._held > MAX_AHEAD:
                self.finish()
        self.ended = self.ended or self._next == self._end
        out = b"".join(ready)
        self.size += len(out)
        return out

    def is_reopened(self, segment: Segment) -> bool:
        """Whether a segment opens another connection between the same ports, and not this one again."""
        return segment.opens and (self.ended or (segment.sequence + 1) % _WRAP != self._first)

    def finish(self) -> None:
        """Say that nothing more comes: what still waits, or the end, is behind bytes that are missing."""
        if self._next is None or self.ended:
            return
        known = [*self._ahead] if self._end is None else [*self._ahead, self._end]
        gaps = [(sequence - self._next) % _WRAP for sequence in known]
        gaps = [gap for gap in gaps if 0 < gap < _WRAP // 2]
        if gaps:
            self.missing = min(gaps)
            self.ended = True
            self._ahead.clear()
            self._held = 0

    def _continue(self) -> list[bytes]:
        """Take what waited for the bytes that have just come."""
        ready: list[bytes] = []
        while self._ahead and self._next is not None:
            at = self._next
            fitting = [one for one in self._ahead if (at - one) % _WRAP < _WRAP // 2]
            if not fitting:
                break
            for one in fitting:
                data = self._ahead.pop(one)
                self._held -= len(data)
                data = data[(self._next - one) % _WRAP :] if (self._next - one) % _WRAP < len(data) else b""
                ready.append(data)
                self._next = (self._next + len(data)) % _WRAP
        return ready
