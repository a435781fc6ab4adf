"""The i-PI decoder: what it refuses, when, and with which numbers."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from wireframe import NEED_DATA, BadHeader, BadPayload, FrameTooLarge, TruncatedFrame, ipi

INT_MAX = (1 << 31) - 1
FIELD = (1.0, 2.0, 3.0)
REPLY = ipi.encode_forceready(FIELD, extra=b"{}")


def int32(number):
    return struct.pack("<i", number)


def fail(error, data, **options):
    """The error of a decoder that is fed with `data` and nothing more."""
    decoder = ipi.Decoder(**options)
    decoder.feed(data)
    with pytest.raises(error) as caught:
        decoder.next_event()
    assert (decoder.buffered, decoder.needed) == (0, 0)
    return caught.value


# The beginning of each message up to and including a number that the peer chose.
INIT = ipi.encode_header(ipi.INIT) + int32(7)
POSDATA = ipi.encode_header(ipi.POSDATA) + bytes(144)
FORCEREADY = ipi.encode_header(ipi.FORCEREADY) + bytes(8)
EXTRA = FORCEREADY + int32(1) + bytes(24 + 72)
POSDATA_BATCH = ipi.encode_header(ipi.POSDATA)
FORCEREADY_BATCH = ipi.encode_header(ipi.FORCEREADY) + bytes(16)
EXTRA_BATCH = FORCEREADY_BATCH + int32(1) + bytes(2 * (24 + 72)) + int32(1) + b"a"

COUNTS = [
    pytest.param(INIT, {}, id="INIT text"),
    pytest.param(POSDATA, {}, id="POSDATA nat"),
    pytest.param(FORCEREADY, {}, id="FORCEREADY nat"),
    pytest.param(EXTRA, {}, id="extra"),
    pytest.param(POSDATA_BATCH, {"batch_size": 2}, id="POSDATA nat of a batch"),
    pytest.param(FORCEREADY_BATCH, {"batch_size": 2}, id="FORCEREADY nat of a batch"),
    pytest.param(EXTRA_BATCH, {"batch_size": 2}, id="second extra of a batch"),
]


@pytest.mark.parametrize("count", [-1, -5, -(1 << 31)])
@pytest.mark.parametrize(("before", "options"), COUNTS)
def test_a_negative_count_is_a_bad_payload(before, options, count):
    error = fail(BadPayload, before + int32(count), **options)
    assert str(count) in str(error)
    assert error.excerpt == (before + int32(count))[:32]


@pytest.mark.fault("C3", "wireframe", "E")
@pytest.mark.parametrize(("before", "options"), COUNTS)
def test_the_largest_count_is_refused_before_its_body_comes(before, options):
    """2^31 - 1 costs the peer four bytes and us nothing."""
    error = fail(FrameTooLarge, before + int32(INT_MAX), **options)
    assert error.size >= INT_MAX
    assert error.limit in {1 << 20, 16 << 20}
    assert str(error.size) in str(error)
    assert str(error.limit) in str(error)


@pytest.mark.parametrize(("before", "options"), COUNTS)
def test_a_refused_count_is_known_with_its_last_byte_and_not_before(before, options):
    decoder = ipi.Decoder(**options)
    decoder.feed(before + int32(INT_MAX)[:3])
    assert decoder.next_event() is NEED_DATA
    assert decoder.needed == 1
    decoder.feed(int32(INT_MAX)[3:])
    with pytest.raises(FrameTooLarge):
        decoder.next_event()


@pytest.mark.parametrize(
    ("message", "name", "limit"),
    [
        (ipi.encode_init(0, b"12345"), "max_init", 5),
        (ipi.encode_posdata(FIELD * 5), "max_nat", 5),
        (ipi.encode_forceready(FIELD * 5), "max_nat", 5),
        (ipi.encode_forceready(FIELD), "max_nat", 1),
        (ipi.encode_forceready(FIELD, extra=b"12345"), "max_extra", 5),
        (ipi.encode_forceready(FIELD * 2, extra=b"1"), "max_extra", 1),
    ],
)
def test_the_limit_itself_is_allowed_and_one_more_is_not(message, name, limit, feed_all):
    assert len(feed_all(ipi.Decoder(**{name: limit}), [message])) == 1
    error = fail(FrameTooLarge, message, **{name: limit - 1})
    assert (error.size, error.limit) == (limit, limit - 1)


def test_limits_of_zero_leave_the_empty_messages(feed_all):
    stream = ipi.encode_init(0) + ipi.encode_posdata(()) + ipi.encode_forceready(())
    assert len(feed_all(ipi.Decoder(max_nat=0, max_init=0, max_extra=0), [stream])) == 3


def batch_reply(nat, *extras):
    n = len(extras)
    return ipi.encode_forceready_batch([FIELD * nat] * n, [0.0] * n, [ipi.ZEROS] * n, extras)


def test_the_limits_of_a_batch_count_all_its_systems(feed_all):
    reply = batch_reply(2, b"abc", b"", b"de")
    posdata = ipi.encode_posdata_batch([FIELD * 2] * 3, [(ipi.IDENTITY, ipi.IDENTITY)] * 3)
    (event,) = feed_all(ipi.Decoder(batch_size=3, max_nat=6, max_extra=5), [reply])
    assert event.extras == [b"abc", b"", b"de"]
    (event,) = feed_all(ipi.Decoder(batch_size=3, max_nat=6), [posdata])
    assert event.nat == 2
    for message in (reply, posdata):
        error = fail(FrameTooLarge, message, batch_size=3, max_nat=5)
        assert (error.size, error.limit) == (6, 5)
    error = fail(FrameTooLarge, reply, batch_size=3, max_extra=4)
    assert (error.size, error.limit) == (5, 4)
    assert "extra length" in str(error)


@pytest.mark.parametrize("wrong", [0, 2, INT_MAX])
def test_another_atom_count_than_the_only_legal_one_is_a_bad_payload(wrong):
    for before, options in (
        (POSDATA, {}),
        (FORCEREADY, {}),
        (POSDATA_BATCH, {"batch_size": 2}),
        (FORCEREADY_BATCH, {"batch_size": 2}),
    ):
        error = fail(BadPayload, before + int32(wrong) + bytes(200), nat=1, **options)
        assert f"atom count {wrong}, expected 1" in str(error)


def test_one_atom_is_refused_where_another_count_is_wanted():
    assert "atom count 1, expected 2" in str(fail(BadPayload, REPLY, nat=2))
    assert "atom count 1, expected 0" in str(fail(BadPayload, REPLY, nat=0))


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1",
        b"ready       ",
        b"READY\0\0\0\0\0\0\0",
        b" READY      ",
        b"READYREADYRE",
        b"AGGHELLO    ",
        b"\xff" * 12,
    ],
)
def test_a_header_that_is_none_is_refused_with_its_bytes(header):
    error = fail(BadHeader, header + b"more")
    assert error.excerpt == header
    assert repr(header) in str(error)


@pytest.mark.parametrize("name", sorted(ipi.FROM_DRIVER | ipi.FROM_SERVER))
def test_a_header_of_the_wrong_direction_is_refused(name):
    wrong = ipi.FROM_SERVER if name in ipi.FROM_DRIVER else ipi.FROM_DRIVER
    assert fail(BadHeader, ipi.encode_header(name), accept=wrong).excerpt.rstrip() == name


def test_what_came_before_an_illegal_frame_is_delivered(feed_all):
    decoder = ipi.Decoder()
    decoder.feed(REPLY + ipi.encode_header(b"READY") + b"garbage that is long enough")
    assert decoder.next_event() == ipi.ForceReady(0.0, struct.pack("<3d", *FIELD), ipi.ZEROS, b"{}")
    assert decoder.next_event() == ipi.READY
    with pytest.raises(BadHeader):
        decoder.next_event()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accept": {b"STATUS", b"HELLO"}}, "accept names no i-PI messages"),
        ({"accept": {b"STATUS      "}}, "accept names no i-PI messages"),
        ({"accept": {"STATUS"}}, "accept names no i-PI messages"),
        ({"max_nat": -1}, "limits must be at least 0"),
        ({"max_init": -1}, "limits must be at least 0"),
        ({"max_extra": -1}, "limits must be at least 0"),
        ({"nat": -1}, "nat must be from 0 to max_nat 1048576, not -1"),
        ({"nat": 3, "max_nat": 2}, "nat must be from 0 to max_nat 2, not 3"),
        ({"batch_size": 0}, "a batch has at least one system, not 0"),
        ({"batch_size": -2}, "a batch has at least one system, not -2"),
    ],
)
def test_a_wrong_argument_is_a_value_error_of_ours_and_not_of_the_peer(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        ipi.Decoder(**options)
    assert type(caught.value) is ValueError


def test_the_accepted_names_may_be_any_set_and_are_copied(feed_all):
    names = {ipi.STATUS}
    decoder = ipi.Decoder(accept=names)
    names.clear()
    assert feed_all(decoder, [ipi.encode_header(ipi.STATUS)]) == [ipi.STATUS]


def test_the_batch_size_may_be_set_between_messages(feed_all):
    """As a driver does it: the INIT text brings the number."""
    decoder = ipi.Decoder()
    decoder.feed(
        ipi.encode_init(0, b" batch_size:2") + ipi.encode_posdata_batch([FIELD] * 2, [(ipi.ZEROS,) * 2] * 2)
    )
    assert decoder.next_event() == ipi.Init(0, b" batch_size:2")
    decoder.batch_size = 2
    assert decoder.batch_size == 2
    event = decoder.next_event()
    assert (event.nat, event.cells, ipi.reals(event.positions)) == (1, 4 * ipi.ZEROS, FIELD * 2)
    decoder.batch_size = None
    assert feed_all(decoder, [REPLY])[0].extra == b"{}"


@pytest.mark.parametrize("systems", [None, 2, 3])
def test_the_batch_size_cannot_change_inside_a_message(systems, feed_all):
    reply = batch_reply(1, b"abc", b"de")
    decoder = ipi.Decoder(batch_size=2)
    assert feed_all(decoder, [reply[:-1]]) == []
    with pytest.raises(ValueError, match="cannot change inside a message"):
        decoder.batch_size = systems
    assert feed_all(decoder, [reply[-1:]])[0].extras == [b"abc", b"de"]


def test_a_batch_of_one_is_still_laid_out_as_a_batch(feed_all):
    (event,) = feed_all(ipi.Decoder(batch_size=1), [batch_reply(1, b"x")])
    assert event == ipi.ForceReadyBatch(bytes(8), struct.pack("<3d", *FIELD), ipi.ZEROS, [b"x"], 1)


def test_messages_without_a_body_are_the_same_in_a_batch(feed_all):
    stream = ipi.encode_header(ipi.STATUS) + ipi.encode_init(1, b"x")
    assert feed_all(ipi.Decoder(batch_size=4), [stream]) == [ipi.STATUS, ipi.Init(1, b"x")]


def test_needed_leads_a_reader_through_a_reply():
    """Header, atom count, extra length, extra: each read ends where the next number stands."""
    decoder, position, reads = ipi.Decoder(), 0, []
    while decoder.next_event() is NEED_DATA:
        reads.append(decoder.needed)
        decoder.feed(REPLY[position : position + reads[-1]])
        position += reads[-1]
    assert reads == [12, 12, 100, 2]


def test_an_end_inside_a_large_body_tells_both_numbers_and_keeps_32_bytes():
    decoder = ipi.Decoder()
    decoder.feed(ipi.encode_init(7, bytes(1_000_000))[:-1])
    decoder.feed_eof()
    with pytest.raises(TruncatedFrame) as caught:
        decoder.next_event()
    assert (caught.value.got, caught.value.expected) == (1_000_019, 1_000_020)
    assert len(caught.value.excerpt) == 32


@pytest.mark.fault("C2", "wireframe", "M")
@pytest.mark.parametrize("piece", [1000, 65536])
def test_memory_is_bounded_by_the_limit_and_one_read(piece):
    """Whatever a peer sends, and however long it sends."""
    limit = 1 << 20
    legal = ipi.encode_forceready(FIELD, extra=bytes(limit))
    decoder = ipi.Decoder(max_extra=limit)
    largest = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2):
            for position in range(0, len(legal), piece):
                decoder.feed(legal[position : position + piece])
                decoder.next_event()
                largest = max(largest, decoder.buffered)
        held = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert largest <= len(legal) + piece
    # Beside the stored bytes: room to grow while it grows, and the event while it is made.
    assert held < 2.5 * (len(legal) + piece)


@pytest.mark.fault("C3", "wireframe", "M")
def test_a_refused_announcement_allocates_nothing():
    decoder = ipi.Decoder(max_nat=INT_MAX - 1, max_extra=0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decoder.feed(FORCEREADY + int32(INT_MAX))
        with pytest.raises(FrameTooLarge):
            decoder.next_event()
        held = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert held < 50_000


def test_an_announcement_that_is_allowed_allocates_nothing_before_its_body_comes():
    decoder = ipi.Decoder(max_nat=INT_MAX)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decoder.feed(FORCEREADY + int32(INT_MAX))
        assert decoder.next_event() is NEED_DATA
        held = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert held < 50_000
    assert decoder.needed == 24 * INT_MAX + 72 + 4


class CountingDecoder(ipi.Decoder):
    """Counts how often it looks at a frame and how many lengths it checks."""

    __slots__ = ("checks", "looks")

    def __init__(self, **options):
        self.looks = self.checks = 0
        super().__init__(**options)

    def _parse(self):
        self.looks += 1
        return super()._parse()

    def _check(self, *arguments):
        self.checks += 1
        return super()._check(*arguments)


def test_a_frame_in_many_pieces_is_looked_at_once_for_each_number_in_it(feed_all):
    decoder = CountingDecoder()
    reply = ipi.encode_forceready(FIELD * 1000, extra=bytes(1000))
    assert len(feed_all(decoder, [reply[i : i + 1] for i in range(len(reply))])) == 1
    assert decoder.looks == 4


def test_the_extras_of_a_batch_in_many_pieces_are_each_looked_at_once(feed_all):
    """N extras that come byte by byte are N steps, not N squared."""
    systems = 50
    decoder = CountingDecoder(batch_size=systems)
    reply = batch_reply(1, *[b"extra"] * systems)
    assert len(feed_all(decoder, [reply[i : i + 1] for i in range(len(reply))])) == 1
    assert decoder.checks == systems
    assert decoder.looks <= systems + 4
