"""Nothing stays in memory of a sender that has nothing under way, however many of them there were."""

from __future__ import annotations

import tracemalloc

import pytest

from wireframe.datagram import MIN_DATAGRAM, Reassembler, decode, encode_fragments

#: Senders; and bytes that may stay for all of them together, far less than a small object for each.
SENDERS = 1500
STAYS = 100_000
REMEMBERED = 4


def fragments_of(payload):
    return [decode(b"".join(parts)) for parts in encode_fragments(7, "DATA", payload, MIN_DATAGRAM)]


OTHERS = fragments_of(bytes(200))


def complete(reassembler, sender, fragments, now):
    for one in fragments:
        reassembler.add(sender, one, now)


def expire(reassembler, sender, fragments, now):
    reassembler.add(sender, fragments[0], now)
    assert reassembler.expire(now + 50.0) == 1


def forget(reassembler, sender, fragments, now):
    reassembler.add(sender, fragments[0], now)
    assert reassembler.forget(sender) == 1


def contradict(reassembler, sender, fragments, now):
    """Begin anew, and finish that one."""
    reassembler.add(sender, fragments[0], now)
    complete(reassembler, sender, OTHERS, now)


@pytest.mark.parametrize("end", [complete, expire, forget, contradict])
def test_made_up_senders_leave_nothing(end):
    fragments = fragments_of(bytes(300))
    reassembler = Reassembler(max_messages=REMEMBERED)
    for number in range(100):
        end(reassembler, number, fragments, 100.0 * number)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(100, 100 + SENDERS):
            end(reassembler, number, fragments, 100.0 * number)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert (reassembler.held_messages, reassembler.held_bytes) == (0, 0)
    assert grown < STAYS
