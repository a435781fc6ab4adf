r"""The event log of LCM: messages in a file, as ``lcm-logger`` writes them.

Events follow each other without a file header; all integers are big-endian:

======= ======================================================================
bytes   content
======= ======================================================================
0-3     ``ed a1 da 01``
4-11    number of the event, from 0, u64
12-19   time, microseconds since 1970-01-01 UTC, u64
20-23   bytes of the channel name, u32
24-27   bytes of the data, u32
28-     channel name, UTF-8, no NUL
then    data
======= ======================================================================

Logs are damaged by crashes and full disks, so `Decoder` finds its way back: where
no sync word stands it searches on for the next one, and an event that seems to
contain the beginning of another one must prove itself.

Layout taken from the observable behaviour of lcm 1.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder
from wireframe.datagram._channel import MAX_CHANNEL, name_of, text_of
from wireframe.datagram._messages import MAX_SIZE, Parts
from wireframe.datagram._octets import octets

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["HEADER_LENGTH", "MAX_SIZE", "NEED_DATA", "SYNC", "Decoder", "LogEvent", "encode_event"]

#: First bytes of an event.
SYNC: Final = b"\xed\xa1\xda\x01"
_HEADER: Final = struct.Struct(">4sQQII")
_HEADER_AT = _HEADER.unpack_from
#: What a sync word may begin with when the rest is not here yet, the longest first.
_BEGUN: Final = (SYNC[:3], SYNC[:2], SYNC[:1])
#: Bytes of an event before its channel name.
HEADER_LENGTH: Final = _HEADER.size


@dataclass(slots=True)
class LogEvent:
    """A message in a log.

    Attributes
    ----------
    number : int
        Position in the log as its writer counted, from 0; unsigned 64-bit.
    timestamp_us : int
        When it was received, microseconds since 1970-01-01 UTC; unsigned 64-bit.
    channel : str
        At most 63 bytes of UTF-8.
    data : bytes
        The payload.
    """

    number: int
    timestamp_us: int
    channel: str
    data: bytes


def encode_event(number: int, timestamp_us: int, channel: str, data: Buffer) -> Parts:
    r"""Return an event of a log.

    Parameters
    ----------
    number : int
        Position in the log, from 0; unsigned 64-bit.
    timestamp_us : int
        Microseconds since 1970-01-01 UTC, unsigned 64-bit.
    channel : str
        At most 63 bytes of UTF-8, without NUL.
    data : bytes-like
        At most 2^32 - 1 bytes; an array is written as its memory.

    Returns
    -------
    list of bytes or memoryview
        Two buffers, for ``writelines``; the data are not copied.

    Raises
    ------
    ValueError
        A number, the name or the data do not fit.
    TypeError
        `channel` is not a str, or `data` not bytes-like.

    Notes
    -----
    Safe for use by several threads at once.

    Examples
    --------
    >>> encode_event(0, 1, "ADC", b"hello")[0].hex(" ", -4)
    'eda1da01 00000000 00000000 00000000 00000001 00000003 00000005 414443'
    """
    name = name_of(channel)
    body = octets(data)
    try:
        header = _HEADER.pack(SYNC, number, timestamp_us, len(name), len(body))
    except struct.error as error:
        raise ValueError(
            f"number {number!r} or timestamp {timestamp_us!r} is not an unsigned 64-bit number,"
            f" or {len(body)} bytes of data do not fit 32 bits"
        ) from error
    return [header + name, body]


class Decoder(StreamDecoder[LogEvent]):
    r"""Bytes of a log in, its events out, past any damage.

    Parameters
    ----------
    max_size : int
        Bytes of the largest data to accept.

    Attributes
    ----------
    skipped : int
        Bytes so far that belong to no event: 0 for a log without damage.
    damages : int
        Places where bytes were skipped.
    oversized : int
        Sync words in them whose header announced more than `max_size`; by
        chance, or because the limit is too low.

    Notes
    -----
    `next_event` returns a `LogEvent`, or `NEED_DATA`. The only error is
    `TruncatedFrame`: the log ended (`feed_eof`) inside its last event. All
    events before it were returned.

    Bytes are skipped up to the next sync word when they are none, when the
    header behind announces a channel of more than 63 bytes or data of more
    than `max_size`, or when the channel is no text. An event in which a sync
    word begins may also be a broken one with good ones behind: it is believed
    when another event or the end of the log stands right behind it, and
    skipped otherwise; so is one that the log ends in, if a whole event is found
    inside. Only events that contain a sync word, or end as one begins, wait for
    the four bytes behind them.

    What comes out does not depend on how the bytes are cut. Time is linear in
    them; memory is one largest event and what is fed at once.

    Examples
    --------
    >>> decoder = Decoder()
    >>> for number in (0, 1):
    ...     decoder.feed(b"".join(encode_event(number, 0, "ADC", b"hello")) + b"noise")
    >>> decoder.next_event()
    LogEvent(number=0, timestamp_us=0, channel='ADC', data=b'hello')
    >>> decoder.next_event(), decoder.skipped
    (LogEvent(number=1, timestamp_us=0, channel='ADC', data=b'hello'), 5)
    """

    __slots__ = ("_lost", "_max_size", "damages", "oversized", "skipped")

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        super().__init__(HEADER_LENGTH)
        self._max_size = max_size
        self._lost = False
        self.skipped = 0
        self.damages = 0
        self.oversized = 0

    def feed_eof(self) -> None:
        """Say that the log ends here."""
        super().feed_eof()
        self._needed = 1  # whatever is left has to be looked at

    def _parse(self) -> LogEvent | Literal[NeedData.NEED_DATA]:
        buffer = self._buffer
        while True:
            self._seek()
            size, wanted = self._look(0)
            if size:
                break
            if not wanted:
                self._skip(1)
                continue
            whole = self._find_whole() if self._ended and len(buffer) else 0
            if not whole:
                # At the end of a log this is what the last event lacks.
                self._needed = wanted
                return NEED_DATA
            self._skip(whole)
        _, number, timestamp_us, channel_length, _ = _HEADER_AT(buffer.data, buffer.start)
        data_at = HEADER_LENGTH + channel_length
        channel = buffer.copy(HEADER_LENGTH, data_at).decode()
        event = LogEvent(number, timestamp_us, channel, buffer.copy(data_at, size))
        buffer.skip(size)
        self._needed = 1 if self._ended else HEADER_LENGTH
        self._lost = False
        return event

    def _skip(self, size: int) -> None:
        """Drop bytes that belong to no event."""
        if not self._lost:
            self._lost = True
            self.damages += 1
        self.skipped += size
        self._buffer.skip(size)

    def _seek(self) -> None:
        """Skip to the next sync word, or to what may become one."""
        data, start = self._buffer.data, self._buffer.start
        if data.startswith(SYNC, start):
            return
        at = data.find(SYNC, start)
        if at < 0:
            at = len(data) - next((len(one) for one in _BEGUN if data.endswith(one, start)), 0)
        if at > start:
            self._skip(at - start)

    def _find_whole(self) -> int:
        """Return where behind its first byte the rest of a log holds a whole event; 0 for nowhere."""
        data, start = self._buffer.data, self._buffer.start
        at = start
        while (at := data.find(SYNC, at + 1)) >= 0:
            if self._look(at - start)[0]:
                return at - start
        return 0

    def _look(self, at: int) -> tuple[int, int]:
        """Examine what stands `at` bytes from the start of the buffer, a sync word as far as it goes.

        Returns
        -------
        size, wanted : int
            Bytes of a whole event and 0; or 0 and how many bytes it takes to
            say more; or 0 and 0 if this is no event.
        """
        data, begin = self._buffer.data, self._buffer.start + at
        held = len(data) - begin
        if held < HEADER_LENGTH:
            return 0, HEADER_LENGTH
        _, _, _, channel_length, data_length = _HEADER_AT(data, begin)
        if channel_length > MAX_CHANNEL:
            return 0, 0
        if data_length > self._max_size:
            self.oversized += 1
            return 0, 0
        data_at = HEADER_LENGTH + channel_length
        if held < data_at:
            return 0, data_at
        name = bytes(data[begin + HEADER_LENGTH : begin + data_at])
        if text_of(name) is None or b"\0" in name:
            return 0, 0
        size = data_at + data_length
        if held < size:
            return 0, size
        end = begin + size
        if data.find(SYNC, begin + 1, end) < 0 and not data.endswith(_BEGUN, begin, end):
            return size, 0
        # Whole, but another one seems to begin inside: if nothing follows where
        # this one ends, its length was wrong.
        behind = bytes(data[end : end + len(SYNC)])
        if len(behind) < len(SYNC) and not self._ended:
            return 0, size + len(SYNC)
        if SYNC.startswith(behind) or data.find(SYNC, begin + 1, end + len(SYNC) - 1) < 0:
            return size, 0
        return 0, 0
