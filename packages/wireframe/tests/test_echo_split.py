"""Messages out of a stream: unchanged however it is cut, and garbage costs what it weighs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wireframe import NEED_DATA, BadPayload
from wireframe.echo import MAX_SIZE, Number, Oversized, Splitter, _split, add_number, decode, read_number

VECTORS = json.loads((Path(__file__).parent / "vectors" / "echo-rig.json").read_text(encoding="utf-8"))
GOLDEN = [bytes.fromhex(one["hex"]) for one in VECTORS["messages"] if one["decoded"] is not None]
BLANKS = b" \t\r\n"
#: Everything the splitter looks at, and some that it does not.
SPECIAL = '[]{}"\\ \t\n,:0a\x00é\ufeff'

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.text(SPECIAL),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(SPECIAL), inner, max_size=4),
    max_leaves=20,
)
GARBAGE = st.binary(max_size=300) | st.text(SPECIAL, max_size=300).map(str.encode)
SPACE = st.text(" \t\r\n", max_size=3).map(str.encode)


def drain(splitter):
    events = []
    while (event := splitter.next_event()) is not NEED_DATA:
        events.append(event)
    return events


def split(pieces, end=True, **options):
    splitter, events = Splitter(**options), []
    for piece in pieces:
        splitter.feed(piece)
        events += drain(splitter)
    if end:
        splitter.feed_eof()
        events += drain(splitter)
        assert splitter.next_event() is NEED_DATA
        assert (splitter.buffered, splitter.needed) == (0, 0)
    return events


def cut(stream, places):
    places = sorted({min(one, len(stream)) for one in places})
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def every_way(stream):
    """Whole, byte by byte, and in two pieces cut anywhere."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    yield from (cut(stream, [at]) for at in range(1, len(stream)))


def values_of(events):
    """What is left without white space."""
    return [one.strip(BLANKS) for one in events if one.strip(BLANKS)]


def size_of(event):
    return event.size if isinstance(event, Oversized) else len(event)


def end_of_brackets(data, at):
    """Where a value that begins with a bracket or a quote ends; a second way, byte by byte."""
    depth, is_string = 0, False
    while at < len(data):
        one = data[at : at + 1]
        if is_string:
            if one == b"\\":
                at += 1
            is_string = one != b'"'
        elif one == b'"':
            is_string = True
        elif one in b"[{":
            depth += 1
        elif one in b"]}":
            depth -= 1
        at += 1
        if not depth and not is_string:
            return min(at, len(data))
    return len(data)


def values_by_hand(data):
    values, at = [], 0
    while at < len(data):
        if data[at] in BLANKS:
            at += 1
            continue
        end = at
        if data[at] not in b'[{"':
            while end < len(data) and data[end] not in b' \t\r\n[{"':
                end += 1
        is_marked = data[at:end] == b"\xef\xbb\xbf" and data[end : end + 1] in (b"[", b"{", b'"')
        if end == at or is_marked:
            end = end_of_brackets(data, end)
        values.append(data[at:end])
        at = end
    return values


# Whatever arrives comes out


@pytest.mark.parametrize("message", sorted(set(GOLDEN)), ids=lambda one: one[:30].decode())
def test_a_golden_message_comes_out_alone_however_it_is_cut(message):
    for pieces in every_way(message):
        assert split(pieces) == [message]
    assert values_of(split(every for every in [message, message + b" ", message])) == [message] * 3


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 1000, 1_000_000])
def test_all_golden_messages_in_one_stream_come_out_one_by_one(step):
    lists = [one for one in GOLDEN if one.startswith(b"[")]
    stream = b"".join(lists)
    assert split([stream[at : at + step] for at in range(0, len(stream), step)]) == lists


@pytest.mark.parametrize(
    "one", [one for one in VECTORS["exchanges"] if "client_segments" in one], ids=lambda one: one["name"]
)
def test_golden_segments_are_split_where_the_original_fails(one):
    """Their echoes make the very stream that the original sends back, and every message is found."""
    segments = [bytes.fromhex(segment["hex"]) for segment in one["client_segments"]]
    events = split(segments)
    assert b"".join(events) == b"".join(segments)
    assert [decode(event) for event in events] == [
        decode(event) for event in values_by_hand(b"".join(segments))
    ]


@pytest.mark.fault("C1", "wireframe", "LW")
@given(st.lists(st.tuples(VALUES, SPACE), max_size=8), st.lists(st.integers(0, 400)), st.booleans())
def test_any_sequence_of_values_cut_anywhere_comes_out_unchanged(values, places, compact):
    stream, before = b"", b" "
    for value, space in values:
        text = json.dumps(value, separators=(",", ":") if compact else None).encode()
        if before[-1:] not in b']}"' + BLANKS and text[:1] not in b'[{"':
            stream += b" "  # nothing else parts 1 and 2
        stream += text + space
        before = text + space
    events = split(cut(stream, places))
    assert b"".join(events) == stream
    assert [decode(event) for event in events if event.strip(BLANKS)] == [value for value, _ in values]


@given(GARBAGE, st.lists(st.integers(0, 300)))
@example(b'"\\"\\"\\', [])
@example(b"\xef\xbb\xbf[1]\xef\xbb\xbf\xef\xbb\xbf[1]\xef\xbb\xbf{}", [1, 2, 3])
@example(b'\xef\xbb\xbf"a"\xef\xbb\xbf [1]x\xef\xbb\xbf[1]', [2])
@example(b"[[[[[[[1]]]]]]] [}]]", [])
def test_any_garbage_comes_out_unchanged_and_split_alike_however_it_is_cut(stream, places):
    for pieces in ([stream], cut(stream, places), cut(stream, range(len(stream)))):
        events = split(pieces)
        assert b"".join(events) == stream
        assert values_of(events) == values_of(values_by_hand(stream))


@given(GARBAGE, st.lists(st.integers(0, 300)), st.integers(3, 20))
def test_with_any_limit_the_short_ones_come_out_and_the_long_ones_are_measured(stream, places, max_size):
    for pieces in ([stream], cut(stream, places), cut(stream, range(len(stream)))):
        events = split(pieces, max_size=max_size)
        assert sum(map(size_of, events)) == len(stream)
        seen = [one if isinstance(one, Oversized) else one.strip(BLANKS) for one in events]
        # Stripped, because what is cut off by the end of the stream may end in white space.
        wanted = [None if len(one) > max_size else one.strip(BLANKS) for one in values_by_hand(stream)]
        assert [None if isinstance(one, Oversized) else one for one in seen if one] == wanted


def test_events_begin_and_end_where_messages_do():
    """White space in front belongs to a message, and behind as far as it is here."""
    assert split([b' [1, 2] \n\t[3, 4]"a" "b"{}\r\n']) == [
        b" [1, 2] \n\t",
        b"[3, 4]",
        b'"a" ',
        b'"b"',
        b"{}\r\n",
    ]
    assert split([b"[1, 2]", b"  ", b" [3, 4]"]) == [b"[1, 2]", b"  ", b" [3, 4]"]
    assert split([b" ", b"\n"], end=False) == [b" ", b"\n"]


def test_a_number_behind_a_message_stays_with_it_or_comes_as_a_filler():
    numbered = add_number(b"[1, null]", Number(5, 6, 7 - 1))
    assert split([numbered * 3]) == [numbered] * 3
    for pieces in every_way(numbered):
        events = split(pieces)
        assert b"".join(events) == numbered
        assert values_of(events) == [b"[1, null]"]
    assert read_number(split([numbered[:9], numbered[9:]])[1]) == Number(5, 6, 6)


@pytest.mark.parametrize("size", [1, 1000, 4096, MAX_SIZE, 200_000])
def test_a_long_message_in_small_reads_comes_out(size):
    """The original fails from 65536 bytes on, and sooner when the reads are small."""
    message = json.dumps([1, {"a": ["x" * size, [[[[[]]]]]]}]).encode()
    pieces = [message[at : at + 1460] for at in range(0, len(message), 1460)]
    assert split(pieces, max_size=300_000) == [message]


def test_memory_that_the_caller_reuses_is_copied():
    splitter, scratch = Splitter(), bytearray(b"[1, nu")
    splitter.feed(memoryview(scratch))
    assert splitter.next_event() is NEED_DATA
    scratch[:4] = b"ll] "
    splitter.feed(memoryview(scratch)[:3])
    scratch[:] = b"xxxxxx"
    assert splitter.next_event() == b"[1, null]"


@pytest.mark.parametrize(
    "bracket", [b'[1, "]"]', b'{"}": "\\"]}"}', b'["\\\\"]', b'["\\\\\\"]"]', b'[[[[[[["]"]]]]]]]']
)
def test_brackets_and_quotes_in_strings_end_nothing(bracket):
    for pieces in every_way(bracket + b"[2]"):
        assert split(pieces) == [bracket, b"[2]"]


# Values without an end


def test_a_bare_value_waits_for_what_ends_it():
    splitter = Splitter()
    for piece, wanted in [
        (b"4", []),
        (b"2", []),
        (b" ", [b"42 "]),
        (b"nul", []),
        (b"l[1, 2]", [b"null", b"[1, 2]"]),
        (b'text"a"', [b"text", b'"a"']),
        (b"raw text", [b"raw "]),
        (b"{}", [b"text", b"{}"]),
    ]:
        splitter.feed(piece)
        assert drain(splitter) == wanted
    assert splitter.buffered == 0


def test_flush_makes_a_message_of_a_bare_value_and_of_nothing_else():
    splitter = Splitter()
    assert not splitter.waiting
    splitter.flush()
    assert splitter.next_event() is NEED_DATA
    splitter.feed(b"hello")
    assert splitter.next_event() is NEED_DATA
    assert splitter.waiting
    splitter.flush()
    assert splitter.next_event() == b"hello"
    assert not splitter.waiting
    for unfinished in (b"[1, 2", b'"abc', b'{"a": "'):
        splitter.feed(unfinished)
        assert splitter.next_event() is NEED_DATA
        assert not splitter.waiting
        splitter.flush()
        assert splitter.next_event() is NEED_DATA
        splitter.flush(unfinished=True)
        assert splitter.next_event() == unfinished
    splitter.flush(unfinished=True)
    assert splitter.next_event() is NEED_DATA


def test_flush_concerns_one_message_only():
    """A flush that finds its message complete, or nothing at all, does not cut the next one."""
    splitter = Splitter()
    splitter.flush()
    splitter.feed(b"1")
    assert splitter.next_event() is NEED_DATA
    splitter.flush()
    splitter.feed(b"2 3")
    assert drain(splitter) == [b"12 "]
    splitter.feed(b"4 ")
    assert drain(splitter) == [b"34 "]


def test_an_unfinished_value_that_was_flushed_swallows_nothing():
    splitter = Splitter()
    splitter.feed(b'[1, "abc')
    assert splitter.next_event() is NEED_DATA
    splitter.flush(unfinished=True)
    assert splitter.next_event() == b'[1, "abc'
    splitter.feed(b'[2, "x", null]')
    assert splitter.next_event() == b'[2, "x", null]'


@pytest.mark.parametrize("rest", [b"42", b"[1, 2", b'"ab', b'["a\\', b"]", b"\xef\xbb", b'{"a": [[[['])
def test_the_end_of_the_stream_makes_a_message_of_what_is_left(rest):
    for pieces in every_way(b"[1, 2] " + rest):
        assert values_of(split(pieces)) == [b"[1, 2]", rest]


def test_the_end_of_the_stream_is_the_end():
    splitter = Splitter()
    splitter.feed(b"1[2]3[4")
    splitter.feed_eof()
    splitter.feed(b"]")
    assert drain(splitter) == [b"1", b"[2]", b"3", b"[4"]
    assert splitter.next_event() is NEED_DATA
    assert splitter.needed == 0


# What is too long


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    "long", [b"[%s]" % (b"1," * 50 + b"1"), b'"%s"' % (b"\\n" * 51), b"7" * 104, b"[" * 52 + b"]" * 52]
)
def test_a_value_above_the_limit_is_measured_and_what_follows_is_split_as_ever(long, step):
    stream = b"[1, 2]" + long + b" [3, 4]"
    for max_size, wanted in [(len(long), values_of([b"[1, 2]", long, b"[3, 4]"])), (len(long) - 1, None)]:
        events = split([stream[at : at + step] for at in range(0, len(stream), step)], max_size=max_size)
        if wanted is None:
            assert [type(one) for one in events].count(Oversized) == 1
            assert sum(map(size_of, events)) == len(stream)
            kept = values_of(one for one in events if isinstance(one, bytes))
            assert kept == [b"[1, 2]", b"[3, 4]"]
        else:
            assert values_of(events) == wanted


def test_the_default_limit_counts_the_value_and_not_the_white_space():
    value = b'["' + b"x" * (MAX_SIZE - 4) + b'"]'
    numbered = add_number(value, Number(1, 1, 1))
    assert split([b"  " + numbered]) == [b"  " + numbered]
    longer = value.replace(b"x", b"xx", 1)
    assert split([longer + b" [1, 2]"]) == [Oversized(MAX_SIZE + 2), b"[1, 2]"]


def test_long_white_space_in_front_is_a_filler_and_not_kept_for_a_value():
    space = b" " * 100
    assert split([space + b"[1"], end=False, max_size=50) == [space]
    assert split([space + b"[1]"], max_size=50) == [space, b"[1]"]
    assert split([b"[1]" + space + b"[2]"], max_size=50) == [b"[1]" + space, b"[2]"]


@pytest.mark.parametrize("unfinished", [b"[" * 200, b'["' + b"a" * 200, b"7" * 200])
def test_the_end_of_the_stream_and_a_flush_tell_the_length_of_what_was_dropped(unfinished):
    assert split([unfinished], max_size=100) == [Oversized(200 + (unfinished[:2] == b'["') * 2)]
    splitter = Splitter(max_size=100)
    splitter.feed(unfinished)
    assert splitter.next_event() is NEED_DATA
    assert splitter.buffered == 0
    splitter.flush(unfinished=True)
    assert isinstance(splitter.next_event(), Oversized)
    splitter.feed(b"[1, 2]")
    assert splitter.next_event() == b"[1, 2]"


@pytest.mark.parametrize("max_size", [2, 0, -1])
def test_a_limit_without_room_for_a_byte_order_mark_is_refused(max_size):
    with pytest.raises(ValueError, match="from 3"):
        Splitter(max_size=max_size)


# What garbage costs


class Counted:
    """Stands for a matcher and adds up how often it is asked and how far it goes."""

    def __init__(self, match):
        self.match, self.calls, self.bytes = match, 0, 0

    def __call__(self, data, at):
        found = self.match(data, at)
        self.calls += 1
        self.bytes += found.end() - at if found else 0
        return found


UNITS = [
    b"[",
    b"]",
    b'"',
    b"\\",
    b'"\\',
    b'\\"',
    b'["',
    b'[""',
    b"{}",
    b"[[[[[]",
    b"[a]",
    b" ",
    b"x",
    b"x ",
    b'[{"a":',
    b"\xef\xbb\xbf",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("step", [1, 1000, 1_000_000])
def test_garbage_costs_work_in_proportion_to_its_length(unit, step, monkeypatch):
    """At most three looks at each byte, two questions each, and four for each piece."""
    counted = []
    for name in ("_match_whole", "_skip_blank", "_skip_flat", "_skip_string", "_skip_bare"):
        counted.append(Counted(getattr(_split, name)))
        monkeypatch.setattr(_split, name, counted[-1])
    stream = (unit * 20_000)[:20_000]
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    events = split(pieces, max_size=5000)
    assert sum(map(size_of, events)) == len(stream)
    assert sum(one.bytes for one in counted) <= 3 * len(stream)
    assert sum(one.calls for one in counted) <= 2 * len(stream) + 4 * len(pieces)
    whole = counted[0]
    assert whole.calls <= len(events) + 1  # a failed attempt ends inside of its value


@pytest.mark.fault("C2", "wireframe", "M")
@pytest.mark.parametrize("unit", UNITS)
def test_garbage_costs_memory_in_proportion_to_the_limit(unit):
    """Fifteen times as much comes as may be kept; one more byte is kept if it is a backslash."""
    max_size, most = 2500, 0
    piece, splitter = (unit * 512)[:512], Splitter(max_size)
    tracemalloc.start()
    try:
        for _ in range(75):
            splitter.feed(piece)
            while splitter.next_event() is not NEED_DATA:
                pass
            most = max(most, splitter.buffered)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most <= max_size + 1
    assert peak < 8 * max_size


def test_bad_input_costs_one_message_and_not_the_connection():
    """Each of these ends the connection of the original, or its handler."""
    good = b"[1, null]"
    for bad in (
        b"\xff\xfe",
        b"x",
        b"[3, 1]",
        b"[1.5, 2]",
        b"[" * 900 + b"]" * 900,
        b'["\xc3"]',
        b"[1, %s]" % (b"7" * 5000),
    ):
        events = split([good + bad + good])
        assert values_of(events) == [good, bad, good]
    with pytest.raises(BadPayload):
        decode(split([b"\xff\xfe[1, 2]"])[0])
