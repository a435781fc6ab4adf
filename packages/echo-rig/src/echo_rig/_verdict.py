"""What a conversation says about something that arrived, and what is to be done."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echo_rig._sending import Sending


class Verdict(enum.Enum):
    """What arrived."""

    #: The echo of a message that was waiting for it.
    CONFIRMED = "confirmed"
    #: The same, but only the first `max_message_size` bytes of it.
    TRUNCATED_ECHO = "truncated echo"
    #: Something to be delivered.
    NEWS = "news"
    #: A numbered message that came before; echoed again, not delivered.
    DUPLICATE = "duplicate"
    #: One more echo of something sent here; neither echoed nor delivered.
    SURPLUS_ECHO = "surplus echo"
    #: No event message, where an echo was expected; the oldest message that waits has failed.
    UNEXPECTED = "unexpected"
    #: The other end reports a failed callback (event 0); never echoed.
    ERROR_MESSAGE = "error message"
    #: A numbered message that waits for those before it; echoed and delivered later.
    HELD = "held"
    #: Beyond a limit, or too late; neither echoed nor delivered.
    REFUSED = "refused"
    #: One of a message that goes round and round; dropped, which ends it.
    BOUNCE = "bounce"
    #: Part of a message in a stream: blanks that belong to a number, or the
    #: beginning of an echo of raw text; neither echoed nor delivered.
    FILLER = "filler"


@dataclass(slots=True)
class Received:
    """What arrived, and what to do now: write first, then deliver.

    Attributes
    ----------
    verdict : Verdict
        What it was.
    write : tuple of bytes
        To be put on the wire now, in this order, each one a datagram or a
        write of its own.
    deliver : tuple of bytes
        Messages for callbacks in their order, exactly as they came, among
        them pings.
    sending : Sending or None
        The message that is confirmed (`CONFIRMED`, `TRUNCATED_ECHO`) or has failed
        (`UNEXPECTED`). Its context is None for a greeting.
    """

    verdict: Verdict
    write: tuple[bytes, ...] = ()
    deliver: tuple[bytes, ...] = ()
    sending: Sending | None = None


@dataclass(slots=True)
class Due:
    """What to do because time has passed: write first, then deliver.

    Attributes
    ----------
    write : tuple of bytes
        To be put on the wire now, in this order.
    deliver : tuple of bytes
        Messages for callbacks in their order, as they came.
    """

    write: tuple[bytes, ...] = ()
    deliver: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Counters:
    """How often what arrived was what; `Verdict` has the meanings."""

    sent: int = 0
    confirmed: int = 0
    truncated_echoes: int = 0
    news: int = 0
    duplicates: int = 0
    surplus_echoes: int = 0
    unexpected: int = 0
    error_messages: int = 0
    held: int = 0
    refused: int = 0
    bounces: int = 0
    fillers: int = 0
