"""Constants and events of LCM datagrams."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from wireframe.datagram._channel import MAX_CHANNEL

#: First bytes of a message in one datagram.
SMALL_MAGIC: Final = b"LC02"
#: First bytes of a fragment.
FRAGMENT_MAGIC: Final = b"LC03"

#: Bytes. The largest payload of UDP over IPv4, which LCM fills.
MAX_DATAGRAM: Final = 65507
#: Bytes of payload. The largest message a receiver accepts unless told otherwise.
MAX_SIZE: Final = 1 << 28

#: Magic, sequence.
SMALL_HEAD: Final = struct.Struct(">4sI")
#: Magic, sequence, size, offset, number, count.
FRAGMENT_HEAD: Final = struct.Struct(">4sIIIHH")

#: Bytes of payload in a fragment that fills its datagram and is not the first one.
FULL_FRAGMENT: Final = MAX_DATAGRAM - FRAGMENT_HEAD.size

#: Bytes. The smallest datagram that holds a fragment with any channel name and
#: one byte of payload, so that every fragment brings a message forward.
MIN_DATAGRAM: Final = FRAGMENT_HEAD.size + MAX_CHANNEL + 1 + 1


@dataclass(slots=True)
class Small:
    """A message that came in one datagram.

    Attributes
    ----------
    sequence : int
        Number of the message, 0 to 2^32 - 1.
    channel : str
        At most 63 bytes of UTF-8.
    payload : bytes
        May be empty.
    """

    sequence: int
    channel: str
    payload: bytes


@dataclass(slots=True)
class Fragment:
    """One datagram of a message that takes several.

    Attributes
    ----------
    sequence : int
        Number of the message, 0 to 2^32 - 1.
    size : int
        Payload bytes of the whole message.
    offset : int
        Where `payload` begins in it, bytes.
    number, count : int
        This is fragment `number` (from 0) of `count`.
    channel : str or None
        In fragment 0 only.
    payload : bytes or memoryview
        The payload of this fragment; a view only if `decode` was asked for it.
    """

    sequence: int
    size: int
    offset: int
    number: int
    count: int
    channel: str | None
    payload: bytes | memoryview


@dataclass(slots=True)
class Message:
    """A message whose fragments have all arrived.

    Attributes
    ----------
    sequence : int
        Number of the message, 0 to 2^32 - 1.
    channel : str
        At most 63 bytes of UTF-8.
    payload : bytes
        May be empty.
    """

    sequence: int
    channel: str
    payload: bytes


#: What one datagram may be.
Event: TypeAlias = Small | Fragment

#: Buffers that make one datagram: for ``sendmsg``, or ``b"".join``.
Parts: TypeAlias = list[bytes | memoryview]
