"""Time limits, and the time that counts for the peers of a server."""

from __future__ import annotations

import math
import time


class Clock:
    """Stands still while the server is elsewhere: no peer could be heard then.

    Attributes
    ----------
    away : float
        Seconds by which this clock is behind the monotonic one.
    left_at : float
        When the server went elsewhere, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.away = 0.0
        self.left_at = time.monotonic()

    def now(self) -> float:
        """Return the time, in seconds."""
        return time.monotonic() - self.away

    def catch_up(self) -> float:
        """Go on: the server is back. Return the time."""
        here = time.monotonic()
        self.away += here - self.left_at
        self.left_at = here
        return here - self.away


def seconds(limit: float | None) -> float:
    """Return a time limit as a number, infinite for None.

    Raises
    ------
    ValueError
        It is negative, or no number.
    """
    if limit is None:
        return math.inf
    if not limit >= 0:
        raise ValueError(f"a time limit cannot be {limit!r} seconds")
    return float(limit)
