"""Who is in the group: whoever was heard within the time for peers.

========================= ==================================================================
heard ``tic`` of an id    unknown: a member joined. Known: it lives.
heard ``mlt`` of an id    a member left. Its id is not let in again for one peer timeout, so
                          that a late or doubled ``tic`` does not raise it from the dead.
silence > peer timeout    a member left.
========================= ==================================================================

The member itself is always in, so sizes include it; what it hears of itself
through its own subscription changes nothing. All this is as the original does
it, but on a monotonic clock, and with an end to memory.
"""

from __future__ import annotations

import math

#: Members known, and departed ids remembered, at most. A group has a handful; whoever can write to
#: its ports could invent ids by the thousand.
MAX_MEMBERS = 1024


class Membership:
    """The members heard lately.

    Parameters
    ----------
    own_id : bytes
        16 bytes; always a member.
    peer_timeout : float
        Seconds of silence after which a peer is gone.

    Notes
    -----
    Not safe for several threads at once. Times are monotonic seconds.
    """

    def __init__(self, own_id: bytes, peer_timeout: float) -> None:
        self._own_id = own_id
        self._peer_timeout = peer_timeout
        # Oldest first: each sign of life moves its id to the end.
        self._heard: dict[bytes, float] = {}
        self._departed: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._heard) + 1

    def __contains__(self, member_id: object) -> bool:
        return member_id == self._own_id or member_id in self._heard

    def ids(self) -> frozenset[bytes]:
        """Tell the ids of all members, the own one included."""
        return frozenset((self._own_id, *self._heard))

    def is_departed(self, member_id: bytes) -> bool:
        """Tell whether this id said goodbye a moment ago."""
        return member_id in self._departed

    def heard(self, member_id: bytes, now: float) -> bool:
        """Note a sign of life.

        Returns
        -------
        bool
            Whether a member joined by it.
        """
        if member_id == self._own_id or member_id in self._departed:
            return False
        is_new = self._heard.pop(member_id, None) is None
        if is_new and len(self._heard) >= MAX_MEMBERS:
            return False
        self._heard[member_id] = now
        return is_new

    def left(self, member_id: bytes, now: float) -> bool:
        """Note a goodbye.

        Returns
        -------
        bool
            Whether it was a member's.
        """
        if member_id == self._own_id:
            return False
        was_member = self._heard.pop(member_id, None) is not None
        if was_member:
            self._departed.pop(member_id, None)
            while len(self._departed) >= MAX_MEMBERS:
                del self._departed[next(iter(self._departed))]
            self._departed[member_id] = now
        return was_member

    def expire(self, now: float) -> list[bytes]:
        """Drop and return the members that have been silent for too long."""
        _drop_expired(self._departed, self._peer_timeout, now)
        return _drop_expired(self._heard, self._peer_timeout, now)

    def next_deadline(self) -> float:
        """Tell when the next member is given up, should it stay silent."""
        oldest = next(iter(self._heard.values()), math.inf)
        return oldest + self._peer_timeout


def _drop_expired(times: dict[bytes, float], timeout: float, now: float) -> list[bytes]:
    """Drop and return the leading ids whose time is over."""
    dropped = []
    for member_id, heard_at in times.items():
        # The same sum as in `next_deadline`, so that rounding never makes a wake-up too early.
        if heard_at + timeout > now:
            break
        dropped.append(member_id)
    for member_id in dropped:
        del times[member_id]
    return dropped
