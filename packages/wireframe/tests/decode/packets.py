"""Packets and capture files made by hand, for the tests."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from wireframe._capture.files import Packet

ETHERNET, NULL, LINUX_ANY, LINUX_ANY_2, RAW = 1, 0, 113, 276, 101
UDP, TCP = 6 + 11, 6


def udp(data, source=40000, target=5007):
    """A datagram of UDP."""
    return struct.pack(">HHHH", source, target, 8 + len(data), 0) + data


def tcp(data, source=40000, target=31415, sequence=0, flags=0x10, options=b""):
    """A segment of TCP."""
    words = (20 + len(options)) // 4
    return (
        struct.pack(">HHIIBBHHH", source, target, sequence, 0, words << 4, flags, 512, 0, 0) + options + data
    )


def ipv4(body, protocol=UDP, fragment=0, more=False, number=7, length=None, options=b""):
    """A packet of IPv4, or a fragment of one."""
    place = fragment // 8 | (0x2000 if more else 0)
    words = 5 + len(options) // 4
    size = words * 4 + len(body) if length is None else length
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, size, number, place, 64, protocol, 0)
    return head + ip_address("10.0.0.1").packed + ip_address("10.0.0.2").packed + options + body


def ipv6(body, protocol=UDP):
    """A packet of IPv6."""
    head = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
    return head + ip_address("fe80::1").packed + ip_address("fe80::2").packed + body


def ethernet(packet, kind=0x0800, tags=b""):
    """A frame of Ethernet."""
    return bytes(12) + tags + struct.pack(">H", kind) + packet


def packet(data, link=RAW, time=None):
    """A captured packet."""
    return Packet(time, link, data, len(data))


def pcap(packets, order="<", link=RAW, magic=0xA1B2C3D4):
    """A pcap file of (seconds, fraction, data)."""
    head = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 262144, link)
    records = [
        struct.pack(order + "IIII", seconds, fraction, len(data), len(data)) + data
        for seconds, fraction, data in packets
    ]
    return head + b"".join(records)


def block(kind, body, order="<"):
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def section(order="<"):
    """The block that a section of pcapng begins with."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link=RAW, options=b"", order="<"):
    """The block that describes an interface."""
    return block(1, struct.pack(order + "HHI", link, 0, 0) + options, order)


def enhanced(data, ticks=0, number=0, order="<"):
    """The block of a packet."""
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)
