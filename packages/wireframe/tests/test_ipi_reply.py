"""The short way for one reply says what the decoder says, or nothing."""

from __future__ import annotations

import array
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wireframe import NEED_DATA, FrameError, ipi

REPLY = ipi.encode_forceready((1.0, 2.0, 3.0))
LONGER = ipi.encode_forceready((1.0, 2.0, 3.0), extra=b"extra")
MAX_EXTRA = 100


def by_decoder(data):
    """What a decoder makes of the bytes, in the terms of the short way."""
    decoder = ipi.Decoder(accept=ipi.FROM_DRIVER, nat=1, max_extra=MAX_EXTRA)
    decoder.feed(data)
    try:
        event = decoder.next_event()
    except FrameError:
        return None
    if type(event) is not ipi.ForceReady or decoder.buffered:
        return None
    return event.forces, event.extra


@st.composite
def almost_replies(draw):
    """Replies, and what is left of them after up to two accidents."""
    data = bytearray(
        ipi.encode_forceready(
            draw(st.binary(min_size=24, max_size=24)),
            draw(st.floats()),
            draw(st.binary(min_size=72, max_size=72)),
            draw(st.binary(max_size=MAX_EXTRA + 3)),
        )
    )
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.sampled_from(["flip", "cut", "append", "count", "length"])):
            case "flip" if data:
                data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
            case "cut":
                del data[draw(st.integers(0, len(data))) :]
            case "append":
                data += draw(st.binary(max_size=150))
            case "count" if len(data) >= 24:
                data[20:24] = struct.pack("<i", draw(st.integers(-(1 << 31), (1 << 31) - 1)))
            case "length" if len(data) >= 124:
                data[120:124] = struct.pack("<i", draw(st.integers(-5, 200)))
    return bytes(data)


@given(st.one_of(almost_replies(), st.binary(max_size=300), st.binary(max_size=200).map(REPLY.__add__)))
@example(REPLY)
@example(LONGER)
@example(REPLY + REPLY)
@example(b"")
def test_it_agrees_with_the_decoder_about_any_bytes(data):
    expected = by_decoder(data)
    for form in (data, bytearray(data), memoryview(data)):
        assert ipi.split_reply(form, len(data), MAX_EXTRA) == expected
    # as a hub calls it: the read is the beginning of a larger buffer with old bytes behind
    scratch = bytearray(data + LONGER)
    assert ipi.split_reply(scratch, len(data), MAX_EXTRA) == expected


@given(almost_replies(), st.integers(-10, 500))
def test_it_never_raises_whatever_size_is_claimed(data, size):
    """Not even for a size that the data does not have; then it is no reply."""
    result = ipi.split_reply(data, size, MAX_EXTRA)
    if size > len(data):
        assert result is None
    else:
        assert result == by_decoder(data[: max(size, 0)])


def test_a_size_that_counts_bytes_which_are_not_there_is_no_reply():
    for cut in range(len(LONGER)):
        assert ipi.split_reply(LONGER[:cut], len(LONGER)) is None


def test_the_result_does_not_share_the_callers_memory():
    scratch = bytearray(LONGER)
    result = ipi.split_reply(scratch, len(scratch))
    scratch[:] = bytes(len(scratch))
    assert result == (struct.pack("<3d", 1, 2, 3), b"extra")


def test_the_limit_is_the_decoders_by_default():
    for size, fits in ((16 << 20, True), ((16 << 20) + 1, False)):
        data = ipi.encode_forceready((0, 0, 0), extra=bytes(size))
        assert (ipi.split_reply(data, len(data)) is not None) is fits
        decoder = ipi.Decoder()
        decoder.feed(data)
        if fits:
            assert decoder.next_event() is not NEED_DATA
        else:
            with pytest.raises(FrameError):
                decoder.next_event()


def test_any_kind_of_buffer_will_do():
    data = ipi.encode_forceready((1.0, 2.0, 3.0), extra=b"12345678!!!!")
    assert len(data) % 8 == 0
    assert ipi.split_reply(array.array("d", data), len(data)) == ipi.split_reply(data, len(data))
