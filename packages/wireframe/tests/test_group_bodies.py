"""Payloads of the known tags: round trips, what may be sent, what a peer may do wrong."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import BadHeader, BadPayload, FrameTooLarge
from wireframe.group import (
    ANSWER_TAGS,
    MEMBER_LENGTH,
    PUBLISHED_TAGS,
    QUERY_TAGS,
    Announcement,
    Ballot,
    LeaderNote,
    Leave,
    ReplyToCall,
    Request,
    RequestForVote,
    Tic,
    Vote,
    decode_body,
    encode_body,
    member_id,
)

A, B = b"0123456789abcdef", b"ABCDEFGHIJKLMNOP"
U32 = st.integers(0, 2**32 - 1)
IDS = st.binary(min_size=16, max_size=16)
HOSTS = st.builds("{}.{}.{}.{}".format, st.integers(1, 223), *(st.integers(0, 255) for _ in range(3)))
FIXED = st.one_of(
    st.tuples(st.just(b"tic"), st.builds(Tic, IDS)),
    st.tuples(st.just(b"req"), st.builds(Request, U32, IDS)),
    st.tuples(st.just(b"vot"), st.builds(Ballot, U32, IDS, st.booleans(), IDS)),
    st.tuples(st.just(b"ldr"), st.builds(LeaderNote, U32, IDS, HOSTS, st.integers(0, 65535))),
    st.tuples(st.just(b"mlt"), st.builds(Leave, IDS)),
)
LENGTHS = {b"tic": 16, b"req": 20, b"vot": 40, b"ldr": 28, b"mlt": 16}


@given(FIXED)
def test_what_was_sent_is_what_is_read(case):
    tag, body = case
    payload = encode_body(body)
    assert len(payload) == LENGTHS[tag]
    assert decode_body(tag, payload) == body


@pytest.mark.parametrize("tag", [b"msg", b"mtl", b"mfl"])
@pytest.mark.parametrize("payload", [b"", b"x", bytes(1000)])
def test_messages_of_the_application_are_their_bytes(tag, payload):
    assert encode_body(payload) is payload
    assert decode_body(tag, payload) is payload


@pytest.mark.parametrize(
    ("tags", "body"),
    [
        ((b"rfv", b"rcm"), RequestForVote("ABCD1234", b"topic")),
        ((b"rtc",), ReplyToCall("ABCD1234", Vote.NO)),
        ((b"ann",), Announcement("ABCD1234", Vote.TIMEOUT)),
    ],
)
def test_a_vote_message_comes_with_its_tag_alone(tags, body):
    payload = encode_body(body)
    for tag in tags:
        assert decode_body(tag, payload) == body
    for tag in {b"rfv", b"rcm", b"rtc", b"ann"} - set(tags):
        with pytest.raises(BadPayload, match=f"got a {type(body).__name__}"):
            decode_body(tag, payload)


def test_a_vote_message_is_limited_where_it_is_read():
    payload = encode_body(RequestForVote("ABCD1234", b"topic"))
    assert decode_body(b"rfv", payload, max_vote_size=len(payload)).topic == b"topic"
    with pytest.raises(FrameTooLarge):
        decode_body(b"rfv", payload, max_vote_size=len(payload) - 1)


def test_every_tag_belongs_to_one_path_and_all_are_read():
    known = [*PUBLISHED_TAGS, *QUERY_TAGS, *ANSWER_TAGS]
    assert len(known) == len(set(known)) == 12
    for tag in known:
        try:
            decode_body(tag, b"")
        except BadHeader:  # what an unknown tag is
            pytest.fail(f"{tag} is not read")
        except ValueError:
            pass


# What a peer may do wrong.


@pytest.mark.parametrize("tag", [b"zzz", b"ack", b"TIC", b"", b"x" * 1000])
def test_an_unknown_tag_is_refused(tag):
    with pytest.raises(BadHeader, match="no message with the tag") as caught:
        decode_body(tag, A)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("tag", LENGTHS)
@pytest.mark.parametrize("difference", [-16, -1, 1, 1000])
def test_another_length_is_refused(tag, difference):
    size = LENGTHS[tag] + difference
    with pytest.raises(
        BadPayload, match=f"the payload of {tag.decode()} has {LENGTHS[tag]} bytes, not {size}"
    ):
        decode_body(tag, bytes(size))


@pytest.mark.parametrize("vote", [2, 0x01000000, 2**32 - 1])
def test_a_vote_is_0_or_1(vote):
    with pytest.raises(BadPayload, match=f"not {vote}"):
        decode_body(b"vot", struct.pack(">I16sI16s", 1, A, vote, B))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ((0, 0, 0, 0), 4000),
        ((0, 1, 2, 3), 4000),
        ((224, 0, 0, 0), 4000),
        ((255, 255, 255, 255), 4000),
        ((127, 0, 0, 1), 65536),
        ((127, 0, 0, 1), 2**32 - 1),
    ],
)
def test_a_leader_that_nobody_can_reach_is_refused(host, port):
    with pytest.raises(BadPayload, match="nobody can be reached"):
        decode_body(b"ldr", struct.pack(">I16s4sI", 1, A, bytes(host), port))
    with pytest.raises(ValueError, match="nobody can be reached"):
        encode_body(LeaderNote(1, A, ".".join(map(str, host)), port))


@pytest.mark.parametrize("host", ["1.0.0.1", "223.255.255.254"])
def test_the_first_and_the_last_host_are_taken(host):
    note = LeaderNote(1, A, host, 65535)
    assert decode_body(b"ldr", encode_body(note)) == note


@pytest.mark.parametrize("host", ["0.0.0.0", "255.255.255.255"])
def test_a_leader_without_a_port_may_name_any_host(host):
    """Nobody connects to it."""
    note = LeaderNote(1, A, host, 0)
    assert decode_body(b"ldr", encode_body(note)) == note


# What cannot be sent.


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0", "127.0.0.1.1", "127.0.0.256", "127.0.0.-1", "127.0.0.01", " 127.0.0.1", "127.0.0.1 ",
     "127.0.0.\u0661", "127.0.0.+1", "1_2.0.0.1", "localhost", "::1", "1.2.3.4\n"],
)  # fmt: skip
def test_a_host_is_a_plain_ipv4_address(host):
    with pytest.raises(ValueError, match="not an IPv4 address"):
        encode_body(LeaderNote(1, A, host, 1))
    with pytest.raises(ValueError, match="not an IPv4 address"):
        member_id(host, 1, 1)


@pytest.mark.parametrize("term", [-1, 2**32, 1.5, None])
def test_a_term_fits_its_bits(term):
    for body in (Request(term, A), Ballot(term, A, True, B), LeaderNote(term, A, "127.0.0.1", 1)):
        with pytest.raises(ValueError, match="does not fit"):
            encode_body(body)


def test_a_port_is_not_negative():
    with pytest.raises(ValueError, match="does not fit"):
        encode_body(LeaderNote(1, A, "127.0.0.1", -1))


@pytest.mark.parametrize("bodies", [
    lambda one: [Tic(one), Leave(one), Request(1, one), LeaderNote(1, one, "127.0.0.1", 1)],
    lambda one: [Ballot(1, one, True, B), Ballot(1, A, True, one)],
])  # fmt: skip
def test_a_member_has_16_bytes(bodies):
    """Packing would fill or cut it silently."""
    for body in [*bodies(A[:15]), *bodies(A + b"x"), *bodies(b"")]:
        with pytest.raises(ValueError, match="a member id has 16 bytes"):
            encode_body(body)
    for body in [*bodies("0123456789abcdef"), *bodies(bytearray(A))]:
        with pytest.raises(TypeError, match="a member id is bytes"):
            encode_body(body)


@pytest.mark.parametrize("body", [None, "text", 5, [A], bytearray(b"x")])
def test_what_is_no_body_is_not_sent(body):
    with pytest.raises(TypeError):
        encode_body(body)


# Member ids.


@given(HOSTS, U32, st.integers(0, 2**64 - 1))
def test_a_member_id_is_host_process_and_discriminator(host, pid, discriminator):
    made = member_id(host, pid, discriminator)
    assert len(made) == MEMBER_LENGTH
    assert made == bytes(map(int, host.split("."))) + struct.pack(">IQ", pid, discriminator)


@pytest.mark.parametrize(("host", "pid", "discriminator"), [
    ("0.0.0.1", 1, 1), ("127.0.0.1", 2**32, 1), ("127.0.0.1", -1, 1), ("127.0.0.1", 1, 2**64),
    ("127.0.0.1", 1, -1), ("127.0.0.1", 1, 0.5),
])  # fmt: skip
def test_a_member_id_that_zeromq_would_not_take_is_not_made(host, pid, discriminator):
    """Or that does not fit."""
    with pytest.raises(ValueError, match=r"begin with zero|does not fit"):
        member_id(host, pid, discriminator)
