"""Fragments that are received where they belong: the same messages, books and bounds as by `add`."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe.datagram import (
    FULL_FRAGMENT,
    MAX_DATAGRAM,
    SMALL_MAGIC,
    Fragment,
    Message,
    Reassembler,
    decode,
    encode_fragments,
    encode_small,
    small_head,
    split_small,
)
from wireframe.errors import FrameError

ALICE = ("192.0.2.1", 40000)
BOB = ("192.0.2.2", 40000)
HEAD = MAX_DATAGRAM - FULL_FRAGMENT
COUNT = 6


def payload_of(sequence, size=COUNT * FULL_FRAGMENT - 100):
    return random.Random(sequence).randbytes(size)


def datagrams_of(sequence, **settings):
    return [b"".join(parts) for parts in encode_fragments(sequence, "DATA", payload_of(sequence, **settings))]


def add(reassembler, datagrams, sender=ALICE, now=0.0):
    """The last of the messages that came of these datagrams."""
    return [reassembler.add(sender, decode(data, copy=False), now) for data in datagrams][-1]


def receive(reassembler, datagrams, sender=ALICE, now=0.0, most=100):
    """Put datagrams into room, as a socket would; return how many there was room for, and were entered."""
    room = reassembler.room(most)
    if room is None:
        return 0, 0
    count = min(len(room) // FULL_FRAGMENT, len(datagrams))
    for number, data in enumerate(datagrams[:count]):
        start = number * FULL_FRAGMENT
        room[start : start + len(data) - HEAD] = data[HEAD:]
    return count, reassembler.enter(sender, [data[:HEAD] for data in datagrams[:count]], now)


@pytest.fixture
def reassembler():
    """One that has joined a message before, whose memory it keeps."""
    warm = Reassembler()
    add(warm, datagrams_of(0))
    return warm


def test_what_was_expected_is_entered_and_joined(reassembler):
    first, *others, last = datagrams_of(1)
    assert add(reassembler, [first]) is None
    assert receive(reassembler, others) == (len(others), len(others))
    assert add(reassembler, [last]) == Message(1, "DATA", payload_of(1))
    assert (reassembler.complete, reassembler.held_bytes, reassembler.incomplete) == (2, 0, 0)


def test_the_books_are_the_same_either_way(reassembler):
    first, *others, _ = datagrams_of(1)
    other = Reassembler()
    add(other, datagrams_of(0))
    add(other, [first, *others])
    add(reassembler, [first])
    receive(reassembler, others)
    assert reassembler.held_bytes == other.held_bytes > 4 * FULL_FRAGMENT


def test_what_was_entered_counts_when_a_fragment_brings_more_than_was_announced(reassembler):
    """Its sender has started again: it begins the message anew, here as behind fragments that were added."""
    first, *others, _ = datagrams_of(1)
    size = len(payload_of(1))
    more = Fragment(1, size, size - FULL_FRAGMENT, COUNT - 1, COUNT, None, bytes(FULL_FRAGMENT))
    add(reassembler, [first])
    assert receive(reassembler, others) == (len(others), len(others))
    assert reassembler.add(ALICE, more, 0.0) is None
    assert (reassembler.inconsistent, reassembler.held_messages) == (1, 1)
    assert add(reassembler, datagrams_of(1)[:-1]) is None
    assert reassembler.inconsistent == 2, "and what came before it contradicts it now"


def test_there_is_room_for_as_many_as_asked_for_and_never_for_the_last_one(reassembler):
    first, second, *_ = datagrams_of(1)
    assert reassembler.room(100) is None, "no message is in progress"
    add(reassembler, [first])
    assert len(reassembler.room(2)) == 2 * FULL_FRAGMENT
    assert len(reassembler.room(100)) == (COUNT - 2) * FULL_FRAGMENT
    add(reassembler, [second])
    assert len(reassembler.room(100)) == (COUNT - 3) * FULL_FRAGMENT
    assert reassembler.room(0) is None


def test_there_is_no_room_without_memory_of_an_earlier_message():
    """An announcement takes no memory."""
    fresh = Reassembler()
    add(fresh, datagrams_of(1)[:1])
    assert fresh.room(100) is None


def test_there_is_room_within_the_memory_of_an_earlier_message_only():
    small = Reassembler()
    add(small, datagrams_of(0, size=2 * FULL_FRAGMENT + 5000))
    add(small, datagrams_of(1)[:1])
    assert len(small.room(100)) == FULL_FRAGMENT


def test_what_grew_beyond_what_was_earned_is_not_kept_when_its_message_is_given_up():
    """Or a sender that never finishes could have as much memory lent as it announces."""
    small = Reassembler()
    add(small, datagrams_of(0, size=2 * FULL_FRAGMENT + 5000))
    add(small, datagrams_of(1)[:-1])
    small.expire(10.0)
    add(small, datagrams_of(2)[:1])
    assert len(small.room(100)) == FULL_FRAGMENT


@pytest.mark.parametrize(
    ("limits", "others"),
    [
        ({"max_bytes": 4_000_000, "max_bytes_per_sender": 500_000}, 10),
        ({"max_bytes": 5_000_000, "max_bytes_per_sender": 600_000}, 0),
    ],
)
def test_there_is_no_room_for_more_than_the_limits_allow(limits, others):
    """Those of all senders, with many others about, and those of one, with another message of its own."""
    tight = Reassembler(**limits)
    add(tight, datagrams_of(0))
    first, second, *_ = datagrams_of(1)
    add(tight, [first])
    for number in range(others):
        add(tight, datagrams_of(number)[:-1], sender=number)
    if not others:
        add(tight, datagrams_of(2)[:4])
    assert add(tight, [second]) is None
    held, room = tight.held_bytes, len(tight.room(100))
    left = limits["max_bytes"] - held if others else limits["max_bytes_per_sender"] - held
    assert 0 < room < (COUNT - 3) * FULL_FRAGMENT
    assert room * 9 // 8 < left < (room + 2 * FULL_FRAGMENT) * 9 // 8
    assert tight.evicted == 0


def test_there_is_no_room_behind_a_gap(reassembler):
    first, second, third, *_ = datagrams_of(1)
    add(reassembler, [second])
    assert reassembler.room(100) is None
    add(reassembler, [first])
    assert len(reassembler.room(100)) == (COUNT - 3) * FULL_FRAGMENT
    add(reassembler, datagrams_of(1)[3:4])
    assert reassembler.room(100) is None, "another one waits"
    add(reassembler, [third])
    assert len(reassembler.room(100)) == FULL_FRAGMENT


@pytest.mark.parametrize("wrong", ["sender", "order", "message", "noise"])
def test_what_was_not_expected_is_not_touched(reassembler, wrong):
    """Nor is what came behind it; `add` takes it then, as if nothing had been tried."""
    first, *others, last = datagrams_of(1)
    add(reassembler, [first])
    before = reassembler.held_bytes
    tried = {
        "sender": others,
        "order": others[::-1],
        "message": datagrams_of(2)[1:-1],
        "noise": [b"noise".ljust(MAX_DATAGRAM)] * 2,
    }[wrong]
    assert receive(reassembler, tried, BOB if wrong == "sender" else ALICE)[1] == 0
    assert reassembler.held_bytes == before
    assert add(reassembler, [*others, last]) == Message(1, "DATA", payload_of(1))


def test_those_before_the_first_unexpected_one_are_entered(reassembler):
    first, *others, last = datagrams_of(1)
    add(reassembler, [first])
    assert receive(reassembler, [*others[:2], others[3]]) == (3, 2)
    assert add(reassembler, [*others[3:], others[2], last]) == Message(1, "DATA", payload_of(1))


def test_a_message_that_expires_meanwhile_takes_nothing(reassembler):
    first, *others, _ = datagrams_of(1)
    add(reassembler, [first])
    assert receive(reassembler, others, now=10.0) == (len(others), 0)
    assert (reassembler.expired, reassembler.held_bytes) == (1, 0)


def test_room_outlives_its_message(reassembler):
    """A statistics call may expire it while the system writes there."""
    add(reassembler, datagrams_of(1)[:1])
    room = reassembler.room(100)
    reassembler.expire(10.0)
    room[:] = bytes(len(room))
    assert reassembler.enter(ALICE, [bytes(HEAD)], 10.0) == 0


# Small messages, in a hurry.


@given(st.integers(0, 2**32 - 1), st.text(max_size=15).filter(lambda name: "\0" not in name), st.binary())
def test_heads_and_payloads_are_small_messages(sequence, channel, payload):
    data = small_head(channel)(sequence) + payload
    assert data == b"".join(encode_small(sequence, channel, payload))
    assert split_small(data) == (sequence, channel, payload)


@pytest.mark.parametrize("channel", ["C" * 64, "A\0B", 5])
def test_a_head_needs_a_name_that_can_be_sent(channel):
    with pytest.raises((ValueError, TypeError)):
        small_head(channel)


@given(
    st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(SMALL_MAGIC.__add__)),
    st.integers(0, 100),
)
def test_split_says_what_decode_says_or_nothing(data, max_size):
    found = split_small(data, max_size)
    try:
        event = decode(data, max_size=max_size)
    except FrameError:
        assert found is None
    else:
        assert found == (event.sequence, event.channel, event.payload)


@pytest.mark.parametrize(
    "data", [b"", b"LC02", b"LC02\0\0\0\0\xff\0", b"LC03" + bytes(40), b"LC02\0\0\0\0" + b"C" * 64 + b"\0"]
)
def test_what_is_no_small_message_is_left_to_decode(data):
    assert split_small(data) is None
