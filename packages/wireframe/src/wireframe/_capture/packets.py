"""One captured packet to the UDP datagram or TCP segment in it.

Addresses are text as people write them, with the port: ``10.0.0.1:5007``,
``[fe80::1]:5007``. Checksums are not looked at: captures on the sending machine
show them before the network card has filled them in.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from wireframe._capture.files import Packet

#: Packets that wait for their other fragments; the oldest give way.
MAX_FRAGMENTED: Final = 64
#: Bytes of the largest packet of IP.
_MAX_PACKET: Final = 65535

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN: Final = (0x8100, 0x88A8)
_TCP, _UDP, _FRAGMENT = 6, 17, 44
#: Headers of IPv6 between the address and what is carried, which tell their length.
_EXTENSIONS: Final = (0, 43, 60)

#: Link types of raw IP: as numbered by the tools, and by some systems.
_RAW: Final = (101, 12, 14, 228, 229)


@dataclass(slots=True)
class Segment:
    """A datagram of UDP or a segment of TCP.

    Attributes
    ----------
    protocol : {"udp", "tcp"}
    source, target : str
        Address and port.
    ports : tuple of (int, int)
        Of source and target.
    data : bytes
    sequence : int
        TCP: number of the first byte of `data`, or of the opening itself.
    opens, closes : bool
        TCP: whether the direction begins before `data`, or ends behind.
    """

    protocol: Literal["udp", "tcp"]
    source: str
    target: str
    ports: tuple[int, int]
    data: bytes
    sequence: int = 0
    opens: bool = False
    closes: bool = False


class PacketReader:
    """Packets in, segments out.

    Attributes
    ----------
    passed_over : dict of str to int
        What was not read, and how often.
    first_passed_over : dict of str to int
        In which packet, counted from 1, that was noticed first.
    """

    def __init__(self) -> None:
        self.passed_over: dict[str, int] = {}
        self.first_passed_over: dict[str, int] = {}
        self._number = 0
        self._fragments: OrderedDict[tuple[bytes, ...], _Pieces] = OrderedDict()

    def read(self, packet: Packet) -> Segment | None:
        """Return what a packet carries, None if that is nothing for us."""
        self._number += 1
        try:
            return self._link(packet)
        except (struct.error, IndexError, AddressValueError):
            whole = len(packet.data) >= packet.size
            self.pass_over("packets cut short" if whole else "packets captured in part")
            return None

    def finish(self) -> None:
        """Count what still waits for fragments."""
        self.pass_over("packets whose fragments are missing", len(self._fragments))

    def pass_over(self, what: str, count: int = 1) -> None:
        """Count what is not read."""
        if count:
            self.passed_over[what] = self.passed_over.get(what, 0) + count
            self.first_passed_over.setdefault(what, self._number)

    def _link(self, packet: Packet) -> Segment | None:
        data, link = packet.data, packet.link
        if link in _RAW:
            return self._ip(data)
        if link in (0, 108):  # loopback: a number for the family, then IP, which tells it too
            return self._ip(data[4:])
        if link == 1:
            at, kind = 14, struct.unpack_from(">H", data, 12)[0]
            while kind in _VLAN:
                at, kind = at + 4, struct.unpack_from(">H", data, at + 2)[0]
        elif link == 113:  # Linux "any", and its second version
            at, kind = 16, struct.unpack_from(">H", data, 14)[0]
        elif link == 276:
            at, kind = 20, struct.unpack_from(">H", data)[0]
        else:
            self.pass_over(f"packets of link type {link}")
            return None
        if kind not in (_IPV4, _IPV6):
            self.pass_over(f"packets of Ethernet type 0x{kind:04x}")
            return None
        return self._ip(data[at:])

    def _ip(self, data: bytes) -> Segment | None:
        version = data[0] >> 4
        if version == 4:
            return self._ipv4(data)
        if version == 6:
            return self._ipv6(data)
        self.pass_over(f"packets of IP version {version}")
        return None

    def _ipv4(self, data: bytes) -> Segment | None:
        length, _, fragment = struct.unpack_from(">HHH", data, 2)
        protocol, source, target = data[9], data[12:16], data[16:20]
        if length > len(data):
            raise IndexError
        body = data[(data[0] & 15) * 4 : length or None]  # 0: left to the network card
        if fragment & 0x3FFF:
            key = (source, target, data[4:6], data[9:10])
            whole = self._assemble(key, (fragment & 0x1FFF) * 8, body, more=bool(fragment & 0x2000))
            if whole is None:
                return None
            body = whole
        return self._transport(protocol, str(IPv4Address(source)), str(IPv4Address(target)), body)

    def _ipv6(self, data: bytes) -> Segment | None:
        length, protocol = struct.unpack_from(">HB", data, 4)
        source, target = data[8:24], data[24:40]
        if 40 + length > len(data):
            raise IndexError
        body = data[40 : 40 + length if length else None]
        while protocol in (*_EXTENSIONS, _FRAGMENT):
            following = body[0]
            if protocol == _FRAGMENT:
                place = struct.unpack_from(">H", body, 2)[0]
                key = (source, target, body[4:8], body[:1])
                whole = self._assemble(key, place & 0xFFF8, body[8:], more=bool(place & 1))
                if whole is None:
                    return None
                body = whole
            else:
                body = body[(body[1] + 1) * 8 :]
            protocol = following
        return self._transport(protocol, f"[{IPv6Address(source)}]", f"[{IPv6Address(target)}]", body)

    def _assemble(self, key: tuple[bytes, ...], at: int, body: bytes, *, more: bool) -> bytes | None:
        if at + len(body) > _MAX_PACKET:
            self.pass_over("fragments beyond the largest packet")
            return None
        pieces = self._fragments.setdefault(key, _Pieces())
        whole = pieces.add(at, body, more=more)
        if whole is not None:
            del self._fragments[key]
        elif len(self._fragments) > MAX_FRAGMENTED:
            self._fragments.popitem(last=False)
            self.pass_over("packets whose fragments are missing")
        return whole

    def _transport(self, protocol: int, source: str, target: str, body: bytes) -> Segment | None:
        if protocol == _UDP:
            sender, receiver, length = struct.unpack_from(">HHH", body)
            if length > len(body):
                raise IndexError
            data = body[8 : length or None]
            return Segment("udp", f"{source}:{sender}", f"{target}:{receiver}", (sender, receiver), data)
        if protocol == _TCP:
            sender, receiver, sequence = struct.unpack_from(">HHI", body)
            flags = body[13]
            return Segment(
                "tcp",
                f"{source}:{sender}",
                f"{target}:{receiver}",
                (sender, receiver),
                body[(body[12] >> 4) * 4 :],
                sequence,
                opens=bool(flags & 2),
                closes=bool(flags & 5),  # politely or not
            )
        self.pass_over(f"packets of IP protocol {protocol}")
        return None


class _Pieces:
    """The fragments of one packet."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._size: int | None = None

    def add(self, at: int, body: bytes, *, more: bool) -> bytes | None:
        """Keep one, and return the packet if it is whole."""
        self._pieces[at] = body
        if not more:
            self._size = at + len(body)
        if self._size is None or sum(map(len, self._pieces.values())) < self._size:
            return None
        whole = bytearray()
        for begin, piece in sorted(self._pieces.items()):
            if begin > len(whole):  # pieces that overlap have made up for one that is missing
                return None
            whole[begin : begin + len(piece)] = piece
        return bytes(whole[: self._size])
