"""Which numbers of a sequence arrived, and which did not.

Nothing is known but the numbers, and of them only their low bits. What they
can mean, as seen from the highest number so far (`top`) and modulo 2^bits:

* *next*: top + 1.
* *gap*: further ahead, by less than half the range. Those between are lost
  until they arrive after all.
* *behind*: all others, top itself included. A number behind is

  - *late* when it is less than `window` behind top and did not arrive yet;
  - a *restart* when `restart_after_s` passed since the last number of any
    kind: no network keeps a datagram that long, so the sender began anew. Also
    when it and the one before, with no number ahead of top between them, are
    both `window` or more behind top and it follows that one by less than
    `window`: one number from so far back is a stray, two in order are a run;
  - a *duplicate* otherwise.

The numbers of a run are those from its first to its top; a late number before
the first extends the run downwards. A new run begins with the first number
of the restart, and what the old run lost stays lost. So at any moment::

    expected = numbers of all runs
    lost     = expected - unique
    received = unique + duplicates

Only missing numbers are remembered, as one bit for each that is less than
`window` behind the top: 128 bytes of 1024, whatever a sender leaves out.
"""

from __future__ import annotations

import enum
from typing import Final


class Arrival(enum.Enum):
    """What a number was, seen from those before it; `SequenceCounter` has the definitions."""

    FIRST = "first"
    NEXT = "next"
    GAP = "gap"
    LATE = "late"
    DUPLICATE = "duplicate"
    RESTART = "restart"


# Bound once: looking up a member of an Enum costs as much as the rest of `update`.
_FIRST: Final = Arrival.FIRST
_NEXT: Final = Arrival.NEXT
_GAP: Final = Arrival.GAP
_LATE: Final = Arrival.LATE
_DUPLICATE: Final = Arrival.DUPLICATE
_RESTART: Final = Arrival.RESTART


class SequenceCounter:
    """Counts losses, repetitions and restarts of one numbered sender.

    Parameters
    ----------
    bits : int
        Width of the numbers: they wrap at 2^bits.
    window : int
        How far behind the highest number a late one may be, in numbers. From
        there on a missing number is lost for good. Each costs a bit of memory.
    restart_after_s : float
        Silence after which a number that does not advance is a restart.

    Attributes
    ----------
    duplicates : int
        Numbers that had arrived already, or are too far behind to tell.
    gaps : int
        Times that numbers were left out, however many.
    late : int
        Numbers that arrived after a higher one.
    lost : int
        Numbers that have not arrived. One less with each late number; but one
        before the first of its run adds those between.
    restarts : int
        Times the sender began anew. Not counted as loss: what it sent last
        before, and first after, nobody knows.

    Raises
    ------
    ValueError
        `bits` is less than 2, `window` is not between 1 and 2^(bits - 1), or
        `restart_after_s` is not more than 0.

    Notes
    -----
    For one thread at a time. The numbers may start anywhere. A number *n* is
    seen from the highest one so far, *top*, modulo 2^bits:

    ========= =================================================================
    next      *n* is top + 1
    gap       *n* is further ahead, by less than 2^(bits - 1)
    late      *n* is less than `window` behind, and did not arrive before
    restart   *n* is not ahead, and nothing arrived for `restart_after_s`; or
              *n* is the second of two numbers `window` or more behind, one
              after the other in order and closer than `window`, with nothing
              ahead of top between them
    duplicate *n* is not ahead, and none of these
    ========= =================================================================

    Silence is looked at first, then lateness. ``received = unique +
    duplicates`` and ``lost = expected - unique`` hold at any moment; a restart
    that took two numbers to be believed takes the first of them back from
    the duplicates. Losses before the first number that arrived, and after the
    last one, cannot be known.

    Without `now` only the second kind of restart is found, so a sender that
    began anew less than `window` behind looks like one that repeats itself. One
    that began anew ahead looks like one whose messages were lost.

    Examples
    --------
    >>> counter = SequenceCounter()
    >>> [counter.update(number).value for number in (4294967294, 4294967295, 2, 1, 2, 3)]
    ['first', 'next', 'gap', 'late', 'duplicate', 'next']
    >>> counter.received, counter.expected, counter.lost, counter.duplicates
    (6, 6, 1, 1)
    """

    __slots__ = (
        "_half",
        "_heard",
        "_mask",
        "_missing",
        "_next",
        "_origin",
        "_restart_after_s",
        "_run",
        "_seen_from",
        "_suspect",
        "_suspect_top",
        "_top",
        "_window",
        "duplicates",
        "gaps",
        "late",
        "lost",
        "restarts",
    )

    def __init__(self, bits: int = 32, *, window: int = 1024, restart_after_s: float = 1.0) -> None:
        if bits < 2 or not 1 <= window <= 1 << (bits - 1):
            raise ValueError(f"a window of {window} in numbers of {bits} bits leaves nothing to tell apart")
        if not restart_after_s > 0:
            raise ValueError(f"restart_after_s must be more than 0, not {restart_after_s}")
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._window = window
        self._restart_after_s = restart_after_s
        # Positions count expected numbers through wraps and restarts: the
        # first of a run stands behind the top of the run before. _origin is
        # the first of all, _run that of this run, _top the highest.
        self._origin = 0
        self._run = 0
        self._top = -1
        #: The wire number that would be next; -1 before the first.
        self._next = -1
        # Bit n of _missing is set if position _seen_from - n did not arrive,
        # though it is of this run and was within the window. _seen_from is not
        # moved by what comes in order, so that the most usual costs least.
        self._missing = 0
        self._seen_from = -1
        self._heard = 0.0
        # The last number too far behind to be of this run, and _top then.
        self._suspect = 0
        self._suspect_top = -1
        self.duplicates = 0
        self.gaps = 0
        self.late = 0
        self.lost = 0
        self.restarts = 0

    @property
    def expected(self) -> int:
        """Numbers from the first to the highest of each run."""
        return self._top + 1 - self._origin

    @property
    def next(self) -> int:
        """The number that would be next; -1 before the first."""
        return self._next

    @property
    def unique(self) -> int:
        """Different numbers that arrived."""
        return self._top + 1 - self._origin - self.lost

    @property
    def received(self) -> int:
        """Calls of `update`."""
        return self.unique + self.duplicates

    def update(self, number: int, now: float = 0.0) -> Arrival:
        """Take the number of a message that arrived.

        Parameters
        ----------
        number : int
            0 to 2^bits - 1.
        now : float, optional
            Seconds, of any clock that does not go backwards; for restarts.

        Returns
        -------
        Arrival
            What it was.

        Raises
        ------
        ValueError
            `number` does not fit `bits`.
        """
        if number == self._next >= 0:
            self._next = (number + 1) & self._mask
            self._top += 1
            self._heard = now
            return _NEXT
        return self._other(number, now)

    def _other(self, number: int, now: float) -> Arrival:
        if not 0 <= number <= self._mask:
            raise ValueError(f"number {number} is not one of {self._mask.bit_length()} bits")
        silence, self._heard = now - self._heard, now
        if self._next < 0:
            self._begin(number)
            return _FIRST
        ahead = (number + 1 - self._next) & self._mask
        if 0 < ahead < self._half:
            self._advance(ahead)
            return _GAP
        if silence >= self._restart_after_s:
            self.restarts += 1
            self._begin(number)
            return _RESTART
        behind = (self._next - 1 - number) & self._mask
        if behind < self._window:
            if self._fill(self._top - behind):
                self.late += 1
                return _LATE
        elif self._is_second(number):
            self.restarts += 1
            return _RESTART
        self.duplicates += 1
        return _DUPLICATE

    def _begin(self, number: int) -> None:
        """Begin a run; what the run before lost stays lost."""
        self._missing = 0
        self._top += 1
        self._run = self._seen_from = self._top
        self._next = (number + 1) & self._mask

    def _advance(self, ahead: int) -> None:
        """Move the top; all positions between are missing."""
        self._top += ahead
        self._next = (self._next + ahead) & self._mask
        if ahead == 1:
            return
        self.gaps += 1
        self.lost += ahead - 1
        window = self._window
        moved, self._seen_from = self._top - self._seen_from, self._top
        missing = (1 << min(ahead, window)) - 2
        if self._missing and moved < window:
            missing |= (self._missing << moved) & ((1 << window) - 1)
        self._missing = missing

    def _fill(self, position: int) -> bool:
        """Mark a position as here; False if it was."""
        if position < self._run:
            between = self._run - position - 1
            self._origin -= between + 1
            self.lost += between
            self._missing |= ((1 << between) - 1) << (self._seen_from - self._run + 1)
            self._run = position
            return True
        bit = self._seen_from - position
        if bit < 0 or not self._missing >> bit & 1:
            return False
        self._missing ^= 1 << bit
        self.lost -= 1
        return True

    def _is_second(self, number: int) -> bool:
        """Say whether two numbers from far behind are in order; if so begin the run with the first."""
        first, follows = self._suspect, (number - self._suspect) & self._mask
        if self._suspect_top == self._top and 0 < follows < self._window:
            self.duplicates -= 1
            self._begin(first)
            self._advance(follows)
            return True
        self._suspect, self._suspect_top = number, self._top
        return False
