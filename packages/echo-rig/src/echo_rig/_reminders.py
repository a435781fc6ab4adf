"""When to send a greeting that nobody asked for: rules 4 and 6 of `echo_rig._conversation`."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echo_rig._limits import Limits


class Reminders:
    """Times of greetings, in monotonic seconds; infinity for never.

    Parameters
    ----------
    limits : Limits

    Attributes
    ----------
    tell_at : float
        When to tell the other end that a number was given up, if no message does so before.
    is_untold : bool
        Whether a number was given up before the other end was known to number.
    greet_at : float
        When to see whether an end that is not known to number has to be greeted again.
    """

    __slots__ = ("_limits", "_patience_s", "greet_at", "is_untold", "tell_at")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._patience_s = limits.longest_timeout_s
        self.is_untold = False
        self.tell_at = inf
        self.greet_at = inf

    def tell_soon(self, now: float) -> float:
        """Tell of a number that was given up, and return when.

        Not now: mostly the next message says so in time, and many are given up at once.
        """
        self.tell_at = now + self._limits.shortest_timeout_s
        return self.tell_at

    def greet_later(self, now: float) -> float:
        """Greet again if the messages sent from now on wait for long; return when to look."""
        self.greet_at = now + self._limits.greet_again_s
        return self.greet_at

    def is_greeting_due(self, now: float, oldest_sent_at: float) -> bool:
        """Whether to greet once more now, and set the time of the next look.

        If messages wait: without a number of the other end none of them is repeated.
        """
        due_at = oldest_sent_at + self._limits.greet_again_s
        if due_at > now:
            self.greet_at, self._patience_s = due_at, self._limits.longest_timeout_s
            return False
        self.greet_at = now + self._patience_s
        self._patience_s *= 1.5
        return True

    def stop(self) -> None:
        """Send none any more: all messages are gone."""
        self.tell_at = self.greet_at = inf
