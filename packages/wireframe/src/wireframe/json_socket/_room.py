"""The connections of a server: whose turn it is, who is late, and who gives way when there are too many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

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
    """

    def __init__(self, places: int, *, header_timeout: float, frame_timeout: float) -> None:
        self.places = places
        self._header_timeout = header_timeout
        self._frame_timeout = frame_timeout
        self._guests: dict[Guest, None] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Guest]:
        return iter(self._guests)

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._guests

    def enter(self, guest: Guest) -> None:
        """Let a guest in, behind all others."""
        self._guests[guest] = None

    def leave(self, guest: Guest) -> None:
        """Let a guest go, if it is here."""
        self._guests.pop(guest, None)

    @property
    def is_full(self) -> bool:
        """Whether a new guest needs the place of another."""
        return len(self._guests) >= self.places

    def has_place(self, now: float) -> bool:
        """Whether a new guest may come in, be it for another."""
        return len(self._guests) < self.places or self.dispensable(now) is not None

    def dispensable(self, now: float) -> Guest | None:
        """Who goes first when there are too many: strangers that say nothing, then the idle.

        Nobody before `GRACE` is over; until then the new ones wait in the
        system's queue.
        """
        idle = [guest for guest in self._guests if guest.idle and guest.since + GRACE <= now]
        silent = (guest for guest in idle if not guest.served)
        return next(silent, idle[0] if idle else None)

    def ready(self) -> Guest | None:
        """Whose message is taken next."""
        for guest in self._guests:
            if guest.message is not NEED_DATA and not guest.outgoing:
                return guest
        return None

    def leaving(self, now: float) -> list[Guest]:
        """Who was closed, or should have made its next step."""
        header, frame = self._header_timeout, self._frame_timeout
        return [guest for guest in self._guests if guest.closed or guest.due(header, frame) <= now]

    def next_due(self, now: float) -> float:
        """When something has to be decided, whatever the guests do until then."""
        header, frame = self._header_timeout, self._frame_timeout
        times = [guest.due(header, frame) for guest in self._guests]
        if not self.has_place(now):  # then somebody may be outside, until somebody has been silent for long
            times += [guest.since + GRACE for guest in self._guests if guest.idle]
        return min(times, default=math.inf)

    def shift(self, seconds: float) -> None:
        """Move all clocks on by a time in which nobody could be heard."""
        for guest in self._guests:
            guest.since += seconds
            guest.held_since += seconds
