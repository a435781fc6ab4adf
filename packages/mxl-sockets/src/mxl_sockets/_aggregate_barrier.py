"""One frozen step of all groups: what each bridge was asked, and what came back.

A bridge stands for a group of molecules and answers for all of them at once,
in a frame without a number. So the rules are those of `Barrier`, with groups in
the place of molecules:

* A step is frozen as a whole and stays what it is until every group has answered.
* A group is asked once. It is asked again, with the very same frame, only if
  the bridge it was asked through is gone *before* answering. Whoever replaces
  that bridge has been given the molecules anew, and so have their drivers:
  what the old ones committed of the step is undone by a visible INIT.
* An answer that arrived is kept, also when its bridge dies afterwards.

A step is never given up. So a late answer is the answer of the step that is
still frozen, and an answer that nobody waits for ends its connection before
the next step is asked: none can be taken for that of another step.

No sockets, no clock: time comes in as ``now`` (seconds, monotonic).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class Share(Protocol):
    """What the barrier knows of one group's share in a step."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Its molecules."""


ShareT = TypeVar("ShareT", bound=Share)
AnswerT = TypeVar("AnswerT")


class GroupStage(enum.Enum):
    """How far one group is in the frozen step."""

    UNASKED = "unasked"
    ASKED = "asked"
    ANSWERED = "answered"


class GroupBarrier(Generic[ShareT, AnswerT]):
    """Collects one answer per group for one frozen step.

    Attributes
    ----------
    ids : tuple of int
        Molecules of the frozen step, in the order of the caller.
    fields : bytes
        24 bytes for each of them.
    shares : dict of str to share
        What each group is asked.
    answers : dict of str to answer
        What has come back.
    latest_ask : float
        When somebody was asked last, seconds, monotonic.
    """

    def __init__(self) -> None:
        self.ids: tuple[int, ...] = ()
        self.fields = b""
        self.shares: Mapping[str, ShareT] = {}
        self.answers: dict[str, AnswerT] = {}
        self.latest_ask = 0.0
        self._asked_at: dict[str, float] = {}

    @property
    def frozen(self) -> bool:
        """Whether a step is under way."""
        return bool(self.shares)

    @property
    def complete(self) -> bool:
        """Whether every group of the frozen step has answered."""
        return bool(self.shares) and len(self.answers) == len(self.shares)

    def freeze(self, ids: tuple[int, ...], fields: bytes, shares: Mapping[str, ShareT]) -> None:
        """Begin a step.

        Raises
        ------
        ValueError
            A step is under way, or nobody has a share in it. Nothing is changed then.
        """
        if self.shares:
            raise ValueError("a step is under way; it must be completed first")
        if not shares:
            raise ValueError("a step needs at least one group")
        self.ids, self.fields, self.shares = ids, fields, shares
        self.answers, self._asked_at = {}, {}

    def stage_of(self, group_id: str) -> GroupStage | None:
        """Return how far a group is, None if it has no share in a step."""
        if group_id not in self.shares:
            return None
        if group_id in self.answers:
            return GroupStage.ANSWERED
        return GroupStage.ASKED if group_id in self._asked_at else GroupStage.UNASKED

    def unanswered(self) -> list[str]:
        """Return the groups that have not answered."""
        return [group_id for group_id in self.shares if group_id not in self.answers]

    def unasked(self) -> list[str]:
        """Return the groups that have not been asked, or whose bridge was lost since."""
        return [
            group_id
            for group_id in self.shares
            if group_id not in self.answers and group_id not in self._asked_at
        ]

    def ask(self, group_id: str, now: float) -> ShareT:
        """Mark an unasked group as asked and return its share.

        Raises
        ------
        ValueError
            It has no share, was asked already, or has answered.
        """
        if self.stage_of(group_id) is not GroupStage.UNASKED:
            raise ValueError(f"group {group_id!r} is not to be asked")
        self._asked_at[group_id] = self.latest_ask = now
        return self.shares[group_id]

    def answer(self, group_id: str, answer: AnswerT) -> None:
        """Keep the answer of a group that was asked.

        Raises
        ------
        ValueError
            The group was not asked: its answer would be that of another step.
        """
        if self.stage_of(group_id) is not GroupStage.ASKED:
            raise ValueError(f"group {group_id!r} was not asked")
        self.answers[group_id] = answer
        del self._asked_at[group_id]

    def lose(self, group_id: str) -> bool:
        """Note that the bridge of a group is gone; return whether it owed an answer.

        An answer that arrived stays. Otherwise the group will be asked again,
        through whoever replaces the bridge.
        """
        return self._asked_at.pop(group_id, None) is not None

    def late(self, now: float) -> dict[int, float]:
        """Return which molecules were asked for and have not been answered, and for how long (s)."""
        return {
            molecule_id: now - since
            for group_id, since in self._asked_at.items()
            for molecule_id in self.shares[group_id].ids
        }

    def waited_for(self, now: float) -> dict[str, float]:
        """Return which groups were asked and have not answered, and for how long (s)."""
        return {group_id: now - since for group_id, since in self._asked_at.items()}

    def take(self) -> dict[str, AnswerT]:
        """Return the answers of a complete step and forget it.

        Raises
        ------
        ValueError
            The step is not complete.
        """
        if not self.complete:
            raise ValueError("the step is not complete")
        answers = self.answers
        self.ids, self.fields, self.shares = (), b"", {}
        self.answers, self._asked_at = {}, {}
        return answers
