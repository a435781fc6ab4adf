"""Capture files to packets."""

from __future__ import annotations

import contextlib
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame
from wireframe._capture.files import MAX_BLOCK, is_capture, read_packets

from . import packets as made

PACKETS = [(10, 250_000, b"first"), (11, 0, b"second one")]


def read(data, head=b""):
    return list(read_packets(io.BytesIO(data), head))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pcap_file_is_read_in_both_byte_orders(order):
    found = read(made.pcap(PACKETS, order, link=1))
    assert [(one.time, one.link, one.data, one.size) for one in found] == [
        (10.25, 1, b"first", 5),
        (11.0, 1, b"second one", 10),
    ]


def test_nanoseconds_are_told_by_the_magic():
    assert read(made.pcap([(1, 500_000_000, b"x")], magic=0xA1B23C4D))[0].time == 1.5


def test_the_first_bytes_may_have_been_read_before():
    whole = made.pcap(PACKETS)
    assert read(whole[4:], whole[:4]) == read(whole)
    assert is_capture(whole[:4])
    assert is_capture(made.section()[:4])
    assert not is_capture(b"0000")


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pcapng_file_is_read_in_both_byte_orders(order):
    file = (
        made.section(order) + made.interface(1, order=order) + made.enhanced(b"abc", 2_500_000, order=order)
    )
    assert [(one.time, one.link, one.data) for one in read(file)] == [(2.5, 1, b"abc")]


@pytest.mark.parametrize(
    ("resolution", "ticks"),
    [(b"\x09", 3_500_000_000), (b"\x83", 28), (b"\x00", 3)],
    ids=["10^-9", "2^-3", "seconds"],
)
def test_the_clock_of_an_interface_is_obeyed(resolution, ticks):
    options = (
        struct.pack("<HH", 2, 3) + b"eth\0" + struct.pack("<HH", 9, 1) + resolution + bytes(3) + bytes(4)
    )
    file = made.section() + made.interface(options=options) + made.enhanced(b"abc", ticks)
    assert read(file)[0].time == pytest.approx(3.5, abs=0.5)


def test_options_that_are_cut_short_leave_the_usual_clock():
    file = made.section() + made.interface(options=struct.pack("<HH", 9, 1)) + made.enhanced(b"abc", 10**6)
    assert read(file)[0].time == 1.0


def test_simple_packets_have_no_time_and_unknown_blocks_are_passed_over():
    simple = made.block(3, struct.pack("<I", 3) + b"abc")
    file = made.section() + made.interface() + made.block(5, b"statistics") + simple
    assert [(one.time, one.data) for one in read(file)] == [(None, b"abc")]


def test_each_section_has_its_own_interfaces():
    one = made.section() + made.interface(1) + made.enhanced(b"a")
    other = made.section(">") + made.interface(101, order=">") + made.enhanced(b"b", order=">")
    assert [(each.link, each.data) for each in read(one + other)] == [(1, b"a"), (101, b"b")]


HEAD = made.section() + made.interface()
BAD = {
    "no capture": (b"0000000004", BadHeader, 0),
    "empty": (b"", TruncatedFrame, 0),
    "cut in the head": (made.pcap([])[:20], TruncatedFrame, 20),
    "cut in a record": (made.pcap(PACKETS)[:-1], TruncatedFrame, len(made.pcap(PACKETS)) - 1),
    "cut before its data": (made.pcap(PACKETS)[:40], TruncatedFrame, 40),
    "too large": (made.pcap([]) + struct.pack("<IIII", 0, 0, MAX_BLOCK + 1, 0), FrameTooLarge, 40),
    "no byte order": (made.section()[:8] + b"abcd" + made.section()[12:], BadHeader, 8),
    "odd length": (HEAD + struct.pack("<II", 6, 33), BadHeader, len(HEAD) + 4),
    "short length": (HEAD + struct.pack("<II", 6, 8), BadHeader, len(HEAD) + 4),
    "other length behind": (HEAD + made.block(5, b"")[:-1] + b"\1", BadPayload, len(HEAD) + 8),
    "block without its head": (HEAD + made.block(6, b"abcd"), BadPayload, len(HEAD) + 8),
    "unknown interface": (HEAD + made.enhanced(b"", number=1), BadPayload, len(HEAD) + 8),
}


@pytest.mark.parametrize(("data", "error", "at"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_file_is_told_with_its_place(data, error, at):
    with pytest.raises(error) as caught:
        read(data)
    assert caught.value.at == at


def test_packets_before_the_damage_are_read():
    found = []
    with pytest.raises(TruncatedFrame):
        found.extend(one.data for one in read_packets(io.BytesIO(made.pcap(PACKETS)[:-3])))
    assert found == [b"first"]


@given(st.integers(0, 200), st.binary(max_size=8), st.booleans())
def test_damaged_files_raise_frame_errors_alone(at, noise, next_generation):
    whole = HEAD + made.enhanced(b"abc") * 2 if next_generation else made.pcap(PACKETS)
    with contextlib.suppress(FrameError):
        read(whole[:at] + noise + whole[at + len(noise) :])
