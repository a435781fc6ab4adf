"""The bounds of one conversation, each with the reason for its size."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """What one other end may cost, and how long things are waited for.

    Parameters
    ----------
    window : int
        Messages on their way at the same time; more are queued. The receive
        buffer of a socket holds about 250 small datagrams unless asked for more.
    span : int
        How far the number of a message may be ahead of the oldest one that
        its sender still wants delivered. Sender and receiver keep to it.
    held_messages, held_bytes : int
        Messages that came early and wait for those before them.
    held_s : float
        How long a message may wait for those before it, in seconds.
    sessions : int
        Sessions of the other end that are remembered, the present one included.
    recent_messages, recent_s : int, float
        Messages sent without a number that are remembered, and how long.
    late_messages : int
        Messages sent over TCP that are remembered because their echo is yet to come.
    late_responses : int
        Responses equal to their command that are waited for, per command text.
    surplus_s : float
        A copy of something sent here that comes sooner than this after the
        same bytes left here is taken for an echo of them, in seconds.
    identical : int or None
        Equal datagrams without a number that are echoed at the pace of the
        network; None for any number. After half of them the other end is
        greeted, so that one which can number does.
    identical_s : float
        That pace, as long as no round trip is known, in seconds. Then it is
        twice the timeout. A loop in a local network is faster, a program
        that reports at regular intervals is slower.
    echoes_per_s, echo_burst : float, int
        Echoes for one address: the rate, and how many at once.
    first_timeout_s, shortest_timeout_s, longest_timeout_s : float
        When a message is repeated: before a round trip is known, and bounds.
    greetings : int
        How often a greeting is sent before it is given up.
    greet_again_s : float
        When a message has waited so long for its echo, in seconds, and the other end is not known to
        number, it is greeted again, then after `longest_timeout_s`, and so on at intervals growing by
        half. More than the time that a send usually has.
    greeting_s : float
        How long a greeting is waited for over TCP, in seconds.
    copies, copies_per_s : int, float
        Echoes of copies of one numbered message: at once, and per second in
        the long run. More often than that no sender repeats itself; it is a loop.

    Raises
    ------
    ValueError
        A limit is not more than 0.
    """

    window: int = 128
    span: int = 1024
    held_messages: int = 1024
    held_bytes: int = 4 * 1024 * 1024
    held_s: float = 5.0
    sessions: int = 5
    recent_messages: int = 256
    recent_s: float = 10.0
    late_messages: int = 4096
    late_responses: int = 4
    surplus_s: float = 0.25
    identical: int | None = 1024
    identical_s: float = 0.05
    echoes_per_s: float = 20_000.0
    echo_burst: int = 20_000
    first_timeout_s: float = 0.05
    shortest_timeout_s: float = 0.01
    longest_timeout_s: float = 0.5
    greetings: int = 5
    greet_again_s: float = 1.5
    greeting_s: float = 5.0
    copies: int = 16
    copies_per_s: float = 3.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"{field.name} must be more than 0, not {value}")
