"""Live, late or gone, by a clock that the test moves."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_rig._pulse import Pace, Pulse, RigState

PACE = Pace(interval_s=1.0, late_s=2.5, gone_s=10.0)


@pytest.fixture
def pulse():
    return Pulse(PACE, 100.0)


def test_a_rig_that_was_never_heard_is_late_and_then_gone(pulse):
    assert (pulse.state, pulse.look(100.0)) == (RigState.LATE, False)
    assert pulse.next_turn() == 110.0
    assert not pulse.look(109.9)
    assert pulse.look(110.0)
    assert (pulse.state, pulse.since, pulse.next_turn()) == (RigState.GONE, 110.0, inf)


def test_a_new_rig_is_pinged_at_once_and_then_at_intervals(pulse):
    assert pulse.is_ping_due(100.0)
    pulse.pinged(100.0)
    assert not pulse.is_ping_due(100.9)
    assert pulse.is_ping_due(101.0)


def test_a_rig_that_talks_is_not_pinged(pulse):
    for second in range(100, 120):
        pulse.heard(second + 0.5)
        assert not pulse.is_ping_due(second + 1.4)
    assert pulse.is_ping_due(120.5)


def test_silence_makes_a_live_rig_late_and_gone_and_a_word_makes_it_live_again(pulse):
    pulse.heard(100.5, round_trip_s=0.25)
    assert pulse.look(100.5)
    assert (pulse.state, pulse.round_trip_s, pulse.next_turn()) == (RigState.LIVE, 0.25, 103.0)
    assert not pulse.look(102.9)
    assert pulse.look(103.0)
    assert (pulse.state, pulse.next_turn()) == (RigState.LATE, 110.5)
    assert pulse.look(110.5)
    assert pulse.state is RigState.GONE
    pulse.heard(500.0)
    assert pulse.look(500.1)
    assert (pulse.state, pulse.since, pulse.heard_at) == (RigState.LIVE, 500.1, 500.0)


def test_a_rig_that_is_not_there_is_gone_at_once_until_it_is_heard_later(pulse):
    pulse.heard(100.0)
    pulse.look(100.0)
    pulse.lost()
    pulse.heard(100.0)  # what was known before
    assert pulse.look(100.1)
    assert pulse.state is RigState.GONE
    pulse.heard(101.0)
    assert pulse.look(101.0)
    assert pulse.state is RigState.LIVE


def test_older_news_does_not_turn_back_the_time(pulse):
    pulse.heard(105.0)
    pulse.heard(101.0)
    assert pulse.heard_at == 105.0


def test_the_next_deadline_is_a_ping_or_a_change_of_state(pulse):
    pulse.pinged(100.0)
    assert pulse.next_deadline() == 101.0
    pulse.pinged(109.5)
    assert pulse.next_deadline() == 110.0


@pytest.mark.parametrize("times", [(0, 1, 2), (-1, 1, 2), (1, 1, 2), (1, 3, 2), (1, 2, 2), (1, 2, inf)])
def test_times_in_another_order_are_refused(times):
    with pytest.raises(ValueError, match="0 < interval < late < gone"):
        Pace(*times)


STEPS = st.lists(st.tuples(st.sampled_from(["heard", "lost", "ping", "look"]), st.floats(0, 5)), max_size=60)


@given(STEPS)
def test_whatever_happens_the_state_is_what_silence_and_loss_say(steps):
    """The state after a look follows from the last sign of life, and the next look is not overdue."""
    pulse, now, heard, lost = Pulse(PACE, 0.0), 0.0, None, False
    for what, passed in steps:
        now += passed
        if what == "heard":
            lost = lost and heard == now
            heard = now
            pulse.heard(now)
        elif what == "lost":
            lost = True
            pulse.lost()
        elif what == "ping" and pulse.is_ping_due(now):
            pulse.pinged(now)
        else:
            before = pulse.state
            changed = pulse.look(now)
            silence = now - (heard or 0.0)
            if lost or silence >= PACE.gone_s:
                expected = RigState.GONE
            elif heard is None or silence >= PACE.late_s:
                expected = RigState.LATE
            else:
                expected = RigState.LIVE
            assert pulse.state is expected
            assert changed is (before is not expected)
            assert pulse.next_turn() > now


@given(heard_at=st.floats(0, 1e6), pace=st.tuples(*[st.floats(1e-3, 1e3)] * 3))
def test_at_the_time_when_the_state_turns_it_does(heard_at, pace):
    """Whatever the rounding; else whoever waits until then waits again, for nothing."""
    late_s, gone_s = sorted((pace[0] + pace[1], pace[0] + pace[1] + pace[2]))
    pulse = Pulse(Pace(pace[0], late_s, gone_s), now=heard_at)
    pulse.heard(heard_at)
    pulse.look(heard_at)
    for state in (RigState.LATE, RigState.GONE):
        assert pulse.look(pulse.next_turn())
        assert pulse.state is state
