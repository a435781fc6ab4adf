"""Rates, from counts and times that the test makes up."""

from __future__ import annotations

import pytest

from udp_multicast.statistics import RATE_WINDOW_S, RateMeter, ReceiverStatistics


def test_rate_of_the_first_moments_is_over_all_of_them():
    meter = RateMeter(now=100.0)
    assert meter.rate(0, now=100.0) == 0.0
    assert meter.rate(10, now=100.1) == pytest.approx(100)


def test_rate_looks_back_a_second_however_often_it_is_asked():
    meter = RateMeter(now=0.0)
    for tick in range(1, 500):
        meter.rate(tick, now=tick / 100)
    # 100 per second until now, then nothing.
    assert meter.rate(499, now=4.99 + RATE_WINDOW_S / 2) == pytest.approx(50, rel=0.15)
    assert meter.rate(499, now=4.99 + 3 * RATE_WINDOW_S) == 0.0
    assert len(meter._samples) < 20


def test_rate_is_over_all_the_time_in_which_nobody_asked():
    meter = RateMeter(now=0.0)
    meter.rate(10, now=1.0)
    assert meter.rate(110, now=11.0) == 10.0


def test_statistics_are_a_snapshot_that_cannot_be_changed():
    statistics = ReceiverStatistics(received=1)
    with pytest.raises(AttributeError):
        statistics.received = 2
