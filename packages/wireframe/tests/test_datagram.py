"""LCM datagrams: golden bytes both ways, what cannot be sent, what a peer may do wrong."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wireframe import BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame
from wireframe.datagram import (
    MAX_DATAGRAM,
    MAX_SIZE,
    MIN_DATAGRAM,
    Fault,
    Fragment,
    FragmentHeads,
    Reassembler,
    Small,
    _encode,
    decode,
    encode_fragments,
    encode_message,
    encode_small,
    examine,
)
from wireframe.datagram._faults import NO_TEXT

VECTORS = json.loads((Path(__file__).parent / "vectors" / "lcm.json").read_text(encoding="utf-8"))
MESSAGES = VECTORS["messages"]
CHANNELS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=63).filter(
    lambda text: len(text.encode()) <= 63
)
U32 = st.integers(0, (1 << 32) - 1)
each_message = pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case["name"])


def payload_of(case):
    """The payload, from the rule that the vectors name; short ones stand in the vectors themselves."""
    size = case["payload_len"]
    if size > 100:
        payload = bytes((i * 31 + (i >> 8)) & 255 for i in range(size))
    else:
        payload = bytes.fromhex(case["datagrams"][0]["hex"])[8 + len(case["channel"]) + 1 :]
    assert hashlib.sha256(payload).hexdigest() == case["payload_sha256"]
    return payload


def sequence_of(case):
    one = case["datagrams"][0]
    return int(one.get("hex", one.get("head_hex"))[8:16], 16)


def joined(datagrams):
    return [b"".join(parts) for parts in datagrams]


def check_golden(data, vector):
    assert len(data) == vector["len"]
    if "hex" in vector:
        assert data.hex() == vector["hex"]
    else:
        assert data[: len(vector["head_hex"]) // 2].hex() == vector["head_hex"]
        assert data[-len(vector["tail_hex"]) // 2 :].hex() == vector["tail_hex"]
        assert hashlib.sha256(data).hexdigest() == vector["sha256"]


# Golden bytes.


@each_message
def test_our_datagrams_are_those_of_lcm(case):
    made = joined(encode_message(sequence_of(case), case["channel"], payload_of(case)))
    assert len(made) == len(case["datagrams"])
    for data, vector in zip(made, case["datagrams"], strict=True):
        check_golden(data, vector)


@each_message
def test_the_datagrams_of_lcm_are_read(case):
    """From their golden digests: bytes that are theirs decode to their channel, number and payload."""
    payload = payload_of(case)
    datagrams = joined(encode_message(sequence_of(case), case["channel"], payload))
    reassembler = Reassembler()
    for data, vector in zip(datagrams, case["datagrams"], strict=True):
        check_golden(data, vector)
        event = decode(data)
        if isinstance(event, Fragment):
            assert (event.size, event.count) == (len(payload), len(datagrams))
            assert (event.channel is None) == (event.number > 0)
            event = reassembler.add("lcm", event, now=0.0)
    assert (event.sequence, event.channel) == (sequence_of(case), case["channel"])
    assert event.payload == payload


# Small or fragments.


@pytest.mark.parametrize("channel", ["", "DATA", "C" * 63])
@pytest.mark.parametrize("max_datagram", [MIN_DATAGRAM, 1472, MAX_DATAGRAM])
def test_a_message_is_small_exactly_as_long_as_it_fits(channel, max_datagram):
    largest = max_datagram - 8 - len(channel) - 1
    (parts,) = encode_message(1, channel, bytes(largest), max_datagram)
    assert len(b"".join(parts)) == max_datagram
    assert decode(b"".join(parts)) == Small(1, channel, bytes(largest))
    two = joined(encode_message(1, channel, bytes(largest + 1), max_datagram))
    assert [type(decode(data)) for data in two] == [Fragment, Fragment]
    assert len(two[0]) == max_datagram


def test_all_fragments_but_the_last_are_full():
    datagrams = joined(encode_fragments(3, "DATA", bytes(10_000), 1000))
    assert {len(data) for data in datagrams[:-1]} == {1000}
    assert 20 < len(datagrams[-1]) <= 1000


def test_a_payload_that_fills_its_last_datagram_needs_no_other():
    first, step = 1000 - 20 - 5, 1000 - 20
    assert len(encode_fragments(3, "DATA", bytes(first), 1000)) == 1
    assert len(encode_fragments(3, "DATA", bytes(first + 2 * step), 1000)) == 3
    assert len(encode_fragments(3, "DATA", bytes(first + 2 * step + 1), 1000)) == 4


def test_a_short_payload_may_be_sent_as_one_fragment():
    (parts,) = encode_fragments(3, "DATA", b"")
    assert decode(b"".join(parts)) == Fragment(3, 0, 0, 0, 1, "DATA", b"")


@given(U32, CHANNELS, st.binary(max_size=400), st.integers(MIN_DATAGRAM, 200))
def test_any_message_survives(sequence, channel, payload, max_datagram):
    datagrams = joined(encode_message(sequence, channel, payload, max_datagram))
    assert all(len(data) <= max_datagram for data in datagrams)
    events = [decode(data) for data in datagrams]
    if len(events) == 1:
        assert events == [Small(sequence, channel, payload)]
        assert joined([encode_small(sequence, channel, payload)]) == datagrams
    else:
        assert datagrams == joined(encode_fragments(sequence, channel, payload, max_datagram))
        assert [event.number for event in events] == list(range(len(events)))
        assert b"".join(event.payload for event in events) == payload
        assert events[0].channel == channel


# Buffers.


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    st.text(max_size=15).filter(lambda name: "\0" not in name),
    st.binary(max_size=1000),
    st.integers(MIN_DATAGRAM, 500),
)
def test_heads_that_are_used_again_are_those_of_fragments(sequences, channel, payload, max_datagram):
    heads = FragmentHeads(channel, payload, max_datagram)
    for sequence in sequences:
        heads.renumber(sequence)
        datagrams, begin = [], 0
        for number, (head, share) in enumerate(heads.sizes):
            start = number * heads.stride
            datagrams.append(bytes(heads.memory[start : start + head]) + payload[begin : begin + share])
            begin += share
        assert datagrams == joined(encode_fragments(sequence, channel, payload, max_datagram))


@pytest.mark.parametrize("sequence", [-1, 1 << 32])
def test_heads_take_no_number_that_does_not_fit(sequence):
    heads = FragmentHeads("ADC", bytes(300), 120)
    heads.renumber(7)
    before = bytes(heads.memory)
    with pytest.raises(OverflowError):
        heads.renumber(sequence)
    assert heads.memory == before


def test_payloads_are_not_copied():
    memory = bytearray(200_000)
    datagrams = encode_message(1, "DATA", memory)
    memory[:] = b"\x01" * len(memory)
    assert b"".join(decode(data).payload for data in joined(datagrams)) == memory


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5, dtype="<f8"),
        np.arange(5, dtype=">f8"),
        np.arange(20).reshape(4, 5)[:, ::2],
        np.zeros((0, 3)),
        np.arange(12).reshape(3, 4),
    ],
    ids=["native", "foreign byte order", "strided", "empty", "two-dimensional"],
)
def test_an_array_is_sent_as_its_memory(array):
    data = b"".join(encode_small(1, "A", array))
    assert decode(data) == Small(1, "A", array.tobytes())


@pytest.mark.parametrize("make", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
@pytest.mark.parametrize("size", [0, 10, 60_000, 100_000])
def test_events_keep_nothing_of_the_buffer_they_came_in(make, size):
    for parts in encode_message(9, "A", bytes(size)):
        data = b"".join(parts)
        buffer = make(data)
        event = decode(buffer)
        assert event == decode(data)
        assert type(event.payload) is bytes
        if isinstance(buffer, bytearray):
            buffer.clear()  # refused while anything still looks at it


# What cannot be sent.


@pytest.mark.parametrize("encode", [encode_small, encode_fragments, encode_message])
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((-1, "A", b""), ValueError, "sequence -1 "),
        ((1 << 32, "A", b""), ValueError, "sequence 4294967296 "),
        ((1.5, "A", b""), ValueError, r"sequence 1\.5 "),
        ((0, "C" * 64, b""), ValueError, "has 64 bytes, the limit is 63"),
        ((0, "\u00e9" * 32, b""), ValueError, "has 64 bytes"),
        ((0, "A\0B", b""), ValueError, "NUL"),
        ((0, "\udc80", b""), ValueError, "surrogates"),
        ((0, b"A", b""), TypeError, "a channel is a str, not bytes"),
        ((0, "A", "text"), TypeError, "bytes-like"),
        ((0, "A", 5), TypeError, "bytes-like"),
    ],
)
def test_what_has_no_place_on_the_wire_is_refused(encode, arguments, error, says):
    with pytest.raises(error, match=says):
        encode(*arguments)


def test_a_small_message_beyond_one_datagram_is_refused():
    encode_small(0, "DATA", bytes(65494))
    with pytest.raises(ValueError, match="would have 65508 bytes, the limit is 65507"):
        encode_small(0, "DATA", bytes(65495))


@pytest.mark.parametrize("encode", [encode_fragments, encode_message])
@pytest.mark.parametrize("max_datagram", [0, MIN_DATAGRAM - 1, MAX_DATAGRAM + 1])
def test_datagrams_too_short_for_a_channel_or_too_long_for_udp_are_refused(encode, max_datagram):
    with pytest.raises(ValueError, match=f"85 to 65507, not {max_datagram}"):
        encode(0, "A", b"", max_datagram)


def test_more_fragments_than_their_number_can_count_are_refused():
    largest = 65535 * (MIN_DATAGRAM - 20) - 2
    payload = bytes(largest + 1)
    assert len(encode_fragments(0, "A", memoryview(payload)[:-1], MIN_DATAGRAM)) == 65535
    with pytest.raises(ValueError, match="takes 65536 datagrams of 85, the limit is 65535"):
        encode_fragments(0, "A", payload, MIN_DATAGRAM)


def test_a_message_longer_than_its_length_field_is_refused():
    class FourGiB(bytes):
        """As long, without the memory."""

        def __len__(self):
            return 1 << 32

    with pytest.raises(ValueError, match="4294967296 bytes does not fit its length field"):
        _encode._fragments(0, b"A", FourGiB(), MAX_DATAGRAM)


# What a peer may do wrong.


def fragment(sequence=1, size=100, offset=0, number=1, count=2, rest=b"payload"):
    return struct.pack(">4sIIIHH", b"LC03", sequence, size, offset, number, count) + rest


BROKEN = {
    "empty": (b"", TruncatedFrame),
    "cut in the magic": (b"LC0", TruncatedFrame),
    "small magic alone": (b"LC02", TruncatedFrame),
    "small, cut in the sequence": (b"LC02\0\0\0", TruncatedFrame),
    "small without channel": (b"LC02\0\0\0\1", TruncatedFrame),
    "small, channel without end": (b"LC02\0\0\0\1ABC", TruncatedFrame),
    "small, channel of 64": (b"LC02\0\0\0\1" + b"C" * 64 + b"\0", BadHeader),
    "small, channel of 64 and nothing": (b"LC02\0\0\0\1" + b"C" * 64, BadHeader),
    "small, channel not UTF-8": (b"LC02\0\0\0\1\xff\0", BadHeader),
    "fragment magic alone": (b"LC03", TruncatedFrame),
    "fragment header cut": (fragment()[:19], TruncatedFrame),
    "fragment 0 without channel": (fragment(number=0, rest=b""), TruncatedFrame),
    "fragment 0, channel without end": (fragment(number=0, rest=b"ABC"), TruncatedFrame),
    "fragment 0, channel of 64": (fragment(number=0, rest=b"C" * 64 + b"\0"), BadHeader),
    "fragment 0, channel not UTF-8": (fragment(number=0, rest=b"\xc3\0"), BadHeader),
    "number equal to count": (fragment(number=2), BadHeader),
    "no fragments at all": (fragment(number=0, count=0), BadHeader),
    "beyond the end": (fragment(size=10, offset=4), BadPayload),
    "offset beyond the end": (fragment(size=10, offset=0xFFFFFFFF), BadPayload),
    "too large": (fragment(size=(1 << 28) + 1), FrameTooLarge),
    "another protocol": (b"M-SEARCH * HTTP/1.1\r\n", BadHeader),
    "older magic": (b"LC01\0\0\0\1A\0", BadHeader),
}


@pytest.mark.parametrize("make", [bytes, memoryview])
@pytest.mark.parametrize(("data", "error"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_datagram_of_lcm_is_refused_by_type(data, error, make):
    with pytest.raises(FrameError) as caught:
        decode(make(data))
    assert type(caught.value) is error
    assert caught.value.excerpt == data[:32]
    if error is TruncatedFrame:
        assert caught.value.got == len(data) < caught.value.expected


@pytest.mark.parametrize("make", [bytes, memoryview])
@pytest.mark.parametrize(("data", "error"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_known_without_an_error_and_told_in_the_same_words(data, error, make):
    with pytest.raises(FrameError) as caught:
        decode(make(data))
    fault = examine(make(data))
    assert isinstance(fault, Fault)
    assert fault.kind is error
    assert fault.is_foreign == (data[:4] not in (b"LC02", b"LC03"))
    told = fault.error(make(data), MAX_SIZE)
    assert (type(told), str(told), vars(told)) == (error, str(caught.value), vars(caught.value))
    assert type(told.__cause__) is type(caught.value.__cause__)


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b"XC02", 0),
        (b"LC02\0\0\0\1" + b"C" * 64, 8),
        (b"LC02\0\0\0\1AB\xff\0", 10),
        (fragment(number=0, rest=b"C" * 64 + b"\0"), 20),
        (fragment(number=0, rest=b"A\xc3\0"), 21),
        (fragment(number=2), 16),
        (fragment(size=(1 << 28) + 1), 8),
        (fragment(size=10, offset=4), 12),
    ],
)
def test_an_error_says_where_it_is(data, at):
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert caught.value.at == at


def test_the_longest_channel_is_read_at_the_very_end_of_a_datagram():
    assert decode(b"LC02\0\0\0\1" + b"C" * 63 + b"\0") == Small(1, "C" * 63, b"")
    assert decode(fragment(size=0, number=0, rest=b"C" * 63 + b"\0")).channel == "C" * 63


@pytest.mark.fault("C3", "wireframe", "E")
def test_the_size_limit_is_for_whole_messages_small_and_announced():
    small = b"".join(encode_small(0, "A", bytes(11)))
    assert decode(small, max_size=11).payload == bytes(11)
    with pytest.raises(FrameTooLarge) as caught:
        decode(small, max_size=10)
    assert (caught.value.size, caught.value.limit) == (11, 10)
    assert decode(fragment(size=100), max_size=100).size == 100
    with pytest.raises(FrameTooLarge) as caught:
        decode(fragment(size=100), max_size=99)
    assert (caught.value.size, caught.value.limit) == (100, 99)


@pytest.mark.parametrize("data", [None, "LC02", 5, [1]])
def test_only_bytes_are_decoded(data):
    with pytest.raises(TypeError):
        decode(data)


GOOD = [
    data
    for case in MESSAGES[:3]
    for data in joined(encode_message(sequence_of(case), case["channel"], payload_of(case)))
] + joined(encode_fragments(5, "DATA", bytes(300), 120))


def outcome(data):
    """The event, or the error and its text; nothing else may come out."""
    try:
        return decode(data, max_size=1 << 20)
    except FrameError as error:
        return type(error), str(error)


def check_only_frame_errors(data):
    """Either a legal event, or a FrameError; the same from any kind of memory."""
    event = outcome(data)
    assert outcome(bytearray(data)) == event
    examined = examine(data, max_size=1 << 20)
    if isinstance(examined, Fault):
        error = examined.error(data, 1 << 20)
        assert (examined.kind, (type(error), str(error))) == (event[0], event)
    else:
        assert examined == event
    if isinstance(event, Small):
        assert joined([encode_small(event.sequence, event.channel, event.payload)]) == [data]
    elif isinstance(event, Fragment):
        assert event.number < event.count
        assert event.offset + len(event.payload) <= event.size <= 1 << 20


@given(st.binary(max_size=120))
def test_random_datagrams_raise_nothing_but_frame_errors(data):
    for magic in (b"", b"LC02", b"LC03"):
        check_only_frame_errors(magic + data)


@pytest.mark.fault("C2", "wireframe", "E")
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 400),
)
@example(GOOD[0], [], 0)
def test_mutated_datagrams_raise_nothing_but_frame_errors(data, changes, size):
    mutated = bytearray(data)
    for place, value in changes:
        mutated[place % len(mutated)] = value
    check_only_frame_errors(bytes(mutated))
    check_only_frame_errors(bytes(mutated[:size]))


def test_a_payload_is_a_view_only_where_it_was_asked_for_and_can_be():
    (parts,) = encode_fragments(7, "ADC", b"hello")
    data = bytearray(b"".join(parts))
    assert type(decode(data).payload) is bytes
    assert type(decode(bytes(data), copy=False).payload) is bytes
    borrowed = decode(data, copy=False)
    assert borrowed == decode(data)
    data[-5:] = b"HELLO"
    assert borrowed.payload == b"HELLO"
    small = bytearray(b"".join(encode_small(7, "ADC", b"hello")))
    assert type(decode(small, copy=False).payload) is bytes


def test_no_words_are_made_for_a_name_that_is_text():
    """A fault is explained from its datagram; one that does not have this fault is refused."""
    with pytest.raises(ValueError, match="the channel name is UTF-8"):
        NO_TEXT.error(b"".join(encode_small(0, "name", b"")), 100)
