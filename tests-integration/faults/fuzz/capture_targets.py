"""Captures, packet by packet and as the command ``decode`` reads them."""

from __future__ import annotations

import contextlib
import io
import struct

from judging import hold, parts_of

from wireframe.__main__ import _decode
from wireframe._capture.files import Packet, read_packets
from wireframe._capture.packets import MAX_FRAGMENTED, PacketReader, Segment
from wireframe._capture.streams import Stream
from wireframe._decode.formats import FORMATS

_WRAP = 1 << 32
_SEGMENT = struct.Struct(">BI")
#: The command's formats, in the order of the first byte of an input.
FORMAT_NAMES = tuple(FORMATS)


def capture_file(data: bytes) -> None:
    """A file of pcap or pcapng, and what its packets carry."""
    reader = PacketReader()
    for packet in read_packets(io.BytesIO(data)):
        hold(len(packet.data) <= len(data), "a packet is longer than its file")
        _check_segment(reader.read(packet))
    reader.finish()


def capture_packets(data: bytes) -> None:
    """Packets, each behind its link type: fragments are joined, nothing is raised."""
    reader = PacketReader()
    packets = parts_of(data)
    for part in packets:
        if part:
            _check_segment(reader.read(Packet(None, part[0], part[1:], len(part) - 1)))
    hold(len(reader._fragments) <= MAX_FRAGMENTED, "more packets wait than the limit allows")
    reader.finish()
    hold(all(count > 0 for count in reader.passed_over.values()), "nothing is counted")


def _check_segment(segment: Segment | None) -> None:
    if segment is not None:
        hold(len(segment.data) <= 65535, "more in a packet than it can hold")
        hold(all(0 <= port <= 65535 for port in segment.ports), "a port that is none")


def capture_stream(data: bytes) -> None:
    """Segments, each behind its flags and number: bytes come out once, in order, and are counted."""
    stream = Stream()
    size = 0
    for part in parts_of(data):
        if len(part) < _SEGMENT.size:
            continue
        flags, sequence = _SEGMENT.unpack_from(part)
        segment = Segment(
            "tcp", "192.0.2.1:1", "192.0.2.2:2", (1, 2), part[_SEGMENT.size :], sequence,
            opens=bool(flags & 2), closes=bool(flags & 5),
        )  # fmt: skip
        out = stream.add(segment)
        size += len(out)
        hold(stream.size == size <= len(data), "bytes are counted twice, or come out twice")
        hold(0 <= stream._held <= len(data), "more is held than came")
        hold(stream._held == sum(map(len, stream._ahead.values())), "what is held is not what is counted")
        stream.is_reopened(segment)
    stream.finish()
    hold(0 <= stream.missing < _WRAP // 2, "an impossible number of bytes is missing")


def decode_command(data: bytes) -> None:
    """The command: the first byte chooses the format, the rest is the file."""
    if not data:
        return
    name = FORMAT_NAMES[data[0] % len(FORMAT_NAMES)]
    output, counts = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(counts):
        status = _decode(FORMATS[name], name, io.BytesIO(data[1:]), frozenset(), output)
    hold(status in (0, 1), f"exit status {status}")
    said = counts.getvalue()
    hold("frames" in said, "no count of frames")
    lines = output.getvalue().splitlines()
    is_marked = any("  !  " in line for line in lines)
    hold(status == 1 or not is_marked, "a bad line, and the status says that all is well")
