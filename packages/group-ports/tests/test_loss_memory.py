"""How many publishers are told apart in the books of losses: enough for a group, and no more."""

from __future__ import annotations

from group_ports._losses import MAX_PUBLISHERS, LossLedger


def name(number):
    return number.to_bytes(16, "big")


def test_publishers_are_bounded_and_the_sum_keeps_all():
    """Who can write to a port can invent publishers; the one that was silent for longest goes first."""
    ledger = LossLedger()
    for number in range(1, 3 * MAX_PUBLISHERS + 1):
        ledger.note(name(number), 1)
        ledger.note(name(number), 3)
    assert len(ledger.lost()) == MAX_PUBLISHERS
    assert list(ledger.lost()) == [name(2 * MAX_PUBLISHERS + 1 + at) for at in range(MAX_PUBLISHERS)]
    assert ledger.total == 3 * MAX_PUBLISHERS


def test_a_publisher_that_is_heard_again_stays():
    ledger = LossLedger()
    ledger.note(name(0), 1)
    for number in range(1, 2 * MAX_PUBLISHERS):
        ledger.note(name(number), 1)
        ledger.note(name(0), 1 + number)
    assert name(0) in ledger.lost()
