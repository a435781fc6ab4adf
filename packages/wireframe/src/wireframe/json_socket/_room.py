"""The connections of a server: whose turn it is, who is late, and who gives way when there are too many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from wireframe._decoder import NEED_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wireframe.json_socket._guest import Guest

#: Seconds a connection may say nothing before it has to give way to a new one
#: when there are too many: well-behaved clients speak long before.
GRACE: Final = 1.0


class Room:
    """The guests that are here, in the order in which they are served.

    Parameters
    ----------
    places : int
        How many there may be.
    header_timeout, frame_timeout : float
        Seconds, see `Guest.due`.

    Attributes
    ----------
    guests : dict of Guest to None
        Everybody, in turn.
    finished : dict of Guest to None
        Those whose message is complete and was not taken yet.
    """

    def __init__(self, places: int, *, header_timeout: float, frame_timeout: float) -> None:
        self.places = places
        self._header_timeout = header_timeout
        self._frame_timeout = frame_timeout
        self.guests: dict[Guest, None] = {}
        self.finished: dict[Guest, None] = {}

    def __iter__(self) -> Iterator[Guest]:
        return iter(self.guests)

    def enter(self, guest: Guest) -> None:
        """Let a guest in, behind all others."""
        self.guests[guest] = None

    def leave(self, guest: Guest) -> None:
        """Let a guest go, if it is here."""
        self.guests.pop(guest, None)
        self.finished.pop(guest, None)

    def take(self, guest: Guest) -> Any:
        """Take the message of a guest; its next one queues up behind those of the others."""
        message, guest.message = guest.message, NEED_DATA
        guest.served += 1
        self.finished.pop(guest, None)
        del self.guests[guest]
        self.guests[guest] = None
        return message

    @property
    def is_full(self) -> bool:
        """Whether a new guest needs the place of another."""
        return len(self.guests) >= self.places

    def has_place(self, now: float) -> bool:
        """Whether a new guest may come in, be it for another."""
        return len(self.guests) < self.places or self.dispensable(now) is not None

    def dispensable(self, now: float) -> Guest | None:
        """Who goes first when there are too many: strangers that say nothing, then the idle.

        Nobody before `GRACE` is over; until then the new ones wait in the
        system's queue.
        """
        idle = [guest for guest in self.guests if guest.idle and guest.since + GRACE <= now]
        silent = (guest for guest in idle if not guest.served)
        return next(silent, idle[0] if idle else None)

    def ready(self) -> Guest | None:
        """Whose message is taken next."""
        # All are looked through only if several messages wait.
        for guest in self.guests if len(self.finished) > 1 else self.finished:
            if guest.message is not NEED_DATA and not guest.outgoing:
                return guest
        return None

    def due(self, guest: Guest) -> float:
        """When this one must have made its next step."""
        return guest.due(self._header_timeout, self._frame_timeout)

    def leaving(self, now: float) -> list[Guest]:
        """Who was closed, or should have made its next step."""
        return [guest for guest in self.guests if guest.closed or self.due(guest) <= now]

    def next_due(self, now: float) -> float:
        """When something has to be decided, whatever the guests do until then."""
        times = [self.due(guest) for guest in self.guests]
        if not self.has_place(now):  # then somebody may be outside, until somebody has been silent for long
            times += [guest.since + GRACE for guest in self.guests if guest.idle]
        return min(times, default=math.inf)
