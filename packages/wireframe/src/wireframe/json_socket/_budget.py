"""How many bytes of long frames may be in memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wireframe.json_socket._guest import SMALL_FRAME

if TYPE_CHECKING:
    from wireframe.json_socket._clock import Clock
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
    clock : Clock

    Attributes
    ----------
    long : dict of Guest to None
        Whose frames share it, oldest first.
    """

    def __init__(self, size: int, clock: Clock) -> None:
        self._size = size
        self._clock = clock
        self._used = 0
        self.long: dict[Guest, None] = {}

    def charge(self, guest: Guest, arrived: int, frame_size: int) -> None:
        """Take note of what arrived of a frame that is not served yet.

        Parameters
        ----------
        guest : Guest
        arrived, frame_size : int
            Bytes here, and bytes in all, as far as the header is here.
        """
        if guest not in self.long:
            if frame_size <= SMALL_FRAME:
                return
            self.long[guest] = None
        self._used += arrived - guest.share
        guest.share = arrived
        self._share_out()

    def give_back(self, guest: Guest) -> None:
        """Forget the frame of a guest that is served, or gone."""
        if guest not in self.long:
            return
        del self.long[guest]
        self._used -= guest.share
        guest.share = 0
        guest.hold(self._clock.now(), held=False)
        self._share_out()

    def _share_out(self) -> None:
        """Say who is read; few frames are long, so all are looked at."""
        first = next(iter(self.long), None)
        if first is None:
            return
        full = self._used - first.share >= self._size
        now = self._clock.now()
        for guest in self.long:
            guest.hold(now, held=full and guest is not first)
