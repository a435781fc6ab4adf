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

Logs are damaged by crashes and full disks, so `Decoder` finds its way back: it
believes an event only when another one or the end of the log stands right
behind it, and otherwise searches on for the next sync word.

Layout taken from the observable behaviour of lcm 1.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder
from wireframe.datagram._channel import MAX_CHANNEL, name_of
from wireframe.datagram._messages import MAX_SIZE, Parts
from wireframe.datagram._octets import octets

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["HEADER_LENGTH", "MAX_SIZE", "NEED_DATA", "SYNC", "Decoder", "LogEvent", "encode_event"]

#: First bytes of an event.
SYNC: Final = b"\xed\xa1\xda\x01"
_HEADER: Final = struct.Struct(">4sQQII")
_LENGTHS_AT = struct.Struct(">II").unpack_from
_NUMBER_AND_TIME_AT = struct.Struct(">QQ").unpack_from
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
    >>> encode_event(0, 1, "ADC", b"hello")[0].hex(" ", 4)
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
    `next_event` returns a `LogEvent`, or `NEED_DATA`. An event comes out when
    the four bytes behind it have been seen, or the end of the log
    (`feed_eof`): a wrong length would otherwise pass for an event and swallow
    good ones. A log must therefore be closed by `feed_eof`.

    The only error is `TruncatedFrame`: the log ended inside its last event. All
    events before it were returned.

    What is skipped does not depend on how the bytes are cut. Time is linear in
    them; memory is one largest event and what is fed at once.

    Examples
    --------
    >>> decoder = Decoder()
    >>> for number in (0, 1):
    ...     decoder.feed(b"".join(encode_event(number, 0, "ADC", b"hello")) + b"noise")
    >>> decoder.feed_eof()
    >>> decoder.next_event(), decoder.skipped
    (NEED_DATA, 82)

    The noise made both events doubtful. Here only one is:

    >>> decoder = Decoder()
    >>> for number in (0, 1, 2):
    ...     decoder.feed((b"" if number else b"noise") + b"".join(encode_event(number, 0, "ADC", b"hello")))
    >>> decoder.feed_eof()
    >>> decoder.next_event()
    LogEvent(number=0, timestamp_us=0, channel='ADC', data=b'hello')
    >>> decoder.skipped
    5
    """
