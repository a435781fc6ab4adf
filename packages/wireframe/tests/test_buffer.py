"""The receive buffer: contents, laziness and linear work."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe._buffer import JOIN_LIMIT, RETURN_LIMIT, ReceiveBuffer

SIZES = st.sampled_from([0, 1, 7, 100, JOIN_LIMIT - 1, JOIN_LIMIT, JOIN_LIMIT + 1, RETURN_LIMIT + 5, 200_000])
COUNTING = bytes(range(251)) * 798


@given(st.lists(st.tuples(st.sampled_from(["feed", "take", "skip", "peek", "copy"]), SIZES), max_size=30))
def test_it_behaves_like_a_queue_of_bytes(steps):
    """Whatever is fed and taken, in any order and size, comes out as it went in."""
    buffer, model, next_byte = ReceiveBuffer(), b"", 0
    for action, size in steps:
        if action == "feed":
            piece = COUNTING[next_byte : next_byte + size]
            next_byte = (next_byte + size) % 251
            buffer.feed(piece)
            model += piece
        elif action == "peek":
            assert buffer.peek(size) == model[:size]
        elif action == "copy":
            assert buffer.copy(size // 3, size) == model[size // 3 : size]
        else:
            size = min(size, len(model))
            if action == "take":
                taken = buffer.take(size)
                assert type(taken) is bytes
                assert taken == model[:size]
            else:
                buffer.skip(size)
            model = model[size:]
        assert len(buffer) == len(model)
    assert buffer.take(len(model)) == model
    assert (buffer.data, buffer.start) == (b"", 0)


@pytest.mark.parametrize("before", [0, 10, JOIN_LIMIT, 2 * JOIN_LIMIT])
@pytest.mark.parametrize(
    "piece",
    [
        bytearray(b"abcdefgh"),
        memoryview(b"abcdefgh"),
        memoryview(b"a.b.c.d.e.f.g.h.")[::2],
        array.array("d", memoryview(b"abcdefgh").cast("d")),
    ],
    ids=["bytearray", "memoryview", "strided", "array"],
)
def test_anything_bytes_like_may_be_fed(before, piece):
    buffer = ReceiveBuffer()
    buffer.feed(bytes(before // 2))
    buffer.feed(bytes(before - before // 2))
    buffer.feed(piece)
    buffer.skip(before)
    assert buffer.peek(99) == b"abcdefgh"


@pytest.mark.parametrize("mistake", [5, "text", [1, 2, 3], None])
@pytest.mark.parametrize("before", [0, 10, 2 * JOIN_LIMIT])
def test_what_is_not_bytes_like_is_a_type_error_and_changes_nothing(before, mistake):
    buffer = ReceiveBuffer()
    buffer.feed(bytes(before))
    with pytest.raises(TypeError):
        buffer.feed(mistake)
    assert buffer.peek(before + 9) == bytes(before)


def test_a_mutable_piece_may_be_reused_by_the_caller():
    buffer, scratch = ReceiveBuffer(), bytearray(b"first")
    buffer.feed(scratch)
    scratch[:] = b"other"
    assert buffer.take(5) == b"first"


def test_a_whole_frame_costs_one_slice():
    """What was received is kept as it is, without a copy."""
    buffer, piece = ReceiveBuffer(), bytes(range(200))
    buffer.feed(piece)
    assert buffer.data is piece
    buffer.take(150)
    assert buffer.data is piece


def test_the_rest_behind_a_frame_in_pieces_is_cheap_again():
    buffer = ReceiveBuffer()
    for _ in range(3):
        buffer.feed(bytes(JOIN_LIMIT))
    assert type(buffer.data) is bytearray
    buffer.take(3 * JOIN_LIMIT - 100)
    assert type(buffer.data) is bytes
    assert len(buffer) == 100


class CountingBuffer(ReceiveBuffer):
    """Counts the bytes that each step has to move, from what changed."""

    def __init__(self):
        super().__init__()
        self.moved = 0

    def step(self, action, argument):
        before = self.data
        action(argument)
        if self.data is not before:
            self.moved += len(self.data)  # a new object was filled
        elif type(self.data) is bytearray and action == self.feed:
            self.moved += len(argument)  # the same one grew


def moved_per_byte(total, piece, take):
    """Work for `total` bytes fed in pieces, of which `take` are taken after each piece."""
    buffer = CountingBuffer()
    for _ in range(total // piece):
        buffer.step(buffer.feed, bytes(piece))
        if take:
            buffer.step(buffer.skip, take)
    return buffer.moved / total


@pytest.mark.fault("C1", "wireframe", "T")
@pytest.mark.parametrize("piece", [1500, 65536])
def test_a_large_frame_in_many_pieces_is_linear(piece):
    """Bytes moved per byte received do not grow with the frame."""
    for total in (1 << 20, 8 << 20, 32 << 20):
        assert moved_per_byte(total, piece, 0) < 5


def test_a_large_frame_in_single_bytes_is_bounded():
    """Below the limit of joining each byte moves the rest once, above it never."""
    assert moved_per_byte(200_000, 1, 0) * 200_000 < JOIN_LIMIT**2 / 2 + 2 * 200_000


def test_a_growing_backlog_is_linear():
    """Someone who takes less than comes in pays a bounded price per piece, not the backlog."""
    for total in (1 << 20, 8 << 20, 32 << 20):
        assert moved_per_byte(total, 8192, 124) < 4 * RETURN_LIMIT / 8192


def test_clear_forgets_everything():
    buffer = ReceiveBuffer()
    buffer.feed(bytes(5000))
    buffer.feed(bytes(5000))
    buffer.clear()
    assert (len(buffer), buffer.data, buffer.start) == (0, b"", 0)
