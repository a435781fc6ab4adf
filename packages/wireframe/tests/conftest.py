"""What all tests of this package share: one way to try a stream decoder."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from wireframe import NEED_DATA, TruncatedFrame

# The same examples on every run and every machine; no clock decides. To search
# for new ones: pytest --hypothesis-profile=search
settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("steady")


def drain(decoder):
    """All events that are ready."""
    events = []
    while (event := decoder.next_event()) is not NEED_DATA:
        events.append(event)
    return events


def feed_all(decoder, pieces):
    """All events of a stream that comes in these pieces."""
    events = []
    for piece in pieces:
        decoder.feed(piece)
        events += drain(decoder)
    return events


def _raised(decoder):
    try:
        event = decoder.next_event()
    except TruncatedFrame as error:
        return error
    raise AssertionError(f"expected TruncatedFrame, got {event!r}")


def check_stream(new_decoder, frames, seen, see=lambda event: event):
    """Try a decoder on a stream in every way a transport may deliver it.

    Parameters
    ----------
    new_decoder : callable
        Makes a fresh decoder.
    frames : list of bytes
        The frames one by one; together they are the stream.
    seen : list
        For each frame ``see(event)``.
    see : callable
        What to compare of an event; bytes, where events may hold NaN.
    """
    stream = b"".join(frames)
    ends = [sum(map(len, frames[: i + 1])) for i in range(len(frames))]

    def events(pieces):
        decoder = new_decoder()
        found = [see(event) for event in feed_all(decoder, pieces)]
        assert decoder.buffered == 0
        decoder.feed_eof()
        assert decoder.next_event() is NEED_DATA
        assert decoder.needed == 0
        return found

    # whole, and from memory that the caller reuses
    assert events([stream]) == seen
    scratch = bytearray(stream)
    decoder = new_decoder()
    decoder.feed(memoryview(scratch))
    scratch[:] = bytes(len(scratch))
    assert [see(event) for event in drain(decoder)] == seen

    # byte by byte: each event comes with the last byte of its frame
    decoder = new_decoder()
    arrived = []
    for position in range(len(stream)):
        decoder.feed(stream[position : position + 1])
        for event in drain(decoder):
            arrived.append(position + 1)
            assert see(event) == seen[len(arrived) - 1]
    assert arrived == ends

    # every split into two
    for cut in range(1, len(stream)):
        assert events([stream[:cut], stream[cut:]]) == seen

    # a reader that reads exactly what is needed never reads beyond a frame
    decoder = new_decoder()
    position = 0
    for end, wanted in zip(ends, seen, strict=True):
        while (event := decoder.next_event()) is NEED_DATA:
            size = decoder.needed
            assert 1 <= size <= end - position
            decoder.feed(stream[position : position + size])
            position += size
        assert position == end
        assert see(event) == wanted

    # trailing bytes stay
    for extra in range(1, len(frames[0])):
        decoder = new_decoder()
        found = [see(event) for event in feed_all(decoder, [stream + frames[0][:extra]])]
        assert (found, decoder.buffered) == (seen, extra)

    # truncated at every point
    for cut in range(1, len(stream)):
        decoder = new_decoder()
        decoder.feed(stream[:cut])
        decoder.feed_eof()
        whole = [end for end in ends if end <= cut]
        for wanted in seen[: len(whole)]:
            assert see(decoder.next_event()) == wanted
        begin = whole[-1] if whole else 0
        if begin == cut:
            assert decoder.next_event() is NEED_DATA
            continue
        error = _raised(decoder)
        assert error.got == cut - begin
        assert error.got < error.expected <= ends[len(whole)] - begin
        assert error.excerpt == stream[begin:cut][:32]
        again = _raised(decoder)
        assert (str(again), again.got, again.expected) == (str(error), error.got, error.expected)
        assert (decoder.buffered, decoder.needed) == (0, 0)


@pytest.fixture(scope="session", name="check_stream")
def check_stream_fixture():
    return check_stream


@pytest.fixture(scope="session", name="feed_all")
def feed_all_fixture():
    return feed_all


@pytest.fixture
def figure(request):
    """Take what a test of a fault has measured, for the report of the run."""
    return lambda text: request.node.user_properties.append(("figure", text))
