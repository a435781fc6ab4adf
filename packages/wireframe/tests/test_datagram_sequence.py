"""Sequence numbers: every loss counted, against a model that remembers everything."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe.datagram import SequenceCounter


class Model:
    """The definitions of `SequenceCounter` word by word, with all positions in sets."""

    def __init__(self, bits, window, restart_after_s):
        self.modulus, self.window, self.restart_after_s = 1 << bits, window, restart_after_s
        self.runs = []  # of sets of positions; a position is its number plus multiples of the modulus
        self.heard = self.far = None
        self.duplicates = self.gaps = self.late = self.restarts = 0

    def update(self, number, now):
        silence = 0 if self.heard is None else now - self.heard
        self.heard = now
        if not self.runs:
            self.runs.append({number})
            return "first"
        run = self.runs[-1]
        top = max(run)
        ahead = (number - top) % self.modulus
        if ahead == 1:
            run.add(top + 1)
            return "next"
        if 1 < ahead < self.modulus // 2:
            run.add(top + ahead)
            self.gaps += 1
            return "gap"
        if silence >= self.restart_after_s:
            self.runs.append({number})
            self.restarts += 1
            return "restart"
        behind = (top - number) % self.modulus
        if behind < self.window and top - behind not in run:
            run.add(top - behind)
            self.late += 1
            return "late"
        if behind >= self.window:
            before, self.far = self.far, (number, top, len(self.runs))
            if before is not None and before[1:] == self.far[1:]:
                follows = (number - before[0]) % self.modulus
                if 0 < follows < self.window:
                    self.runs.append({before[0], before[0] + follows})
                    self.duplicates -= 1
                    self.gaps += follows > 1
                    self.restarts += 1
                    return "restart"
        self.duplicates += 1
        return "duplicate"

    def counts(self):
        unique = sum(map(len, self.runs))
        expected = sum(max(run) - min(run) + 1 for run in self.runs)
        return {
            "expected": expected,
            "unique": unique,
            "lost": expected - unique,
            "received": unique + self.duplicates,
            "duplicates": self.duplicates,
            "gaps": self.gaps,
            "late": self.late,
            "restarts": self.restarts,
        }


def counts(counter):
    return {name: getattr(counter, name) for name in Model(8, 1, 1).counts()}


def check(updates, bits=32, window=1024, restart_after_s=1.0):
    """The counter does as the model does, step by step; the last counts."""
    counter = SequenceCounter(bits, window=window, restart_after_s=restart_after_s)
    model = Model(bits, window, restart_after_s)
    for step, (number, now) in enumerate(updates, 1):
        assert counter.update(number, now).value == model.update(number, now), (step, number, now)
        found = counts(counter)
        assert found == model.counts()
        assert found["received"] == step
    return counts(counter)


def kinds(counter, numbers, now=0.0):
    return [counter.update(number, now).value for number in numbers]


# Against the model.


@given(
    st.sampled_from([(3, 1), (3, 4), (5, 8), (6, 5), (6, 32), (8, 3)]),
    st.lists(st.tuples(st.integers(-6, 9), st.sampled_from([0.0, 0.0, 0.0, 0.4, 1.0])), max_size=120),
)
def test_steps_around_the_last_number_count_as_defined(shape, steps):
    bits, window = shape
    number, now, updates = 0, 0.0, []
    for step, pause in steps:
        number, now = (number + step) % (1 << bits), now + pause
        updates.append((number, now))
    check(updates, bits, window)


@given(
    st.sampled_from([(3, 2), (5, 8), (8, 16), (8, 128)]),
    st.lists(st.integers(0, 255), max_size=150),
)
def test_arbitrary_numbers_count_as_defined(shape, numbers):
    bits, window = shape
    check([(number % (1 << bits), 0.0) for number in numbers], bits, window)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("start", [0, 1, 12345, (1 << 32) - 500])
def test_a_noisy_network_counts_as_defined(seed, start):
    """Losses, repetitions and delays of up to 40 places, across the wrap."""
    generator = random.Random(seed)
    sent = [(start + i) % (1 << 32) for i in range(700)]
    arriving = []
    for i, number in enumerate(sent):
        copies = generator.choice([0, 1, 1, 1, 1, 1, 2])
        arriving += [
            (i + generator.choice([0, 0, 0, generator.uniform(0, 40)]), number) for _ in range(copies)
        ]
    numbers = [number for _, number in sorted(arriving)]
    found = check([(number, 0.0) for number in numbers])
    place = [(number - start) % (1 << 32) for number in numbers]
    assert found["unique"] == len(set(place))
    assert found["lost"] == max(place) - min(place) + 1 - len(set(place))
    assert found["duplicates"] == len(place) - len(set(place))


# One by one.


def test_any_start_is_no_loss():
    for start in (0, 1, 77, (1 << 32) - 1):
        counter = SequenceCounter()
        assert kinds(counter, [start, (start + 1) % (1 << 32)]) == ["first", "next"]
        assert (counter.expected, counter.lost) == (2, 0)


def test_nothing_received_is_nothing_lost():
    counter = SequenceCounter()
    assert set(counts(counter).values()) == {0}


def test_a_gap_is_lost_until_it_arrives():
    counter = SequenceCounter()
    kinds(counter, [10, 14])
    assert (counter.lost, counter.gaps) == (3, 1)
    assert kinds(counter, [12]) == ["late"]
    assert counter.lost == 2
    assert kinds(counter, [12, 11, 13, 13, 15]) == ["duplicate", "late", "late", "duplicate", "next"]
    assert (counter.lost, counter.late, counter.duplicates) == (0, 3, 2)


def test_numbers_wrap():
    counter = SequenceCounter()
    last = (1 << 32) - 1
    assert kinds(counter, [last - 1, 1, last, 0]) == ["first", "gap", "late", "late"]
    assert counter.lost == 0


def test_the_longest_gap_is_just_below_half_the_range():
    for ahead, kind in ((127, "gap"), (128, "duplicate")):
        counter = SequenceCounter(8, window=16)
        assert kinds(counter, [0, ahead]) == ["first", kind]
    counter = SequenceCounter()
    kinds(counter, [0, (1 << 31) - 1])
    assert counter.lost == (1 << 31) - 2


def test_beyond_the_window_a_missing_number_is_lost_for_good():
    counter = SequenceCounter(window=10)
    kinds(counter, [0, 3, *range(4, 12)])
    assert kinds(counter, [1]) == ["duplicate"]
    assert kinds(counter, [2]) == ["late"]
    assert counter.lost == 1


def test_a_number_before_the_first_extends_the_run():
    counter = SequenceCounter()
    assert kinds(counter, [5, 4, 1]) == ["first", "late", "late"]
    assert (counter.expected, counter.lost) == (5, 2)
    assert kinds(counter, [3, 2, 2]) == ["late", "late", "duplicate"]
    assert counter.lost == 0


def test_a_restart_after_a_silence_is_believed_at_once():
    counter = SequenceCounter(restart_after_s=1.0)
    kinds(counter, [100, 101, 103], now=5.0)
    assert kinds(counter, [0], now=6.0) == ["restart"]
    assert kinds(counter, [1, 3], now=6.1) == ["next", "gap"]
    assert kinds(counter, [102], now=6.2) == ["gap"]
    assert (counter.restarts, counter.lost) == (1, 1 + 1 + 98)


def test_a_restart_on_the_same_number_after_a_silence_is_one():
    counter = SequenceCounter()
    assert kinds(counter, [0], now=0.0) == ["first"]
    assert kinds(counter, [0], now=0.9) == ["duplicate"]
    assert kinds(counter, [0], now=2.0) == ["restart"]


def test_a_sender_that_goes_on_after_a_silence_did_not_restart():
    counter = SequenceCounter()
    kinds(counter, [7])
    assert kinds(counter, [8], now=60.0) == ["next"]
    assert kinds(counter, [10], now=120.0) == ["gap"]


def test_without_a_clock_two_numbers_in_order_from_far_behind_are_a_restart():
    counter = SequenceCounter()
    kinds(counter, [5000, 5002])
    assert kinds(counter, [0, 1, 2]) == ["duplicate", "restart", "next"]
    assert counts(counter) == {
        "expected": 3 + 3,
        "unique": 5,
        "lost": 1,
        "received": 5,
        "duplicates": 0,
        "gaps": 1,
        "late": 0,
        "restarts": 1,
    }


def test_a_restart_counts_what_was_lost_between_its_two_witnesses():
    counter = SequenceCounter()
    kinds(counter, [5000])
    assert kinds(counter, [0, 3, 1]) == ["duplicate", "restart", "late"]
    assert (counter.lost, counter.duplicates) == (1, 0)


def test_strays_from_far_behind_are_no_restart():
    counter = SequenceCounter()
    kinds(counter, [5000])
    for number, goes_on in ((17, 5001), (18, 5002), (19, 5003)):
        assert kinds(counter, [number, goes_on]) == ["duplicate", "next"]
    assert kinds(counter, [40, 39, 39, 2000]) == ["duplicate"] * 4
    assert (counter.restarts, counter.lost, counter.duplicates) == (0, 0, 7)


def test_the_first_number_is_checked_like_all_others():
    for number in (-1, 1 << 32):
        with pytest.raises(ValueError, match=f"number {number} is not one of 32 bits"):
            SequenceCounter().update(number)


def test_other_widths_count_readout_ids():
    counter = SequenceCounter(16, window=64)
    assert kinds(counter, [65535, 0, 2]) == ["first", "next", "gap"]
    for number in (-1, 65536):
        with pytest.raises(ValueError, match=f"number {number} is not one of 16 bits"):
            counter.update(number)
    assert counter.received == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"bits": 1},
        {"window": 0},
        {"bits": 4, "window": 9},
        {"restart_after_s": 0.0},
        {"restart_after_s": float("nan")},
    ],
)
def test_shapes_that_tell_nothing_apart_are_refused(arguments):
    with pytest.raises(ValueError, match=r"nothing to tell apart|restart_after_s must be"):
        SequenceCounter(**arguments)


def bytes_of(counter):
    """All memory of a counter, as if it shared none."""
    held = [getattr(counter, name) for name in SequenceCounter.__slots__]
    return sys.getsizeof(counter) + sum(map(sys.getsizeof, held))


def test_what_is_remembered_is_bounded_by_the_window():
    """Whatever order numbers come in."""
    counter = SequenceCounter(window=64)
    for number in range(0, 4000, 2):
        counter.update(number)
    for number in range(4000, 100_000, 97):
        counter.update(number)
        for behind in range(60, 2, -2):
            counter.update(number - behind)
        assert counter._missing.bit_length() <= 64
    extended = SequenceCounter(window=64)
    kinds(extended, [1000, 1000 - 63, 1000 - 64])
    assert (extended._missing.bit_length(), extended.lost) == (63, 62)


@pytest.mark.parametrize("step", [2, 3, 1000, 1024, 100_000, 2**31 - 1])
def test_a_counter_takes_less_than_a_kilobyte_whatever_is_missing(step):
    """A thousand made-up senders that leave out every second number must not cost megabytes."""
    counter = SequenceCounter()
    for number in range(0, 2000 * step, step):
        counter.update(number % 2**32)
        assert bytes_of(counter) < 1024
    assert counter.lost == 1999 * (step - 1)


@pytest.mark.parametrize("window", [1, 2, 64, 1024])
def test_missing_numbers_stay_known_through_long_rows_in_order(window):
    """Just within the window they are late, just beyond it they are lost."""
    for row, kind in ((window - 2, "late"), (window - 1, "duplicate")):
        if row < 0:
            continue
        counter = SequenceCounter(window=window)
        kinds(counter, [0, 2, *range(3, 3 + row)])
        assert kinds(counter, [1]) == [kind]
        assert counter.lost == (kind == "duplicate")


def test_the_next_number_is_known_from_the_first_on():
    counter = SequenceCounter()
    assert counter.next == -1
    seen = []
    for number in (2**32 - 2, 2**32 - 1, 5, 4):
        counter.update(number)
        seen.append(counter.next)
    assert seen == [2**32 - 1, 0, 6, 6]
