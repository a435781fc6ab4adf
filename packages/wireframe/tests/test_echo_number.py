"""Numbers in white space: what is written is read, nothing else is, and old peers see nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wireframe.echo import (
    MAX_DISTANCE,
    MAX_NUMBER,
    TAG_LENGTH,
    ClockAnswer,
    ClockRequest,
    Number,
    add_clock_answer,
    add_clock_request,
    add_number,
    decode,
    decode_event,
    is_echoed,
    is_ping,
    read_clock_note,
    read_number,
)

MESSAGE = b'[2, "2022-01-01_1_subject", null]'
PING = b"[32]"
TIMES = st.integers(0, 2**64 - 1)


@st.composite
def numbers(draw):
    count = draw(st.integers(1, MAX_NUMBER))
    distance = draw(st.integers(0, min(MAX_DISTANCE, count - 1)))
    return Number(draw(st.integers(1, MAX_NUMBER)), count, count - distance)


def bits_of(number, kind=0xA5):
    """The layout, written down a second time: most significant bit first."""
    fields = (kind, 8), (number.session, 32), (number.number, 32), (number.number - number.floor, 16)
    return "".join(f"{value:0{width}b}" for value, width in fields)


def with_check(bits):
    """CRC-8 by long division, bit by bit."""
    rest = int(bits, 2) << 8
    for place in range(len(bits) + 7, 7, -1):
        if rest >> place & 1:
            rest ^= 0x107 << place - 8
    return bits + f"{rest:08b}"


def run_of(bits):
    return bits.replace("0", " ").replace("1", "\t").encode()


def fields_of(run):
    """What a reader made for clarity finds in 96 characters, or None."""
    bits = run.decode().replace(" ", "0").replace("\t", "1")
    session, count, distance = int(bits[8:40], 2), int(bits[40:72], 2), int(bits[72:88], 2)
    is_one = with_check(bits[:88]) == bits and bits[:8] == "10100101" and session and count > distance
    return Number(session, count, count - distance) if is_one else None


def test_the_check_is_the_usual_one():
    """The check value of CRC-8 (polynomial 0x07) is that of ``123456789``."""
    bits = "".join(f"{one:08b}" for one in b"123456789")
    assert with_check(bits)[-8:] == f"{0xF4:08b}"


def test_a_tag_to_the_byte():
    """Frozen: others may have written it down."""
    tag = add_number(MESSAGE, Number(0xC0FFEE01, 3, 2)).removeprefix(MESSAGE)
    assert tag.decode().replace(" ", "0").replace("\t", "1") == (
        "101001011100000011111111111011100000000100000000000000000000000000000011000000000000000101111000"
    )


@given(numbers())
@example(Number(1, 1, 1))
@example(Number(MAX_NUMBER, MAX_NUMBER, MAX_NUMBER))
@example(Number(MAX_NUMBER, MAX_NUMBER, MAX_NUMBER - MAX_DISTANCE))
@example(Number(1, MAX_DISTANCE + 1, 1))
def test_what_is_written_is_the_layout_and_is_read(number):
    numbered = add_number(MESSAGE, number)
    assert numbered == MESSAGE + run_of(with_check(bits_of(number)))
    assert len(numbered) == len(MESSAGE) + TAG_LENGTH
    assert read_number(numbered) == read_number(numbered[-TAG_LENGTH:]) == number
    assert read_clock_note(numbered) is None


def test_a_numbered_message_means_what_it_meant():
    numbered = add_number(MESSAGE, Number(1, 1, 1))
    assert decode_event(numbered) == decode_event(MESSAGE)
    assert is_echoed(numbered)
    assert is_ping(add_number(PING, Number(1, 1, 1)))


@pytest.mark.parametrize(
    "number",
    [
        Number(0, 1, 1),
        Number(-1, 1, 1),
        Number(MAX_NUMBER + 1, 1, 1),
        Number(1, 0, 0),
        Number(1, 1, 0),
        Number(1, 1, 2),
        Number(1, 0, 1),
        Number(1, MAX_NUMBER + 1, MAX_NUMBER),
        Number(1, MAX_DISTANCE + 2, 1),
        Number(1, 5, -1),
    ],
)
def test_what_does_not_fit_is_refused_before_a_byte_is_made(number):
    with pytest.raises(ValueError, match="not the number of a message"):
        add_number(MESSAGE, number)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MESSAGE,
        MESSAGE + b" " * 96,
        MESSAGE + b"\t" * 96,
        MESSAGE + b"\n" * 96,
        b" " * 96,
        b"\t \t  \t \t",
    ],
)
def test_a_message_without_a_number_has_none(data):
    assert read_number(data) is None


@given(numbers())
def test_a_tag_must_be_whole_and_last(number):
    numbered = add_number(MESSAGE, number)
    for cut in range(1, TAG_LENGTH + 1):
        assert read_number(numbered[:-cut]) is None
    for cut in range(1, TAG_LENGTH):
        assert read_number(numbered[-cut:]) is None
    assert read_number(numbered + b"\n") is None
    assert read_number(numbered + b"]") is None


# Each is 4656 changes, and which of them a check sees does not depend on the number.
@settings(max_examples=6)
@given(numbers())
def test_every_flip_of_up_to_two_bits_is_seen(number):
    bits = with_check(bits_of(number))
    for first in range(TAG_LENGTH):
        for second in range(first, TAG_LENGTH):
            changed = list(bits)
            for place in {first, second}:
                changed[place] = "10"[int(changed[place])]
            assert read_number(MESSAGE + run_of("".join(changed))) is None


@given(numbers(), st.integers(0, TAG_LENGTH - 1), st.integers(0, 255))
def test_any_other_byte_in_a_tag_makes_it_none(number, place, octet):
    """Also those that Python's int() would take: digits, signs, underscores, other white space."""
    numbered = bytearray(add_number(MESSAGE, number))
    before = numbered[len(MESSAGE) + place]
    numbered[len(MESSAGE) + place] = octet
    assert read_number(bytes(numbered)) == (number if octet == before else None)


@pytest.mark.parametrize("text", ["_", "0", "1", "+", "\n", "\r", "\x0b"])
def test_what_int_would_skip_or_take_is_not_taken(text):
    bits = with_check(bits_of(Number(1, 1, 1)))
    for place in range(8, TAG_LENGTH):
        run = bytearray(run_of(bits))
        run[place] = ord(text)
        assert read_number(MESSAGE + bytes(run)) is None


@pytest.mark.parametrize("number", [Number(0, 1, 1), Number(1, 0, 0), Number(1, 3, 0), Number(1, 0, -3)])
def test_a_right_check_does_not_make_an_impossible_number_possible(number):
    assert read_number(MESSAGE + run_of(with_check(bits_of(number)))) is None


@pytest.mark.parametrize("kind", [0, 0xA4, 0xA6, 0xA7, 0xFF])
def test_other_marks_are_no_numbers(kind):
    assert read_number(MESSAGE + run_of(with_check(bits_of(Number(1, 1, 1), kind)))) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_raise(data):
    assert read_number(data) is None
    assert read_clock_note(data) is None


def test_random_white_space_is_a_number_only_if_it_is_one():
    """Half of them with the right mark, some of those with the right check by chance."""
    source, found = random.Random(0), 0
    for turn in range(5000):
        bits = f"{source.getrandbits(96):096b}"
        run = run_of("10100101" + bits[8:] if turn % 2 else bits)
        number = read_number(MESSAGE + run)
        assert number == fields_of(run)
        found += number is not None
    assert 2 < found < 30  # one in 256 of 2500


# Notes about the clock


@given(numbers(), TIMES)
def test_a_clock_request_comes_back_and_is_a_numbered_ping(number, transmit_ns):
    asked = add_clock_request(PING, ClockRequest(transmit_ns))
    assert asked == PING + run_of(with_check(f"{0xA6:08b}{transmit_ns:064b}"))
    data = add_number(asked, number)
    assert read_clock_note(data) == ClockRequest(transmit_ns)
    assert read_number(data) == number
    assert is_ping(data)
    assert decode(data) == [32]


@given(numbers(), TIMES, TIMES, TIMES)
def test_a_clock_answer_comes_back_and_is_a_numbered_ping(number, asked_ns, receive_ns, transmit_ns):
    answer = ClockAnswer(asked_ns, receive_ns, transmit_ns)
    answered = add_clock_answer(PING, answer)
    assert answered == PING + run_of(
        with_check(f"{0xA7:08b}{asked_ns:064b}{receive_ns:064b}{transmit_ns:064b}")
    )
    data = add_number(answered, number)
    assert read_clock_note(data) == answer
    assert read_number(data) == number
    assert is_ping(data)


def notes():
    return [
        add_clock_request(PING, ClockRequest(1_764_000_000_000_000_000)),
        add_clock_answer(PING, ClockAnswer(1, 2**63, 2**64 - 1)),
    ]


@pytest.mark.parametrize("note", notes())
def test_a_note_without_a_right_number_behind_it_is_none(note):
    numbered = add_number(note, Number(1, 1, 1))
    assert read_clock_note(note) is None
    assert read_clock_note(note + b" " * TAG_LENGTH) is None
    assert read_clock_note(numbered) is not None
    assert read_clock_note(b"[33]" + numbered.removeprefix(PING)) is None
    assert read_clock_note(b" " + numbered) is None
    assert read_clock_note(numbered + b" ") is None


@pytest.mark.parametrize("note", notes())
def test_every_flipped_bit_of_a_note_and_its_number_is_seen(note):
    numbered = add_number(note, Number(7, 7, 7))
    for place in range(len(PING), len(numbered)):
        changed = bytearray(numbered)
        changed[place] ^= ord(" ") ^ ord("\t")
        assert read_clock_note(bytes(changed)) is None
        changed[place] = ord("0")
        assert read_clock_note(bytes(changed)) is None


@pytest.mark.parametrize("size", [72, 200])
@pytest.mark.parametrize("kind", [0, 0xA5, 0xA6, 0xA7])
def test_a_note_has_its_own_mark(size, kind):
    data = add_number(PING + run_of(with_check(f"{kind:08b}".ljust(size, "0"))), Number(1, 1, 1))
    assert (read_clock_note(data) is not None) is ((kind, size) in {(0xA6, 72), (0xA7, 200)})


@pytest.mark.parametrize("time_ns", [-1, 2**64])
def test_times_outside_of_64_bits_are_refused(time_ns):
    with pytest.raises(ValueError, match="64-bit"):
        add_clock_request(PING, ClockRequest(time_ns))
    with pytest.raises(ValueError, match="64-bit"):
        add_clock_answer(PING, ClockAnswer(0, time_ns, 0))


@pytest.mark.parametrize("message", [b"", b"[32] ", b"[1, null]", add_number(PING, Number(1, 1, 1))])
def test_notes_go_behind_a_bare_ping_only(message):
    with pytest.raises(ValueError, match="goes behind"):
        add_clock_request(message, ClockRequest(0))
