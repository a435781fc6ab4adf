"""One message on its way, and how long its kind takes."""

from __future__ import annotations

from typing import Any


class Sending:
    """The handle of one message from `send` until it is confirmed or given up.

    Attributes
    ----------
    message : bytes
        What was to be sent.
    data : bytes
        The exact bytes on the wire; with a number behind the message if it has
        one. Equal to `message` while it is queued.
    number : int or None
        Its number, from the moment it is on the wire.
    sent_at : float
        When it was first put on the wire, or queued, in monotonic seconds.
    round_trip_s : float or None
        From the first transmission to the echo. With more than one
        transmission nobody knows which one was answered, so this is the most.
    transmissions : int
        How often it was put on the wire; 0 while it is queued.
    context : object
        Whatever the caller of `send` wants to keep here, such as a future.
    """

    __slots__ = (
        "again_at",
        "context",
        "data",
        "greeting",
        "interval",
        "message",
        "number",
        "repeatable",
        "round_trip_s",
        "sent_at",
        "tagged",
        "transmissions",
    )

    def __init__(self, message: bytes, now: float, context: Any = None) -> None:
        self.message = message
        self.data = message
        self.number: int | None = None
        self.sent_at = now
        self.round_trip_s: float | None = None
        self.transmissions = 0
        self.context = context
        # For the outbox: whether it gets a number, whether it is one of its own
        # pings, whether any peer takes it twice, and when it is repeated.
        self.tagged = False
        self.greeting = False
        self.repeatable = False
        self.interval = 0.0
        self.again_at = 0.0


class RoundTrip:
    """Smoothed round trip time and its mean deviation, as TCP does it (RFC 6298).

    Parameters
    ----------
    first_s, shortest_s, longest_s : float
        The timeout before anything is known, and its bounds.

    Attributes
    ----------
    last_s, smoothed_s : float or None
        The last round trip, and the smoothed one; None before the first.
    deviation_s : float
        Smoothed mean deviation.
    timeout_s : float
        When an echo is overdue: smoothed + 4 deviations, within the bounds.

    Examples
    --------
    >>> trip = RoundTrip(0.05, 0.01, 0.5)
    >>> trip.timeout_s
    0.05
    >>> trip.add(0.02)
    >>> trip.smoothed_s, trip.deviation_s, trip.timeout_s
    (0.02, 0.01, 0.06)
    """

    __slots__ = ("_longest_s", "_shortest_s", "deviation_s", "last_s", "smoothed_s", "timeout_s")

    def __init__(self, first_s: float, shortest_s: float, longest_s: float) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self.last_s: float | None = None
        self.smoothed_s: float | None = None
        self.deviation_s = 0.0
        self.timeout_s = first_s

    def add(self, seconds: float) -> None:
        """Take one round trip, in seconds."""
        self.last_s = seconds
        smoothed = self.smoothed_s
        if smoothed is None:
            self.smoothed_s = smoothed = seconds
            self.deviation_s = deviation = seconds / 2
        else:
            apart = seconds - smoothed
            self.smoothed_s = smoothed = smoothed + apart / 8
            self.deviation_s = deviation = self.deviation_s + (abs(apart) - self.deviation_s) / 4
        timeout = smoothed + 4 * deviation
        if timeout < self._shortest_s:
            timeout = self._shortest_s
        elif timeout > self._longest_s:
            timeout = self._longest_s
        self.timeout_s = timeout
