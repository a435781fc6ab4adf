"""Votes: round trips, messages of other writers, damage and limits."""

from __future__ import annotations

import array
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import BadPayload, FrameError, FrameTooLarge, TruncatedFrame
from wireframe.group import (
    MAX_RFV_ID,
    MAX_VOTE_SIZE,
    Announcement,
    ReplyToCall,
    RequestForVote,
    Subject,
    Vote,
    Voting,
    decode_vote,
    encode_vote,
)

RFV_IDS = st.text(st.characters(codec="utf-8"), max_size=64)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
VOTES = st.sampled_from(Vote)
MESSAGES = st.one_of(
    st.builds(
        RequestForVote,
        RFV_IDS,
        st.binary() | st.integers(8000, 8200).map(bytes),
        st.sampled_from(Voting),
        st.sampled_from(Subject),
        TIMES,
        TIMES,
        TIMES,
    ),
    st.builds(ReplyToCall, RFV_IDS, VOTES),
    st.builds(Announcement, RFV_IDS, VOTES),
)


# Messages by hand, as writers in other languages may lay them out.


def struct_to(offset, data_words, pointers):
    return struct.pack("<iI", offset << 2, pointers << 16 | data_words)


def list_to(offset, size, element=2):
    return struct.pack("<iI", offset << 2 | 1, size << 3 | element)


def far(segment, place, kind=2):
    return struct.pack("<II", place << 3 | kind, segment)


def double_far(segment, place):
    return far(segment, place, 6)


def word(number):
    return struct.pack("<Q", number)


def message(*segments):
    table = struct.pack(f"<{len(segments) + 1}I", len(segments) - 1, *(len(one) // 8 for one in segments))
    return table + bytes(-len(table) % 8) + b"".join(segments)


NULL = bytes(8)
RFV_ID = b"ABCD1234\0".ljust(16, b"\0")
NO = ReplyToCall("ABCD1234", Vote.NO)
#: Root of one data word and one pointer, for a ballot; the arm comes next.
ROOT = struct_to(0, 1, 1) + word(1)
BALLOT = ROOT + struct_to(0, 1, 1) + word(1)


def ballot(pointer, *more):
    """A ballot whose id is behind this pointer, the sixth word of the first segment (from 1)."""
    return message(BALLOT + pointer, *more)


def bad(match):
    return pytest.raises(BadPayload, match=match)


# Round trips.


@given(MESSAGES)
def test_what_was_sent_is_what_is_read(one):
    data = encode_vote(one)
    assert len(data) % 8 == 0
    assert decode_vote(data) == one


@pytest.mark.parametrize("size", [*range(8080, 8130), 9000, 100_000])
@pytest.mark.parametrize("rfv_id", ["", "ABCD1234", "x" * MAX_RFV_ID])
def test_what_does_not_fit_the_first_segment_goes_into_a_second(size, rfv_id):
    """The original allocates 1024 words, of which 9 are for head, root, arm and two pointers."""
    one = RequestForVote(rfv_id, bytes(size), Voting.CONSENSUS, Subject.ACTION, 1.0, 2.0, 3.0)
    data = encode_vote(one)
    words, text_words = -(-size // 8), len(rfv_id) // 8 + 1
    count = struct.unpack_from("<I", data)[0] + 1
    sizes = list(struct.unpack_from(f"<{count}I", data, 4))
    if 9 + words + text_words <= 1024:
        assert sizes == [9 + words + text_words]
    elif 9 + words <= 1024:
        assert sizes == [9 + words, 1 + text_words]
    else:
        assert sizes == [9 + text_words, 1 + words]
    assert decode_vote(data) == one


@pytest.mark.parametrize(
    ("topic", "sent"),
    [(bytearray(b"abc"), b"abc"), (memoryview(b"abcd")[::2], b"ac"), (array.array("b", [1, 2]), b"\1\2")],
)
def test_a_topic_is_any_bytes(topic, sent):
    assert decode_vote(encode_vote(RequestForVote("A", topic))).topic == sent


# Messages of other writers.


def test_a_message_by_hand_is_what_ours_is():
    assert ballot(list_to(0, 9) + RFV_ID) == encode_vote(NO)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ballot(far(1, 0), list_to(0, 9) + RFV_ID), id="far to text"),
        pytest.param(ballot(far(1, 2), RFV_ID + list_to(-3, 9)), id="far to a pad behind its text"),
        pytest.param(ballot(far(0, 6) + NULL + list_to(0, 9) + RFV_ID), id="far within its segment"),
        pytest.param(ballot(double_far(1, 0), far(2, 0) + list_to(0, 9), RFV_ID), id="double far to text"),
        pytest.param(
            ballot(double_far(1, 1), NULL + far(2, 1) + list_to(0, 9), NULL + RFV_ID),
            id="double far with places",
        ),
        pytest.param(
            message(
                far(1, 0), ROOT + far(2, 0), BALLOT[16:] + far(3, 2), RFV_ID + list_to(-3, 9),
            ),
            id="far to everything",
        ),
        pytest.param(
            message(
                double_far(1, 0), far(2, 0) + struct_to(0, 1, 1), word(1) + double_far(3, 0),
                far(4, 0) + struct_to(0, 1, 1), word(1) + double_far(5, 0), far(6, 0) + list_to(0, 9), RFV_ID,
            ),
            id="double far to everything",
        ),
        pytest.param(message(ROOT + struct_to(2, 1, 1) + RFV_ID + word(1) + list_to(-4, 9)), id="text first"),
        pytest.param(
            message(struct_to(0, 2, 2) + word(1) + NULL + struct_to(1, 2, 2) + NULL + word(1) + NULL
                    + list_to(1, 9) + NULL + RFV_ID),
            id="larger structs of a newer schema",
        ),
        pytest.param(ballot(list_to(0, 9) + RFV_ID) + b"trailing words! ", id="words behind"),
        pytest.param(ballot(list_to(0, 9) + RFV_ID, *[NULL] * 63), id="all the segments allowed"),
        pytest.param(ballot(far(2, 0), b"", list_to(0, 9) + RFV_ID), id="an empty segment"),
    ],
)  # fmt: skip
def test_other_layouts_say_the_same(data):
    assert decode_vote(data) == NO


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (message(NULL), RequestForVote("", b"")),
        (message(struct_to(-1, 0, 0)), RequestForVote("", b"")),
        (message(struct_to(0, 1, 0) + word(1)), ReplyToCall("", Vote.YES)),
        (message(ROOT + NULL), ReplyToCall("", Vote.YES)),
        (message(ROOT + struct_to(-1, 0, 0)), ReplyToCall("", Vote.YES)),
        (message(ROOT + struct_to(0, 0, 1) + list_to(0, 9) + RFV_ID), ReplyToCall("ABCD1234", Vote.YES)),
        (message(ROOT + struct_to(0, 1, 0) + word(1)), ReplyToCall("", Vote.NO)),
        (ballot(NULL), ReplyToCall("", Vote.NO)),
        (ballot(list_to(0, 1) + NULL), ReplyToCall("", Vote.NO)),
        (message(struct_to(0, 0, 1) + struct_to(0, 1, 0) + word(0x0001_0001)),
         RequestForVote("", b"", Voting.CONSENSUS, Subject.ACTION)),
        (message(struct_to(0, 0, 1) + struct_to(0, 2, 0) + NULL + struct.pack("<d", 2.5)),
         RequestForVote("", b"", release=2.5)),
        (message(struct_to(0, 0, 1) + struct_to(0, 0, 1) + list_to(0, 3) + b"abc".ljust(8, b"\0")),
         RequestForVote("", b"abc")),
        (message(struct_to(0, 0, 1) + struct_to(0, 0, 2) + list_to(0, 0) + NULL), RequestForVote("", b"")),
    ],
)  # fmt: skip
def test_what_a_writer_leaves_out_is_zero_or_empty(data, expected):
    assert decode_vote(data) == expected


# Damage.


@pytest.mark.parametrize("one", [NO, Announcement("X", Vote.YES), RequestForVote("ABCD1234", b"t" * 9000)])
def test_a_message_cut_anywhere_is_refused(one):
    """In a word, or between words: lengths tell, and announcements."""
    data = encode_vote(one)
    for cut in range(len(data) - 1, -1, -1 if len(data) < 1000 else -37):
        with pytest.raises(BadPayload if cut > 8 and cut % 8 else TruncatedFrame):
            decode_vote(data[:cut])
        if cut >= 8:
            with pytest.raises(TruncatedFrame) as caught:
                decode_vote(data[: cut // 8 * 8])
            assert caught.value.got == cut // 8 * 8 < caught.value.expected <= len(data)


def test_an_announced_segment_is_not_allocated():
    """Four gibiwords cost nothing but an error."""
    tracemalloc.start()
    try:
        with pytest.raises(TruncatedFrame) as caught:
            decode_vote(struct.pack("<II", 0, 2**32 - 1) + NULL)
        assert caught.value.expected == 8 + 8 * (2**32 - 1)
        with pytest.raises(FrameTooLarge):
            decode_vote(struct.pack("<II", 2**32 - 1, 1) + NULL)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_pointers_that_share_data_cost_no_more_than_the_message():
    """Topic and id may overlap; nothing is followed twice."""
    text = b"x" * 255 + b"\0"
    words = bytes(1 << 20)
    root = struct_to(0, 1, 1) + NULL + struct_to(0, 0, 2) + list_to(1, len(words) + 256) + list_to(0, 256)
    data = message(root + text + words)
    tracemalloc.start()
    try:
        one = decode_vote(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    finally:
        tracemalloc.stop()
    assert (one.rfv_id, len(one.topic)) == ("x" * 255, len(words) + 256)


def test_there_are_at_most_64_segments():
    with pytest.raises(FrameTooLarge) as caught:
        decode_vote(message(*[NULL] * 65))
    assert (caught.value.size, caught.value.limit) == (65, 64)


def test_a_table_of_segments_may_end_early():
    with pytest.raises(TruncatedFrame) as caught:
        decode_vote(struct.pack("<II", 3, 0) + NULL)
    assert (caught.value.got, caught.value.expected) == (16, 24)


def test_the_longest_message_is_taken_and_a_longer_one_refused():
    data = encode_vote(NO)
    assert decode_vote(data, max_size=len(data)) == NO
    with pytest.raises(FrameTooLarge) as caught:
        decode_vote(data, max_size=len(data) - 1)
    assert (caught.value.size, caught.value.limit) == (len(data), len(data) - 1)


def test_the_limit_is_8_mebibytes_unless_told_otherwise():
    topic = bytes(MAX_VOTE_SIZE - 13 * 8)
    assert MAX_VOTE_SIZE == 8 << 20
    assert decode_vote(encode_vote(RequestForVote("", topic))).topic == topic
    with pytest.raises(FrameTooLarge):
        decode_vote(encode_vote(RequestForVote("", topic + b"x")))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        pytest.param(message(b""), "no root", id="no root"),
        pytest.param(message(b"", NULL), "no root", id="no root in the first segment"),
        pytest.param(message(list_to(0, 1) + word(1)), "a struct expected", id="root is a list"),
        pytest.param(message(struct.pack("<II", 3, 0)), "a struct expected", id="root is a capability"),
        pytest.param(message(struct_to(0, 1, 1) + word(1)), "beyond its segment", id="root too long"),
        pytest.param(
            message(struct_to(-2, 1, 0) + word(1)), "beyond its segment", id="root before the segment"
        ),
        pytest.param(message(struct_to(-(2**29), 0, 0)), "beyond its segment", id="root far before"),
        pytest.param(message(struct_to(2**29 - 1, 0, 0)), "beyond its segment", id="root far behind"),
        pytest.param(message(ROOT + struct_to(0, 65535, 65535)), "beyond its segment", id="arm too long"),
        pytest.param(message(ROOT + list_to(0, 8) + NULL), "a struct expected", id="arm is a list"),
        pytest.param(message(ROOT[:8] + word(3) + NULL), "of kind 3", id="unknown arm"),
        pytest.param(message(ROOT[:8] + word(65535) + NULL), "of kind 65535", id="largest arm"),
        pytest.param(message(ROOT + struct_to(0, 1, 0) + word(3)), "3 is not a Vote$", id="unknown vote"),
        pytest.param(
            message(struct_to(0, 0, 1) + struct_to(0, 1, 0) + word(2)), "2 is not a Voting", id="kind"
        ),
        pytest.param(
            message(struct_to(0, 0, 1) + struct_to(0, 1, 0) + word(2 << 16)),
            "2 is not a Subject",
            id="subject",
        ),
        pytest.param(ballot(struct_to(0, 2, 0) + RFV_ID), "bytes expected", id="text is a struct"),
        pytest.param(
            ballot(list_to(0, 2, element=3) + RFV_ID), "bytes expected", id="text of 16-bit elements"
        ),
        pytest.param(ballot(list_to(0, 9, element=7) + RFV_ID), "bytes expected", id="text of structs"),
        pytest.param(ballot(list_to(0, 17) + RFV_ID), "beyond their segment", id="text too long"),
        pytest.param(ballot(list_to(0, 2**29 - 1) + RFV_ID), "beyond their segment", id="text far too long"),
        pytest.param(ballot(list_to(-7, 9) + RFV_ID), "beyond their segment", id="text before the segment"),
        pytest.param(
            ballot(list_to(0, 9) + NULL, RFV_ID), "beyond their segment", id="text runs into the next segment"
        ),
        pytest.param(
            ballot(far(1, 0), list_to(-2, 9) + RFV_ID),
            "beyond their segment",
            id="text runs into the one before",
        ),
        pytest.param(ballot(list_to(0, 0)), "with a NUL", id="text without even a NUL"),
        pytest.param(ballot(list_to(0, 8) + RFV_ID), "with a NUL", id="text without NUL"),
        pytest.param(ballot(list_to(0, 2) + b"\xff".ljust(8, b"\0")), "not UTF-8", id="text not UTF-8"),
        pytest.param(ballot(far(1, 0)), "no segment 1", id="far to no segment"),
        pytest.param(ballot(far(2**32 - 1, 0)), "no segment 4294967295", id="far to the last segment number"),
        pytest.param(ballot(far(1, 0), b""), "leads beyond", id="far into an empty segment"),
        pytest.param(ballot(far(1, 1), NULL), "leads beyond", id="far behind a segment"),
        pytest.param(ballot(far(1, 2**29 - 1), NULL), "leads beyond", id="far far behind a segment"),
        pytest.param(ballot(far(1, 0), far(1, 0)), "bytes expected", id="far to itself"),
        pytest.param(ballot(far(1, 0), far(2, 0), list_to(0, 9) + RFV_ID), "bytes expected", id="far to far"),
        pytest.param(ballot(far(1, 0), double_far(1, 0)), "bytes expected", id="far to double far"),
        pytest.param(ballot(far(1, 0), NULL), "bytes expected", id="far to a null pointer"),
        pytest.param(ballot(double_far(1, 0), far(2, 0), RFV_ID), "leads beyond", id="half a double pad"),
        pytest.param(
            ballot(double_far(1, 0), list_to(0, 9) + list_to(0, 9), RFV_ID),
            "plain far",
            id="double far to no far",
        ),
        pytest.param(
            ballot(double_far(1, 0), double_far(2, 0) + list_to(0, 9), RFV_ID),
            "plain far",
            id="double to double",
        ),
        pytest.param(
            ballot(double_far(1, 0), far(3, 0) + list_to(0, 9), RFV_ID),
            "no segment 3",
            id="double to no segment",
        ),
        pytest.param(
            ballot(double_far(1, 0), far(2, 3) + list_to(0, 9), RFV_ID),
            "leads beyond",
            id="double far behind",
        ),
        pytest.param(
            ballot(double_far(1, 0), far(2, 2) + list_to(0, 9), RFV_ID),
            "beyond their",
            id="double far at the end",
        ),
        pytest.param(
            ballot(double_far(1, 0), far(2, 0) + far(2, 0), RFV_ID),
            "bytes expected",
            id="double far tells far",
        ),
    ],
)
def test_damage_is_named(data, match):
    with bad(match) as caught:
        decode_vote(data)
    assert caught.value.excerpt == data[:32]


@pytest.mark.parametrize("offset", [8, 16, 24])
@pytest.mark.parametrize("time", ["nan", "inf", "-inf"])
def test_times_are_finite(offset, time):
    """One that is not would stop or never end a wait."""
    data = bytearray(encode_vote(RequestForVote("ABCD1234", b"topic")))
    struct.pack_into("<d", data, 8 + 3 * 8 + offset, float(time))
    with bad("times are finite"):
        decode_vote(bytes(data))


def test_an_id_is_limited_whatever_the_message_may_be():
    size = MAX_RFV_ID + 1
    data = ballot(list_to(0, size + 1) + b"x" * size + bytes(-size % 8))
    with pytest.raises(FrameTooLarge) as caught:
        decode_vote(data)
    assert (caught.value.size, caught.value.limit) == (257, 256)


@given(st.binary(max_size=200).map(lambda data: data[: len(data) // 8 * 8]))
def test_any_words_are_a_message_or_a_frame_error(data):
    """Behind a table that fits them, so that pointers are tried and not only the table."""
    try:
        one = decode_vote(message(data))
    except FrameError:
        return
    assert decode_vote(encode_vote(one)) == one


# What cannot be sent.


@pytest.mark.parametrize("one", [None, b"bytes", "text", 5])
def test_only_vote_messages_are_sent(one):
    with pytest.raises(TypeError, match="not a vote message"):
        encode_vote(one)


@pytest.mark.parametrize("rfv_id", [b"ABCD1234", None, 5])
def test_an_id_is_text(rfv_id):
    for one in (RequestForVote(rfv_id, b""), ReplyToCall(rfv_id, Vote.NO)):
        with pytest.raises(TypeError, match="is a str"):
            encode_vote(one)


@pytest.mark.parametrize("rfv_id", ["x" * 257, "\u20ac" * 86, "\ud800"])
def test_an_id_that_does_not_fit_is_not_sent(rfv_id):
    with pytest.raises(ValueError, match=r"the limit is 256|surrogates"):
        encode_vote(ReplyToCall(rfv_id, Vote.NO))


@pytest.mark.parametrize("topic", ["text", None, 5])
def test_a_topic_is_bytes_like(topic):
    with pytest.raises(TypeError):
        encode_vote(RequestForVote("A", topic))


@pytest.mark.parametrize("part", ["release", "started", "timeout"])
def test_a_time_that_is_not_finite_is_not_sent(part):
    with pytest.raises(ValueError, match="times are finite"):
        encode_vote(RequestForVote("A", b"", **{part: float("nan")}))


@pytest.mark.parametrize(
    "one", [ReplyToCall("A", 3), Announcement("A", -1), RequestForVote("A", b"", kind=2),
            RequestForVote("A", b"", subject=2)]
)  # fmt: skip
def test_a_choice_that_is_none_is_not_sent(one):
    with pytest.raises(ValueError, match="is not a valid"):
        encode_vote(one)


def test_a_topic_longer_than_a_list_can_be_is_not_sent(monkeypatch):
    """Half a gibibyte; tried with a smaller limit."""
    monkeypatch.setattr("wireframe.group._votes._MAX_ELEMENTS", 10)
    assert decode_vote(encode_vote(RequestForVote("A", b"x" * 10))).topic == b"x" * 10
    with pytest.raises(ValueError, match="11 bytes, the limit is 10"):
        encode_vote(RequestForVote("A", b"x" * 11))
