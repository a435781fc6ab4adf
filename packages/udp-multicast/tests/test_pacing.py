"""Pacing, on a clock that goes when the test says so."""

from __future__ import annotations

import pytest

from udp_multicast._pacing import Pacer


class Clock:
    """Time that passes by sleeping, and a little more if the system oversleeps."""

    def __init__(self, oversleep=0.0):
        self.now = 1000.0
        self.oversleep = oversleep
        self.slept = 0

    def sleep(self, seconds):
        assert seconds > 0
        self.slept += 1
        self.now += seconds + self.oversleep

    def pacer(self, rate, burst):
        return Pacer(rate, burst, clock=lambda: self.now, sleep=self.sleep)


def test_the_rate_holds_over_time():
    """1000 units at 100 a second, 20 of them at once, take 9.8 seconds until the last may go."""
    clock = Clock()
    pacer = clock.pacer(100.0, 20.0)
    for _ in range(100):
        pacer.wait(10.0)
    assert clock.now - 1000.0 == pytest.approx((1000 - 10 - 20) / 100.0)


def test_a_burst_goes_at_once_and_again_after_a_pause():
    clock = Clock()
    pacer = clock.pacer(100.0, 20.0)
    for _ in range(3):
        pacer.wait(10.0)
    assert clock.slept == 0
    pacer.wait(10.0)
    assert clock.slept == 1
    clock.now += 60.0
    for _ in range(3):
        pacer.wait(10.0)
    assert clock.slept == 1


def test_oversleeping_is_made_up_for_within_the_burst():
    """Each sleep takes 50 ms too long, which is less than the burst is worth."""
    clock = Clock(oversleep=0.05)
    pacer = clock.pacer(100.0, 20.0)
    for _ in range(100):
        pacer.wait(10.0)
    assert clock.now - 1000.0 == pytest.approx((1000 - 10 - 20) / 100.0, abs=0.06)


def test_a_long_sleep_gives_no_more_than_a_burst():
    clock = Clock(oversleep=5.0)
    pacer = clock.pacer(100.0, 20.0)
    for _ in range(4):
        pacer.wait(10.0)
    for _ in range(3):
        pacer.wait(10.0)
    assert clock.slept == 1
    pacer.wait(10.0)
    assert clock.slept == 2


def test_no_rate_never_waits():
    clock = Clock()
    pacer = clock.pacer(None, 0.0)
    for _ in range(1000):
        pacer.wait(1e9)
    assert clock.slept == 0


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf")])
def test_refuses_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match="a rate is more than 0"):
        Pacer(rate, 1.0)


@pytest.mark.parametrize("burst", [-1, float("nan")])
def test_refuses_a_burst_that_is_none(burst):
    with pytest.raises(ValueError, match="a burst is at least 0"):
        Pacer(1.0, burst)
