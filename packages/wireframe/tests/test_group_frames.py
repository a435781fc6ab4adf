"""Frames and extensions of group messages: round trips, limits, what may be sent or done wrong."""

from __future__ import annotations

import array
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import BadHeader, BadPayload, FrameTooLarge, TruncatedFrame
from wireframe.group import (
    EXTENSION_LENGTH,
    EXTENSION_MAGIC,
    MAX_SIZE,
    Extension,
    GroupMessage,
    decode_extension,
    decode_frames,
    encode_extension,
    encode_frames,
)

STAMP = struct.pack("<d", 1700000000.25)
SENDER, GROUP = b"0123456789abcdef", b"ABCDEFGHIJKLMNOP"
EXTENSION = Extension(7, SENDER, GROUP)
FRAME = encode_extension(EXTENSION)
TAGS = st.text(st.characters(max_codepoint=127), min_size=3, max_size=3).map(str.encode)
STAMPS = st.floats(allow_nan=False, allow_infinity=False)
IDS = st.binary(min_size=16, max_size=16)
EXTENSIONS = st.builds(Extension, st.integers(1, 2**64 - 1), IDS, IDS, st.integers(0, 2**32 - 1))


# Round trips.


@given(TAGS, st.binary(), st.none() | STAMPS)
def test_what_was_sent_is_what_is_read(tag, payload, stamp):
    frames = encode_frames(tag, payload, stamp=stamp)
    assert len(frames) == (2 if stamp is None else 3)
    assert decode_frames(frames) == GroupMessage(tag, payload, stamp)


@given(TAGS, st.binary(), STAMPS, EXTENSIONS)
def test_an_extension_travels_behind_the_stamp(tag, payload, stamp, extension):
    frames = encode_frames(tag, payload, stamp=stamp, extension=extension)
    assert len(frames) == 4
    assert decode_frames(frames) == GroupMessage(tag, payload, stamp, extension)


def test_the_first_three_frames_are_those_of_a_plain_timed_message():
    """Which is all that members of the original look at."""
    plain = encode_frames(b"msg", b"x", stamp=1.5)
    assert encode_frames(b"msg", b"x", stamp=1.5, extension=EXTENSION)[:3] == plain


def test_the_layout_of_an_extension():
    extension = Extension(0x0102030405060708, SENDER, GROUP, flags=0x0A0B0C0D)
    expected = b"WFx1" + bytes.fromhex("0a0b0c0d 0102030405060708") + SENDER + GROUP
    assert encode_extension(extension) == expected
    assert expected.startswith(EXTENSION_MAGIC)
    assert len(expected) == EXTENSION_LENGTH == 48


def test_what_later_versions_write_behind_an_extension_is_ignored():
    assert decode_extension(FRAME + b"more") == EXTENSION


def test_a_message_is_two_or_three_or_four_frames_in_any_sequence():
    """Lists and tuples; `bytes` are kept and not copied."""
    payload = bytes(1000)
    assert decode_frames((b"msg", payload)).payload is payload
    assert encode_frames(b"msg", payload)[1] is payload


def test_a_tag_that_nobody_knows_is_a_legal_message():
    assert decode_frames([b"zzz", b"x"]) == GroupMessage(b"zzz", b"x")


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        (b"", b""),
    ],
)
def test_any_bytes_like_payload_is_sent_as_its_memory(payload, sent):
    """As a copy: the caller may change it at once."""
    frames = encode_frames(b"msg", payload)
    assert frames == [b"msg", sent]
    assert type(frames[1]) is bytes


# What a peer may do wrong.


@pytest.mark.parametrize(
    "frames", [[], [b""], [b"msg"], [b"msg", b"x", STAMP, FRAME, b"more"], [b"x"] * 10_000], ids=len
)
def test_a_wrong_number_of_frames_is_refused(frames):
    with pytest.raises(BadHeader, match=f"not {len(frames)}$") as caught:
        decode_frames(frames)
    assert caught.value.excerpt == (frames[0] if frames else b"")


@pytest.mark.parametrize("tag", [b"", b"ms", b"mesg", b"\xff\xfe\xfd", "\u20ac".encode(), b"m" * 1000])
def test_a_tag_that_is_not_three_characters_is_refused(tag):
    with pytest.raises(BadHeader, match="three ASCII") as caught:
        decode_frames([tag, b"x"])
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("extra", [[], [FRAME]], ids=["last", "before an extension"])
@pytest.mark.parametrize(
    "stamp",
    [b"", STAMP[:7], STAMP + b"\0", *(struct.pack("<d", float(one)) for one in ("nan", "inf", "-inf"))],
)
def test_a_third_frame_that_is_no_finite_stamp_is_refused(stamp, extra):
    with pytest.raises(BadPayload, match="a stamp"):
        decode_frames([b"msg", b"x", stamp, *extra])


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b"", BadHeader),
        (b"extra", BadHeader),
        (b"WFx2" + FRAME[4:], BadHeader),
        (FRAME[:4], TruncatedFrame),
        (FRAME[:-1], TruncatedFrame),
        (FRAME[:8] + bytes(8) + FRAME[16:], BadPayload),
    ],
)
def test_a_fourth_frame_that_is_no_extension_is_refused(frame, kind):
    for read in (decode_extension, lambda one: decode_frames([b"msg", b"x", STAMP, one])):
        with pytest.raises(kind) as caught:
            read(frame)
        assert caught.value.excerpt == frame[:32]


def test_a_short_extension_says_how_much_came():
    with pytest.raises(TruncatedFrame) as caught:
        decode_extension(FRAME[:20])
    assert (caught.value.got, caught.value.expected) == (20, 48)


def test_the_longest_payload_is_taken_and_a_longer_one_refused():
    assert decode_frames([b"msg", b"abc"], max_size=3).payload == b"abc"
    with pytest.raises(FrameTooLarge) as caught:
        decode_frames([b"msg", b"abcd"], max_size=3)
    assert (caught.value.size, caught.value.limit) == (4, 3)


def test_the_limit_is_64_mebibytes_unless_told_otherwise():
    with pytest.raises(FrameTooLarge) as caught:
        decode_frames([b"msg", bytes((64 << 20) + 1)])
    assert caught.value.limit == MAX_SIZE == 64 << 20


# What cannot be sent.


@pytest.mark.parametrize("tag", ["msg", None, bytearray(b"msg"), memoryview(b"msg")])
def test_a_tag_is_bytes(tag):
    with pytest.raises(TypeError, match="a tag is bytes"):
        encode_frames(tag, b"x")


@pytest.mark.parametrize("tag", [b"", b"ms", b"mesg", b"\xff\xfe\xfd"])
def test_a_tag_has_three_ascii_characters(tag):
    with pytest.raises(ValueError, match="three ASCII"):
        encode_frames(tag, b"x")


@pytest.mark.parametrize("payload", ["text", None, 5, [1, 2]])
def test_a_payload_is_bytes_like(payload):
    """A number is not that many zeros."""
    with pytest.raises(TypeError):
        encode_frames(b"msg", payload)


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), float("-inf")])
def test_a_stamp_is_finite(stamp):
    with pytest.raises(ValueError, match="finite"):
        encode_frames(b"msg", b"x", stamp=stamp)


def test_an_extension_without_a_stamp_is_not_sent():
    """Its frame would be the third, which everybody reads as a stamp."""
    with pytest.raises(ValueError, match="behind a stamp"):
        encode_frames(b"msg", b"x", extension=EXTENSION)


@pytest.mark.parametrize(
    "extension",
    [
        Extension(0, SENDER, GROUP),
        Extension(-1, SENDER, GROUP),
        Extension(2**64, SENDER, GROUP),
        Extension(1.5, SENDER, GROUP),
        Extension(1, SENDER[:15], GROUP),
        Extension(1, SENDER, GROUP + b"x"),
        Extension(1, "0123456789abcdef", GROUP),
        Extension(1, SENDER, GROUP, flags=2**32),
        Extension(1, SENDER, GROUP, flags=-1),
    ],
)
def test_an_extension_that_does_not_fit_is_not_sent(extension):
    with pytest.raises(ValueError, match=r"extension|sequences begin"):
        encode_extension(extension)
