"""The bytes of a ZeroMQ connection to what they say."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import NEED_DATA, BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame
from wireframe._capture.zmtp import MAX_FRAMES, Command, Decoder, Greeting, Multipart

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\3\1" + b"NULL".ljust(20, b"\0") + bytes(32)


def drain(decoder):
    events = []
    while (event := decoder.next_event()) is not NEED_DATA:
        events.append(event)
    return events


def frame(body, flags=0):
    if len(body) > 255:
        return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body
    return bytes([flags, len(body)]) + body


STREAM = GREETING + frame(b"\5READYmetadata", 4) + frame(b"msg", 1) + frame(b"x" * 300) + frame(b"\1")
EVENTS = [
    Greeting((3, 1), "NULL"),
    Command("READY", b"metadata"),
    Multipart([b"msg", b"x" * 300], [2, 14]),
    Multipart([b"\1"], [2]),
]


@given(st.lists(st.integers(1, 60), max_size=30))
def test_a_stream_may_come_in_any_pieces(sizes):
    decoder, events, rest = Decoder(), [], STREAM
    for size in [*sizes, len(STREAM)]:
        decoder.feed(rest[:size])
        rest = rest[size:]
        events += drain(decoder)
    assert events == EVENTS
    decoder.feed_eof()
    assert decoder.next_event() is NEED_DATA


BAD = {
    "no greeting": (b"0000000004" + bytes(60), BadHeader, 0),
    "no signature": (GREETING[:9] + b"\0" + GREETING[10:], BadHeader, 9),
    "old version": (GREETING[:10] + b"\1" + GREETING[11:], BadHeader, 10),
    "unknown flags": (GREETING + b"\x08\0", BadHeader, 0),
    "command in pieces": (GREETING + b"\5\0", BadHeader, 0),
    "command inside": (GREETING + frame(b"msg", 1) + frame(b"\1a", 4), BadHeader, 5),
    "huge": (GREETING + frame(b"m", 1) + b"\2" + b"\x7f" * 8, FrameTooLarge, 4),
    "many": (GREETING + frame(b"", 1) * (MAX_FRAMES + 1), FrameTooLarge, 2 * MAX_FRAMES),
    "empty command": (GREETING + frame(b"", 4), BadPayload, 2),
    "short command": (GREETING + frame(b"\5READ", 4), BadPayload, 2),
    "cut": (GREETING + frame(b"abc")[:-1], TruncatedFrame, 4),
    "cut in a long size": (GREETING + b"\2\0\0", TruncatedFrame, 3),
}


@pytest.mark.parametrize(("data", "error", "at"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_told_with_its_place_in_the_frame(data, error, at):
    decoder = Decoder()
    decoder.feed(data)
    decoder.feed_eof()
    with pytest.raises(error) as caught:
        drain(decoder)
    assert caught.value.at == at


@given(st.binary(max_size=80))
def test_noise_behind_a_greeting_raises_frame_errors_alone(noise):
    decoder = Decoder(max_size=1000)
    decoder.feed(GREETING + noise)
    decoder.feed_eof()
    with contextlib.suppress(FrameError):
        drain(decoder)
