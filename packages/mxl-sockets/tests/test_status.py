"""What a hub tells: reply times, and who keeps a step from being complete."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxl_sockets import HubProtocolError, HubStatus, ReplyTimes, StepTimeout, UnexpectedMessage
from mxl_sockets._losses import LONGEST, MOST, Losses
from mxl_sockets._quiet_log import QuietLogger
from mxl_sockets.status import ReplyTimer, StepRate


def test_no_replies_have_no_times():
    assert ReplyTimer().figures() == ReplyTimes(count=0, mean_s=0.0, maximum_s=0.0, histogram={})


def test_replies_that_are_read_together_count_each():
    timer = ReplyTimer()
    timer.add(0.5, 3)
    timer.add(0.1, 1)
    figures = timer.figures()
    assert figures.count == 4
    assert figures.mean_s == pytest.approx(0.4)
    assert figures.maximum_s == 0.5
    assert sum(figures.histogram.values()) == 4


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [(0.0, 1), (0.9e-6, 1), (1.5e-6, 2), (3.5e-6, 4), (4.5e-6, 8), (1e-3, 1024), (1.0, 2**20)],
)
def test_a_reply_stands_in_the_first_bin_that_is_longer(seconds, microseconds):
    timer = ReplyTimer()
    timer.add(seconds, 2)
    assert timer.figures().histogram == {microseconds * 1e-6: 2}


def test_what_took_half_an_hour_and_more_stands_in_the_last_bin():
    timer = ReplyTimer()
    for seconds in (2000.0, 1e4, 1e9):
        timer.add(seconds, 1)
    figures = timer.figures()
    assert figures.histogram == {2**31 * 1e-6: 3}
    assert figures.maximum_s == 1e9


def test_figures_do_not_change_afterwards():
    timer = ReplyTimer()
    timer.add(1e-3, 1)
    before = timer.figures()
    timer.add(5.0, 1)
    assert (before.count, before.maximum_s, len(before.histogram)) == (1, 1e-3, 1)


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(1, 5)), min_size=1, max_size=20))
@settings(derandomize=True, deadline=None, database=None, max_examples=60)
def test_figures_are_those_of_all_replies(added):
    timer = ReplyTimer()
    for seconds, count in added:
        timer.add(seconds, count)
    every = [seconds for seconds, count in added for _ in range(count)]
    figures = timer.figures()
    assert figures.count == len(every)
    assert figures.maximum_s == max(every)
    assert figures.mean_s == pytest.approx(sum(every) / len(every))
    bounds = sorted(figures.histogram)
    assert bounds == list(figures.histogram)
    for bound in bounds:
        shorter = sum(count for other, count in figures.histogram.items() if other <= bound)
        # A microsecond is the resolution.
        assert shorter == sum(int(seconds * 1e6) < round(bound * 1e6) for seconds in every)


def test_a_status_does_not_change():
    status = HubStatus(None, {}, [], [], {}, False, 0, 0, None, ReplyTimes())
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.steps = 1


# -- the rate ----------------------------------------------------------------


def test_the_rate_is_that_of_the_time_since_the_first_look_in_the_window():
    rate = StepRate(100.0)
    assert rate.look(100.0, 0) == 0.0
    assert rate.look(101.0, 50) == 50.0
    assert rate.look(103.0, 50) == pytest.approx(50 / 3)
    assert rate.look(106.5, 50) == 0.0  # counted from 103.0 on: nothing was done since


def test_who_looks_rarely_gets_the_rate_since_the_look_before():
    rate = StepRate(0.0)
    rate.look(10.0, 1000)
    assert rate.look(110.0, 1500) == 5.0


def test_looks_in_quick_succession_are_not_all_kept():
    """Else many watchers would leave a window that is too short to tell anything."""
    rate = StepRate(0.0)
    for tick in range(1, 100_001):
        found = rate.look(tick * 1e-4, tick)
    assert found == pytest.approx(1e4)
    assert len(rate._looks) <= 1 + StepRate.WINDOW / StepRate.SPACING


def test_a_clock_that_stands_still_gives_no_rate():
    assert StepRate(5.0).look(5.0, 3) == 0.0


# -- losses ------------------------------------------------------------------


def test_the_latest_losses_are_remembered_and_no_more():
    losses = Losses(QuietLogger(logging.getLogger("test")))
    for number in range(MOST + 5):
        losses.note("127.0.0.1:5", number, "x" * 2 * LONGEST)
    recent = losses.recent()
    assert losses.count == MOST + 5
    assert [loss.text.partition(":")[0] for loss in recent] == ["127.0.0.1"] * MOST
    assert f"(molecule {MOST + 4})" in recent[-1].text
    assert f"(molecule {5})" in recent[0].text
    assert all(len(loss.text) == LONGEST for loss in recent)
    assert 0 <= recent[-1].age_s <= recent[0].age_s < 60


# -- errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "missing", "text"),
    [
        ({}, [], "step not complete: nobody was asked"),
        ({3: 1.25}, [], "step not complete: 1 have not answered (molecule 3 for 1.25 s)"),
        ({}, [7, 1], "step not complete: 2 have no driver (molecule 7, 1)"),
        (
            {3: 0.5, 4: 60.0},
            [9],
            (
                "step not complete: 2 have not answered (molecule 3 for 0.5 s, 4 for 60 s); "
                "1 have no driver (molecule 9)"
            ),
        ),
    ],
)
def test_a_timeout_says_who_is_late_and_who_is_missing(late, missing, text):
    error = StepTimeout(late, missing)
    assert str(error) == text
    assert (error.late, error.missing) == (late, missing)
    assert error.errno is None


def test_a_timeout_of_a_crowd_names_the_first_few():
    error = StepTimeout(dict.fromkeys(range(1000), 1.0), range(2000))
    assert len(str(error)) < 300
    assert "1000 have not answered" in str(error)
    assert "2000 have no driver" in str(error)
    assert len(error.late) == 1000
    assert len(error.missing) == 2000


@pytest.mark.parametrize(
    "error",
    [
        StepTimeout({3: 0.5}, [9]),
        HubProtocolError("127.0.0.1:31415", "no", b"xyz"),
        UnexpectedMessage("driver sent READY", b"READY"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_be_copied_and_sent_to_other_processes(error):
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is type(error)
        assert str(same) == str(error)
        assert vars(same) == vars(error)
