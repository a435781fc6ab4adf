"""Packets to datagrams and segments."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe._capture.files import Packet
from wireframe._capture.packets import MAX_FRAGMENTED, PacketReader

from . import packets as made

DATAGRAM = made.ipv4(made.udp(b"hello"))


def read(data, link=made.RAW):
    reader = PacketReader()
    return reader.read(made.packet(data, link)), reader.passed_over


LINKS = {
    "raw": (made.RAW, DATAGRAM),
    "raw, IPv6": (made.RAW, made.ipv6(made.udp(b"hello"))),
    "loopback": (made.NULL, b"\2\0\0\0" + DATAGRAM),
    "Ethernet": (made.ETHERNET, made.ethernet(DATAGRAM)),
    "Ethernet, padded": (made.ETHERNET, made.ethernet(DATAGRAM) + bytes(20)),
    "Ethernet, two VLANs": (made.ETHERNET, made.ethernet(DATAGRAM, tags=b"\x88\xa8\0\1\x81\0\0\2")),
    "Ethernet, IPv6": (made.ETHERNET, made.ethernet(made.ipv6(made.udp(b"hello")), 0x86DD)),
    "Linux any": (made.LINUX_ANY, bytes(14) + b"\x08\0" + DATAGRAM),
    "Linux any, version 2": (made.LINUX_ANY_2, b"\x08\0" + bytes(18) + DATAGRAM),
    "options of IPv4": (made.RAW, made.ipv4(made.udp(b"hello"), options=bytes(8))),
    "length left to the card": (made.RAW, made.ipv4(made.udp(b"hello"), length=0)),
}


@pytest.mark.parametrize(("link", "data"), LINKS.values(), ids=LINKS)
def test_a_datagram_is_found_below_each_link(link, data):
    segment, passed_over = read(data, link)
    assert (segment.protocol, segment.data, segment.ports, passed_over) == (
        "udp",
        b"hello",
        (40000, 5007),
        {},
    )
    assert segment.source in ("10.0.0.1:40000", "[fe80::1]:40000")
    assert segment.target in ("10.0.0.2:5007", "[fe80::2]:5007")


def test_headers_of_ipv6_are_passed():
    body = bytes([17, 1]) + bytes(14) + made.udp(b"hello")
    segment, _ = read(made.ipv6(body, protocol=0))
    assert segment.data == b"hello"


def test_a_segment_of_tcp_tells_its_place():
    data = made.ipv4(made.tcp(b"abc", sequence=77, flags=0x11, options=bytes(12)), made.TCP)
    segment, _ = read(data)
    assert (segment.protocol, segment.data, segment.sequence) == ("tcp", b"abc", 77)
    assert (segment.opens, segment.closes) == (False, True)


OTHERS = {
    "ARP": (made.ETHERNET, made.ethernet(b"", 0x0806), "packets of Ethernet type 0x0806"),
    "link": (147, DATAGRAM, "packets of link type 147"),
    "version": (made.RAW, b"\x50", "packets of IP version 5"),
    "ICMP": (made.RAW, made.ipv4(b"", 1), "packets of IP protocol 1"),
    "empty": (made.RAW, b"", "packets cut short"),
    "short UDP": (made.RAW, made.ipv4(made.udp(b"hello")[:-1]), "packets cut short"),
    "short TCP": (made.RAW, made.ipv4(made.tcp(b"")[:12], made.TCP), "packets cut short"),
}


@pytest.mark.parametrize(("link", "data", "what"), OTHERS.values(), ids=OTHERS)
def test_what_is_not_read_is_counted_by_its_name(link, data, what):
    assert read(data, link) == (None, {what: 1})


def test_packets_of_which_only_a_part_was_captured_are_counted():
    reader = PacketReader()
    assert reader.read(Packet(None, made.RAW, DATAGRAM[:25], len(DATAGRAM))) is None
    assert reader.passed_over == {"packets captured in part": 1}


def fragments(data, size=16):
    body = made.udp(data)
    return [
        made.ipv4(body[at : at + size], fragment=at, more=at + size < len(body))
        for at in range(0, len(body), size)
    ]


@given(st.randoms(use_true_random=False), st.binary(min_size=40, max_size=120))
def test_fragments_come_together_in_any_order(chance, data):
    reader = PacketReader()
    pieces = fragments(data)
    chance.shuffle(pieces)
    found = [reader.read(made.packet(one)) for one in pieces]
    assert next(one for one in found if one is not None).data == data
    assert found[-1] is not None


def test_fragments_of_ipv6_come_together():
    body = made.udp(b"hello, and much more of it")
    reader = PacketReader()
    for at, more in ((16, 0), (0, 1)):
        piece = struct.pack(">BBHI", 17, 0, at | more, 9) + body[at : at + 16 if more else None]
        found = reader.read(made.packet(made.ipv6(piece, 44)))
    assert found.data == b"hello, and much more of it"


def test_missing_fragments_are_counted_and_bounded():
    reader = PacketReader()
    for number in range(MAX_FRAGMENTED + 5):
        assert reader.read(made.packet(made.ipv4(bytes(16), more=True, number=number))) is None
    assert reader.passed_over == {"packets whose fragments are missing": 5}
    reader.finish()
    assert reader.passed_over == {"packets whose fragments are missing": MAX_FRAGMENTED + 5}


def test_a_fragment_beyond_the_largest_packet_is_refused():
    assert read(made.ipv4(bytes(64), fragment=65528)) == (None, {"fragments beyond the largest packet": 1})


def test_noise_of_any_kind_is_passed_over():
    chance = random.Random(5)
    reader = PacketReader()
    for _ in range(3000):
        whole = bytearray(made.ethernet(made.ipv4(made.tcp(b"abcdef"), made.TCP)))
        for _ in range(chance.randrange(4)):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        reader.read(made.packet(bytes(whole[: chance.randrange(len(whole) + 1)]), made.ETHERNET))
