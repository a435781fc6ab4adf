"""Ten digits and JSON: the golden bytes, every way they may arrive, everything a peer may do wrong."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import NEED_DATA, BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame
from wireframe.lenjson import HEADER_LENGTH, MAX_LENGTH, Decoder, encode

VECTORS = json.loads((Path(__file__).parent / "vectors" / "json-socket.json").read_text(encoding="utf-8"))
NAMES = {"nan": math.nan, "inf": math.inf, "np": np, "object": object}

#: Headers that the original takes for a number and we refuse: no known sender writes them.
STRICTER = {
    "header: plus sign",
    "header: leading spaces",
    "header: trailing spaces",
    "header: underscores",
    "header: surrounding white space control characters",
}


def value_of(text):
    return eval(text, dict(NAMES))  # the vectors hold Python expressions


def same(one, other):
    """Equal, NaN included, and of the same types."""
    return repr(one) == repr(other)


def frame(body):
    return b"%010d" % len(body) + body


def decode(data, **options):
    decoder = Decoder(**options)
    decoder.feed(data)
    decoder.feed_eof()
    return decoder.next_event()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# Golden bytes.


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["input"][:40])
def test_our_bytes_are_those_of_the_original_sender(case):
    assert encode(value_of(case["input"])) == bytes.fromhex(case["hex"])


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["input"][:40])
def test_what_the_original_sends_is_read_as_its_own_receiver_reads_it(case):
    data = bytes.fromhex(case["hex"])
    wanted = case["decoded"]
    expected = json.loads(data[HEADER_LENGTH:]) if wanted.startswith("(repr") else value_of(wanted)
    assert same(decode(data), expected)


@pytest.mark.parametrize("case", VECTORS["encode_errors"], ids=lambda case: case["input"])
def test_what_the_original_refuses_to_send_is_refused_except_numpy(case):
    value = value_of(case["input"])
    if case["input"].startswith("np."):
        assert encode(value) == encode(value.tolist())
    else:
        with pytest.raises(TypeError):
            encode(value)


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["note"])
def test_the_decoder_reads_what_the_original_reads_and_refuses_the_rest_by_type(case):
    data = bytes.fromhex(case["hex"])
    note = case["note"]
    if note == "no byte at all":
        assert decode(data) is NEED_DATA
    elif "cut short" in note:
        with pytest.raises(TruncatedFrame):
            decode(data)
    elif note in STRICTER or note.startswith("header"):
        with pytest.raises(BadHeader, match="ten digits expected, got b"):
            decode(data)
    elif "error" in case:
        with pytest.raises(BadPayload):
            decode(data)
    else:
        assert same(decode(data), value_of(case["value"]))


# However the bytes come.


@pytest.mark.fault("C1", "wireframe", "LW")
@pytest.mark.parametrize("values", [["OK"], [None, {"a": [1, 2.5]}, ""], [[0.1] * 30, "\U0001f600"]])
def test_frames_are_found_however_the_stream_is_cut(check_stream, values, figure):
    frames, decoders = [encode(value) for value in values], []

    def new_decoder():
        decoders.append(Decoder())
        return decoders[-1]

    check_stream(new_decoder, frames, values)
    figure(f"{sum(map(len, frames))} bytes delivered in {len(decoders)} ways")


@pytest.mark.fault("C1", "wireframe", "LW")
@given(st.lists(JSON_VALUES, min_size=1, max_size=4), st.data())
def test_any_values_survive_any_cutting(feed_all, values, data):
    stream = b"".join(map(encode, values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert same(feed_all(Decoder(), pieces), values)


def test_a_long_frame_in_pieces_leaves_the_frames_behind_it_whole(feed_all):
    """The buffer turns into a growing one for a long frame, and back."""
    stream = encode("x" * 20_000) + encode(1) + encode(2)
    assert feed_all(Decoder(), [stream[:5000], stream[5000:12_000], stream[12_000:]]) == ["x" * 20_000, 1, 2]


@pytest.mark.fault("C1", "wireframe", "T")
def test_work_is_linear_in_the_bytes():
    """Eight times the bytes in eight times as many pieces: quadratic work would take 64 times as long."""

    def seconds(size):
        stream = frame(b" " * size)
        pieces = [stream[begin : begin + 256] for begin in range(0, len(stream), 256)]
        best = math.inf
        for _ in range(3):
            decoder = Decoder(loads=len)
            begin = time.process_time()
            for piece in pieces:
                decoder.feed(piece)
                event = decoder.next_event()
            best = min(best, time.process_time() - begin)
            assert event == size
        return best

    assert seconds(8 << 20) < 24 * seconds(1 << 20)


# Limits.


@pytest.mark.fault("C3", "wireframe", "E")
def test_the_limit_is_checked_on_the_ten_digits_alone():
    decoder = Decoder(max_size=100)
    decoder.feed(b"0000000101")
    with pytest.raises(FrameTooLarge) as caught:
        decoder.next_event()
    assert (caught.value.size, caught.value.limit, caught.value.excerpt) == (101, 100, b"0000000101")
    assert (decoder.buffered, decoder.needed) == (0, 0)


def test_a_body_of_exactly_the_limit_is_read():
    assert decode(frame(b'"' + b"x" * 98 + b'"'), max_size=100) == "x" * 98


@pytest.mark.fault("C2", "wireframe", "M")
@pytest.mark.fault("C3", "wireframe", "M")
def test_memory_follows_what_arrives_and_never_what_is_announced(figure):
    decoder = Decoder(max_size=MAX_LENGTH)
    tracemalloc.start()
    try:
        decoder.feed(b"9999999999")
        assert decoder.next_event() is NEED_DATA
        decoder.feed(b" " * 100_000)
        assert decoder.next_event() is NEED_DATA
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 400_000
        assert decoder.needed == MAX_LENGTH - 100_000
        figure(f"{MAX_LENGTH} bytes announced, {decoder.buffered} come: peak {peak / 1e6:.1f} MB")
    finally:
        tracemalloc.stop()


def test_memory_stays_within_the_limit_and_one_read_while_a_body_comes():
    size, read = 4 << 20, 256 << 10
    decoder = Decoder(max_size=size)
    piece = b"x" * read
    tracemalloc.start()
    try:
        decoder.feed(b"%010d" % size)
        for _ in range(size // read - 1):
            decoder.feed(piece)
            assert decoder.next_event() is NEED_DATA
        assert tracemalloc.get_traced_memory()[1] < size + size // 8 + 2 * read
    finally:
        tracemalloc.stop()


def test_a_failed_decoder_holds_nothing_and_repeats_its_error():
    decoder = Decoder()
    decoder.feed(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    with pytest.raises(BadHeader) as first:
        decoder.next_event()
    decoder.feed(encode("OK"))
    with pytest.raises(BadHeader) as again:
        decoder.next_event()
    assert str(first.value) == str(again.value) == "ten digits expected, got b'GET / HTTP'"
    assert decoder.buffered == 0


# Bodies that are not JSON, or more than the interpreter can take.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nope",
        b"1 2",
        b"'OK'",
        b"[1,]",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'\xef\xbb\xbf"OK"',
        b'"a\tb"',
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000,
        b"1" * (sys.get_int_max_str_digits() + 1),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_bad_body_is_a_bad_payload_and_a_value_error(body):
    with pytest.raises(BadPayload, match="the body is not") as caught:
        decode(frame(body))
    assert isinstance(caught.value, ValueError)
    assert caught.value.excerpt == body[:32]
    assert caught.value.__cause__ is not None
    assert len(str(caught.value)) < 300


@pytest.mark.fault("C2", "wireframe", "E")
@given(st.binary(max_size=60))
def test_garbage_raises_frame_errors_and_nothing_else(data):
    for stream in (data, frame(data), b"00000000" + data):
        decoder = Decoder(max_size=1000)
        decoder.feed(stream)
        decoder.feed_eof()
        with contextlib.suppress(FrameError):
            while decoder.next_event() is not NEED_DATA:
                pass


@given(JSON_VALUES, st.data())
def test_a_flipped_bit_never_escapes_as_another_error(value, data):
    stream = bytearray(encode(value))
    position = data.draw(st.integers(0, len(stream) - 1))
    stream[position] ^= 1 << data.draw(st.integers(0, 7))
    decoder = Decoder(max_size=1 << 20)
    decoder.feed(stream)
    decoder.feed_eof()
    with contextlib.suppress(FrameError):
        decoder.next_event()


# What is refused before a byte is made.


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        encode(loop)


def test_a_value_nested_too_deeply_is_refused():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        encode(deep)


class Huge(bytes):
    """A body that says it is too long, without the ten gigabytes."""

    __slots__ = ()

    def __len__(self):
        return MAX_LENGTH + 1


def test_a_body_that_ten_digits_cannot_announce_is_refused():
    with pytest.raises(ValueError, match="10000000000 bytes does not fit ten digits"):
        encode(0, dumps=lambda _: Huge())


# Arrays.


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (np.zeros(3), b"[0.0, 0.0, 0.0]"),
        (np.arange(4).reshape(2, 2), b"[[0, 1], [2, 3]]"),
        (np.array(7), b"7"),
        (np.array([], dtype=np.float32), b"[]"),
        (np.float32(0.1), b"0.10000000149011612"),
        (np.float64(0.1), b"0.1"),
        (np.int64(-5), b"-5"),
        (np.uint64(2**64 - 1), b"18446744073709551615"),
        (np.bool_(True), b"true"),
        (np.array([np.nan, np.inf, -0.0]), b"[NaN, Infinity, -0.0]"),
        (np.array(["a", "\u00b5"]), b'["a", "\\u00b5"]'),
        (np.str_("a"), b'"a"'),
        (np.array([{"a": np.int32(1)}, None]), b'[{"a": 1}, null]'),
        ({"x": (np.int8(1), np.ones(1))}, b'{"x": [1, [1.0]]}'),
        ({np.float64(2.5): 1}, b'{"2.5": 1}'),
        (np.ma.array([1, 2], mask=[False, False]), b"[1, 2]"),
        (np.ma.array([1.5, 2.5]), b"[1.5, 2.5]"),
        (np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), b"[[1, 2.5]]"),
    ],
    ids=repr,
)
def test_arrays_and_scalars_are_carried_as_numbers_and_lists(value, body):
    assert encode(value) == frame(body)


@pytest.mark.parametrize(
    "value",
    [
        np.complex128(1j),
        np.array([1j]),
        np.bytes_(b"x"),
        np.datetime64("2026-01-01"),
        {np.int64(1): 2},
        np.longdouble(1),
        np.ndarray,
        memoryview(b"abc"),
    ],
    ids=repr,
)
def test_arrays_json_cannot_carry_are_refused_like_the_rest(value):
    with pytest.raises(TypeError):
        encode(value)


TIMES = [
    np.datetime64("2026-01-01T00:00:00.000000001", "ns"),
    np.timedelta64(5, "ns"),
    np.datetime64("NaT", "ns"),
    np.array(["2026-01-01"], dtype="datetime64[ns]"),
    np.array(["2026-01-01"], dtype="datetime64[D]"),
    np.array([[1, 2]], dtype="timedelta64[ns]"),
    np.array([], dtype="timedelta64[Y]"),
    np.array([np.timedelta64(1, "ns")], dtype=object),
    np.zeros(1, dtype=[("value", "f8"), ("inner", [("when", "M8[ns]", (2,))])]),
]


@pytest.mark.parametrize("value", TIMES, ids=repr)
def test_times_are_refused_and_never_become_bare_numbers(value):
    """Whatever their unit: of some units `tolist` makes integers, silently."""
    with pytest.raises(TypeError):
        encode({"when": [value]})


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked,
        np.ma.array([1.0, 2.0], mask=[False, True]),
        np.ma.array([[1, 2], [3, 4]], mask=[[False, False], [True, False]]),
        np.ma.masked_invalid([1.0, np.nan]),
        np.ma.array(1, mask=True),
        np.ma.array([(1, 2.5)], mask=[(False, True)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
    ids=repr,
)
def test_masked_entries_are_refused_and_never_become_null(value):
    with pytest.raises(TypeError):
        encode({"x": [value]})


def test_an_array_of_another_library_may_have_a_method_named_mask():
    """As a Series of pandas does."""

    class Series:
        dtype = np.dtype("f8")

        def mask(self):
            raise AssertionError("nobody asked")

        def tolist(self):
            return [1.0, 2.0]

    assert encode(Series()) == frame(b"[1.0, 2.0]")


# Codecs that are plugged in.


def test_dumps_may_return_text_or_bytes_and_decides_what_is_written():
    def compact(value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    assert encode(["\u00b5", 1], dumps=compact) == frame('["\u00b5",1]'.encode())
    assert encode(["\u00b5", 1], dumps=lambda value: compact(value).encode()) == frame(
        '["\u00b5",1]'.encode()
    )


def test_dumps_must_return_text_or_bytes():
    with pytest.raises(TypeError, match="dumps returned int, neither str nor bytes"):
        encode(1, dumps=int)


def test_loads_gets_the_text_and_its_value_is_the_event():
    assert decode(frame('"\u00b5"'.encode()), loads=lambda text: text + "!") == '"\u00b5"!'


def test_an_empty_body_is_the_business_of_loads():
    assert decode(b"0000000000", loads=lambda text: text) == ""


def test_whatever_loads_raises_is_a_bad_payload():
    def strange(text):
        raise KeyError(text)

    with pytest.raises(BadPayload, match="KeyError: 'null'") as caught:
        decode(frame(b"null"), loads=strange)
    assert isinstance(caught.value.__cause__, KeyError)
