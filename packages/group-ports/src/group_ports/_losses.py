"""How many messages of each publisher did not arrive, told by the numbers they carry."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

#: Publishers remembered at the most; then the one longest unheard is forgotten.
MAX_PUBLISHERS: Final = 256


class LossLedger:
    """Books of numbered messages. Takes them in the order they came; no clock, no socket.

    Notes
    -----
    A connection keeps the order, so a number that is skipped is a message that
    was lost, and one that is not above the last one is a publisher that began
    anew. What was sent before the first message heard does not count.

    Examples
    --------
    >>> ledger = LossLedger()
    >>> for number in (7, 8, 11):
    ...     ledger.note(b"0123456789abcdef", number)
    >>> ledger.lost()
    {b'0123456789abcdef': 2}
    """

    def __init__(self) -> None:
        self._books: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        #: Losses over all publishers, forgotten ones included.
        self.total = 0

    def note(self, publisher: bytes, sequence: int) -> None:
        """Book a message.

        Parameters
        ----------
        publisher : bytes
            Who sent it.
        sequence : int
            Its number, from 1.
        """
        last, lost = self._books.get(publisher, (sequence - 1, 0))
        missing = max(0, sequence - last - 1)
        self.total += missing
        self._books[publisher] = (sequence, lost + missing)
        self._books.move_to_end(publisher)
        if len(self._books) > MAX_PUBLISHERS:
            self._books.popitem(last=False)

    def lost(self) -> dict[bytes, int]:
        """Return the losses of each publisher remembered."""
        return {publisher: lost for publisher, (_, lost) in self._books.items()}
