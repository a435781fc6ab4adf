"""What a server watches: its bell, its door, and of its guests those who may speak or are to listen."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wireframe.json_socket._poll import READ, new_poll

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from wireframe.json_socket._door import Door
    from wireframe.json_socket._guest import Guest


class Watch:
    """A poll object, and who is behind its descriptors.

    Attributes
    ----------
    guests : dict of int to Guest
        Those who are watched, by descriptor.
    bell : int
        The descriptor of the bell.
    """

    def __init__(self, bell: socket.socket) -> None:
        self._poll = new_poll()
        self.bell = bell.fileno()
        self.guests: dict[int, Guest] = {}
        self._poll.register(self.bell, READ)

    def afresh(self, door: Door, guests: Iterable[Guest]) -> None:
        """Forget all but the bell; an interrupt may have left half changed what is watched."""
        self._poll.close()
        self._poll = new_poll()
        self._poll.register(self.bell, READ)
        door.watched = door.steady = False
        self.guests = {}
        for guest in guests:
            guest.interest = 0

    def see_to(self, door: Door, *, room: bool) -> None:
        """Watch the door if there is room; see `Door.watch`."""
        door.watch(self._poll, room=room)

    def see(self, guest: Guest, interest: int) -> None:
        """Watch a guest for READ, for WRITE or, by 0, not at all."""
        if interest == guest.interest:
            return
        if not interest:
            self.forget(guest)
        elif guest.interest:
            self._poll.modify(guest.number, interest)
            guest.interest = interest
        else:
            stranger = self.guests.get(guest.number)
            if stranger is not None:  # somebody closed its socket behind our back, and the number came back
                self.forget(stranger)
                stranger.closed = True
            self._poll.register(guest.number, interest)
            self.guests[guest.number] = guest
            guest.interest = interest

    def forget(self, guest: Guest) -> None:
        """Do not watch a guest any more."""
        if guest.interest:
            guest.interest = 0
            del self.guests[guest.number]
            with contextlib.suppress(OSError):  # somebody closed its socket behind our back
                self._poll.unregister(guest.number)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Return the descriptors on which something is to be done, and what."""
        return self._poll.poll(seconds, len(self.guests) + 2)

    def close(self) -> None:
        """Give the descriptor of the poll object back, and touch nothing else."""
        self._poll.close()
