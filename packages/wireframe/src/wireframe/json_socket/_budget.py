"""How many bytes of long frames may be in memory at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wireframe.json_socket._guest import SMALL_FRAME

if TYPE_CHECKING:
    from wireframe.json_socket._guest import Guest


class Budget:
    """Bounds the memory of long frames by what arrived of them.

    Wanted: memory does not follow the number of connections times the size
    limit, no frame waits because another was only announced, and there is
    always one that goes on.

    Strategy: the oldest long frame is read whatever it needs. All others share
    `size` by what they hold; while that is used up they are not read. So the
    bound is two frames of `size`, and one more read.

    Parameters
    ----------
    size : int
        Bytes of the longest frame.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._long: dict[Guest, None] = {}  # oldest first

    def charge(self, guest: Guest, arrived: int, frame_size: int) -> None:
        """Take note of what arrived of a frame that is not served yet.

        Parameters
        ----------
        guest : Guest
        arrived, frame_size : int
            Bytes here, and bytes in all, as far as the header is here.
        """
        if guest not in self._long:
            if frame_size <= SMALL_FRAME:
                return
            self._long[guest] = None
        self._used += arrived - guest.share
        guest.share = arrived
        self._share_out()

    def give_back(self, guest: Guest) -> None:
        """Forget the frame of a guest that is served, or gone."""
        if guest not in self._long:
            return
        del self._long[guest]
        self._used -= guest.share
        guest.share = 0
        guest.hold(time.monotonic(), held=False)
        self._share_out()

    def _share_out(self) -> None:
        """Say who is read; few frames are long, so all are looked at."""
        first = next(iter(self._long), None)
        if first is None:
            return
        full = self._used - first.share >= self._size
        now = time.monotonic()
        for guest in self._long:
            guest.hold(now, held=full and guest is not first)
