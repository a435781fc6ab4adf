"""What became of each numbered message, as its sender and the leaders tell it.

::

    sent  =  answered  +  refused  +  lost with the leader

A message is refused if `Group.sendToLeader` says so: there is no leader (False), or it is not
reached (`PortTimeout`). It is lost with the leader if the connection took it and no answer came
before the leader was gone; its sender knows, because it has kept account of its questions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controllers.controller import TAKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from controllers.account import Controller, Session


@dataclass(frozen=True, slots=True)
class Ledger:
    """The messages of one sender.

    Attributes
    ----------
    name : str
        Of the sender.
    numbers : sequence of int
        Those that `Group.sendToLeader` has said something of.
    refused : mapping of int to (str, float, float)
        What it said, and when the call began and ended, in monotonic seconds.
    answers : sequence of int
        Numbers that the leaders answered.
    told : set of int
        Numbers without an answer when the sender heard that the dead leader was gone.
    heard : sequence of int
        Numbers that leaders have read.
    """

    name: str
    numbers: Sequence[int]
    refused: Mapping[int, tuple[str, float, float]]
    answers: Sequence[int]
    told: AbstractSet[int]
    heard: Sequence[int]

    @property
    def lost(self) -> set[int]:
        """Numbers that were neither refused nor answered."""
        return set(self.numbers) - set(self.refused) - set(self.answers)

    @property
    def is_complete(self) -> bool:
        """Whether each number came to one end, and the sender knows to which."""
        return (
            list(self.numbers) == list(range(1, len(self.numbers) + 1))
            and set(self.answers) <= set(self.numbers) - set(self.refused)
            and self.lost <= self.told
        )

    @property
    def doubled(self) -> list[int]:
        """Numbers that were answered, or read by leaders, more than once."""
        return sorted(
            number
            for counts in (Counter(self.answers), Counter(self.heard))
            for number, times in counts.items()
            if times > 1
        )


def ledgers(session: Session) -> list[Ledger]:
    """Return the ledgers of those that were let live."""
    dead = session.controllers_named(session.first.leader)[0].member_id
    return [_ledger(session, sender, dead) for sender in session.survivors]


def _ledger(session: Session, sender: Controller, dead: str) -> Ledger:
    messages = sender.all("message")
    return Ledger(
        name=sender.name,
        numbers=[message["number"] for message in messages],
        refused={
            message["number"]: (message["outcome"], message["begin"], message["seconds"])
            for message in messages
            if message["outcome"] != TAKEN
        },
        answers=[answer["number"] for answer in sender.all("answer")],
        told={number for gone in sender.all("exited") if gone["leader"] == dead for number in gone["open"]},
        heard=[
            heard["number"]
            for leader in session.controllers
            for heard in leader.all("heard")
            if heard["sender"] == sender.member_id
        ],
    )
