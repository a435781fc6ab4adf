"""Group messages recorded from the original: golden frames both ways, what must be refused, odd votes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wireframe import BadHeader, BadPayload, FrameTooLarge, TruncatedFrame
from wireframe.group import (
    ANSWER_TAGS,
    PUBLISHED_TAGS,
    QUERY_TAGS,
    Announcement,
    Ballot,
    LeaderNote,
    Leave,
    ReplyToCall,
    Request,
    RequestForVote,
    Subject,
    Tic,
    Vote,
    Voting,
    decode_body,
    decode_frames,
    decode_vote,
    encode_body,
    encode_frames,
    member_id,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "group-ports.json").read_text(encoding="utf-8"))
TAGS_OF = {
    "pub>sub": PUBLISHED_TAGS,
    "qry>ans": QUERY_TAGS,
    "ans receives": QUERY_TAGS,
    "ans>qry": ANSWER_TAGS,
}
# By the reason that the vectors give; text where a vote should be reads as a huge table of segments.
REFUSED_AS = {
    "no payload frame": BadHeader,
    "empty tag, no payload": BadHeader,
    "member id is not 16 bytes": BadPayload,
    "not 20 bytes": BadPayload,
    "not 40 bytes": BadPayload,
    "not 28 bytes": BadPayload,
    "port above 65535": BadPayload,
    "host 0.0.0.0": BadPayload,
    "vote neither 0 nor 1": BadPayload,
    "unknown tag, not UTF-8": BadHeader,
    "unknown tag": BadHeader,
    "stamp is not 8 bytes": BadPayload,
    "stamp is not finite": BadPayload,
    "too many frames": BadHeader,
    "not a vote message": FrameTooLarge,
    "union arm is not rfv": BadPayload,
}
ODD_REFUSED_AS = {
    "truncated to 0": TruncatedFrame,
    "truncated to 1": TruncatedFrame,
    "truncated to 7": TruncatedFrame,
    "truncated to 8": TruncatedFrame,
    "truncated to 15": BadPayload,
    "truncated to 16": TruncatedFrame,
    "truncated to 24": TruncatedFrame,
    "truncated to 56": TruncatedFrame,
    "truncated to 63": BadPayload,
    "3 bytes appended": BadPayload,
    "segment count huge": FrameTooLarge,
    "segment size huge": TruncatedFrame,
    "union tag 9": BadPayload,
    "text not utf-8": BadPayload,
    "text without final zero": BadPayload,
}
each_frame = pytest.mark.parametrize("case", VECTORS["frames"], ids=lambda case: case["name"])


def frames_of(case):
    """The frames without the routing identity, which sockets add and take away."""
    frames = [bytes.fromhex(one) for one in case["frames"]]
    if "identity" in case.get("decoded", {}):
        assert frames.pop(0).decode() == case["decoded"]["identity"]
    return frames


def body_of(decoded):
    """What the vectors say, as our bodies say it."""
    member = {
        name: bytes.fromhex(decoded[name])
        for name in ("member", "candidate", "voter", "leader")
        if name in decoded
    }
    match decoded["tag"]:
        case "tic":
            return Tic(member["member"])
        case "mlt":
            return Leave(member["member"])
        case "req":
            return Request(decoded["term"], member["candidate"])
        case "vot":
            return Ballot(decoded["term"], member["candidate"], bool(decoded["vote"]), member["voter"])
        case "ldr":
            return LeaderNote(decoded["term"], member["leader"], decoded["host"], decoded["port"])
        case "rfv" | "rcm":
            return RequestForVote(
                rfv_id=decoded["rfvId"],
                topic=bytes.fromhex(decoded["topic"]),
                kind=Voting[decoded["kind"].upper()],
                subject=Subject[decoded["subject"].upper()],
                release=decoded["release"],
                started=decoded["started"],
                timeout=decoded["timeout"],
            )
        case "rtc":
            return ReplyToCall(decoded["rfvId"], Vote[decoded["vote"].upper()])
        case "ann":
            return Announcement(decoded["rfvId"], Vote[decoded["vote"].upper()])
        case _:
            return bytes.fromhex(decoded["payload"])


def read(frames):
    message = decode_frames(frames)
    return decode_body(message.tag, message.payload)


def test_the_vectors_are_all_there():
    assert [len(VECTORS[name]) for name in ("frames", "rejects", "odd_votes")] == [48, 28, 18]
    assert {case["why"] for case in VECTORS["rejects"]} == set(REFUSED_AS)


@each_frame
def test_frames_of_the_original_are_read(case):
    message = decode_frames(frames_of(case))
    assert message.tag.decode() == case["decoded"]["tag"]
    assert message.tag in TAGS_OF[case["path"]]
    assert message.stamp == case["decoded"].get("sent")
    assert message.extension is None
    assert decode_body(message.tag, message.payload) == body_of(case["decoded"])


@each_frame
def test_our_frames_are_those_of_the_original(case):
    """From the decoded values alone, bit for bit, votes of two segments too."""
    decoded = case["decoded"]
    payload = encode_body(body_of(decoded))
    assert encode_frames(decoded["tag"].encode(), payload, stamp=decoded.get("sent")) == frames_of(case)


@pytest.mark.parametrize("case", VECTORS["rejects"], ids=lambda case: f"{case['path']} {case['why']}")
def test_what_must_be_refused_is_refused(case):
    """By the frames, or, where they are a legal message, by its body."""
    frames = frames_of(case)
    is_empty_vote = case["why"] == "not a vote message" and not frames[1]
    with pytest.raises(TruncatedFrame if is_empty_vote else REFUSED_AS[case["why"]]):
        read(frames)


@pytest.mark.parametrize("case", VECTORS["odd_votes"], ids=lambda case: case["name"])
def test_odd_votes_are_judged_as_the_original_does(case):
    data = bytes.fromhex(case["bytes"])
    if case["reference"] == "raises":
        with pytest.raises(ODD_REFUSED_AS[case["name"]]):
            decode_vote(data)
    elif case["name"] == "null root":
        assert decode_vote(data) == RequestForVote("", b"")
    else:
        assert decode_vote(data) == body_of({**case["decoded"], "tag": case["decoded"]["which"]})


def test_member_ids_are_those_of_the_original():
    case = next(one for one in VECTORS["frames"] if one["name"] == "tic")
    assert member_id("127.0.0.1", 4321, 0x7F5A4CFB3F90).hex() == case["decoded"]["member"]
