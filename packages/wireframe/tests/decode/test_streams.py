"""Segments in any order to bytes in theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wireframe._capture import streams
from wireframe._capture.packets import Segment
from wireframe._capture.streams import Stream

TEXT = bytes(range(200))


def segment(begin, data, *, opens=False, closes=False, origin=0):
    return Segment("tcp", "a", "b", (1, 2), data, (origin + begin) % (1 << 32), opens, closes)


def test_a_connection_is_read_from_its_opening_to_its_end():
    stream = Stream()
    assert stream.add(segment(-1, b"", opens=True)) == b""
    assert stream.add(segment(0, b"abc")) == b"abc"
    assert stream.add(segment(3, b"de", closes=True)) == b"de"
    assert stream.ended


@given(st.randoms(use_true_random=False), st.sampled_from([0, (1 << 32) - 50]), st.integers(1, 40))
def test_order_and_repetition_do_not_matter(chance, origin, size):
    """Also where the numbers wrap, and where pieces overlap."""
    pieces = [(at, TEXT[at : at + size + chance.randrange(9)]) for at in range(0, len(TEXT), size)]
    pieces += chance.sample(pieces, len(pieces) // 2)
    chance.shuffle(pieces)
    stream = Stream()
    out = stream.add(segment(-1, b"", opens=True, origin=origin))
    for at, data in pieces:
        out += stream.add(segment(at, data, origin=origin))
    assert out == TEXT
    stream.finish()
    assert (stream.missing, stream.ended) == (0, False)


def test_a_capture_may_begin_in_the_middle():
    stream = Stream()
    assert stream.add(segment(5000, b"abc")) == b"abc"
    assert stream.add(segment(5003, b"d")) == b"d"


def test_bytes_that_the_capture_lost_are_counted():
    stream = Stream()
    stream.add(segment(0, b"abc"))
    stream.add(segment(10, b"later"))
    stream.add(segment(20, b"later still"))
    stream.finish()
    assert (stream.missing, stream.ended) == (7, True)


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(streams, "MAX_AHEAD", 10)
    stream = Stream()
    stream.add(segment(0, b"abc"))
    stream.add(segment(5, b"12345678"))
    assert not stream.ended
    stream.add(segment(5, b"1234"))  # a shorter copy changes nothing
    assert not stream.ended
    stream.add(segment(30, b"12345678"))
    assert (stream.missing, stream.ended) == (2, True)


def test_segments_that_all_came_before_leave_nothing():
    stream = Stream()
    stream.add(segment(0, b"abcdef"))
    stream.add(segment(8, b"ij"))
    stream.add(segment(9, b"j"))
    assert stream.add(segment(2, b"cdefgh")) == b"ghij"
    assert stream.add(segment(0, b"abc")) == b""
