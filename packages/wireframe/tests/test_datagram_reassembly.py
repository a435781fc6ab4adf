"""Reassembly: exactly the messages whose fragments all arrived, within every bound."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe.datagram import (
    FRAGMENT_COST,
    MESSAGE_COST,
    MIN_DATAGRAM,
    Fragment,
    Message,
    Reassembler,
    decode,
    encode_fragments,
)

ALICE = ("192.0.2.1", 40000)
MALLORY = ("192.0.2.66", 6666)


def fragments_of(sequence, payload, channel="DATA", max_datagram=MIN_DATAGRAM):
    """The fragments of a message, small ones so that there are many."""
    return [decode(b"".join(parts)) for parts in encode_fragments(sequence, channel, payload, max_datagram)]


def add_all(reassembler, fragments, sender=ALICE, now=0.0):
    """All messages that came of these fragments."""
    found = [reassembler.add(sender, one, now) for one in fragments]
    return [message for message in found if message is not None]


def counters(reassembler):
    names = ["complete", "expired", "evicted", "inconsistent", "forgotten", "refused", "duplicates", "late"]
    return {name: count for name in names if (count := getattr(reassembler, name))}


# Orders, repetitions, losses.


def test_a_message_comes_out_with_its_last_fragment():
    payload = bytes(range(200))
    *others, last = fragments_of(7, payload)
    reassembler = Reassembler()
    assert add_all(reassembler, others) == []
    assert reassembler.held_messages == 1
    assert reassembler.add(ALICE, last, 0.0) == Message(7, "DATA", payload)
    assert (reassembler.held_messages, reassembler.held_bytes) == (0, 0)
    assert counters(reassembler) == {"complete": 1}


@pytest.mark.parametrize("seed", range(20))
def test_fragments_may_come_in_any_order(seed):
    payload = random.Random(seed).randbytes(900)
    fragments = fragments_of(7, payload)
    random.Random(seed).shuffle(fragments)
    reassembler = Reassembler()
    assert add_all(reassembler, fragments) == [Message(7, "DATA", payload)]
    assert counters(reassembler) == {"complete": 1}


def test_the_channel_may_come_last():
    fragments = fragments_of(7, bytes(300), channel="LATE")
    assert add_all(Reassembler(), fragments[1:] + fragments[:1])[0].channel == "LATE"


def test_a_message_of_one_fragment_is_complete_at_once():
    for payload in (b"", b"short"):
        assert add_all(Reassembler(), fragments_of(0, payload)) == [Message(0, "DATA", payload)]


@given(
    st.lists(st.binary(max_size=500), min_size=1, max_size=4),
    st.data(),
)
def test_messages_come_out_exactly_when_all_their_fragments_arrived(payloads, data):
    """Whatever is lost, repeated and mixed up, of several senders with the same numbers."""
    senders = [ALICE, MALLORY]
    sent = {}
    for number, payload in enumerate(payloads):
        for sender in senders:
            sent[sender, number] = fragments_of(number, payload + repr(sender).encode(), f"channel {number}")
    everything = [(sender, one) for (sender, _), fragments in sent.items() for one in fragments]
    arriving = data.draw(st.lists(st.sampled_from(everything), max_size=2 * len(everything)))
    if data.draw(st.booleans()):
        arriving = data.draw(st.permutations(everything + arriving[:5]))
    reassembler = Reassembler()
    complete, seen, duplicates, late = [], set(), 0, 0
    for sender, one in arriving:
        key, mine = (sender, one.sequence), (sender, one.sequence, one.number)
        whole = key in complete
        late += whole
        duplicates += not whole and mine in seen
        seen.add(mine)
        message = reassembler.add(sender, one, 0.0)
        all_here = all((*key, other.number) in seen for other in sent[key])
        assert (message is not None) == (all_here and not whole)
        if message is not None:
            complete.append(key)
            payload = payloads[one.sequence] + repr(sender).encode()
            assert message == Message(one.sequence, f"channel {one.sequence}", payload)
    assert reassembler.held_messages == len({mine[:2] for mine in seen}) - len(complete)
    expected = {"complete": len(complete), "duplicates": duplicates, "late": late}
    assert counters(reassembler) == {name: count for name, count in expected.items() if count}


def test_a_repeated_fragment_counts_once_joined_or_waiting():
    fragments = fragments_of(7, bytes(300))
    reassembler = Reassembler()
    assert add_all(reassembler, [fragments[0], fragments[0], fragments[1], fragments[1]]) == []
    assert add_all(reassembler, [fragments[3], fragments[3]]) == []
    held = reassembler.held_bytes
    assert add_all(reassembler, fragments[:2] + fragments[3:4]) == []
    assert reassembler.held_bytes == held
    assert counters(reassembler) == {"duplicates": 6}


def test_a_fragment_behind_its_message_begins_no_other():
    fragments = fragments_of(7, bytes(300))
    reassembler = Reassembler()
    add_all(reassembler, fragments)
    assert add_all(reassembler, fragments) == []
    assert reassembler.held_messages == 0
    assert counters(reassembler) == {"complete": 1, "late": len(fragments)}


def test_an_old_number_is_a_new_message_when_it_differs_or_time_has_passed():
    reassembler = Reassembler(max_age_s=2.0)
    assert len(add_all(reassembler, fragments_of(7, bytes(300)), now=0.0)) == 1
    assert len(add_all(reassembler, fragments_of(7, bytes(301)), now=0.1)) == 1
    assert len(add_all(reassembler, fragments_of(7, bytes(301)), now=2.0)) == 0
    assert len(add_all(reassembler, fragments_of(7, bytes(301)), now=2.1)) == 1


def test_finished_messages_are_remembered_in_bounded_number():
    reassembler = Reassembler(max_messages=2)
    one = fragments_of(0, b"x")
    for number in range(9):
        add_all(reassembler, fragments_of(number, b"x"))
    assert add_all(reassembler, one) == [Message(0, "DATA", b"x")]
    assert add_all(reassembler, fragments_of(8, b"x")) == []


class Host:
    """A sender that counts how often it is compared with another one."""

    compared = 0

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return hash(self.number)

    def __eq__(self, other):
        Host.compared += 1
        return self.number == other.number


def remembered(reassembler):
    """The numbers remembered by sender, of both books."""
    finished = reassembler._finished
    numbers = {}
    for sender, number in finished._until:
        numbers.setdefault(sender.number, set()).add(number)
    assert {sender.number: known for sender, known in finished._of.items()} == numbers
    return sum(map(len, numbers.values()))


def test_forgetting_a_sender_looks_at_no_other(monkeypatch):
    """Made-up senders and restarts would have everybody wait for a look at all that is remembered."""
    reassembler = Reassembler()
    for number in range(1024):
        add_all(reassembler, fragments_of(number, b"x"), sender=Host(number))
    assert remembered(reassembler) == 1024
    monkeypatch.setattr(Host, "compared", 0)
    for number in (*range(100, 200), *range(100, 110), 5000):
        reassembler.forget(Host(number))
    assert Host.compared <= 5 * 111
    assert remembered(reassembler) == 924


def test_what_is_remembered_by_sender_is_what_is_remembered():
    """Whatever is finished, crowded out or forgotten; and nothing stays of those that have nothing."""
    source = random.Random(5)
    reassembler = Reassembler(max_messages=3, max_age_s=5.0)
    for step in range(3000):
        sender = Host(source.randrange(6))
        if source.random() < 0.1:
            reassembler.forget(sender)
        else:
            # Of one fragment or of several that never are whole; each size makes an old number a new message.
            one = fragments_of(source.randrange(8), bytes(source.randrange(1, 300)))
            add_all(reassembler, one[: source.choice([1, 100])], sender=sender, now=step * 0.5)
        assert remembered(reassembler) <= 12
        assert all(reassembler._finished._of.values())
    for number in range(6):
        reassembler.forget(Host(number))
    assert not reassembler._finished._of


# Contradictions: the newest fragment is right, its sender has started again.


def changed(fragment, **fields):
    names = ["sequence", "size", "offset", "number", "count", "channel", "payload"]
    return Fragment(**{name: getattr(fragment, name) for name in names} | fields)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda old: changed(old[1], size=old[1].size + 1), id="another size"),
        pytest.param(lambda old: changed(old[1], count=old[1].count + 1), id="another count"),
        pytest.param(lambda old: changed(old[0], size=old[0].size + 1), id="another size, same bytes"),
        pytest.param(lambda old: changed(old[0], payload=b"x" + old[0].payload[1:]), id="other bytes"),
        pytest.param(lambda old: changed(old[0], channel="OTHER"), id="another channel"),
        pytest.param(lambda old: changed(old[2], offset=old[2].offset + 1), id="another offset"),
    ],
)
def test_a_fragment_that_contradicts_begins_its_message_anew(other):
    old = fragments_of(7, bytes(300))
    reassembler = Reassembler()
    assert add_all(reassembler, [old[0], old[2]]) == []
    assert add_all(reassembler, [other(old)]) == []
    assert reassembler.held_messages == 1
    assert counters(reassembler) == {"inconsistent": 1}


def test_a_sender_that_starts_again_in_the_middle_of_a_message_is_understood():
    old = fragments_of(7, b"old" * 100)
    new = fragments_of(7, b"new" * 100)
    reassembler = Reassembler()
    add_all(reassembler, old[:-1])
    assert add_all(reassembler, new) == [Message(7, "DATA", b"new" * 100)]
    assert counters(reassembler) == {"inconsistent": 1, "complete": 1}


def test_fragments_with_more_bytes_than_their_message_are_no_message():
    """Each is legal alone; overlaps are never counted as progress."""
    reassembler = Reassembler()
    overlapping = [Fragment(1, 10, offset, number, 3, None, bytes(4)) for number, offset in ((1, 4), (2, 5))]
    assert add_all(reassembler, overlapping) == []
    assert add_all(reassembler, [Fragment(1, 10, 0, 0, 3, "A", bytes(4))]) == []
    assert counters(reassembler) == {"inconsistent": 1}


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([(0, 4), (4, 4)], id="short of the end"),
        pytest.param([(0, 4), (6, 4)], id="a hole"),
        pytest.param([(0, 4), (2, 6)], id="an overlap of the right sum"),
        pytest.param([(2, 4), (0, 2)], id="the wrong way round"),
        pytest.param([(1, 4), (5, 5)], id="nothing at the beginning"),
        pytest.param([(0, 5), (0, 5)], id="the same place twice"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_all_numbers_that_do_not_tile_their_message_are_no_message(spans, order):
    pieces = [
        Fragment(1, 10, offset, number, len(spans), "A" if number == 0 else None, bytes(length))
        for number, (offset, length) in enumerate(spans)
    ]
    reassembler = Reassembler()
    assert add_all(reassembler, pieces[::order]) == []
    assert counters(reassembler) == {"inconsistent": 1}
    assert reassembler.held_bytes == 0


def test_a_message_without_channel_is_no_message():
    """`decode` never returns such a fragment."""
    reassembler = Reassembler()
    assert add_all(reassembler, [Fragment(1, 3, 0, 0, 1, None, b"abc")]) == []
    assert counters(reassembler) == {"inconsistent": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        Fragment(1, 10, 0, 2, 2, None, b""),
        Fragment(1, 10, 0, -1, 2, None, b""),
        Fragment(1, 10, -1, 1, 2, None, b""),
        Fragment(1, 10, 8, 1, 2, None, b"abc"),
        Fragment(1, 2, 0, 1, 2, None, b"abc"),
    ],
)
def test_fragments_that_contradict_themselves_are_refused(wrong):
    reassembler = Reassembler()
    assert add_all(reassembler, [wrong]) == []
    assert counters(reassembler) == {"refused": 1}
    assert reassembler.held_messages == 0


@given(
    st.lists(
        st.builds(
            Fragment,
            sequence=st.integers(0, 2),
            size=st.integers(0, 6),
            offset=st.integers(-1, 6),
            number=st.integers(-1, 3),
            count=st.integers(1, 3),
            channel=st.none() | st.just("A"),
            payload=st.binary(max_size=4),
        ),
        max_size=40,
    )
)
def test_whatever_comes_the_books_balance(fragments):
    """Messages begun are in progress, complete or given up; and each has its size."""
    reassembler = Reassembler(max_messages=4, max_messages_per_sender=2)
    for now, one in enumerate(fragments):
        message = reassembler.add(ALICE, one, now / 4)
        if message is not None:
            assert len(message.payload) == one.size
        assert reassembler.held_messages <= 2
        assert (reassembler.held_bytes > 0) == (reassembler.held_messages > 0)
    assert reassembler.incomplete <= len(fragments)
    reassembler.expire(1e9)
    assert (reassembler.held_messages, reassembler.held_bytes) == (0, 0)


# Age.


def test_a_message_is_given_up_when_it_is_too_old():
    fragments = fragments_of(7, bytes(300))
    reassembler = Reassembler(max_age_s=2.0)
    add_all(reassembler, fragments[:1], now=10.0)
    add_all(reassembler, fragments[1:2], now=11.9)
    assert reassembler.expire(11.99) == 0
    assert add_all(reassembler, fragments[2:], now=12.0) == []
    assert counters(reassembler) == {"expired": 1, "late": len(fragments) - 2}
    assert (reassembler.held_bytes, reassembler.incomplete) == (0, 1)


def test_expire_gives_up_exactly_what_is_due():
    reassembler = Reassembler(max_age_s=1.0)
    for number in range(4):
        add_all(reassembler, fragments_of(number, bytes(300))[:1], now=number / 10)
    assert reassembler.expire(1.15) == 2
    assert reassembler.expire(1.15) == 0
    assert reassembler.held_messages == 2
    assert reassembler.expire(99.0) == 2
    assert reassembler.expire(99.0) == 0


# Starting again.


def test_forget_drops_all_of_one_sender():
    fragments = fragments_of(1, bytes(300))
    reassembler = Reassembler()
    add_all(reassembler, fragments_of(0, bytes(300)), ALICE)
    add_all(reassembler, fragments[:1], ALICE)
    add_all(reassembler, fragments[:1], MALLORY)
    assert reassembler.forget(ALICE) == 1
    assert reassembler.held_messages == 1
    assert len(add_all(reassembler, fragments_of(0, bytes(300)), ALICE)) == 1
    assert len(add_all(reassembler, fragments, ALICE)) == 1
    assert reassembler.forget("nobody") == 0
    assert counters(reassembler) == {"complete": 3, "forgotten": 1}


# Limits.


@pytest.mark.parametrize(
    "limits",
    [
        {"max_size": 0},
        {"max_bytes": 0},
        {"max_messages": 0},
        {"max_bytes_per_sender": -1},
        {"max_messages_per_sender": 0},
        {"max_age_s": 0.0},
        {"max_age_s": float("nan")},
    ],
)
def test_limits_that_allow_nothing_are_refused(limits):
    with pytest.raises(ValueError, match="must be"):
        Reassembler(**limits)


def test_a_message_beyond_the_size_limit_is_refused_fragment_by_fragment():
    reassembler = Reassembler(max_size=299)
    fragments = fragments_of(7, bytes(300))
    assert add_all(reassembler, fragments) == []
    assert counters(reassembler) == {"refused": len(fragments)}
    assert len(add_all(reassembler, fragments_of(8, bytes(299)))) == 1


def test_by_default_the_largest_message_fits_in_the_most_fragments():
    size = 65535 * (MIN_DATAGRAM - 20) - 5
    fragments = fragments_of(7, bytes(size))
    assert len(fragments) == 65535
    reassembler = Reassembler(max_size=size)
    (message,) = add_all(reassembler, fragments[::-1])
    assert len(message.payload) == size


def test_a_message_that_no_limit_could_hold_is_refused_at_once():
    for limit in ({"max_bytes": 5000}, {"max_bytes_per_sender": 5000}):
        reassembler = Reassembler(**limit)
        assert add_all(reassembler, fragments_of(7, bytes(3000))[:1]) == []
        assert add_all(reassembler, [Fragment(7, 10, 0, 1, 65535, None, b"")]) == []
        assert counters(reassembler) == {"refused": 2}
        assert len(add_all(reassembler, fragments_of(7, bytes(100)))) == 1


def test_one_sender_loses_its_own_oldest_message_for_its_newest():
    reassembler = Reassembler(max_messages_per_sender=2)
    messages = [fragments_of(number, bytes(300)) for number in range(3)]
    add_all(reassembler, messages[0][:1], MALLORY)
    for fragments in messages:
        add_all(reassembler, fragments[:1], ALICE)
    assert counters(reassembler) == {"evicted": 1}
    assert add_all(reassembler, messages[0][1:], ALICE) == []
    assert [one.sequence for one in add_all(reassembler, messages[1] + messages[2], ALICE)] == [1, 2]
    assert len(add_all(reassembler, messages[0], MALLORY)) == 1


def test_one_sender_with_one_message_in_progress_may_have_another_in_its_place():
    reassembler = Reassembler(max_messages_per_sender=1)
    add_all(reassembler, fragments_of(0, bytes(300))[:1])
    assert len(add_all(reassembler, fragments_of(1, bytes(300)))) == 1
    assert counters(reassembler) == {"evicted": 1, "complete": 1}


def test_all_senders_together_lose_the_oldest_message():
    reassembler = Reassembler(max_messages=2)
    fragments = fragments_of(0, bytes(300))
    for sender in ("first", "second", "third"):
        add_all(reassembler, fragments[:1], sender)
    assert counters(reassembler) == {"evicted": 1}
    assert add_all(reassembler, fragments[1:], "first") == []
    assert len(add_all(reassembler, fragments[1:], "third")) == 1


def room_for(*messages):
    """A limit that just holds these (payload bytes, fragments)."""
    return sum(size + (size >> 3) + count * FRAGMENT_COST + MESSAGE_COST for size, count in messages)


@pytest.mark.parametrize("limit", ["max_bytes", "max_bytes_per_sender"])
def test_nothing_is_evicted_while_the_bytes_suffice(limit):
    fragments = [
        [Fragment(number, 800, 400 * i, i, 2, None if i else "A", bytes(400)) for i in (0, 1)]
        for number in range(3)
    ]
    reassembler = Reassembler(**{limit: room_for((800, 2), (400, 1))})
    add_all(reassembler, [fragments[0][1], fragments[1][1]])
    assert len(add_all(reassembler, [fragments[1][0]])) == 1
    assert counters(reassembler) == {"complete": 1}
    add_all(reassembler, [fragments[2][1]])
    assert len(add_all(reassembler, [fragments[0][0]])) == 1
    assert len(add_all(reassembler, [fragments[2][0]])) == 1
    assert counters(reassembler) == {"complete": 3}


@pytest.mark.parametrize("limit", ["max_bytes", "max_bytes_per_sender"])
def test_the_oldest_message_goes_even_for_its_own_fragment(limit):
    old = [Fragment(0, 800, 400 * i, i, 2, None if i else "A", bytes(400)) for i in (0, 1)]
    young = [Fragment(1, 800, 400 * i, i, 2, None if i else "A", bytes(400)) for i in (0, 1)]
    reassembler = Reassembler(**{limit: room_for((400, 1), (800, 2)) - 1})
    add_all(reassembler, [old[0], young[0]])
    assert add_all(reassembler, [old[1]]) == []
    assert counters(reassembler) == {"evicted": 1}
    assert len(add_all(reassembler, [young[1]])) == 1
    assert add_all(reassembler, [old[1]]) == []
    assert counters(reassembler) == {"evicted": 1, "complete": 1, "late": 1}


@pytest.mark.parametrize("limit", ["max_bytes", "max_bytes_per_sender"])
def test_a_fragment_of_a_young_message_evicts_the_older_ones(limit):
    reassembler = Reassembler(**{limit: room_for((400, 1), (800, 2)) - 1})
    messages = [
        [Fragment(number, 800, 400 * i, i, 2, None if i else "A", bytes(400)) for i in (0, 1)]
        for number in (0, 1)
    ]
    add_all(reassembler, [messages[0][0], messages[1][0]])
    assert len(add_all(reassembler, [messages[1][1]])) == 1
    assert counters(reassembler) == {"evicted": 1, "complete": 1}


@pytest.mark.parametrize("limit", ["max_bytes", "max_bytes_per_sender"])
def test_a_new_message_evicts_when_even_its_name_has_no_room(limit):
    reassembler = Reassembler(**{limit: room_for((400, 1)) + MESSAGE_COST - 1})
    add_all(reassembler, [Fragment(0, 800, 0, 0, 2, "A", bytes(400))])
    add_all(reassembler, [Fragment(1, 0, 0, 1, 2, None, b"")])
    assert counters(reassembler) == {"evicted": 1}


def flood_of_senders(generator):
    for sequence in range(4000):
        yield ("spoofed address", sequence), Fragment(0, 100, 0, 0, 2, "\U0001f600" * 15, b"")


def flood_of_empty_fragments(generator):
    """In order they are joined, without the first one they wait."""
    for sequence in range(2):
        for number in range(sequence % 2, 10_000 - 1 + sequence % 2):
            yield MALLORY, Fragment(sequence, 1000, 0, number, 10_000, None if number else "A", b"")


def flood_of_payload(generator):
    for sequence in range(60):
        for number in range(4):
            payload = generator.randbytes(30_000)
            for sender in range(3):
                yield sender, Fragment(sequence, 150_000, 30_000 * number, number, 5, None, payload[:])


def flood_of_nonsense(generator):
    for _ in range(4000):
        size = generator.choice([0, 100, 5000, 1 << 28])
        count = generator.choice([1, 2, 200, 65535])
        length = min(size, generator.choice([0, 1, 100, 1400]))
        offset = generator.randint(0, size - length)
        number = generator.randrange(count)
        sender = (MALLORY, generator.randrange(40))
        yield sender, Fragment(generator.randrange(50), size, offset, number, count, "A", bytes(length))


@pytest.mark.parametrize(
    "flood", [flood_of_senders, flood_of_empty_fragments, flood_of_payload, flood_of_nonsense]
)
def test_memory_stays_below_its_limit_whatever_comes(flood):
    limit, remembered = 4 << 20, 256 * 4 * 500
    reassembler = Reassembler(max_bytes=limit, max_bytes_per_sender=limit)
    generator = random.Random(1)
    tracemalloc.start()
    try:
        # Fragments are made one by one, so only what is kept counts.
        for now, (sender, one) in enumerate(flood(generator)):
            reassembler.add(sender, one, now / 1e5)
            assert reassembler.held_bytes <= limit
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reassembler.held_messages <= 256
    assert reassembler.evicted > 0
    assert peak < limit + remembered + (200 << 10)


def test_announcements_take_no_memory():
    """Each datagram announces 256 MiB in 65535 fragments, and brings a byte."""
    reassembler = Reassembler()
    tracemalloc.start()
    try:
        for sequence in range(4000):
            fragment = Fragment(sequence, 1 << 28, 0, 1, 65535, None, b"x")
            reassembler.add((MALLORY, sequence % 50), fragment, 0.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reassembler.held_messages == 256
    assert peak < 2 << 20


@pytest.mark.parametrize("first", [0, 1])
def test_the_books_charge_more_than_fragments_take(first):
    """The costs are no guess: without payload, memory is all overhead."""
    tracemalloc.start()
    try:
        reassembler = Reassembler()
        for number in range(first, 20_000):
            fragment = Fragment(1, 1000, 0, number, 65535, "A" if number == 0 else None, b"")
            reassembler.add(ALICE, fragment, 0.0)
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < peak < reassembler.held_bytes


def test_the_books_charge_more_than_messages_take():
    tracemalloc.start()
    try:
        reassembler = Reassembler(max_messages=1000)
        for number in range(1000):
            sender = ("2001:db8:0123:4567:89ab:cdef:0123:4567", 10_000 + number, 0, 0)
            reassembler.add(sender, Fragment(1 << 31, 1000, 0, 0, 2, "\U0001f600" * 15 + "A", b"x"), 0.0)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < reassembler.held_bytes == 1000 * (MESSAGE_COST + FRAGMENT_COST + 1)


# Memory that is kept.


class Quiet(BytesIO):
    """As the documentation advises: it may be collected together with a view of it."""

    def close(self):
        with contextlib.suppress(BufferError):
            super().close()


def bytes_io(size):
    return Quiet(bytes(size))


@pytest.fixture(params=[{}, {"make_memory": bytes_io}], ids=["own", "BytesIO"])
def memory(request):
    """Where messages are joined."""
    return request.param


def test_messages_of_all_sizes_in_the_same_memory_keep_their_bytes(memory):
    """Longer and shorter ones by turns, mixed up and of several senders: nothing of one is in another."""
    generator = random.Random(3)
    reassembler = Reassembler(max_bytes=64 << 20, **memory)
    sizes = [generator.choice([0, 100, 20_000, 50_000, 400_000, 1 << 20]) for _ in range(60)]
    payloads = [generator.randbytes(size) for size in sizes]
    for start in range(0, len(payloads), 3):
        fragments = [
            (sequence % 2, one)
            for sequence in range(start, start + 3)
            for one in fragments_of(sequence, payloads[sequence], max_datagram=40_000)
        ]
        generator.shuffle(fragments)
        messages = [reassembler.add(sender, one, 0.0) for sender, one in fragments]
        found = {message.sequence: message.payload for message in messages if message is not None}
        assert found == {sequence: payloads[sequence] for sequence in range(start, start + 3)}


def test_payloads_may_be_views_of_memory_that_is_reused(memory):
    """Fragments are copied, whether they come in order or wait."""
    payload = random.Random(4).randbytes(100_000)
    datagrams = [b"".join(parts) for parts in encode_fragments(7, "DATA", payload, 30_000)]
    for order in (datagrams, datagrams[::-1]):
        reassembler, buffer, messages = Reassembler(**memory), bytearray(65535), []
        for data in order:
            buffer[: len(data)] = data
            one = decode(memoryview(buffer)[: len(data)], copy=False)
            messages.append(reassembler.add(ALICE, one, 0.0))
            del one
            buffer[: len(data)] = bytes(len(data))
        assert messages == [None] * (len(order) - 1) + [Message(7, "DATA", payload)]


def test_what_is_lent_to_later_messages_is_bounded(memory):
    """An eighth of the limit however many arrived at once, and nothing while none is in progress."""
    limit = 16 << 20
    reassembler = Reassembler(max_bytes=limit, max_bytes_per_sender=limit, **memory)
    fragments = [fragments_of(turn, bytes(1_500_000), max_datagram=65507) for turn in range(4)]
    tracemalloc.start()
    try:
        for firsts, *others, lasts in [list(zip(*[fragments[turn]] * 6, strict=True)) for turn in range(4)]:
            for sender, first in enumerate(firsts):
                assert reassembler.add(sender, first, 0.0) is None
            lent = tracemalloc.get_traced_memory()[0]
            # The first messages have earned what the later ones are lent.
            assert lent < reassembler.held_bytes + (limit >> 3) + (200 << 10)
            assert (lent > 1_500_000) == (reassembler.complete > 0)
            for group in (*others, lasts):
                for sender, one in enumerate(group):
                    reassembler.add(sender, one, 0.0)
            assert tracemalloc.get_traced_memory()[0] < 200 << 10
    finally:
        tracemalloc.stop()
    assert reassembler.complete == 24


@pytest.mark.parametrize("earned", [0, 1])
def test_a_message_is_handed_out_in_the_memory_it_was_joined_in(earned):
    """If that can be: the first one in memory that grew by an eighth at most, the next one in its own."""
    size = 4 << 20
    reassembler = Reassembler(max_bytes=1 << 30, max_bytes_per_sender=1 << 29, make_memory=bytes_io)
    for sequence in range(earned):
        add_all(reassembler, fragments_of(sequence, bytes(size), max_datagram=65507))
    fragments = fragments_of(earned, random.Random(5).randbytes(size), max_datagram=65507)
    tracemalloc.start()
    try:
        (message,) = add_all(reassembler, fragments)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(message.payload) is bytes
    assert message.payload == random.Random(5).randbytes(size)
    assert kept < size + (200 << 10)
    assert peak < size + (size >> 3) + (200 << 10)


def test_memory_that_was_made_for_a_mere_announcement_is_not_made_again(memory):
    """Whoever gives up messages by the thousand makes nobody work for them."""
    reassembler = Reassembler(max_messages_per_sender=1, **memory)
    add_all(reassembler, fragments_of(0, bytes(1_000_000), max_datagram=65507))
    spares, made = reassembler._holdings._spares, set()
    for sequence in range(100):
        reassembler.add(MALLORY, Fragment(sequence, 1 << 20, 0, 0, 20, "A", b"x"), 0.0)
        (partial,) = reassembler._holdings.partials.values()
        made.add(id(partial.buffer))
    assert len(made) == 1
    assert spares._total == 1_000_000


def test_kept_memory_is_lent_to_no_more_messages_than_it_was_earned_by(memory):
    """Announcements get it, for a byte each, and whoever earns it next leaves no more in its place."""
    limit = 16 << 20
    reassembler = Reassembler(max_bytes=limit, max_bytes_per_sender=limit, **memory)
    tracemalloc.start()
    try:
        for sequence in range(100):
            assert len(add_all(reassembler, fragments_of(sequence, bytes(500_000), max_datagram=65507))) == 1
            reassembler.add((*MALLORY, sequence), Fragment(0, 1 << 20, 0, 0, 20, "A", b"x"), 0.0)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert reassembler.held_messages == 100
    assert size < reassembler.held_bytes + (limit >> 3) + (200 << 10)


def test_small_messages_neither_take_nor_leave_kept_memory(memory):
    reassembler = Reassembler(**memory)
    add_all(reassembler, fragments_of(0, bytes(200_000), max_datagram=65507))
    tracemalloc.start()
    try:
        for sequence in range(1, 100):
            add_all(reassembler, fragments_of(sequence, bytes(300)))
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < 100 * 500


def test_an_honest_sender_beside_a_flood_gets_all_its_messages_through():
    reassembler = Reassembler(max_bytes=8 << 20, max_bytes_per_sender=2 << 20)
    generator = random.Random(2)
    flood = flood_of_nonsense(generator)
    complete = 0
    for sequence in range(10):
        for one in fragments_of(sequence, bytes(100_000), max_datagram=1472):
            complete += reassembler.add(ALICE, one, 0.0) is not None
            for _ in range(5):
                sender, other = next(flood, (MALLORY, one))
                reassembler.add(sender[0], other, 0.0)
    assert complete == 10
