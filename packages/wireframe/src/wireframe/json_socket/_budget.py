"""How many bytes of long frames may be under way at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wireframe.json_socket._guest import SMALL_FRAME

if TYPE_CHECKING:
    from wireframe.json_socket._guest import Guest


class Budget:
    """Lets long frames in one after the other, short ones always.

    Without it the memory a server may need would be the size limit times the
    number of connections.

    Parameters
    ----------
    size : int
        Bytes; a frame beyond it is let in when it is the only one.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._waiting: dict[Guest, None] = {}

    def admit(self, guest: Guest) -> None:
        """Give the guest's frame its share, or hold it until there is one.

        The clock of a held guest stands still.
        """
        size = guest.frame_size
        if size <= SMALL_FRAME or guest.share:
            return
        guest.held = bool(self._used) and self._used + size > self._size
        if guest.held:
            self._waiting[guest] = None
        else:
            guest.share = size
            self._used += size
            if self._waiting.pop(guest, guest) is None:
                guest.since = time.monotonic()

    def give_back(self, guest: Guest) -> None:
        """Take the share of a guest that is served, or gone."""
        self._waiting.pop(guest, None)
        if guest.share:
            self._used -= guest.share
            guest.share = 0
            for other in [*self._waiting]:
                self.admit(other)
