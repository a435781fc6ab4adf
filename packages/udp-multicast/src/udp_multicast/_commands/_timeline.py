"""When a recorded event is due again."""

from __future__ import annotations


class Timeline:
    """Turns the times of a log into seconds from the beginning of its replay.

    Parameters
    ----------
    factor : float or None
        How many times faster than it was; None for no waiting at all.
    max_pause_s : float, optional
        Longest pause between two events, in seconds of the replay.

    Raises
    ------
    ValueError
        A number is not more than 0.

    Notes
    -----
    A clock that was set back while the log was written makes no pause, and the
    events after that keep their distances.

    Examples
    --------
    >>> timeline = Timeline(factor=2.0)
    >>> [timeline.due(microseconds) for microseconds in (5_000_000, 6_000_000, 2_000_000, 3_000_000)]
    [0.0, 0.5, 0.5, 1.0]
    """

    __slots__ = ("_due", "_factor", "_last_us", "_max_pause_s")

    def __init__(self, factor: float | None, max_pause_s: float = float("inf")) -> None:
        if factor is not None and not factor > 0:
            raise ValueError(f"a speed is more than 0, not {factor}")
        if not max_pause_s > 0:
            raise ValueError(f"a pause is more than 0 s, not {max_pause_s}")
        self._factor = factor
        self._max_pause_s = max_pause_s
        self._last_us: int | None = None
        self._due = 0.0

    def due(self, timestamp_us: int) -> float:
        """Return when the event is due, seconds from the first one; never less than before."""
        if self._factor is None:
            return 0.0
        if self._last_us is not None:
            pause_s = max(0, timestamp_us - self._last_us) / 1e6 / self._factor
            self._due += min(pause_s, self._max_pause_s)
        self._last_us = timestamp_us
        return self._due
