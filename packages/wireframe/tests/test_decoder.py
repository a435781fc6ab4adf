"""What all stream decoders share, tried with the smallest one."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest

from wireframe import NEED_DATA, BadHeader, TruncatedFrame
from wireframe._decoder import StreamDecoder


class PairDecoder(StreamDecoder[bytes]):
    """Frames of two bytes; one that begins with ``!`` is illegal."""

    __slots__ = ()

    def __init__(self):
        super().__init__(2)

    def _parse(self):
        if self._buffer.peek(1) == b"!":
            raise BadHeader("bang", self._buffer.peek(2)) from KeyError("cause")
        return self._buffer.take(2)


def test_the_pair_decoder_passes_every_way_of_delivery(check_stream):
    check_stream(PairDecoder, [b"ab", b"cd", b"ef"], [b"ab", b"cd", b"ef"])


def test_need_data_is_one_object_however_it_travels():
    assert repr(NEED_DATA) == "NEED_DATA"
    assert copy.deepcopy(NEED_DATA) is NEED_DATA
    assert pickle.loads(pickle.dumps(NEED_DATA)) is NEED_DATA


def test_the_base_cannot_be_used_alone():
    with pytest.raises(TypeError, match="abstract"):
        StreamDecoder(2)


def test_needed_counts_down_and_is_never_zero_while_the_stream_is_open():
    decoder = PairDecoder()
    assert decoder.needed == 2
    decoder.feed(b"a")
    assert (decoder.needed, decoder.buffered) == (1, 1)
    decoder.feed(b"bcdefg")
    assert (decoder.needed, decoder.buffered) == (1, 7)


def test_feeding_nothing_changes_nothing():
    decoder = PairDecoder()
    for piece in (b"", b"a", b"", b"b", b""):
        decoder.feed(piece)
    assert decoder.next_event() == b"ab"
    assert decoder.next_event() is NEED_DATA


def test_a_clean_end_is_no_error():
    decoder = PairDecoder()
    decoder.feed(b"ab")
    decoder.feed_eof()
    assert decoder.needed == 0
    assert decoder.next_event() == b"ab"
    assert decoder.next_event() is NEED_DATA
    assert decoder.next_event() is NEED_DATA


def test_what_is_fed_after_the_end_is_ignored():
    decoder = PairDecoder()
    decoder.feed_eof()
    decoder.feed(b"ab")
    assert decoder.buffered == 0
    assert decoder.next_event() is NEED_DATA


def test_events_before_an_end_inside_a_frame_are_delivered_first():
    decoder = PairDecoder()
    decoder.feed(b"abc")
    decoder.feed_eof()
    assert decoder.next_event() == b"ab"
    with pytest.raises(TruncatedFrame) as caught:
        decoder.next_event()
    assert (caught.value.got, caught.value.expected, caught.value.excerpt) == (1, 2, b"c")


def test_feeding_never_raises_and_asking_does():
    decoder = PairDecoder()
    decoder.feed(b"ab!?cd")
    assert decoder.next_event() == b"ab"
    with pytest.raises(BadHeader, match="bang"):
        decoder.next_event()


def test_a_dead_decoder_repeats_its_error_and_holds_nothing():
    decoder = PairDecoder()
    decoder.feed(b"!?cd")
    for _ in range(3):
        with pytest.raises(BadHeader, match="bang") as caught:
            decoder.next_event()
        assert caught.value.excerpt == b"!?"
        assert (decoder.buffered, decoder.needed) == (0, 0)
        decoder.feed(b"efgh")
    decoder.feed_eof()
    with pytest.raises(BadHeader, match="bang"):
        decoder.next_event()


def test_a_dead_decoder_does_not_keep_what_its_callers_held():
    """An error collects a traceback, and a traceback holds the frames of all callers."""

    class Held:
        pass

    def read_and_fail():
        held = Held()
        decoder.feed(b"!?")
        with pytest.raises(BadHeader):
            decoder.next_event()
        return weakref.ref(held)

    decoder = PairDecoder()
    reference = read_and_fail()
    gc.collect()
    assert reference() is None
    with pytest.raises(BadHeader):
        decoder.next_event()


def test_a_repeated_error_has_a_traceback_of_its_own():
    """It does not grow with each repetition."""

    def depth():
        try:
            decoder.next_event()
        except BadHeader as error:
            steps, traceback = 0, error.__traceback__
            while traceback is not None:
                steps, traceback = steps + 1, traceback.tb_next
            return steps
        raise AssertionError("no error")

    decoder = PairDecoder()
    decoder.feed(b"!?")
    depth()
    assert depth() == depth() == 2
