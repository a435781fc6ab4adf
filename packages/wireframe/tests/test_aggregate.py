"""The aggregate codec: what it refuses, when, with which numbers; any message in any pieces."""

from __future__ import annotations

import array
import json
import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import NEED_DATA, BadHeader, BadPayload, FrameError, FrameTooLarge, aggregate, ipi

INT_MAX = (1 << 31) - 1
STEP = aggregate.encode_header(aggregate.AGGSTEP)
RESULT = aggregate.encode_header(aggregate.AGGRESULT)
ONE, TWO = struct.pack("<3d", 1, 2, 3), struct.pack("<3d", 4, 5, 6)


def ints(*numbers):
    return struct.pack(f"<{len(numbers)}i", *numbers)


def text(name, value):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return aggregate.encode_header(name) + ints(len(body)) + body


def fail(error, data, **options):
    """The error of a decoder that is fed with `data` and nothing more."""
    decoder = aggregate.Decoder(**options)
    decoder.feed(data)
    with pytest.raises(error) as caught:
        decoder.next_event()
    assert (decoder.buffered, decoder.needed) == (0, 0)
    assert caught.value.excerpt == data[: len(caught.value.excerpt)]
    return caught.value


# -- counts and lengths ------------------------------------------------------

COUNTS = [
    pytest.param(aggregate.encode_header(aggregate.AGGHELLO), "text length", id="hello"),
    pytest.param(aggregate.encode_header(aggregate.AGGINIT), "text length", id="init"),
    pytest.param(STEP, "number of requests", id="requests"),
    pytest.param(STEP + ints(7), "number of fields", id="fields"),
    pytest.param(RESULT, "number of answers", id="answers"),
]


def filled(before, number):
    return before + ints(number) + (ints(0) if before == STEP else b"")


@pytest.mark.parametrize("number", [-1, -5, -(1 << 31)])
@pytest.mark.parametrize(("before", "what"), COUNTS)
def test_a_negative_count_is_a_bad_payload(before, what, number):
    """The original raised ValueError out of its barrier (row 23)."""
    error = fail(BadPayload, filled(before, number))
    assert f"{what} {number}" in str(error)
    assert error.at == len(before)


@pytest.mark.fault("C3", "wireframe", "E")
@pytest.mark.parametrize(("before", "what"), COUNTS)
def test_the_largest_count_is_refused_before_its_body_comes(before, what):
    """2^31 - 1 costs the peer four bytes and us nothing (row 23)."""
    tracemalloc.start()
    try:
        error = fail(FrameTooLarge, filled(before, INT_MAX))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.size == INT_MAX > error.limit
    assert what in str(error)
    assert peak < 1 << 16


def test_more_fields_than_requests_are_refused():
    assert "2 fields for 1 requests" in str(fail(BadPayload, STEP + ints(1, 2)))


@pytest.mark.parametrize(
    ("message", "name", "limit"),
    [
        (aggregate.encode_hello("node"), "max_hello", len(aggregate.encode_hello("node")) - 16),
        (
            aggregate.encode_init("node", {1: {}}),
            "max_init",
            len(aggregate.encode_init("node", {1: {}})) - 16,
        ),
        (aggregate.encode_init("node", {1: {}, 2: {}}), "max_records", 2),
        (aggregate.encode_step({1: ONE, 2: TWO}), "max_records", 2),
        (aggregate.encode_result({1: (ONE, b""), 2: (TWO, b"")}), "max_records", 2),
        (aggregate.encode_result({1: (ONE, b"ab"), 2: (TWO, b"c")}), "max_extras", 3),
    ],
)
def test_the_limit_itself_is_allowed_and_one_more_is_not(message, name, limit, feed_all):
    assert len(feed_all(aggregate.Decoder(**{name: limit}), [message])) == 1
    error = fail(FrameTooLarge, message, **{name: limit - 1})
    assert (error.size, error.limit) == (limit, limit - 1)


def test_negative_extra_lengths_are_refused_even_if_the_sum_is_right():
    """-5 and +10: the original gave both molecules wrong extras (row 23)."""
    records = ints(1) + ONE + ints(-5) + ints(2) + ONE + ints(10)
    error = fail(BadPayload, RESULT + ints(2) + records + b"abcde")
    assert "extra length -5" in str(error)
    assert error.at == 16 + 28


def test_extra_lengths_that_add_up_beyond_the_limit_are_refused_before_the_extras_come():
    records = ints(1) + ONE + ints(INT_MAX) + ints(2) + ONE + ints(INT_MAX)
    error = fail(FrameTooLarge, RESULT + ints(2) + records)
    assert error.size == 2 * INT_MAX
    assert error.at == 16 + 28


def test_the_extra_with_which_they_are_too_many_is_named():
    records = b"".join(ints(one) + ONE + ints(4) for one in range(3))
    assert fail(FrameTooLarge, RESULT + ints(3) + records, max_extras=8).at == 16 + 2 * 32 + 28


@pytest.mark.parametrize("place", [-1, 1, INT_MAX])
def test_a_field_position_outside_of_the_table_is_refused(place):
    """-1 took the last field in the original (row 23)."""
    error = fail(BadPayload, STEP + ints(2, 1) + ONE + ints(8, 0, 9, place))
    assert f"field position {place}" in str(error)
    assert error.at == 20 + 24 + 8 + 4


@pytest.mark.parametrize(
    ("frame", "at"),
    [
        (STEP + ints(3, 1) + ONE + ints(4, 0, 5, 0, 4, 0), 20 + 24 + 16),
        (RESULT + ints(3) + b"".join(ints(one) + ONE + ints(0) for one in (4, 5, 5)), 16 + 64),
    ],
)
def test_a_molecule_that_stands_twice_is_refused(frame, at):
    """The original kept one of them, whichever came last (row 23)."""
    error = fail(BadPayload, frame)
    assert "stands twice" in str(error)
    assert error.at == at


def test_what_was_good_in_one_message_is_looked_at_again_when_it_changes(feed_all):
    """The same positions with fewer fields, and other ids, are judged anew."""
    decoder = aggregate.Decoder()
    step = aggregate.encode_step({1: ONE, 2: TWO})
    assert len(feed_all(decoder, [step, step])) == 2
    decoder.feed(STEP + ints(2, 1) + ONE + ints(1, 0, 2, 1))
    with pytest.raises(BadPayload, match="field position 1"):
        decoder.next_event()


# -- headers and texts -------------------------------------------------------


@pytest.mark.parametrize("header", [b"GET / HTTP/1", b"aggstep     ", b"AGGSTEP\0    ", b"STATUS      "])
def test_another_header_is_refused_at_once(header):
    assert fail(BadHeader, header).excerpt == header


@pytest.mark.parametrize(
    ("accept", "refused"),
    [(aggregate.FROM_HUB, aggregate.FROM_BRIDGE), (aggregate.FROM_BRIDGE, aggregate.FROM_HUB)],
)
def test_each_side_refuses_what_only_itself_may_say(accept, refused):
    for name in refused:
        assert "may send" in str(fail(BadHeader, aggregate.encode_header(name), accept=accept))


def test_what_may_come_can_be_changed_between_two_messages(feed_all):
    """A stranger may say hello and nothing else."""
    decoder = aggregate.Decoder(accept={aggregate.AGGHELLO})
    assert decoder.accept == {aggregate.AGGHELLO}
    assert feed_all(decoder, [aggregate.encode_hello("a")]) == [aggregate.Hello("a")]
    decoder.accept = aggregate.FROM_BRIDGE
    assert feed_all(decoder, [aggregate.encode_header(aggregate.AGGREADY)]) == [aggregate.AGGREADY]


BAD_TEXTS = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 60_000,
    b"9" * 5000,
    [],
    None,
    {},
    {"group_id": ""},
    {"group_id": "  "},
    {"group_id": 3},
]


@pytest.mark.parametrize(
    "body", [*BAD_TEXTS, {"group_id": "a", "version": 2}, {"group_id": "a", "version": "x" * 999}]
)
def test_a_hello_that_says_no_group_or_another_version_is_refused(body):
    """Bad JSON, bad UTF-8, a list: out of the original they came as exceptions (row 22)."""
    assert len(str(fail(BadPayload, text(aggregate.AGGHELLO, body)))) < 300


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b'{"group_id": x}', 13),
        ('{"é": "'.encode() + b'\xff"}', 8),
        ('{"é": x}'.encode(), 7),
        (b"9" * 5000, 0),
    ],
)
@pytest.mark.parametrize("name", [aggregate.AGGHELLO, aggregate.AGGINIT])
def test_where_a_text_stops_being_json_is_told(name, body, at):
    """In bytes, not characters; a reader that names no place means all of it."""
    assert fail(BadPayload, text(name, body)).at == 16 + at


GOOD = {"group_id": "a", "molecule_ids": [1], "init_payloads": {"1": {}}}


@pytest.mark.parametrize(
    "body",
    [
        *BAD_TEXTS,
        *({**GOOD, key: value} for key in ("molecule_ids", "init_payloads") for value in (None, 1, "x")),
        {**GOOD, "molecule_ids": [1, 1]},
        {**GOOD, "molecule_ids": [True], "init_payloads": {"True": {}}},
        {**GOOD, "molecule_ids": [1.0]},
        {**GOOD, "molecule_ids": ["1"]},
        {**GOOD, "molecule_ids": [1 << 31], "init_payloads": {str(1 << 31): {}}},
        {**GOOD, "molecule_ids": [2]},
        {**GOOD, "molecule_ids": []},
        {**GOOD, "init_payloads": {"1": []}},
        {**GOOD, "group_id": None},
    ],
)
def test_an_init_that_does_not_say_what_each_molecule_gets_is_refused(body):
    fail(BadPayload, text(aggregate.AGGINIT, body))


def test_texts_may_say_more_than_we_know_and_groups_have_no_blanks_around_them(feed_all):
    hello, init = feed_all(
        aggregate.Decoder(),
        [
            text(aggregate.AGGHELLO, {"group_id": " a ", "host": "x"}),
            text(aggregate.AGGINIT, {**GOOD, "more": 1, "resume": True}),
        ],
    )
    assert hello == aggregate.Hello("a")
    assert init == aggregate.GroupInit("a", {1: {}}, resume=True)


@pytest.mark.parametrize(
    "options", [{"max_hello": -1}, {"max_init": -1}, {"max_records": -1}, {"max_extras": -1}]
)
def test_limits_are_not_negative(options):
    with pytest.raises(ValueError, match="limits"):
        aggregate.Decoder(**options)


def test_unknown_names_cannot_be_accepted():
    with pytest.raises(ValueError, match="no aggregate messages"):
        aggregate.Decoder(accept={ipi.STATUS})


# -- encoders ----------------------------------------------------------------


def test_fields_are_equal_only_if_all_their_bits_are():
    """0.0 and -0.0, and NaNs of different payload, keep their places (row 13); equal ones share one."""
    nans = [struct.pack("<Q2d", bits, 0, 0) for bits in (0x7FF8 << 48, (0x7FF8 << 48) + 1, 0xFFF8 << 48)]
    fields = [bytes(24), struct.pack("<3d", -0.0, 0, 0), *nans]
    step = aggregate.encode_step({one: fields[one % 5] for one in range(10)})
    assert aggregate.STEP_HEAD.unpack_from(step)[1:] == (10, 5)
    assert step[20 : 20 + 120] == b"".join(fields)
    assert [place for _, place in aggregate.STEP_RECORD.iter_unpack(step[140:])] == [0, 1, 2, 3, 4] * 2


def test_blocks_take_any_buffer_of_the_right_numbers():
    """Bytes, arrays and plain sequences make the same bytes."""
    wanted = aggregate.encode_step({7: ONE, -8: TWO})
    numbers = struct.unpack("<6d", ONE + TWO)
    for ids in ([7, -8], (7, -8), ints(7, -8), array.array("i", [7, -8]), bytearray(ints(7, -8))):
        for fields in (ONE + TWO, numbers, array.array("d", numbers), memoryview(ONE + TWO)):
            assert b"".join(aggregate.encode_step_block(ids, fields)) == wanted
    wanted = aggregate.encode_result({7: (ONE, b""), -8: (TWO, b"xy")})
    for ids in ([7, -8], array.array("i", [7, -8])):
        assert b"".join(aggregate.encode_result_block(ids, numbers, [b"", b"xy"])) == wanted


def test_head_and_records_of_a_block_serve_the_next_step_too():
    head, _, records = aggregate.encode_step_block([1, 2], ONE + TWO)
    assert head + TWO + ONE + records == b"".join(aggregate.encode_step_block([1, 2], TWO + ONE))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: aggregate.encode_hello(""), ValueError),
        (lambda: aggregate.encode_hello(" a"), ValueError),
        (lambda: aggregate.encode_init("", {}), ValueError),
        (lambda: aggregate.encode_init("a", {1 << 31: {}}), ValueError),
        (lambda: aggregate.encode_init("a", {1: {"x": object()}}), TypeError),
        (lambda: aggregate.encode_init("a", {1: nested(100_000)}), ValueError),
        (lambda: aggregate.encode_step({1: (1.0, 2.0)}), ValueError),
        (lambda: aggregate.encode_step({1: (1.0,) * 6}), ValueError),
        (lambda: aggregate.encode_step({1: ("a", "b", "c")}), TypeError),
        (lambda: aggregate.encode_step({1 << 31: ONE}), ValueError),
        (lambda: aggregate.encode_step({"1": ONE}), ValueError),
        (lambda: aggregate.encode_result({1: ((1.0,), b"")}), ValueError),
        (lambda: aggregate.encode_result({1: (ONE, "text")}), TypeError),
        (lambda: aggregate.encode_result({1 << 31: (ONE, b"")}), ValueError),
        (lambda: aggregate.encode_step_block([1, 1], ONE + TWO), ValueError),
        (lambda: aggregate.encode_step_block([1], ONE + TWO), ValueError),
        (lambda: aggregate.encode_step_block([1 << 31], ONE), ValueError),
        (lambda: aggregate.encode_step_block(array.array("q", [1]), ONE), ValueError),
        (lambda: aggregate.encode_step_block(b"abc", ONE), ValueError),
        (lambda: aggregate.encode_result_block([1, 1], ONE + TWO), ValueError),
        (lambda: aggregate.encode_result_block([1, 2], ONE), ValueError),
        (lambda: aggregate.encode_result_block([1, 2], ONE + TWO, [b""]), ValueError),
    ],
)
def test_wrong_arguments_are_refused_before_a_byte_is_made(call, error):
    with pytest.raises(error) as caught:
        call()
    assert not isinstance(caught.value, FrameError)


def test_text_that_utf_8_cannot_carry_is_escaped(feed_all):
    """A driver's state may hold any text that JSON can; all else stays as it is."""
    payloads = {1: {"state": "\udc80"}, 2: {"state": "ó"}}
    message = aggregate.encode_init("a", payloads)
    assert rb"\udc80" in message
    assert feed_all(aggregate.Decoder(), [message]) == [aggregate.GroupInit("a", payloads)]
    assert "ó".encode() in aggregate.encode_init("a", {2: payloads[2]})


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"x": value}
    return value


# -- any message, any pieces, any bytes --------------------------------------

IDS = st.lists(st.integers(-(1 << 31), INT_MAX), unique=True, max_size=6)
VECTOR = st.binary(min_size=24, max_size=24) | st.sampled_from(
    [bytes(24), struct.pack("<3d", -0.0, 0, 0), struct.pack("<3d", float("nan"), 0, 0)]
)
NAMES = st.sampled_from([aggregate.AGGREADY, aggregate.STOP, aggregate.BYE])
JSON = st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4), max_size=3)


@st.composite
def messages(draw):
    """An encoded message and what `see` has to make of its event."""
    match draw(st.sampled_from(["name", "hello", "init", "step", "result"])):
        case "name":
            name = draw(NAMES)
            return aggregate.encode_header(name), name
        case "hello":
            group = draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(is_name))
            return aggregate.encode_hello(group), ("hello", group)
        case "init":
            payloads = {one: draw(JSON) for one in draw(IDS)}
            resume = draw(st.booleans())
            return aggregate.encode_init("g", payloads, resume=resume), ("init", "g", payloads, resume)
        case "step":
            requests = {one: draw(VECTOR) for one in draw(IDS)}
            return aggregate.encode_step(requests), ("step", list(requests.items()))
        case "result":
            answers = {one: (draw(VECTOR), draw(st.binary(max_size=9))) for one in draw(IDS)}
            return aggregate.encode_result(answers), ("result", list(answers.items()))


def is_name(group):
    return group == group.strip()


def see(event):
    """A decoded message in terms of bytes, in which NaN equals itself."""
    match event:
        case aggregate.Hello():
            return ("hello", event.group_id)
        case aggregate.GroupInit():
            return ("init", event.group_id, event.payloads, event.resume)
        case aggregate.Step():
            assert event.ids() == tuple(event.requests())
            assert event.field_block() == b"".join(event.requests().values())
            assert b"".join(aggregate.encode_step_block(event.ids(), event.field_block()))[
                -8 * len(event.ids()) :
            ]
            return ("step", list(event.requests().items()))
        case aggregate.Result():
            block = aggregate.encode_result_block(event.ids(), event.amplitude_block(), event.extra_list())
            assert b"".join(block) == aggregate.encode_result(event.answers())
            return ("result", list(event.answers().items()))
    return event


def cut(data, cuts):
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@pytest.mark.fault("C1", "wireframe", "LW")
@given(st.lists(messages(), max_size=4), CUTS)
def test_messages_come_out_as_they_went_in_whatever_the_pieces(made, cuts):
    decoder, found = aggregate.Decoder(), []
    for piece in cut(b"".join(data for data, _ in made), cuts):
        decoder.feed(piece)
        while (event := decoder.next_event()) is not NEED_DATA:
            found.append(see(event))
    assert found == [seen for _, seen in made]
    assert (decoder.buffered, decoder.needed) == (0, 12)


@given(made=messages())
def test_one_message_in_every_delivery(check_stream, made):
    """Whole, byte by byte, every split, exact reads, trailing bytes, truncated."""
    check_stream(aggregate.Decoder, [made[0]], [made[1]], see)


@given(made=messages())
def test_a_column_taker_of_ones_own_gives_the_same(made):
    """As numpy would take it; it is asked for nothing beyond the records."""

    def column(data, first, stride, count):
        assert stride * count == len(data)
        return b"".join(data[at : at + 4] for at in range(first, stride * count, stride))

    decoder = aggregate.Decoder(column=column)
    decoder.feed(made[0])
    assert see(decoder.next_event()) == made[1]


@st.composite
def damaged(draw):
    """Messages in which bytes were flipped, dropped or put in."""
    data = bytearray(b"".join(one for one, _ in draw(st.lists(messages(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "drop", "insert"])):
            case "flip" if place < len(data):
                data[place] ^= draw(st.integers(1, 255))
            case "drop":
                del data[place : place + draw(st.integers(1, 30))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=30))
    return bytes(data)


def outcome(pieces, **options):
    decoder, found = aggregate.Decoder(**options), []
    try:
        for piece in pieces:
            decoder.feed(piece)
            while (event := decoder.next_event()) is not NEED_DATA:
                found.append(see(event))
        decoder.feed_eof()
        assert decoder.next_event() is NEED_DATA
    except FrameError as error:
        return found, tell(decoder, error)
    return found, None


def tell(decoder, error):
    """What an error says, after a look at the decoder that died of it."""
    with pytest.raises(FrameError) as again:
        decoder.next_event()
    assert (type(again.value), str(again.value)) == (type(error), str(error))
    assert len(str(error)) < 400
    return type(error), str(error)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from([aggregate.FROM_BRIDGE, aggregate.FROM_HUB]),
        "max_hello": st.integers(0, 60),
        "max_init": st.integers(0, 90),
        "max_records": st.integers(0, 5),
        "max_extras": st.integers(0, 20),
    },
)


@pytest.mark.fault("C2", "wireframe", "E")
@given(damaged() | st.binary(max_size=300), OPTIONS, CUTS)
def test_any_bytes_give_the_same_events_and_the_same_error_whatever_the_pieces(data, options, cuts):
    """Only frame errors are raised, from whatever comes."""
    whole = outcome([data], **options)
    assert outcome(cut(data, cuts), **options) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))], **options) == whole
