"""Forgetting a sender: all of it, however much it has under way, and nobody else."""

from __future__ import annotations

import pytest

from wireframe.datagram import MIN_DATAGRAM, Reassembler, decode, encode_fragments

ALICE = ("192.0.2.1", 40000)
BOB = ("192.0.2.2", 40000)


def fragments_of(sequence, payload):
    """The fragments of a message, small ones so that there are many."""
    return [decode(b"".join(parts)) for parts in encode_fragments(sequence, "DATA", payload, MIN_DATAGRAM)]


def add_all(reassembler, fragments, sender, now=0.0):
    """All messages that came of these fragments."""
    found = [reassembler.add(sender, one, now) for one in fragments]
    return [message for message in found if message is not None]


def begin(reassembler, sender, numbers):
    """Have a message under way for each number; return what their books charge."""
    before = reassembler.held_bytes
    for number in numbers:
        assert add_all(reassembler, fragments_of(number, bytes(300))[:-1], sender) == []
    return reassembler.held_bytes - before


@pytest.mark.parametrize("count", [1, 2, 7])
def test_all_messages_under_way_are_given_up_and_only_those_of_this_sender(count):
    reassembler = Reassembler()
    of_bob = begin(reassembler, BOB, range(3))
    begin(reassembler, ALICE, range(count))
    assert reassembler.forget(ALICE) == count
    assert (reassembler.forgotten, reassembler.incomplete) == (count, count)
    assert (reassembler.held_messages, reassembler.held_bytes) == (3, of_bob)
    for number in range(3):
        assert len(add_all(reassembler, fragments_of(number, bytes(300))[-1:], BOB)) == 1
    assert (reassembler.held_messages, reassembler.held_bytes) == (0, 0)


def test_each_number_may_be_that_of_a_new_message_at_once():
    """The last fragment alone completes none of what was given up, and the whole message comes anew."""
    reassembler = Reassembler()
    begin(reassembler, ALICE, range(5))
    reassembler.forget(ALICE)
    for number in range(5):
        *others, last = fragments_of(number, bytes([number]) * 300)
        assert reassembler.add(ALICE, last, 0.0) is None
        (message,) = add_all(reassembler, others, ALICE)
        assert bytes(message.payload) == bytes([number]) * 300
    assert (reassembler.late, reassembler.complete) == (0, 5)


def test_what_is_forgotten_makes_room_within_the_limits_of_its_sender():
    reassembler = Reassembler(max_messages_per_sender=4)
    begin(reassembler, ALICE, range(4))
    reassembler.forget(ALICE)
    begin(reassembler, ALICE, range(4))
    assert (reassembler.held_messages, reassembler.evicted, reassembler.forgotten) == (4, 0, 4)


def test_forgetting_again_finds_nothing():
    reassembler = Reassembler()
    begin(reassembler, ALICE, range(3))
    assert [reassembler.forget(ALICE) for _ in range(3)] == [3, 0, 0]
    assert reassembler.forgotten == 3
