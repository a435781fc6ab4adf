"""Messages as text: the golden bytes, every spelling of a value, everything that means nothing."""

from __future__ import annotations

import ast
import json
import math
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import BadPayload
from wireframe.echo import (
    MAX_DEPTH,
    MAX_DIGITS,
    EventMessage,
    ExpMessage,
    ExpStatus,
    Number,
    add_number,
    decode,
    decode_event,
    encode,
    is_echoed,
    is_ping,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "echo-rig.json").read_text(encoding="utf-8"))
NAMES = {"nan": math.nan, "inf": math.inf}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(one, other):
    """Equal, NaN included, and of the same types."""
    return repr(one) == repr(other)


def restored(value):
    """Numbers that are not finite stand as objects in the vectors."""
    if isinstance(value, dict):
        if set(value) == {"non_finite"}:
            return float(value["non_finite"])
        return {key: restored(one) for key, one in value.items()}
    return [restored(one) for one in value] if isinstance(value, list) else value


def input_of(text):
    """The Python expression of a vector, in which enumerations stand as they show themselves."""
    for kind in (ExpMessage, ExpStatus):
        for one in kind:
            text = text.replace(f"<{kind.__name__}.{one.name}: {one.value}>", str(one.value))
    return ast.literal_eval(text)


def refused(data, **options):
    with pytest.raises(BadPayload) as caught:
        decode(data, **options)
    assert caught.value.excerpt == bytes(data[:32])
    assert len(str(caught.value)) <= 250
    return str(caught.value)


# Golden bytes


def test_the_vectors_are_all_here():
    assert len(VECTORS["messages"]) == 146
    assert len(VECTORS["exchanges"]) == 11


@pytest.mark.parametrize("one", VECTORS["messages"], ids=lambda one: f"{one['transport']}-{one['name']}")
def test_a_golden_message_is_encoded_and_decoded_to_the_byte(one):
    """Those that the peer was handed as text or bytes pass as they are."""
    data = bytes.fromhex(one["hex"])
    assert (len(data), data.decode()) == (one["length"], one["utf8"])
    assert encode(data) == encode(bytearray(data)) == encode(one["utf8"]) == data
    if one["event"] is None and one["decoded"] is None and data != b"null":
        refused(data)
        return
    assert same(decode(data), restored(one["decoded"]))
    if "bytes are sent raw" not in one["call"]:
        assert encode(restored(one["decoded"])) == data
    assert is_echoed(data)


@pytest.mark.parametrize(
    "one", [one for one in VECTORS["messages"] if one["event"]], ids=lambda one: one["name"]
)
def test_a_golden_message_has_its_event_and_arguments(one):
    data, decoded = bytes.fromhex(one["hex"]), restored(one["decoded"])
    if len(decoded) == 1:
        assert is_ping(data)
        with pytest.raises(BadPayload, match="Expected list"):
            decode_event(data)
        return
    message = decode_event(data)
    assert same(message, EventMessage(ExpMessage[one["event"]], decoded[1:]))
    assert not is_ping(data)


def test_all_kinds_of_golden_messages_are_seen():
    """So that the conditions of the tests above leave nothing out unnoticed."""
    kinds = {(one["event"], one["decoded"] is None, len(one["decoded"] or [])) for one in VECTORS["messages"]}
    assert {event for event, _, _ in kinds} == {None, *ExpMessage.__members__}


@pytest.mark.parametrize("one", VECTORS["tables"]["encode"], ids=lambda one: one["input"])
def test_encode_as_the_original(one):
    assert encode(input_of(one["input"])) == bytes.fromhex(one["hex"])


@pytest.mark.parametrize("one", VECTORS["tables"]["decode"], ids=lambda one: one["input"])
def test_decode_as_the_original_where_it_finds_json(one):
    """Where it finds none the original gives the text itself, which here is an error."""
    wanted = eval(one["output"], dict(NAMES))  # the vectors hold Python expressions
    if wanted == one["input"]:
        refused(one["input"].encode())
    else:
        assert same(decode(one["input"].encode()), wanted)


def test_in_golden_exchanges_exactly_what_may_be_echoed_was_echoed():
    opposite = {"c>s": "s>c", "s>c": "c>s"}
    seen = []
    for exchange in VECTORS["exchanges"]:
        steps = [(one["dir"], bytes.fromhex(one["hex"])) for one in exchange.get("steps", ())]
        for direction, data in steps:
            assert ((opposite[direction], data) in steps) is is_echoed(data)
            seen.append(is_echoed(data))
            if not is_echoed(data):
                assert decode_event(data).event == 0
    assert True in seen
    assert False in seen


# Encoding


def test_enumerations_become_plain_numbers_at_any_depth():
    assert encode([ExpMessage.EXPSTATUS, {"a": (ExpStatus.RUNNING,)}]) == b'[32, {"a": [20]}]'


def test_bytes_and_text_are_the_message_itself():
    assert encode(b"\xff\x00") == encode(bytearray(b"\xff\x00")) == b"\xff\x00"
    assert type(encode(bytearray(b"x"))) is bytes
    assert encode("[1,2] \N{MICRO SIGN}") == b"[1,2] \xc2\xb5"


@pytest.mark.parametrize("value", [[object()], [b"bytes"], {(1, 2): 3}, {1, 2}, 1j])
def test_what_json_cannot_carry_is_a_type_error(value):
    with pytest.raises(TypeError):
        encode(value)


def test_a_value_inside_itself_is_a_value_error():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="Circular"):
        encode(value)


def test_a_value_too_deep_is_a_value_error():
    value = []
    for _ in range(200_000):
        value = [value]
    try:
        with pytest.raises(ValueError, match="too deeply"):
            encode(value)
    finally:
        while value:  # not by the garbage collector, level inside level
            value = value.pop()


def test_half_a_surrogate_pair_is_a_value_error_as_text_and_escaped_as_a_value():
    with pytest.raises(ValueError, match="surrogates"):
        encode("\ud83d")
    assert encode(["\ud83d"]) == b'["\\ud83d"]'
    assert decode(b'["\\ud83d"]') == ["\ud83d"]


@given(JSON_VALUES.filter(lambda value: not isinstance(value, str)))
def test_what_is_encoded_is_what_the_standard_library_writes_and_comes_back(value):
    data = encode(value)
    assert data == json.dumps(value).encode("ascii")
    assert same(decode(data), value)


# Decoding


@pytest.mark.parametrize(
    "data",
    [
        b"[1,null]",
        b" \t\r\n[1 ,null\n] \t\r\n",
        b"\xef\xbb\xbf[1, null]",
        b"\xef\xbb\xbf [1, null]   ",
        add_number(b"[1, null]", Number(1, 1, 1)),
        bytearray(b"[1, null]"),
        memoryview(b"[1, null]"),
    ],
)
def test_every_spelling_is_read(data):
    assert decode(data) == [1, None]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"1 2",
        b"[1",
        b"[1, null]x",
        b"[1, null][8, null]",
        b"'a'",
        b"[1,]",
        b'"\n"',
        b"\xff",
        b'["\xc3"]',
        b'["\xed\xa0\xbd"]',
        b"\x00",
        b"\xef\xbb\xbf\xef\xbb\xbf[1, 2]",
        "[1, 2]".encode("utf-16"),
        "[1, 2]".encode("utf-32"),
    ],
)
def test_what_is_not_one_json_value_in_utf8_is_refused(data):
    assert refused(data).startswith("not ")


def test_an_object_that_is_not_bytes_like_is_a_mistake_of_the_caller():
    for other in (5, None, "[1, 2]"):
        with pytest.raises(TypeError):
            decode(other)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"[[[":[', "]}]")])
def test_depth_counts_brackets_outside_of_strings(opening, closing):
    levels = sum(opening.replace('"[[["', "").count(one) for one in "[{")
    times = MAX_DEPTH // levels
    value = decode((opening * times + "1" + closing * times).encode())
    assert value
    deeper = (opening * (times + 1) + "1" + closing * (times + 1)).encode()
    assert "deeper than 64" in refused(deeper)
    assert decode(deeper, max_depth=levels * (times + 1))


def test_wide_is_not_deep_and_brackets_in_strings_are_none():
    """Also behind quotes that are escaped."""
    wide = [[], {}] * 1000
    assert decode(json.dumps(wide).encode()) == wide
    for text in ("[" * 1000, '"[\\"' * 100, "{" * 99 + "\\"):
        assert decode(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize("data", [b"[" * 30_000, b'{"a":' * 30_000, b"[" * 30_000 + b"]" * 30_000])
def test_thousands_of_brackets_are_one_short_error(data):
    """They exhaust the stack of the original."""
    assert "deeper than 64" in refused(data)


def test_more_depth_than_the_interpreter_has_is_an_error_of_the_message():
    refused(b"[" * 1_000_000, max_depth=2_000_000)


@pytest.mark.parametrize("sign", [b"", b"-"])
def test_integers_have_a_limited_number_of_digits_even_if_the_interpreter_has_none(sign):
    digits = b"7" * (MAX_DIGITS - len(sign))
    assert decode(b"[" + sign + digits + b"]") == [int(sign + digits)]
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert "digits" in refused(b"[" + sign + b"7" * 5000 + b"]")
        assert decode(b"[" + b"1, " * 5000 + b"1]") == [1] * 5001
    finally:
        sys.set_int_max_str_digits(before)


def test_long_reals_and_long_strings_of_digits_are_read():
    assert decode(b"[0." + b"1" * 10_000 + b"]") == [pytest.approx(1 / 9)]
    assert decode(b'["' + b"1" * 10_000 + b'"]') == ["1" * 10_000]
    assert decode(b"[1e999, -1e999]") == [math.inf, -math.inf]


@pytest.mark.parametrize("unit", [b'"\\', b'\\"', b'"', b"[", b'["', b"{}", b'"[', b"\\", b"1", b"\xc3\xa9"])
def test_garbage_costs_memory_in_proportion_to_its_length(unit):
    data = (unit * 65_535)[:65_535]
    tracemalloc.start()
    try:
        refused(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(data)


@given(st.binary() | st.text(st.sampled_from('[]{}",:\\ 0123tnN-.eE\x00é')).map(str.encode))
def test_whatever_comes_is_a_value_or_a_bad_payload(data):
    """And exactly what the standard library makes of the text."""
    try:
        wanted = json.loads(str(data, "utf-8-sig"))
    except (ValueError, RecursionError):
        refused(data)
    else:
        assert same(decode(data), wanted)


# What is echoed


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b'[0, "ValueError: boom", 1]', False),
        (b"10", False),
        (b"[0.5, 1]", False),
        (b'"0"', False),
        (b"[ 0, 1]", True),
        (b"[-0, 1]", True),
        (b"[null, 1]", True),
        (b"[1, 0]", True),
        (b"0", True),
        (b"", True),
        (b"[", True),
        (b"\xff\xfe", True),
    ],
)
def test_the_second_byte_alone_decides_whether_a_message_is_echoed(data, wanted):
    assert is_echoed(data) is wanted


# Events


@pytest.mark.parametrize("first", ["0", "null", "false", '""', "[]", "{}", "0.0", "-0", " 0"])
def test_anything_false_means_the_error(first):
    message = decode_event(f'[{first}, "e", 1]'.encode())
    assert (message.event, message.arguments) == (ExpMessage(0), ["e", 1])
    assert type(message.event) is ExpMessage


@pytest.mark.parametrize("first", ["1", "true", '"EXPINIT"', '" ExpInit "', '"init"'])
def test_events_are_known_by_number_name_and_truth(first):
    assert decode_event(f"[{first}, null]".encode()) == EventMessage(ExpMessage.EXPINIT, [None])


@pytest.mark.parametrize(
    "text",
    [
        *("3", "255", "256", "512", "-1", "-255", "1.0", "0.5", "NaN", "Infinity", "1e999"),
        *('"x"', '"EXPINIT|ALYX"', "[1]", '{"a": 1}', "9" * 4000, "-" + "9" * 4000),
    ],
)
def test_what_is_no_single_event_is_refused(text):
    """And leaves nothing behind in the enumeration."""
    before = len(ExpMessage._value2member_map_)
    with pytest.raises(BadPayload, match="not an event") as caught:
        decode_event(f"[{text}, null]".encode())
    assert len(str(caught.value)) < 250
    assert len(ExpMessage._value2member_map_) == before


@pytest.mark.parametrize(
    "data", [b"[]", b"[1]", b"[32]", b"1", b"null", b'"[1, null]"', b'{"1": 2}', b"true"]
)
def test_what_is_no_list_of_two_is_refused_in_the_words_of_the_original(data):
    with pytest.raises(BadPayload, match="Expected list"):
        decode_event(data)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\xff", b"[" * 30_000, b"[1, " + b"7" * 5000 + b"]", b"[1, null"]
)
def test_what_cannot_be_read_is_no_event_either(data):
    with pytest.raises(BadPayload):
        decode_event(data)


def test_strangers_cannot_grow_anything_with_two_thousand_events():
    before = len(ExpMessage._value2member_map_)
    for value in range(256, 2256):
        with pytest.raises(BadPayload):
            decode_event(b"[%d, null]" % value)
    assert len(ExpMessage._value2member_map_) == before


@given(st.binary())
def test_no_bytes_bring_anything_but_an_event_or_a_bad_payload(data):
    try:
        message = decode_event(b"[" + data + b"]")
    except BadPayload:
        return
    assert message.event in {0, *ExpMessage}
    assert message.arguments


# Pings


@pytest.mark.parametrize("data", [b"[32]", b" [ 32 ] ", b"[32]\n", add_number(b"[32]", Number(9, 9, 9))])
def test_a_ping_is_known_in_every_spelling(data):
    assert is_ping(data)
    assert decode(data) == [32]


@pytest.mark.parametrize(
    "data", [b"", b"[32", b"32", b"[32, 20]", b"[32][32]", b"[1]", b"[32.0]", b"[032]", b"x[32]"]
)
def test_nothing_else_is_a_ping(data):
    assert not is_ping(data)
