"""A packet capture to lines, connection by connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wireframe._capture.packets import PacketReader, Segment
from wireframe._capture.streams import Stream
from wireframe._decode.readers import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wireframe._capture.files import Packet
    from wireframe._decode.formats import Format
    from wireframe._decode.readers import Reader

#: Directions of connections that are followed at once; beyond, the oldest ends.
MAX_STREAMS: Final = 4096


class Captured(NamedTuple):
    """A line, and where in the capture it comes from: packet (from 1) and seconds since the first one."""

    packet: int
    time: float | None
    source: str
    target: str
    line: Line


class _Direction:
    """One direction of a connection, and who reads it."""

    def __init__(self, reader: Reader) -> None:
        self.stream = Stream()
        self._reader = reader
        self._told = False

    def add(self, segment: Segment) -> Iterator[Line]:
        if self._told:
            return
        data = self.stream.add(segment)
        if data:
            yield from self._reader.feed(data)
        if self.stream.ended:
            yield from self._end()

    def close(self) -> Iterator[Line]:
        """Say that the connection is over, though its end was not seen."""
        self.stream.finish()
        yield from self._end()

    def finish(self) -> Iterator[Line]:
        """Say that the capture ends; a connection may well go on behind it."""
        self.stream.finish()
        if self.stream.missing:
            yield from self._end()

    def _end(self) -> Iterator[Line]:
        if self._told:
            return
        self._told = True
        if self.stream.missing:
            text = (
                f"the capture lacks {self.stream.missing} bytes here; the rest of this direction is not read"
            )
            yield Line(self.stream.size, 0, "", text, bad=True)
        else:
            yield from self._reader.finish()


class CaptureReader:
    """Packets in, lines out.

    Parameters
    ----------
    form : Format
    ports : container of int
        Read only what goes to or comes from one of these; empty for all.

    Attributes
    ----------
    packets : PacketReader
        With what was passed over.
    """

    def __init__(self, form: Format, ports: frozenset[int]) -> None:
        self.packets = PacketReader()
        self._format, self._ports = form, ports
        self._directions: dict[tuple[str, str], _Direction] = {}

    def read(self, packets: Iterable[Packet]) -> Iterator[Captured]:
        """Yield the lines of all packets, in the order in which they can be told."""
        first: float | None = None
        for number, packet in enumerate(packets, 1):
            first = packet.time if first is None else first
            segment = self.packets.read(packet)
            if segment is None or (self._ports and not self._ports & set(segment.ports)):
                continue
            time = None if packet.time is None or first is None else packet.time - first
            for line in self._lines(segment):
                yield Captured(number, time, segment.source, segment.target, line)
        self.packets.finish()
        for (source, target), direction in self._directions.items():
            for line in direction.finish():
                yield Captured(0, None, source, target, line)

    def _lines(self, segment: Segment) -> Iterator[Line]:
        if segment.protocol == "udp":
            if self._format.datagram is not None:
                yield self._format.datagram(segment.data)
            return
        if self._format.stream is None:
            return
        key = segment.source, segment.target
        direction = self._directions.get(key)
        if direction is not None and direction.stream.is_reopened(segment):
            yield from direction.close()
            del self._directions[key]
            direction = None
        if direction is None:
            if not (segment.data or segment.opens):
                return
            if len(self._directions) >= MAX_STREAMS:
                self._forget(next(iter(self._directions)))
            direction = self._directions[key] = _Direction(self._format.stream())
        yield from direction.add(segment)

    def _forget(self, key: tuple[str, str]) -> None:
        if not self._directions.pop(key).stream.ended:
            self.packets.pass_over(f"connections, in one direction, beyond the newest {MAX_STREAMS}")
