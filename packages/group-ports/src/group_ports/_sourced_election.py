"""In the place of the election, where a leader source decides.

::

    thread of the source ──▶ Bulletin ──▶ SourcedElection ──▶ actions, as of Election

What was said last is all that counts, so nothing piles up. It is read before
anything else is looked at, and ends by the clock when its time is over.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from group_ports._actions import BindAnswer, LeaderElected, LeaderExited, Report, UnbindAnswer
from group_ports._election import Role
from group_ports._leader import NOWHERE, KnownLeader
from group_ports._quiet_log import QuietLogger
from group_ports.leader_source import MAX_TERM
from wireframe.group import LeaderNote

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_ports._actions import Action
    from group_ports.leader_source import Leadership
    from wireframe.group import Ballot, Request

_quiet = QuietLogger(logging.getLogger(__name__))


class Bulletin:
    """The latest word of a leader source; written by one thread, read by another."""

    def __init__(self) -> None:
        # To append to it and to pop from it are atomic; the second word pushes the first one out.
        self._words: deque[Leadership | None] = deque(maxlen=1)

    @property
    def is_new(self) -> bool:
        """Whether something was posted since it was read."""
        return bool(self._words)

    def post(self, word: Leadership | None) -> None:
        """Replace what is there."""
        self._words.append(word)

    def take(self) -> Leadership | None:
        """Read it; there must be news."""
        return self._words.popleft()


@dataclass(slots=True)
class SourcedTerms:
    """The terms that a member of such a group has to remember; see `_terms`."""

    led: int
    voted: int


class SourcedElection:
    """Who leads, as the source says it; does for a member what `Election` does.

    Parameters
    ----------
    bulletin : Bulletin
    own_id : bytes
    emit : callable
        Gets each action, in order.
    last_term : int, optional

    Attributes
    ----------
    role : Role
        Never a candidate.
    terms : SourcedTerms
    leader : KnownLeader
    until : float
        Monotonic seconds until which the leader is one.

    Raises
    ------
    ValueError
        A term that is none.
    """

    def __init__(
        self,
        bulletin: Bulletin,
        own_id: bytes,
        emit: Callable[[Action], None],
        last_term: int | None = None,
    ) -> None:
        term = last_term or 0
        if not 0 <= term <= MAX_TERM:
            raise ValueError(f"a term of {term}")
        self._bulletin = bulletin
        self._own_id = own_id
        self._emit = emit
        self.role = Role.FOLLOWER
        self.terms = SourcedTerms(term, term)
        self.leader = KnownLeader(emit)
        self.until = math.inf
        # Who led in the highest term, as far as known.
        self._led_by: bytes | None = None

    def next_deadline(self) -> float:
        """Tell when `on_time` has something to do: at once, if there is news."""
        return -math.inf if self._bulletin.is_new else self.until

    def on_time(self, now: float) -> None:
        """Read the news, and give up a leader whose time is over."""
        if self._bulletin.is_new:
            self._read(self._bulletin.take(), now)
        if now >= self.until:
            self._lose()

    def on_request(self, request: Request, now: float) -> None:
        """``req``: ignored; nobody is elected here."""

    def on_ballot(self, ballot: Ballot, now: float) -> None:
        """``vot``: ignored."""

    def on_note(self, note: LeaderNote, now: float) -> None:
        """``ldr``: ignored; the source knows better."""

    def on_member_left(self, member_id: bytes, now: float) -> None:
        """``mlt``: the source will say so if it was the leader."""

    def answer_bound(self, host: str, port: int, now: float) -> None:
        """Take in where this leader answers."""
        if self.role is Role.LEADER:
            self.leader.address = (host, port)

    def leave(self, now: float) -> None:
        """Give up whatever this member is."""
        self._lose()

    def _read(self, word: Leadership | None, now: float) -> None:
        # A process that was stopped reads what was true before: not even for a moment does it lead.
        if word is None or now >= word.until or not self._is_credible(word):
            self._lose()
            return
        if word.leader_id == self._own_id:
            if self.role is not Role.LEADER or word.term != self.terms.led:
                self._lose()
                self._lead(word.term)
        elif word.address is None:
            # It cannot be asked yet, so it is no leader yet.
            self._lose()
            return
        else:
            if self.role is Role.LEADER:
                self._lose()
            note = LeaderNote(word.term, word.leader_id, *word.address)
            self.leader.follow(note, is_new_term=word.term != self.terms.led)
        self.terms.led, self._led_by, self.until = word.term, word.leader_id, word.until

    def _lead(self, term: int) -> None:
        self.role = Role.LEADER
        self.leader.id, self.leader.address = self._own_id, NOWHERE
        self._emit(BindAnswer())
        self._emit(Report(LeaderElected(self._own_id, term)))

    def _lose(self) -> None:
        self.until = math.inf
        if self.role is Role.LEADER:
            self.role = Role.FOLLOWER
            self.leader.id = None
            self._emit(UnbindAnswer())
            self._emit(Report(LeaderExited(self._own_id)))
        else:
            self.leader.lose()

    def _is_credible(self, word: Leadership) -> bool:
        """Tell whether the term is a fencing token still."""
        if word.term > self.terms.led:
            return True
        if word.term == self.terms.led and self._led_by in (None, word.leader_id):
            return True
        _quiet.warn("source", "term", "a leader source went back to term %d: no leader", word.term)
        return False
