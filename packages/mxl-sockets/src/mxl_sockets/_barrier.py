"""One frozen step: what was asked of whom, and what came back.

The rules, all of them here and none of them in the socket code:

* A step is frozen as a whole: molecules and fields stay what they were until
  every molecule has answered, whatever dies or times out in between.
* A molecule is asked once. It is asked again only if the driver it was asked
  through is gone *before* answering.
* An answer that arrived is kept, also when its driver dies afterwards.

So every driver commits a step exactly once. With ``two_phase`` a driver is
told to commit only when all open molecules have staged; a death before that
leaves the others staged and uncommitted.

::

                 ask            reply
    UNASKED ───────────▶ ASKED ────────▶ ANSWERED          (direct)
       │  ask        staged        commit
       └─────▶ STAGING ────▶ STAGED ─────▶ ASKED ─▶ …       (two-phase)

    any of STAGING, STAGED, ASKED ──lose──▶ UNASKED

No sockets, no clock: time comes in as ``now`` (seconds, monotonic).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stage(enum.IntEnum):
    """How far one molecule is in the frozen step."""

    UNASKED = 0
    STAGING = 1
    STAGED = 2
    ASKED = 3
    ANSWERED = 4


# Used at every step, and cheaper to get at than members of their class.
_UNASKED: Final = Stage.UNASKED
_STAGING: Final = Stage.STAGING
_STAGED: Final = Stage.STAGED
_ASKED: Final = Stage.ASKED
_ANSWERED: Final = Stage.ANSWERED


@dataclass(slots=True)
class StepResult:
    """A complete step.

    Attributes
    ----------
    ids : tuple of int
        Molecules in frozen order.
    amplitudes : bytes
        One vector (24 bytes, 3 little-endian float64, atomic units) each; of an
        evaluation of forces what `pack_answer` made of each, one after the other.
    extras : list of bytes
        One byte string each.
    """

    ids: tuple[int, ...]
    amplitudes: bytes
    extras: list[bytes]


class Barrier:
    """Collects one answer per molecule for one frozen step.

    Parameters
    ----------
    two_phase : bool
        Ask for staging first and for the commit when everybody has staged.

    Notes
    -----
    Molecules are addressed by *slot*, their position in the frozen order.
    Not safe for several threads at once.
    """

    def __init__(self, *, two_phase: bool = False) -> None:
        self.two_phase = two_phase
        self.ids: tuple[int, ...] = ()
        self.fields = b""
        #: Of an evaluation of forces, which has no fields: what each is sent.
        self.requests: tuple[bytes, ...] = ()
        self._slots: dict[int, int] = {}
        self._slots_of: tuple[int, ...] = ()
        self._fresh = False
        self._stages: list[Stage] = []
        self._asked_at: list[float] = []
        self._amplitudes: list[bytes] = []
        self._extras: list[bytes] = []
        self._amplitude_block = b""
        #: When somebody was asked last, seconds, monotonic.
        self.latest_ask = 0.0
        #: Molecules that have not answered.
        self.open = 0
        # Molecules that stand in the way of the commit; counted, because to look
        # at all of them whenever one has staged would be quadratic.
        self._unstaged = 0

    @property
    def frozen(self) -> bool:
        """Whether a step is under way."""
        return bool(self.ids)

    @property
    def complete(self) -> bool:
        """Whether every molecule of the frozen step has answered."""
        return not self.open and bool(self.ids)

    def freeze(self, ids: tuple[int, ...], fields: bytes, requests: tuple[bytes, ...] = ()) -> None:
        """Begin a step.

        Parameters
        ----------
        ids : tuple of int
            Different molecules, at least one.
        fields : bytes
            24 bytes for each; none for an evaluation of forces.
        requests : tuple of bytes
            For an evaluation of forces: a whole request for each.

        Raises
        ------
        ValueError
            A step is under way, `ids` is empty or repeats an id, or the sizes
            do not agree. Nothing is changed then.
        """
        if self.ids:
            raise ValueError("a step is under way; it must be completed first")
        # The usual case is the same molecules as in the step before.
        slots, count = self._slots, len(ids)
        if ids is self._slots_of or ids == self._slots_of:
            ids = self._slots_of  # the same object again: cheap to recognise
        else:
            slots = {molecule_id: slot for slot, molecule_id in enumerate(ids)}
        fits = len(requests) == count and not fields if requests else len(fields) == 24 * count
        if not ids or len(slots) != count or not fits:
            raise ValueError("a step needs different molecules and one vector for each")
        self._slots, self._slots_of = slots, ids
        self._fresh = True
        self.ids, self.fields, self.requests = ids, fields, requests
        self._stages = [_UNASKED] * count
        self._asked_at = [0.0] * count
        self._amplitudes = [b""] * count
        self._extras = [b""] * count
        self.open = self._unstaged = count

    def slot_of(self, molecule_id: int) -> int | None:
        """Return the slot of a molecule in the frozen step, None if it has none."""
        return self._slots.get(molecule_id) if self.ids else None

    def stage_of(self, slot: int) -> Stage:
        """Return how far the molecule in `slot` is."""
        return self._stages[slot]

    def unanswered(self) -> list[int]:
        """Return the slots that have not answered."""
        if self.open == len(self.ids):
            return list(range(self.open))
        return [slot for slot, stage in enumerate(self._stages) if stage is not _ANSWERED]

    def unasked(self) -> Sequence[int]:
        """Return the slots that have not been asked, or whose driver was lost since."""
        if self._fresh:
            return range(self.open)
        return [slot for slot, stage in enumerate(self._stages) if stage is _UNASKED]

    def ask(self, now: float) -> Sequence[int]:
        """Mark all unasked molecules as asked and return their slots.

        The caller sends each the request: the combined one, or in two-phase
        mode the field and a status question.
        """
        # Forces commit nobody to anything: there is nothing to stage.
        after = _STAGING if self.two_phase and not self.requests else _ASKED
        self.latest_ask = now
        if self._fresh:
            self._fresh = False
            self._stages = [after] * self.open
            self._asked_at = [now] * self.open
            return range(self.open)
        slots = self.unasked()
        for slot in slots:
            self._stages[slot] = after
            self._asked_at[slot] = now
        return slots

    def stage(self, slot: int) -> list[int]:
        """Note that a molecule has staged; return the slots that must commit now.

        The list is empty while others still stage. The returned molecules are
        marked as asked.

        Raises
        ------
        ValueError
            The molecule was not asked to stage.
        """
        if self._stages[slot] is not _STAGING:
            raise ValueError(f"molecule {self.ids[slot]} was not asked to stage")
        self._stages[slot] = _STAGED
        self._unstaged -= 1
        return self.commit()

    def commit(self) -> list[int]:
        """Mark those who have staged as asked, once everybody has; return them."""
        if self._unstaged:
            return []
        due = [other for other, stage in enumerate(self._stages) if stage is _STAGED]
        for other in due:
            self._stages[other] = _ASKED
        return due

    def answer(self, slot: int, amplitude: bytes, extra: bytes) -> None:
        """Keep the answer of a molecule that was asked.

        Parameters
        ----------
        slot : int
        amplitude : bytes
            24 bytes; of an evaluation of forces what `pack_answer` made.
        extra : bytes

        Raises
        ------
        ValueError
            The molecule was not asked: its answer would be somebody else's.
        """
        if self._stages[slot] is not _ASKED:
            raise ValueError(f"molecule {self.ids[slot]} was not asked")
        self._stages[slot] = _ANSWERED
        self._amplitudes[slot] = amplitude
        self._extras[slot] = extra
        self.open -= 1

    def answer_all(self, amplitudes: bytes, extras: list[bytes]) -> None:
        """Keep the answers of all molecules at once.

        Parameters
        ----------
        amplitudes : bytes
            24 bytes for each, in frozen order.
        extras : list of bytes
            One for each.

        Raises
        ------
        ValueError
            Not all molecules were asked, or some have answered already.
        """
        count = len(self.ids)
        if self._stages.count(_ASKED) != count or len(amplitudes) != 24 * count or len(extras) != count:
            raise ValueError("not every molecule was asked")
        self._stages = [_ANSWERED] * count
        self._amplitude_block, self._extras = amplitudes, extras
        self.open = 0

    def lose(self, slot: int) -> bool:
        """Note that the driver of a molecule is gone; return whether it owed an answer.

        An answer that arrived stays. Otherwise the molecule will be asked
        again, through whoever replaces the driver.
        """
        stage = self._stages[slot]
        if stage is _ANSWERED:
            return False
        if stage in (_STAGED, _ASKED):
            self._unstaged += 1
        self._stages[slot] = _UNASKED
        return True

    def extra_of(self, molecule_id: int) -> bytes | None:
        """Return the extra that a molecule has already sent in this step."""
        slot = self.slot_of(molecule_id)
        if slot is None or self._stages[slot] is not _ANSWERED:
            return None
        return self._extras[slot]

    def late(self, now: float) -> dict[int, float]:
        """Return who was asked and has not answered, and for how long (s)."""
        waited_for = (_STAGING, _ASKED)
        return {
            self.ids[slot]: now - self._asked_at[slot]
            for slot, stage in enumerate(self._stages)
            if stage in waited_for
        }

    def give_up(self) -> bool:
        """Forget a step that nobody wants any more; False, and nothing changed, if answers to it may come."""
        if any(stage in (_STAGING, _STAGED, _ASKED) for stage in self._stages):
            return False
        self._forget()
        return True

    def take(self) -> StepResult:
        """Return the answers of a complete step and forget it.

        Raises
        ------
        ValueError
            The step is not complete.
        """
        if self.open or not self.ids:
            raise ValueError("the step is not complete")
        result = StepResult(self.ids, self._amplitude_block or b"".join(self._amplitudes), self._extras)
        self._forget()
        return result

    def _forget(self) -> None:
        self.ids, self.fields, self.requests, self._amplitude_block = (), b"", (), b""
        self._stages, self._asked_at, self._amplitudes, self._extras = [], [], [], []
