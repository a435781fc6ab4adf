"""Segments out of order, repeated or lost: what was captured is read, and what was not is told."""

from __future__ import annotations

import struct

import pytest

from wireframe import lenjson
from wireframe._capture.packets import PacketReader

from . import packets as made
from .lines import rows

FRAMES = [lenjson.encode({"number": number}) for number in range(6)]
STREAM = b"".join(FRAMES)
OPENING, CLOSING = 2, 1
#: Bytes of one segment: a frame is cut.
SIZE = 8
PIECES = range(0, len(STREAM), SIZE)


def segment(at, data=None, flags=0, origin=100, port=40000):
    """A segment of the stream from one of its bytes on."""
    data = STREAM[at : at + SIZE] if data is None else data
    return made.ipv4(made.tcp(data, port, sequence=(origin + at) % (1 << 32), flags=0x10 | flags), made.TCP)


def opening(origin=100, port=40000):
    return segment(-1, b"", OPENING, origin, port)


def closing(origin=100):
    return segment(len(STREAM), b"", CLOSING, origin)


def capture(*packets):
    return made.pcap([(100 + at, 0, one) for at, one in enumerate(packets)])


def whole(lines):
    """Whether these are exactly the frames of the stream."""
    found = rows(lines)
    ends = [sum(map(len, FRAMES[:at])) for at in range(len(FRAMES))]
    return [one.at for one in found] == ends and not any(one.bad for one in found)


ORDERS = {
    "as sent": list(PIECES),
    "backwards": list(PIECES)[::-1],
    "each twice": [at for at in PIECES for _ in range(2)],
    "all again": [*PIECES, *PIECES],
    "the first one last": [*PIECES[1:], 0],
}


@pytest.mark.parametrize("origin", [100, (1 << 32) - 20], ids=["", "numbers wrap"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_order_and_repetition_of_segments_do_not_matter(decode, order, origin):
    file = capture(opening(origin), *(segment(at, origin=origin) for at in order), closing(origin))
    status, lines, _ = decode("lenjson", file)
    assert status == 0
    assert whole(lines)


def test_segments_sent_again_in_larger_pieces_are_read_once(decode):
    """As TCP does when it is not answered: what it sends again it joins."""
    file = capture(
        opening(), *(segment(at) for at in PIECES[:3]), segment(4, STREAM[4:60]), segment(0, STREAM)
    )
    assert whole(decode("lenjson", file)[1])


@pytest.mark.parametrize("lost", [1, 5, 10])
def test_a_lost_segment_is_told_with_its_place_and_size_and_nothing_behind_it_is_guessed(decode, lost):
    file = capture(opening(), *(segment(at) for at in PIECES if at != lost * SIZE), closing())
    status, lines, err = decode("lenjson", file)
    assert status == 1
    *good, bad = rows(lines)
    assert [one.at + len(FRAMES[0]) <= lost * SIZE for one in good] == [True] * (
        lost * SIZE // len(FRAMES[0])
    )
    assert (bad.bad, bad.at) == (True, lost * SIZE)
    assert f"lacks {SIZE} bytes here; the rest of this direction is not read" in bad.text
    assert "1 places where something is wrong" in err


def test_lost_last_segments_are_told_by_the_end_of_the_connection(decode):
    status, lines, _ = decode("lenjson", capture(opening(), segment(0, FRAMES[0]), closing()))
    assert status == 1
    assert [(one.at, one.bad) for one in rows(lines)] == [(0, False), (len(FRAMES[0]), True)]
    assert f"lacks {len(STREAM) - len(FRAMES[0])} bytes" in lines[-1]


def test_what_comes_too_late_is_not_read(decode, monkeypatch):
    """Once a gap was given up nothing of the direction is read, also if the segment comes after all."""
    monkeypatch.setattr("wireframe._capture.streams.MAX_AHEAD", 2 * SIZE)
    pieces = [segment(at) for at in PIECES if at]
    status, lines, _ = decode("lenjson", capture(opening(), *pieces, segment(0), *pieces, closing()))
    assert status == 1
    (bad,) = rows(lines)
    assert (bad.at, bad.bad) == (0, True)
    assert lines[0].split()[0] == "4"  # told by the segment that was one too many


def test_a_gap_in_one_direction_costs_the_other_ones_nothing(decode):
    back = made.ipv4(made.tcp(STREAM, 31415, 40000, sequence=7), made.TCP)
    packets = [opening(), segment(0), back, segment(40), opening(port=40001), segment(0, STREAM, port=40001)]
    found = rows(decode("lenjson", capture(*packets))[1])
    sources = [one.source for one in found if not one.bad]
    assert sources == ["10.0.0.1:31415"] * 6 + ["10.0.0.1:40001"] * 6
    assert [one.source for one in found if one.bad] == ["10.0.0.1:40000"]


def test_an_answer_to_nothing_seen_is_no_gap(decode):
    """A reset that repeats an old number says nothing of bytes that are missing."""
    file = capture(opening(), segment(0, STREAM), segment(3, b"", 4))
    status, lines, _ = decode("lenjson", file)
    assert status == 0
    assert whole(lines)


def test_an_opening_that_is_sent_again_begins_nothing_new(decode):
    packets = [opening(), opening(), segment(0, STREAM[:30]), opening(), segment(30, STREAM[30:])]
    assert whole(decode("lenjson", capture(*packets))[1])


def test_another_connection_on_the_same_ports_is_read_though_the_end_of_the_first_was_not_seen(decode):
    first = [opening(), segment(0, STREAM[:40])]
    second = [opening(5000), segment(0, STREAM, origin=5000)]
    status, lines, _ = decode("lenjson", capture(*first, *second))
    assert status == 1
    found = rows(lines)
    assert [one.at for one in found if one.bad] == [40]
    assert "TruncatedFrame" in next(one.text for one in found if one.bad)
    assert whole(lines[2:])


def test_what_was_captured_of_a_segment_in_part_is_a_gap(decode):
    """With a snap length, only the heads of packets are there."""
    packets = [opening(), segment(0, STREAM[:40]), segment(40, STREAM[40:]), closing()]
    cut = len(packets[2]) - 5
    head = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, cut, made.RAW)
    records = [struct.pack("<IIII", 1, 0, min(cut, len(one)), len(one)) + one[:cut] for one in packets]
    status, lines, err = decode("lenjson", head + b"".join(records))
    assert status == 1
    assert [one.at for one in rows(lines) if one.bad] == [40]
    assert "not read: 1 packets captured in part (first at packet 3)" in err


def test_datagrams_in_fragments_are_read_when_all_of_them_are_there(decode):
    body = made.udp(b"[32, 20]" + b" " * 40)
    pieces = [made.ipv4(body[at : at + 16], fragment=at, more=at + 16 < len(body)) for at in range(0, 56, 16)]
    status, lines, _ = decode("echo", capture(pieces[2], pieces[0], pieces[0], pieces[3], pieces[1]))
    assert (status, len(lines)) == (0, 1)
    status, lines, err = decode("echo", capture(pieces[0], pieces[3], pieces[1]))
    assert (status, lines) == (0, [])
    assert "not read: 1 packets whose fragments are missing" in err


def test_fragments_that_overlap_do_not_stand_for_one_that_is_missing():
    body = made.udp(bytes(range(48)))
    reader = PacketReader()
    for at, end in ((32, 56), (24, 56), (0, 16)):
        fragment = made.ipv4(body[at:end], fragment=at, more=end < 56)
        assert reader.read(made.packet(fragment)) is None
    found = reader.read(made.packet(made.ipv4(body[16:32], fragment=16, more=True)))
    assert found.data == bytes(range(48))


def test_connections_that_make_room_are_counted(decode, monkeypatch):
    monkeypatch.setattr("wireframe._decode.captures.MAX_STREAMS", 1)
    packets = [opening(), segment(0, STREAM[:30]), opening(port=40001), segment(0, STREAM, port=40001)]
    err = decode("lenjson", capture(*packets))[2]
    assert "not read: 1 connections, in one direction, beyond the newest 1 (first at packet 3)" in err


def test_connections_that_are_over_make_room_without_a_word(decode, monkeypatch):
    monkeypatch.setattr("wireframe._decode.captures.MAX_STREAMS", 1)
    packets = [opening(), segment(0, STREAM), closing(), opening(port=40001), segment(0, STREAM, port=40001)]
    status, lines, err = decode("lenjson", capture(*packets))
    assert (status, len(lines), err) == (0, 2 * len(FRAMES), f"{2 * len(FRAMES)} frames\n")
