"""The words of experiment messages: events, states, and the numbers they travel as.

Values taken from the observable behaviour of iblutil 1.20.0.
"""

from __future__ import annotations

import enum
from typing import Final

#: Port that both ends use unless told otherwise, UDP and TCP.
LISTEN_PORT: Final = 11001
#: Version of the messages, as the original tells it.
PROTOCOL_VERSION: Final = "1.0.0"


class ExpMessage(enum.IntFlag, boundary=enum.STRICT):
    """What a message is about: its first item.

    Events combine: ``ExpMessage.EXPINIT | ExpMessage.EXPSTART`` means either.
    A message carries a single one, or 0, which reports an error.

    Notes
    -----
    Numbers with other bits than those of the eight events are a ``ValueError``
    and leave nothing behind. Otherwise every unknown number from the network
    would stay in this class for ever.

    Examples
    --------
    >>> f"{ExpMessage.EXPSTART}", ExpMessage.any()
    ('2', <ExpMessage.EXPINIT|EXPSTART|EXPEND|EXPCLEANUP|EXPINTERRUPT|EXPSTATUS|EXPINFO|ALYX: 255>)
    """

    EXPINIT = 1
    EXPSTART = 2
    EXPEND = 4
    EXPCLEANUP = 8
    EXPINTERRUPT = 16
    EXPSTATUS = 32
    EXPINFO = 64
    ALYX = 128

    __version__ = PROTOCOL_VERSION

    @staticmethod
    def any() -> ExpMessage:
        """Return all events together; 0, the error, is not among them."""
        return ExpMessage(255)

    @staticmethod
    def validate(event: ExpMessage | int | str, allow_bitwise: bool = True) -> ExpMessage:
        """Return the event that is meant.

        Parameters
        ----------
        event : ExpMessage, int or str
            A value (True counts as 1), or a name: upper or lower case, with
            white space around it, with or without ``EXP`` in front.
        allow_bitwise : bool
            Whether 0 and several events together are fine.

        Raises
        ------
        ValueError
            There is no such event; or it is 0 or several and that is not allowed.
        TypeError
            `event` is of another type.

        Examples
        --------
        >>> ExpMessage.validate(" ExpInit "), ExpMessage.validate("start")
        (<ExpMessage.EXPINIT: 1>, <ExpMessage.EXPSTART: 2>)
        """
        if isinstance(event, str):
            name = event.strip().upper()
            member = ExpMessage.__members__.get(name) or ExpMessage.__members__.get(f"EXP{name}")
            if member is None:
                raise ValueError(
                    f"{event[:64]!r} is no event; events are {', '.join(ExpMessage.__members__)}"
                )
            return member
        if not isinstance(event, int):
            raise TypeError(f"an event is an ExpMessage, int or str, not {type(event).__name__}")
        # Looked at before the class is, which keeps every combination it is asked for. And a number of
        # thousands of digits must not be worked on or quoted.
        if not -256 <= event <= 255:
            raise ValueError("the number is no event; events are the powers of two from 1 to 128")
        if not allow_bitwise and (event < 0 or event.bit_count() != 1):
            raise ValueError(f"{int(event)} is not a single event")
        return event if isinstance(event, ExpMessage) else ExpMessage(int(event))


class ExpStatus(enum.IntEnum):
    """How far an experiment is."""

    CONNECTED = 0
    INITIALIZED = 10
    RUNNING = 20
    STOPPED = 30

    __version__ = PROTOCOL_VERSION
