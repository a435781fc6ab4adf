"""How a group stands, as its member sees it: written by the worker, read by anybody."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from group_ports._statistics import PortStatistics

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One moment of a group.

    Attributes
    ----------
    leader_id : bytes or None
    is_leader : bool
        Whether this member leads. A process that was stopped does not know that it
        was: whoever guards something by the leadership checks `term` there.
    term : int
        Fencing token: the term of the last leader known. Never goes back.
    member_ids : frozenset of bytes
        Members known, this one included; empty once it has left.
    until : float
        With a leader source: when there is no leader any more unless the source says
        so again (`time.monotonic`). Infinite without one.
    """

    leader_id: bytes | None = None
    is_leader: bool = False
    term: int = 0
    member_ids: frozenset[bytes] = frozenset()
    until: float = math.inf

    @property
    def size(self) -> int:
        """How many members are known."""
        return len(self.member_ids)


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """What a group counted since it was made.

    Attributes
    ----------
    publisher, subscriber, query, answer : PortStatistics
        Of its ports; the last two are zero in a group without a leader.
    dropped_messages, dropped_news : int
        Events that were dropped because the user did not take them in time.
    unsent : int
        Messages of the protocol that could not be sent.
    failed : int
        Messages that could not be handled, by a fault of this package.
    """

    publisher: PortStatistics = field(default_factory=PortStatistics)
    subscriber: PortStatistics = field(default_factory=PortStatistics)
    query: PortStatistics = field(default_factory=PortStatistics)
    answer: PortStatistics = field(default_factory=PortStatistics)
    dropped_messages: int = 0
    dropped_news: int = 0
    unsent: int = 0
    failed: int = 0


class StatusBoard:
    """Shows the status to other threads."""

    def __init__(self, status: GroupStatus) -> None:
        self._changed = threading.Condition()
        # A whole that never changes, so it may be read without a lock.
        self._status = status

    @property
    def status(self) -> GroupStatus:
        """The latest, without a leader whose time is over.

        The worker says so as well, but after a pause of the process others may ask
        before it comes to that.
        """
        status = self._status
        if time.monotonic() < status.until:
            return status
        return replace(status, leader_id=None, is_leader=False, until=math.inf)

    def show(self, status: GroupStatus) -> None:
        """Replace the status."""
        if status == self._status:
            return
        with self._changed:
            self._status = status
            self._changed.notify_all()

    def wait(self, condition: Callable[[GroupStatus], bool], wait_s: float) -> bool:
        """Wait until the condition holds; tell whether it did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.status), wait_s)
