"""The frozen step: every rule of `Barrier`, and the same rules on random histories."""

from __future__ import annotations

import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mxl_sockets._barrier import Barrier, Stage


def vector(*values):
    return struct.pack("<3d", *values)


def frozen(ids=(7, 3, 5), two_phase=False):
    barrier = Barrier(two_phase=two_phase)
    barrier.freeze(ids, bytes(24 * len(ids)))
    return barrier


def asked(ids=(7, 3, 5)):
    barrier = frozen(ids)
    barrier.ask(10.0)
    return barrier


def test_nothing_is_frozen_at_first():
    barrier = Barrier()
    assert not barrier.frozen
    assert not barrier.complete
    assert barrier.slot_of(0) is None
    assert barrier.unanswered() == []
    assert barrier.late(1.0) == {}
    assert barrier.extra_of(0) is None


def test_a_frozen_step_keeps_ids_and_fields_in_order():
    barrier = Barrier()
    barrier.freeze((7, 3), vector(1, 2, 3) + vector(4, 5, 6))
    assert barrier.frozen
    assert barrier.ids == (7, 3)
    assert barrier.fields == vector(1, 2, 3) + vector(4, 5, 6)
    assert [barrier.slot_of(one) for one in (7, 3, 5)] == [0, 1, None]
    assert [barrier.stage_of(slot) for slot in (0, 1)] == [Stage.UNASKED, Stage.UNASKED]
    assert barrier.unanswered() == [0, 1]
    assert not barrier.complete


@pytest.mark.parametrize(
    ("ids", "size"),
    [((), 0), ((), 24), ((1, 1), 48), ((1, 2), 24), ((1,), 48), ((1, 2), 47), ((7, 3), 0)],
)
@pytest.mark.parametrize("before", [None, (7, 3)])
def test_freeze_refuses_before_it_changes_anything(ids, size, before):
    barrier = Barrier()
    if before is not None:
        barrier.freeze(before, bytes(48))
        barrier.ask(1.0)
        barrier.answer_all(bytes(48), [b"", b""])
        barrier.take()
    with pytest.raises(ValueError, match="different molecules and one vector"):
        barrier.freeze(ids, bytes(size))
    assert not barrier.frozen
    assert not barrier.complete
    barrier.freeze((7, 3), bytes(48))
    assert list(barrier.ask(2.0)) == [0, 1]
    assert barrier.slot_of(3) == 1


def test_a_step_under_way_cannot_be_replaced():
    barrier = asked((7,))
    for ids in ((7,), (8,), (7, 8)):
        with pytest.raises(ValueError, match="under way"):
            barrier.freeze(ids, bytes(24 * len(ids)))
    assert barrier.ids == (7,)
    assert barrier.stage_of(0) is Stage.ASKED


def test_everybody_is_asked_once():
    barrier = frozen()
    assert list(barrier.ask(10.0)) == [0, 1, 2]
    assert list(barrier.ask(11.0)) == []
    assert barrier.late(12.0) == {7: 2.0, 3: 2.0, 5: 2.0}


def test_who_answered_is_neither_late_nor_asked_again():
    barrier = asked()
    barrier.answer(1, vector(1, 1, 1), b"one")
    assert barrier.unanswered() == [0, 2]
    assert barrier.late(11.0) == {7: 1.0, 5: 1.0}
    assert list(barrier.ask(12.0)) == []
    assert barrier.late(13.0) == {7: 3.0, 5: 3.0}


def test_only_the_lost_one_is_asked_again():
    barrier = asked()
    barrier.answer(1, vector(1, 1, 1), b"one")
    assert barrier.lose(0) is True
    assert barrier.stage_of(0) is Stage.UNASKED
    assert barrier.late(11.0) == {5: 1.0}
    assert list(barrier.ask(20.0)) == [0]
    assert barrier.late(21.0) == {7: 1.0, 5: 11.0}
    assert barrier.latest_ask == 20.0


def test_who_is_lost_before_the_first_question_is_asked_with_the_others():
    barrier = frozen()
    assert barrier.lose(1) is True
    assert list(barrier.ask(1.0)) == [0, 1, 2]


def test_an_answer_outlives_its_driver():
    barrier = asked((7, 3))
    barrier.answer(0, vector(1, 2, 3), b"kept")
    assert barrier.lose(0) is False
    assert barrier.extra_of(7) == b"kept"
    assert list(barrier.ask(11.0)) == []
    barrier.answer(1, vector(4, 5, 6), b"")
    assert barrier.complete
    result = barrier.take()
    assert result.ids == (7, 3)
    assert result.amplitudes == vector(1, 2, 3) + vector(4, 5, 6)
    assert result.extras == [b"kept", b""]


@pytest.mark.parametrize("stage", [Stage.UNASKED, Stage.STAGING, Stage.STAGED, Stage.ANSWERED])
def test_an_answer_of_somebody_who_was_not_asked_is_refused(stage):
    barrier = frozen((7, 3), two_phase=stage in (Stage.STAGING, Stage.STAGED))
    if stage is not Stage.UNASKED:
        barrier.ask(1.0)
    if stage is Stage.STAGED:
        assert barrier.stage(0) == []
    if stage is Stage.ANSWERED:
        barrier.answer(0, vector(1, 1, 1), b"first")
    assert barrier.stage_of(0) is stage
    with pytest.raises(ValueError, match="molecule 7 was not asked"):
        barrier.answer(0, vector(9, 9, 9), b"second")
    assert barrier.stage_of(0) is stage
    assert barrier.extra_of(7) == (b"first" if stage is Stage.ANSWERED else None)


def test_extras_are_told_only_of_the_step_under_way():
    barrier = asked((7,))
    assert barrier.extra_of(7) is None
    barrier.answer(0, bytes(24), b"now")
    assert barrier.extra_of(7) == b"now"
    assert barrier.extra_of(8) is None
    barrier.take()
    assert barrier.extra_of(7) is None


def test_an_incomplete_step_cannot_be_taken():
    barrier = Barrier()
    with pytest.raises(ValueError, match="not complete"):
        barrier.take()
    barrier.freeze((7,), bytes(24))
    with pytest.raises(ValueError, match="not complete"):
        barrier.take()
    assert barrier.frozen


def test_a_step_leaves_nothing_for_the_next():
    barrier = asked((7, 3))
    barrier.answer(0, vector(1, 1, 1), b"a")
    barrier.answer(1, vector(2, 2, 2), b"b")
    barrier.take()
    assert not barrier.frozen
    assert not barrier.complete
    assert barrier.slot_of(7) is None
    assert barrier.late(99.0) == {}
    barrier.freeze((3, 7, 9), bytes(72))
    assert [barrier.slot_of(one) for one in (3, 7, 9)] == [0, 1, 2]
    assert barrier.unanswered() == [0, 1, 2]
    with pytest.raises(ValueError, match="not asked"):
        barrier.answer(0, vector(1, 1, 1), b"a")


def test_the_same_molecules_keep_the_same_tuple():
    """The shell recognises an unchanged line-up by identity."""
    barrier = asked((7, 3))
    first = barrier.ids
    barrier.answer_all(bytes(48), [b"", b""])
    barrier.take()
    barrier.freeze((*first[:1], 3), bytes(48))
    assert barrier.ids is first


def test_all_can_answer_at_once():
    barrier = asked((7, 3))
    block = vector(1, 2, 3) + vector(4, 5, 6)
    barrier.answer_all(block, [b"a", b"b"])
    assert barrier.complete
    assert barrier.unanswered() == []
    assert barrier.extra_of(3) == b"b"
    assert barrier.lose(1) is False
    result = barrier.take()
    assert (result.amplitudes, result.extras) == (block, [b"a", b"b"])
    barrier.freeze((7, 3), bytes(48))
    barrier.ask(1.0)
    barrier.answer(0, vector(7, 7, 7), b"")
    barrier.answer(1, vector(8, 8, 8), b"")
    assert barrier.take().amplitudes == vector(7, 7, 7) + vector(8, 8, 8)


def test_not_all_can_answer_at_once_unless_all_were_asked():
    for spoil in (lambda barrier: barrier.lose(0), lambda barrier: barrier.answer(0, bytes(24), b"")):
        barrier = asked((7, 3))
        spoil(barrier)
        with pytest.raises(ValueError, match="not every molecule"):
            barrier.answer_all(bytes(48), [b"", b""])
        assert not barrier.complete
    with pytest.raises(ValueError, match="not every molecule"):
        frozen((7, 3)).answer_all(bytes(48), [b"", b""])
    with pytest.raises(ValueError, match="not every molecule"):
        asked((7, 3)).answer_all(bytes(24), [b"", b""])
    with pytest.raises(ValueError, match="not every molecule"):
        asked((7, 3)).answer_all(bytes(48), [b""])


# -- two phases --------------------------------------------------------------


def test_nobody_commits_before_everybody_has_staged():
    barrier = frozen(two_phase=True)
    barrier.ask(1.0)
    assert barrier.stage(2) == []
    assert barrier.stage(0) == []
    assert barrier.late(2.0) == {3: 1.0}
    assert sorted(barrier.stage(1)) == [0, 1, 2]
    assert barrier.late(3.0) == {7: 2.0, 3: 2.0, 5: 2.0}


def test_a_death_before_the_commit_leaves_the_others_staged():
    barrier = frozen(two_phase=True)
    barrier.ask(1.0)
    barrier.stage(0)
    barrier.stage(1)
    barrier.lose(1)
    assert barrier.stage(2) == []
    assert [barrier.stage_of(slot) for slot in range(3)] == [Stage.STAGED, Stage.UNASKED, Stage.STAGED]
    assert barrier.ask(2.0) == [1]
    assert sorted(barrier.stage(1)) == [0, 1, 2]


def test_a_death_after_the_commit_concerns_one_alone():
    barrier = frozen((7, 3), two_phase=True)
    barrier.ask(1.0)
    barrier.stage(0)
    barrier.stage(1)
    barrier.lose(0)
    assert barrier.ask(2.0) == [0]
    barrier.answer(1, bytes(24), b"")
    assert barrier.stage(0) == [0]
    barrier.answer(0, bytes(24), b"")
    assert barrier.complete


@pytest.mark.parametrize("stage", [Stage.UNASKED, Stage.STAGED, Stage.ASKED, Stage.ANSWERED])
def test_only_who_was_asked_to_stage_can_have_staged(stage):
    barrier = frozen((7, 3), two_phase=True)
    if stage is not Stage.UNASKED:
        barrier.ask(1.0)
        barrier.stage(0)
    if stage in (Stage.ASKED, Stage.ANSWERED):
        barrier.stage(1)
    if stage is Stage.ANSWERED:
        barrier.answer(0, bytes(24), b"")
    with pytest.raises(ValueError, match="molecule 7 was not asked to stage"):
        barrier.stage(0)
    assert barrier.stage_of(0) is stage


# -- random histories --------------------------------------------------------


class BarrierMachine(RuleBasedStateMachine):
    """A barrier beside the plainest model of it: the stage of each molecule."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.serial = 0
        self.model = None

    @initialize(two_phase=st.booleans())
    def begin(self, two_phase):
        self.two_phase = two_phase
        self.barrier = Barrier(two_phase=two_phase)

    def pick(self, data, *stages):
        slots = [slot for slot, stage in enumerate(self.model) if stage in stages]
        return data.draw(st.sampled_from(slots))

    def among(self, *stages):
        return self.model is not None and any(stage in stages for stage in self.model)

    @precondition(lambda self: self.model is None)
    @rule(ids=st.lists(st.integers(-2, 5), max_size=5), odd=st.booleans())
    def freeze(self, ids, odd):
        fields = bytes(24 * len(ids) + odd)
        if not ids or odd or len(set(ids)) < len(ids):
            with pytest.raises(ValueError, match="different molecules"):
                self.barrier.freeze(tuple(ids), fields)
            return
        self.barrier.freeze(tuple(ids), fields)
        self.ids, self.fields = tuple(ids), fields
        self.model = [Stage.UNASKED] * len(ids)
        self.since = [0.0] * len(ids)
        # How often each driver was asked and answered; a new driver begins anew.
        self.questions = [0] * len(ids)
        self.answers = {}

    @precondition(lambda self: self.model is not None)
    @rule()
    def freeze_again(self):
        with pytest.raises(ValueError, match="under way"):
            self.barrier.freeze((99,), bytes(24))

    @precondition(lambda self: self.model is not None)
    @rule(wait=st.floats(0.125, 10, width=16))
    def ask(self, wait):
        self.now += wait
        slots = list(self.barrier.ask(self.now))
        assert slots == [slot for slot, stage in enumerate(self.model) if stage is Stage.UNASKED]
        for slot in slots:
            self.model[slot] = Stage.STAGING if self.two_phase else Stage.ASKED
            self.since[slot] = self.now
            self.questions[slot] += 1
            assert self.questions[slot] == 1, "a living driver was asked twice"
        assert self.barrier.latest_ask == self.now

    @precondition(lambda self: self.among(Stage.STAGING))
    @rule(data=st.data())
    def stage(self, data):
        slot = self.pick(data, Stage.STAGING)
        due = self.barrier.stage(slot)
        self.model[slot] = Stage.STAGED
        if self.among(Stage.UNASKED, Stage.STAGING):
            assert due == []
            return
        staged = [one for one, stage in enumerate(self.model) if stage is Stage.STAGED]
        assert sorted(due) == staged
        for one in staged:
            self.model[one] = Stage.ASKED

    @precondition(lambda self: self.among(Stage.ASKED))
    @rule(data=st.data())
    def answer(self, data):
        slot = self.pick(data, Stage.ASKED)
        self.serial += 1
        self.answers[slot] = vector(self.serial, slot, 0.5), b"%d" % self.serial
        self.barrier.answer(slot, *self.answers[slot])
        self.model[slot] = Stage.ANSWERED

    @precondition(lambda self: self.among(Stage.UNASKED, Stage.STAGING, Stage.STAGED, Stage.ANSWERED))
    @rule(data=st.data())
    def answer_unasked(self, data):
        slot = self.pick(data, Stage.UNASKED, Stage.STAGING, Stage.STAGED, Stage.ANSWERED)
        with pytest.raises(ValueError, match="was not asked"):
            self.barrier.answer(slot, vector(-1, -1, -1), b"never")

    @precondition(lambda self: self.model is not None)
    @rule()
    def answer_all(self):
        count = len(self.model)
        if set(self.model) != {Stage.ASKED}:
            with pytest.raises(ValueError, match="not every molecule"):
                self.barrier.answer_all(bytes(24 * count), [b""] * count)
            return
        for slot in range(count):
            self.serial += 1
            self.answers[slot] = vector(self.serial, slot, 0.25), b"%d" % self.serial
        amplitudes, extras = zip(*(self.answers[slot] for slot in range(count)), strict=True)
        self.barrier.answer_all(b"".join(amplitudes), list(extras))
        self.model = [Stage.ANSWERED] * count

    @precondition(lambda self: self.model is not None)
    @rule(data=st.data())
    def lose(self, data):
        slot = data.draw(st.integers(0, len(self.model) - 1))
        owed = self.barrier.lose(slot)
        assert owed is (self.model[slot] is not Stage.ANSWERED)
        if owed:
            self.model[slot] = Stage.UNASKED
            self.questions[slot] = 0

    @precondition(lambda self: self.model is None or set(self.model) != {Stage.ANSWERED})
    @rule()
    def take_too_early(self):
        with pytest.raises(ValueError, match="not complete"):
            self.barrier.take()

    @precondition(lambda self: self.model is not None and set(self.model) == {Stage.ANSWERED})
    @rule()
    def take(self):
        result = self.barrier.take()
        assert result.ids == self.ids
        assert result.amplitudes == b"".join(self.answers[slot][0] for slot in range(len(self.ids)))
        assert result.extras == [self.answers[slot][1] for slot in range(len(self.ids))]
        self.model = None

    @invariant()
    def agrees(self):
        if not hasattr(self, "barrier"):
            return
        barrier, model = self.barrier, self.model
        assert barrier.frozen is (model is not None)
        if model is None:
            assert not barrier.complete
            return
        assert (barrier.ids, barrier.fields) == (self.ids, self.fields)
        assert [barrier.stage_of(slot) for slot in range(len(model))] == model
        assert barrier.complete is all(stage is Stage.ANSWERED for stage in model)
        unanswered = [slot for slot, stage in enumerate(model) if stage is not Stage.ANSWERED]
        assert barrier.unanswered() == unanswered
        assert barrier.open == len(unanswered)
        assert barrier.late(self.now + 1) == {
            self.ids[slot]: self.now + 1 - self.since[slot]
            for slot, stage in enumerate(model)
            if stage in (Stage.STAGING, Stage.ASKED)
        }
        for slot, one in enumerate(self.ids):
            assert barrier.slot_of(one) == slot
            kept = self.answers[slot][1] if model[slot] is Stage.ANSWERED else None
            assert barrier.extra_of(one) == kept


TestBarrierMachine = BarrierMachine.TestCase
TestBarrierMachine.settings = settings(
    derandomize=True, deadline=None, database=None, max_examples=100, stateful_step_count=30
)


def test_a_step_that_nobody_wants_is_given_up_once_nobody_owes_an_answer():
    barrier = asked()
    barrier.answer(0, vector(1, 1, 1), b"")
    barrier.lose(1)
    assert not barrier.give_up()
    assert barrier.late(10.0).keys() == {5}
    barrier.lose(2)
    assert barrier.give_up()
    assert not barrier.frozen
    assert not barrier.complete
    assert barrier.late(10.0) == {}
    barrier.freeze((1,), bytes(24))
    assert not barrier.complete
