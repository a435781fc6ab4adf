"""When not to echo: messages that go round and round, and too many of them."""

from __future__ import annotations

import enum
from math import inf
from typing import Final

#: Equal messages without a number that an end which numbers may send at the pace of the network: those that
#: were on their way before it began to, and those that ask for no echo.
UNNUMBERED: Final = 16


class Suspicion(enum.Enum):
    """What a message that comes again and again is taken for."""

    #: What somebody says again.
    NONE = "none"
    #: That, or a loop: greet the other end to know.
    GREET = "greet"
    #: A message that goes round and round: not to be echoed.
    LOOP = "loop"


class LoopBreaker:
    """Finds a message without a number that two ends send each other for ever.

    One doubled datagram makes a program that waits for one echo get two. It takes
    the second for a command and echoes it, and that echo, when it is echoed, comes
    back again. A datagram with a forged source does the same to two servers.
    Whoever has not sent the message cannot know that it is an echo, and a program that
    says the same again and again looks alike. But a loop runs at the pace of
    the network. So what comes often at that pace is suspected: the other end is
    greeted, because one that can number will number what it says from then on,
    and what still comes without a number can only be a loop. An old end
    cannot; there, after many more of the same, none is echoed until there is a pause.

    Parameters
    ----------
    limit : int or None
        How many of the same pass; None for any number. After half of them the
        other end is suspected.
    messages : int
        How many different ones are remembered.
    """

    __slots__ = ("_limit", "_messages", "_rows")

    def __init__(self, limit: int | None, messages: int) -> None:
        self._limit = limit
        self._messages = messages
        #: When each was last seen, and for the how many-th time; by hash, for a message may be long.
        self._rows: dict[int, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def judge(self, data: bytes, now: float, pause_s: float, *, would_be_numbered: bool) -> Suspicion:
        """Say what to think of this one; called for every one.

        Parameters
        ----------
        data : bytes
            The message.
        now : float
            Monotonic seconds.
        pause_s : float
            More than a message takes around a loop.
        would_be_numbered : bool
            Whether the other end numbers, and would have numbered this.
        """
        if self._limit is None:
            return Suspicion.NONE
        rows = self._rows
        key = hash(data)
        at, times = rows.get(key, (-inf, 0))
        if not times and len(rows) >= self._messages:
            del rows[next(iter(rows))]
        times = times + 1 if now - at < pause_s else 1
        rows[key] = now, times
        if times > self._limit or (would_be_numbered and times > min(self._limit, UNNUMBERED)):
            return Suspicion.LOOP
        return Suspicion.GREET if times == self._limit // 2 else Suspicion.NONE


class EchoBudget:
    """So many echoes per second for one address, so that nobody is flooded through us.

    It is filled up only when it is empty, so at most twice the burst may go out at once.

    Parameters
    ----------
    per_s : float
        Echoes per second.
    burst : int
        Echoes that may go out at once.
    """

    __slots__ = ("_burst", "_filled_at", "_left", "_per_s")

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._filled_at: float | None = None

    def take(self, now: float) -> bool:
        """Take one; False if there is none."""
        if self._filled_at is None:
            self._filled_at = now
        if self._left < 1:
            self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_s)
            self._filled_at = now
            if self._left < 1:
                return False
        self._left -= 1
        return True


class CopyBrake:
    """Limits the echoes of copies of one numbered message.

    A sender repeats itself at growing intervals until it has an echo. Copies
    that keep coming faster than that go around a loop: both ends take them for
    the other's, as after a message with a forged source.

    Parameters
    ----------
    copies, per_s : int, float
        Copies of one message that are echoed at once, and per second.
    messages : int
        Messages that are remembered.
    """

    __slots__ = ("_copies", "_messages", "_per_s", "_seen")

    def __init__(self, copies: int, per_s: float, messages: int) -> None:
        self._copies = copies
        self._per_s = per_s
        self._messages = messages
        #: Since when copies of a message come, and how many were echoed; by hash, for it may be long.
        self._seen: dict[int, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def passes(self, data: bytes, now: float) -> bool:
        """Say whether this copy is echoed."""
        key = hash(data)
        since, echoed = self._seen.get(key, (now, 0))
        if echoed >= self._copies + (now - since) * self._per_s:
            return False
        self._seen[key] = since, echoed + 1
        if len(self._seen) > self._messages:
            del self._seen[next(iter(self._seen))]
        return True
