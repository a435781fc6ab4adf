"""The ledger of losses, without a socket."""

from __future__ import annotations

import random

import pytest

from udp_multicast._losses import LossLedger, SenderLosses
from wireframe.datagram import Arrival

ONE, TWO = ("10.0.0.1", 5007), ("10.0.0.2", 5007)


def test_senders_are_counted_apart_and_summed():
    ledger = LossLedger()
    for number in (1, 2, 5):
        ledger.update(ONE, number, 0.0)
        ledger.update(TWO, 2 * number, 0.0)
    assert ledger.senders() == {
        ONE: SenderLosses(received=3, lost=2, gaps=1),
        TWO: SenderLosses(received=3, lost=6, gaps=2),
    }
    assert ledger.total() == SenderLosses(received=6, lost=8, gaps=3)


def test_silence_before_a_smaller_number_is_a_restart():
    ledger = LossLedger()
    assert ledger.update(ONE, 7, 0.0) is Arrival.FIRST
    assert ledger.update(ONE, 0, 10.0) is Arrival.RESTART
    assert ledger.total().restarts == 1


@pytest.mark.parametrize("bits", [2, 8, 16, 32])
def test_numbers_wrap(bits):
    ledger = LossLedger(bits)
    for number in ((1 << bits) - 1, 0, 1):
        ledger.update(ONE, number, 0.0)
    assert ledger.total() == SenderLosses(received=3)


@pytest.mark.fault("C12", "udp-multicast", "M")
def test_flood_of_invented_senders_is_bounded_and_what_they_lost_stays_in_the_sum(figure):
    ledger = LossLedger(max_senders=4)
    invented = range(0, 100, 2)
    for number in invented:
        for sender in [("10.0.0.9", number), ONE]:
            ledger.update(sender, number, 0.0)
            ledger.update(sender, number + 3, 0.0)
    assert len(ledger.senders()) == 4
    # Heard all the time, so never forgotten.
    assert ledger.senders()[ONE].received == 100
    assert ledger.total().received == 200
    assert ledger.total().gaps == 50 + ledger.senders()[ONE].gaps
    kept, total = len(ledger.senders()), ledger.total().received
    figure(f"{len(invented)} invented senders: {kept} senders kept, {total} datagrams in the sum")


@pytest.mark.fault("C11", "udp-multicast", "L")
def test_counters_equal_those_of_the_relay_that_lost_doubled_and_swapped():
    """Any mixture of loss, duplication and reordering is counted exactly."""
    for seed in range(500):
        _relay(seed)


def _relay(seed):
    chance = random.Random(seed)
    loss, double, swap = chance.random() * 0.5, chance.random() * 0.2, chance.random() * 0.2
    relayed = [0]
    for number in range(1, 300):
        if chance.random() < loss:
            continue
        relayed.append(number)
        if chance.random() < double:
            relayed.append(number)
        if chance.random() < swap and len(relayed) > 2:
            relayed[-1], relayed[-2] = relayed[-2], relayed[-1]
    ledger = LossLedger()
    for number in relayed:
        ledger.update(ONE, number, 0.0)
    total = ledger.total()
    span = max(relayed) - min(relayed) + 1
    assert total.received == len(relayed), f"seed {seed}"
    assert total.lost == span - len(set(relayed)), f"seed {seed}"
    assert total.duplicates == len(relayed) - len(set(relayed)), f"seed {seed}"
    assert total.restarts == 0, f"seed {seed}"


def test_number_that_does_not_fit_is_refused():
    ledger = LossLedger(8)
    ledger.update(ONE, 1, 0.0)
    with pytest.raises(ValueError, match="256"):
        ledger.update(ONE, 256, 0.0)
