"""Which readouts of each sender are missing; takes `now`, does no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, Final

from wireframe.datagram import SequenceCounter

if TYPE_CHECKING:
    from wireframe.datagram import Arrival

#: Senders counted one by one. Anybody can invent addresses; those heard least
#: recently make room, and what they lost stays in the sums.
MAX_SENDERS: Final = 256
#: Ids that a late readout may be behind the highest. A sender that leaves out
#: every second one costs some 36 bytes for each of them.
_WINDOW: Final = 512


@dataclass(frozen=True, slots=True)
class SenderLosses:
    """What the readout ids of one sender, or of all, tell.

    Attributes
    ----------
    received : int
        Readouts with an id.
    lost : int
        Ids between the first and the highest of a run that did not arrive.
    gaps : int
        Times that ids were left out, however many.
    duplicates : int
        Ids that had arrived before.
    late : int
        Ids that arrived after a higher one.
    restarts : int
        Times the sender began anew.
    """

    received: int = 0
    lost: int = 0
    gaps: int = 0
    duplicates: int = 0
    late: int = 0
    restarts: int = 0

    def __add__(self, other: SenderLosses) -> SenderLosses:
        return SenderLosses(
            self.received + other.received,
            self.lost + other.lost,
            self.gaps + other.gaps,
            self.duplicates + other.duplicates,
            self.late + other.late,
            self.restarts + other.restarts,
        )


def _of(counter: SequenceCounter) -> SenderLosses:
    return SenderLosses(
        counter.received, counter.lost, counter.gaps, counter.duplicates, counter.late, counter.restarts
    )


class LossLedger:
    """Counts the readout ids of every sender by itself.

    Parameters
    ----------
    bits : int
        Width of the ids: they wrap at 2^bits.
    max_senders : int
        Senders remembered.

    Raises
    ------
    ValueError
        `bits` is less than 2.

    Notes
    -----
    For one thread at a time. `wireframe.datagram.SequenceCounter` has the
    rules of late, duplicate and restart.

    Examples
    --------
    >>> ledger = LossLedger(bits=8)
    >>> for number in (254, 255, 0, 3):
    ...     _ = ledger.update(("10.0.0.1", 5007), number, now=1.0)
    >>> ledger.total()
    SenderLosses(received=4, lost=2, gaps=1, duplicates=0, late=0, restarts=0)
    """

    def __init__(self, bits: int = 32, *, max_senders: int = MAX_SENDERS) -> None:
        self._bits = bits
        # Narrow numbers leave less room to tell late from new.
        self._window = min(_WINDOW, 1 << max(bits - 2, 0))
        self._max_senders = max_senders
        # In order of last hearing, the last one being `_current`.
        self._counters: dict[tuple[Any, ...], SequenceCounter] = {}
        self._sender: tuple[Any, ...] | None = None
        self._current = self._new_counter()
        self._forgotten = SenderLosses()

    def update(self, sender: tuple[Any, ...], number: int, now: float) -> Arrival:
        """Take the id of a readout that arrived.

        Parameters
        ----------
        sender : tuple
            Address and port.
        number : int
            0 to 2^bits - 1; also one of numpy's.
        now : float
            Seconds, of any clock that does not go backwards.

        Raises
        ------
        TypeError
            `number` is not an integer.
        ValueError
            `number` does not fit.
        """
        # Before anything changes: what came may be a half, or a number that cannot grow.
        number = index(number)
        if sender != self._sender:
            self._turn_to(sender)
        return self._current.update(number, now)

    def _turn_to(self, sender: tuple[Any, ...]) -> None:
        counter = self._counters.pop(sender, None)
        if counter is None:
            counter = self._new_counter()
            if len(self._counters) >= self._max_senders:
                self._forgotten += _of(self._counters.pop(next(iter(self._counters))))
        self._counters[sender] = counter
        self._sender, self._current = sender, counter

    def _new_counter(self) -> SequenceCounter:
        return SequenceCounter(self._bits, window=self._window)

    def total(self) -> SenderLosses:
        """Return the sums over all senders, also those no longer remembered."""
        return sum(self.senders().values(), self._forgotten)

    def senders(self) -> dict[tuple[Any, ...], SenderLosses]:
        """Return what each sender lost, the one heard last at the end."""
        # Copied in one step: another thread may be receiving.
        return {sender: _of(counter) for sender, counter in self._counters.copy().items()}
