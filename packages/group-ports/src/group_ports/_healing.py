"""Two leaders at a time: which of them is told what, and how often.

Reference members (RIAPS) adopt lower terms, may vote twice in a term, and lead on
without a quorum. So with them one leader per term is not certain; that all agree again
after a partition is, by this:

A stale leader is one that goes on in a term lower than ours. One of ours steps down as
soon as it hears the right leader. A reference member hears, as a leader, nothing but a
``ldr`` of exactly its own term with another id, and then follows that. So it is sent one
``ldr`` with *its* term that names the right leader. The right leader does it at
once; followers only if the stale one goes on for two heartbeats, because then the leader
may be deaf to it, or a reference member.

With no right leader, several stale ones may be too many for an election, because they do not
vote. Then those with the lower terms are made followers of the one with the highest.

A rival is a leader of our own term. Our next ``ldr`` makes a reference member a follower. A
rival that goes on is none: then the lower id steps down, on either side. (Among members
of ours this takes a quorum of half or less.)

All of this is throttled, so that no flood of notes is answered by a flood.
"""

from __future__ import annotations

from wireframe.group import LeaderNote

#: Other leaders remembered, and spoken to within a heartbeat, at most.
_MAX_OTHERS = 16
#: Heartbeats until something is said to the same one again: less than one, because leaders repeat
#: themselves each heartbeat.
_SILENCE = 0.75
#: Heartbeats of silence after which one is forgotten.
_PAUSE = 4.0


class Healing:
    """Remembers other leaders, and when something was said about them.

    Parameters
    ----------
    heartbeat : float
        Seconds.
    """

    def __init__(self, heartbeat: float) -> None:
        self._heartbeat = heartbeat
        # First and last time heard, by id; the latest at the end.
        self._others: dict[bytes, tuple[float, float]] = {}
        self._best: tuple[LeaderNote, float] | None = None
        # Until when nothing more is said, by id.
        self._told: dict[bytes, float] = {}

    def insists(self, other: bytes, heartbeats: float, now: float) -> bool:
        """Note another leader; tell whether it has been going on for so many heartbeats."""
        first, last = self._others.pop(other, (now, now))
        if now - last > _PAUSE * self._heartbeat:
            first = now
        while len(self._others) >= _MAX_OTHERS:
            del self._others[next(iter(self._others))]
        self._others[other] = (first, now)
        return now - first > heartbeats * self._heartbeat

    def better(self, note: LeaderNote, now: float) -> LeaderNote | None:
        """Take in a stale leader while there is no right one.

        Returns
        -------
        LeaderNote or None
            What makes it follow another stale leader of a higher term, if it has been going on for
            two heartbeats and there is such a one.
        """
        goes_on = self.insists(note.leader, 2.0, now)
        best, heard_at = self._best or (note, now)
        is_old = now - heard_at > _PAUSE * self._heartbeat
        if is_old or best.leader == note.leader or best.term <= note.term:
            self._best = (note, now)
            return None
        return LeaderNote(note.term, best.leader, best.host, best.port) if goes_on else None

    def may_tell(self, whom: bytes, now: float) -> bool:
        """Tell whether it is time to say something to this one; if so, it counts as said."""
        self._told = {other: until for other, until in self._told.items() if until > now}
        if whom in self._told or len(self._told) >= _MAX_OTHERS:
            return False
        self._told[whom] = now + _SILENCE * self._heartbeat
        return True
