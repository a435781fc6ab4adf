"""A capture file to the packets in it: pcap and pcapng.

Both are rows of blocks, each behind a short header that announces its length,
in the byte order of the machine that wrote them. Layouts: the IETF drafts
"PCAP Capture File Format" and "PCAP Next Generation (pcapng)".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from wireframe.errors import BadHeader, BadPayload, FrameTooLarge, TruncatedFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes. The largest block to read; the largest packet any capture tool writes is 256 KiB.
MAX_BLOCK: Final = 16 << 20

#: First bytes of a pcap file, by byte order, and how many ticks a second has.
_PCAP: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
}
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
#: The option of an interface that tells its clock's resolution.
_RESOLUTION: Final = 9


@dataclass(slots=True)
class Packet:
    """One captured packet.

    Attributes
    ----------
    time : float or None
        Seconds since 1970 by the clock of the capturing machine.
    link : int
        Link type of its interface.
    data : bytes
        What was captured of it.
    size : int
        Bytes it had on the wire.
    """

    time: float | None
    link: int
    data: bytes
    size: int


def is_capture(head: bytes) -> bool:
    """Whether a file that begins with these four bytes is a capture."""
    return head[:4] in _PCAP or head[:4] == _PCAPNG


def read_packets(file: BinaryIO, head: bytes = b"") -> Iterator[Packet]:
    """Yield the packets of a capture.

    Parameters
    ----------
    file : binary file
    head : bytes
        Up to four first bytes that were read from it already.

    Raises
    ------
    BadHeader, BadPayload, FrameTooLarge, TruncatedFrame
        The file is no capture, or damaged; `at` is the place in the file. All
        packets before it were yielded.
    """
    reader = _Reader(file, head)
    magic = reader.take(4)
    if magic in _PCAP:
        yield from _pcap(reader, *_PCAP[magic])
    elif magic == _PCAPNG:
        yield from _pcapng(reader)
    else:
        raise BadHeader(f"neither pcap nor pcapng begins with {magic!r}", magic)


class _Reader:
    """A file, and how far it was read."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file, self._head = file, head
        self.at = 0

    def take(self, size: int) -> bytes:
        """Return so many bytes."""
        data = self.take_or_end(size)
        if not data and size:
            raise _at(TruncatedFrame(0, size), self.at)
        return data

    def take_or_end(self, size: int) -> bytes:
        """Return so many bytes, or none if the file ends here."""
        if size > MAX_BLOCK:
            raise FrameTooLarge("capture block", size, MAX_BLOCK, at=self.at)
        data, self._head = self._head[:size], self._head[size:]
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                break
            data += more
        if data and len(data) < size:
            raise _at(TruncatedFrame(len(data), size, data), self.at + len(data))
        self.at += len(data)
        return data


def _at(error: TruncatedFrame, place: int) -> TruncatedFrame:
    error.at = place
    return error


def _pcap(reader: _Reader, order: str, ticks: int) -> Iterator[Packet]:
    *_, link = struct.unpack(order + "HHIIII", reader.take(20))
    record = struct.Struct(order + "IIII")
    while head := reader.take_or_end(record.size):
        seconds, fraction, held, size = record.unpack(head)
        yield Packet(seconds + fraction / ticks, link & 0xFFFF, reader.take(held), size)


def _pcapng(reader: _Reader) -> Iterator[Packet]:
    order = "<"
    interfaces: list[tuple[int, int]] = []  # link type and ticks a second
    head = _PCAPNG + reader.take(4)
    while head:
        begin = reader.at - 8
        kind = struct.unpack(order + "I", head[:4])[0]
        magic = b""
        if kind == _SECTION:  # reads the same in both byte orders, and tells which comes
            magic = reader.take(4)
            if magic not in _BYTE_ORDER:
                raise BadHeader(f"no byte order of pcapng is {magic!r}", magic, at=begin + 8)
            order, interfaces = _BYTE_ORDER[magic], []
        length = struct.unpack(order + "I", head[4:])[0]
        if length < 12 + len(magic) or length % 4:
            raise BadHeader(f"a block of pcapng cannot have {length} bytes", head, at=begin + 4)
        body = reader.take(length - 12 - len(magic))
        if reader.take(4) != struct.pack(order + "I", length):
            raise BadPayload(
                "a block of pcapng ends with another length than it begins with", at=reader.at - 4
            )
        try:
            if kind == _INTERFACE:
                interfaces.append((struct.unpack_from(order + "H", body)[0], _ticks(body[8:], order)))
            elif kind == _ENHANCED:
                number, high, low, held, size = struct.unpack_from(order + "IIIII", body)
                link, ticks = interfaces[number]
                yield Packet(((high << 32) | low) / ticks, link, body[20 : 20 + held], size)
            elif kind == _SIMPLE:
                size = struct.unpack_from(order + "I", body)[0]
                yield Packet(None, interfaces[0][0], body[4 : 4 + size], size)
        except (struct.error, IndexError) as error:
            raise BadPayload(f"a block of pcapng of kind {kind} is damaged", body, at=begin + 8) from error
        head = reader.take_or_end(8)


def _ticks(options: bytes, order: str) -> int:
    """Return how many ticks a second the clock of an interface has."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        if code == _RESOLUTION and length and at + 4 < len(options):
            exponent = options[at + 4]
            return int(2 ** (exponent & 0x7F) if exponent & 0x80 else 10 ** min(exponent, 18))
        at += 4 + (length + 3) // 4 * 4
    return 10**6
