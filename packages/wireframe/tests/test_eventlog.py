"""The event log: golden bytes, any cutting, and the way back after any damage."""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import NEED_DATA, TruncatedFrame
from wireframe.eventlog import HEADER_LENGTH, SYNC, Decoder, LogEvent, encode_event

VECTORS = json.loads((Path(__file__).parent / "vectors" / "lcm.json").read_text(encoding="utf-8"))
LOG = VECTORS["log"]
HEAD = bytes.fromhex(LOG["first_600_bytes_hex"])
#: Data sizes of the vectors over 100 bytes follow this rule.
RULE = bytes((i * 31 + (i >> 8)) & 255 for i in range(200_000))
#: Contains sync words, whole events, and the beginnings of both.
NOISE = st.binary(max_size=40) | st.lists(
    st.sampled_from(
        [SYNC, SYNC[:1], SYNC[:2], SYNC[:3], b"\0" * 8, b"\0\0\0\1", b"\0\0\0\x3f", b"A", b"\xff"]
    ),
    max_size=14,
).map(b"".join)


def event(number=0, timestamp_us=0, channel="A", data=b"data"):
    return b"".join(encode_event(number, timestamp_us, channel, data))


def read(data, **options):
    """All events of a log and its decoder; the error at its end, if there is one, as the last event."""
    decoder = Decoder(**options)
    decoder.feed(data)
    decoder.feed_eof()
    return drain(decoder), decoder


def drain(decoder):
    found = []
    try:
        while (one := decoder.next_event()) is not NEED_DATA:
            found.append(one)
    except TruncatedFrame as error:
        found.append((error.got, error.expected, error.excerpt))
    return found


def damage(decoder):
    return decoder.skipped, decoder.damages, decoder.oversized


# Golden bytes.


def golden_events():
    """The events of the log that lcm-logger wrote; their times are known of the first four only."""
    times = [
        struct.unpack_from(">Q", HEAD, one["offset"] + 12)[0] if one["offset"] < 200 else 7
        for one in LOG["events"]
    ]
    small = [b"", b"hello", b"\x00\x01\xff"]
    return [
        LogEvent(
            one["number"],
            timestamp_us,
            one["channel"],
            small[one["number"]] if one["number"] < 3 else RULE[: one["data_len"]],
        )
        for one, timestamp_us in zip(LOG["events"], times, strict=True)
    ]


def test_our_log_is_that_of_lcm_logger():
    log = b"".join(event(one.number, one.timestamp_us, one.channel, one.data) for one in golden_events())
    assert log[: len(HEAD)] == HEAD
    for one in LOG["events"]:
        begin = one["offset"]
        header = log[begin : begin + HEADER_LENGTH]
        assert header[:4].hex() == one["sync"].removeprefix("0x")
        assert header[4:12] == one["number"].to_bytes(8)
        assert header[20:] == one["channel_len"].to_bytes(4) + one["data_len"].to_bytes(4)
    last = LOG["events"][-1]
    assert len(log) == last["offset"] + HEADER_LENGTH + last["channel_len"] + last["data_len"]


def test_the_log_of_lcm_logger_is_read():
    found, decoder = read(HEAD)
    assert found[:3] == golden_events()[:3]
    assert found[3:] == [(600 - 157, 1429, HEAD[157:189])]
    assert damage(decoder) == (0, 0, 0)
    wanted = golden_events()
    rest = b"".join(event(one.number, one.timestamp_us, one.channel, one.data) for one in wanted[3:])
    found, decoder = read(HEAD[:157] + rest)
    assert found == wanted
    assert damage(decoder) == (0, 0, 0)


# However the bytes come.

EVENTS = [
    (0, 0, "", b""),
    ((1 << 64) - 1, (1 << 64) - 1, "\u00e9" * 31, bytes(range(40))),
    (2, 1_764_000_000_000_000, "A", b"\xed\xa1\xda\x02"),
]


@pytest.mark.fault("C1", "wireframe", "LW")
def test_events_are_found_however_the_log_is_cut(check_stream):
    check_stream(Decoder, [event(*one) for one in EVENTS], [LogEvent(*one) for one in EVENTS])


@given(st.lists(NOISE | NOISE.map(lambda data: event(data=data)), max_size=6).map(b"".join), st.data())
def test_any_log_reads_the_same_at_once_byte_by_byte_and_in_pieces(log, data):
    at_once, decoder = read(log, max_size=300)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))
    in_pieces = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    for pieces in ([log[i : i + 1] for i in range(len(log))], in_pieces):
        other = Decoder(max_size=300)
        found = []
        for piece in pieces:
            other.feed(piece)
            found += drain(other)
        other.feed_eof()
        found += drain(other)
        assert found == at_once
        assert damage(other) == damage(decoder)
    # Every byte is in an event, skipped, or what the log ended in.
    taken = sum(
        one[0] if isinstance(one, tuple) else len(event(one.number, one.timestamp_us, one.channel, one.data))
        for one in at_once
    )
    assert taken + decoder.skipped == len(log)
    assert (decoder.damages > 0) == (decoder.skipped > 0)


# Damage.


@pytest.mark.parametrize(
    "noise", [b"x", bytes(1000), SYNC[:3], SYNC + b"\xff" * 100, b"\xed\xed\xa1", SYNC * 30]
)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_noise_between_events_is_skipped_and_counted(noise, where):
    pieces = [event(0), event(1)]
    pieces.insert(where, noise)
    decoder = Decoder()
    decoder.feed(b"".join(pieces))
    found = drain(decoder)
    decoder.feed_eof()
    found += drain(decoder)
    assert [one.number for one in found if isinstance(one, LogEvent)] == [0, 1]
    left = found[-1][0] if isinstance(found[-1], tuple) else 0
    assert decoder.skipped == len(noise) - left
    assert decoder.damages == (1 if decoder.skipped else 0)
    if where < 2:
        assert left == 0


def test_each_damaged_place_counts_once():
    found, decoder = read(b"one" + event(0) + event(1) + b"another" + event(2) + b"the last")
    assert [one.number for one in found] == [0, 1, 2]
    assert damage(decoder) == (3 + 7 + 8, 3, 0)


def test_a_damaged_sync_word_costs_one_event():
    broken = b"\xee" + event(1)[1:]
    found, decoder = read(event(0) + broken + event(2))
    assert [one.number for one in found] == [0, 2]
    assert damage(decoder) == (len(broken), 1, 0)


def with_lengths(channel_length, data_length, rest=b"Adata"):
    return struct.pack(">4sQQII", SYNC, 1, 0, channel_length, data_length) + rest


@pytest.mark.parametrize(
    ("broken", "oversized"),
    [
        (with_lengths(64, 4), 0),
        (with_lengths(0xFFFFFFFF, 0), 0),
        (with_lengths(1, 0xFFFFFFFF), 1),
        (with_lengths(1, (1 << 28) + 1), 1),
        (with_lengths(1, 4, b"\xffdata"), 0),
        (with_lengths(1, 4, b"\0data"), 0),
        (with_lengths(1, 20), 0),
        (with_lengths(1, len(event(2)) + 2), 0),
        (with_lengths(1, len(event(2)) + 9), 0),
        (with_lengths(1, 5), 0),
        (with_lengths(1, 6), 0),
        (with_lengths(1, 7), 0),
    ],
)
def test_an_event_whose_header_is_broken_takes_no_good_one_with_it(broken, oversized):
    """Nor does it come out as something it was not, where that can be known."""
    found, decoder = read(event(0) + broken + event(2) + event(3))
    assert [one.number for one in found] == [0, 2, 3]
    assert damage(decoder) == (len(broken), 1, oversized)


def test_a_log_that_continues_behind_a_crash_loses_the_cut_event_only():
    """A logger that appends begins right behind what an earlier one did not finish.

    Unless what is missing is exactly as long as whole events behind: then these are taken for its data.
    """
    whole = event(1, data=bytes(500))
    for cut in set(range(1, len(whole))) - {len(whole) - 33, len(whole) - 66}:
        found, decoder = read(event(0) + whole[:cut] + event(2) + event(3) + event(4, data=bytes(600)))
        assert [one.number for one in found] == [0, 2, 3, 4], cut
        assert (decoder.skipped, decoder.damages) == (cut, 1)


def test_data_that_hold_sync_words_and_events_are_data():
    inner = event(7) + SYNC + event(8)
    for data in (inner, inner + SYNC[:2], SYNC):
        found, decoder = read(event(0, data=data) + event(1, data=data))
        assert [(one.number, one.data) for one in found] == [(0, data), (1, data)]
        assert decoder.skipped == 0


def test_only_an_event_in_doubt_waits_for_what_stands_behind_it():
    decoder = Decoder()
    decoder.feed(event(0))
    assert decoder.next_event().number == 0
    decoder.feed(event(1, data=b"x" + SYNC))
    assert decoder.next_event() is NEED_DATA
    assert decoder.needed == 4
    decoder.feed(SYNC)
    assert decoder.next_event().number == 1
    decoder.feed(event(2, data=SYNC[:1])[4:])
    assert decoder.next_event() is NEED_DATA
    decoder.feed_eof()
    assert decoder.next_event().number == 2
    assert decoder.next_event() is NEED_DATA
    assert decoder.skipped == 0


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 20, 27, 28, 29, 32])
def test_a_log_that_ends_inside_an_event_says_so(cut):
    found, decoder = read(event(0) + event(1)[:cut])
    assert found[0].number == 0
    expected = 28 if cut < 28 else 29 if cut < 29 else 33
    assert found[1:] == [(cut, expected, event(1)[:cut])]
    with pytest.raises(TruncatedFrame):
        decoder.next_event()
    assert (decoder.skipped, decoder.needed) == (0, 0)


def test_a_broken_length_near_the_end_does_not_hide_the_last_events():
    broken = with_lengths(1, 1 << 20)
    found, decoder = read(event(0) + broken + event(2) + event(3))
    assert [one.number for one in found] == [0, 2, 3]
    assert damage(decoder) == (len(broken), 1, 0)
    found, decoder = read(event(0) + broken + event(2)[:-1])
    assert found[1:] == [(len(broken) + 32, 29 + (1 << 20), broken[:32])]


def test_an_empty_log_is_a_log():
    assert read(b"")[0] == []
    found, decoder = read(b"no log at all, but a text of some length")
    assert (found, decoder.skipped, decoder.damages) == ([], 40, 1)


def test_the_limit_is_for_data():
    log = event(0, data=bytes(11)) + event(1, data=bytes(10))
    found, decoder = read(log, max_size=10)
    assert [one.number for one in found] == [1]
    assert decoder.oversized == 1
    assert len(read(log, max_size=11)[0]) == 2


@given(
    st.lists(st.binary(max_size=30).filter(lambda one: SYNC not in one), min_size=3, max_size=6), st.data()
)
def test_one_wrong_byte_costs_one_event(datas, data):
    """In a length it may cost later ones that look like data, but none before."""
    frames = [event(number, data=one) for number, one in enumerate(datas)]
    hit = data.draw(st.integers(0, len(frames) - 1))
    place = data.draw(st.integers(0, len(frames[hit]) - 1))
    broken = bytearray(frames[hit])
    broken[place] ^= data.draw(st.integers(1, 255))
    found, _ = read(b"".join(frames[:hit]) + broken + b"".join(frames[hit + 1 :]), max_size=1 << 20)
    wanted = [LogEvent(number, 0, "A", one) for number, one in enumerate(datas)]
    for one in wanted[:hit] if 20 <= place < HEADER_LENGTH else wanted[:hit] + wanted[hit + 1 :]:
        assert one in found


@pytest.mark.parametrize("tail", [SYNC[:1], SYNC[:2], SYNC[:3]])
def test_an_event_that_ends_as_another_begins_survives_damage_behind_it(tail):
    found, decoder = read(event(0, data=tail) + b"damage" + event(1))
    assert [(one.number, one.data) for one in found] == [(0, tail), (1, b"data")]
    assert damage(decoder) == (6, 1, 0)


# Bounds.


@pytest.mark.fault("C2", "wireframe", "M")
@pytest.mark.fault("C3", "wireframe", "M")
def test_announced_sizes_take_no_memory():
    decoder = Decoder()
    tracemalloc.start()
    try:
        decoder.feed(with_lengths(1, 1 << 28))
        assert decoder.next_event() is NEED_DATA
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000
    assert decoder.needed == (1 << 28) - 4


def test_hostile_logs_take_linear_time():
    """Megabytes of sync words, of headers that want more, and of nearly that; in processor time."""
    generator = random.Random(3)
    logs = [
        SYNC * 100_000,
        SYNC[:3] * 100_000,
        with_lengths(1, 1 << 20, b"A") * 15_000,
        with_lengths(0, 50, b"") * 15_000,
        generator.randbytes(500_000),
    ]
    started = time.process_time()
    for log in logs:
        decoder = Decoder()
        for begin in range(0, len(log), 1 << 16):
            decoder.feed(log[begin : begin + (1 << 16)])
            drain(decoder)
        decoder.feed_eof()
        drain(decoder)
    assert time.process_time() - started < 10


# Writing.


@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20).filter(
        lambda text: len(text.encode()) <= 63
    ),
    NOISE,
)
def test_any_event_survives(number, timestamp_us, channel, data):
    found, decoder = read(event(number, timestamp_us, channel, data))
    assert found == [LogEvent(number, timestamp_us, channel, data)]
    assert decoder.skipped == 0


def test_data_are_not_copied_and_may_be_an_array():
    array = np.arange(6, dtype=">i2").reshape(2, 3)
    assert b"".join(encode_event(0, 0, "A", array))[29:] == array.tobytes()
    memory = bytearray(10)
    parts = encode_event(0, 0, "A", memory)
    memory[0] = 1
    assert b"".join(parts)[29:] == memory


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((-1, 0, "A", b""), ValueError),
        ((1 << 64, 0, "A", b""), ValueError),
        ((0, -1, "A", b""), ValueError),
        ((0, 0.5, "A", b""), ValueError),
        ((0, 0, "C" * 64, b""), ValueError),
        ((0, 0, "\0", b""), ValueError),
        ((0, 0, b"A", b""), TypeError),
        ((0, 0, "A", "text"), TypeError),
    ],
)
def test_what_has_no_place_in_a_log_is_refused(arguments, error):
    with pytest.raises(error):
        encode_event(*arguments)
