"""The leader that a member knows: who, where it answers, and how long the member is bound to it.

A member that has heard its leader does not vote for another one for election_max:
whoever lost touch with the leader alone cannot unseat it. All members give a
silent leader up later than that (`_waits`), so when the first of them stands, the
others are free.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from group_ports._actions import ConnectQuery, DisconnectQuery, LeaderElected, LeaderExited, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_ports._actions import Action
    from wireframe.group import LeaderNote

#: What a note says as long as the leader's port is not bound.
NOWHERE = ("0.0.0.0", 0)  # noqa: S104 - never bound


class KnownLeader:
    """The leader, if there is one; perhaps the member itself.

    Parameters
    ----------
    emit : callable
        Gets each action, in order.

    Attributes
    ----------
    id : bytes or None
    address : tuple of str and int
        Where it answers.
    """

    def __init__(self, emit: Callable[[Action], None]) -> None:
        self._emit = emit
        self.id: bytes | None = None
        self.address = NOWHERE
        self._bound_until = -math.inf

    def follow(self, note: LeaderNote, *, is_new_term: bool) -> None:
        """Follow whoever sent this, and point the query port there."""
        address = (note.host, note.port)
        is_news = is_new_term or self.id != note.leader
        is_elsewhere = self.id is None or address != self.address
        if self.id not in (None, note.leader):
            self._emit(Report(LeaderExited(self.id)))
        self.id, self.address = note.leader, address
        if is_elsewhere:
            self._emit(ConnectQuery(*address) if note.port else DisconnectQuery())
        if is_news:
            self._emit(Report(LeaderElected(note.leader, note.term)))

    def lose(self) -> bool:
        """Give it up; tell whether there was one."""
        if self.id is None:
            return False
        leader, self.id = self.id, None
        self._emit(DisconnectQuery())
        self._emit(Report(LeaderExited(leader)))
        return True

    def bind(self, until: float) -> None:
        """Vote for nobody else until then."""
        self._bound_until = until

    def binds(self, candidate: bytes, now: float) -> bool:
        """Tell whether it keeps the member from voting for this candidate."""
        return self.id not in (None, candidate) and now < self._bound_until
