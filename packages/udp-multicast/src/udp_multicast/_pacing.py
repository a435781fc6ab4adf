"""No faster than a receiver can read: a rate, with a little credit."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pacer:
    """Spreads what is sent over time.

    Parameters
    ----------
    rate : float or None
        Units per second, of whatever `wait` is told; None for no limit.
    burst : float
        Units that may go at once after a pause. What an oversleeping system
        loses is made up for up to the same amount.
    clock : callable, optional
        Returns seconds that do not go backwards.
    sleep : callable, optional
        Called with seconds to wait; may return early to end the waiting.

    Raises
    ------
    ValueError
        `rate` is not more than 0 or not finite, or `burst` is negative.

    Notes
    -----
    For one thread at a time.

    Examples
    --------
    >>> slept = []
    >>> pacer = Pacer(100.0, burst=20.0, clock=lambda: 5.0, sleep=slept.append)
    >>> for _ in range(4):
    ...     pacer.wait(10.0)
    >>> [round(each, 3) for each in slept]
    [0.1]
    """

    __slots__ = ("_clock", "_credit_s", "_due", "_rate", "_sleep")

    def __init__(
        self,
        rate: float | None,
        burst: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if rate is not None and not 0 < rate < math.inf:
            raise ValueError(f"a rate is more than 0 per second and finite, not {rate}")
        if not burst >= 0:
            raise ValueError(f"a burst is at least 0, not {burst}")
        self._rate = rate
        self._credit_s = burst / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep
        #: When the next unit would go if everything went at the rate exactly.
        self._due = float("-inf")

    def wait(self, amount: float) -> None:
        """Wait until `amount` may go, and take it as gone.

        Parameters
        ----------
        amount : float
            Units. More than a burst may go at once; what follows waits longer.
        """
        if self._rate is None:
            return
        now = self._clock()
        due = max(self._due, now - self._credit_s)
        self._due = due + amount / self._rate
        if due > now:
            self._sleep(due - now)
