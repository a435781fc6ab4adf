"""One datagram to its event."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wireframe.datagram import _faults
from wireframe.datagram._channel import MAX_CHANNEL, text_of
from wireframe.datagram._faults import Fault
from wireframe.datagram._messages import (
    FRAGMENT_HEAD,
    FRAGMENT_MAGIC,
    MAX_SIZE,
    SMALL_HEAD,
    SMALL_MAGIC,
    Event,
    Fragment,
    Small,
)
from wireframe.datagram._octets import octets

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SEQUENCE_AT = struct.Struct(">I").unpack_from
_FRAGMENT_AT = FRAGMENT_HEAD.unpack_from
#: Where the number of a message stands.
_SEQUENCE: Final = len(SMALL_MAGIC)
_SMALL_LENGTH: Final = SMALL_HEAD.size
_FRAGMENT_LENGTH: Final = FRAGMENT_HEAD.size
#: Where to stop looking for the NUL behind a channel name.
_SMALL_STOP: Final = _SMALL_LENGTH + MAX_CHANNEL + 1
_FRAGMENT_STOP: Final = _FRAGMENT_LENGTH + MAX_CHANNEL + 1


def decode(data: Buffer, /, *, max_size: int = MAX_SIZE, copy: bool = True) -> Event:
    r"""Read one datagram.

    Parameters
    ----------
    data : bytes-like
        The whole datagram. The event keeps nothing of it, unless `copy` is
        false: a buffer may be reused at once.
    max_size : int
        Payload bytes of the largest message to accept, whole or announced.
    copy : bool
        False lets the payload of a fragment be a view of `data`, unless that is
        `bytes`: for a `Reassembler` that takes it before the buffer is reused.

    Returns
    -------
    Small or Fragment
        Of a fragment is known that ``number < count`` and
        ``offset + len(payload) <= size <= max_size``; whether fragments agree
        with each other is for `Reassembler` to say.

    Raises
    ------
    BadHeader
        The first bytes are neither magic, a fragment number is not below its
        count, or the channel name is longer than 63 bytes or not UTF-8.
    BadPayload
        The payload reaches beyond the announced size of its message.
    FrameTooLarge
        The message is larger than `max_size`.
    TruncatedFrame
        The datagram ends in the header or in the channel name.
    TypeError
        `data` is not bytes-like.

    Notes
    -----
    A function of its arguments alone, safe for use by several threads. No
    other error comes from any bytes.

    Examples
    --------
    >>> decode(b"LC02\x00\x00\x00\x07ADC\x00hello")
    Small(sequence=7, channel='ADC', payload=b'hello')
    """
    whole = data if type(data) is bytes else octets(data)
    event = examine(whole, max_size=max_size, copy=copy)
    if type(event) is Fault:
        raise event.error(whole, max_size)
    return event


def examine(data: bytes | memoryview, /, *, max_size: int = MAX_SIZE, copy: bool = True) -> Event | Fault:
    r"""Read one datagram, and return what is wrong with it instead of raising it.

    For a receiver that has to go on whatever is sent to it: a broken datagram
    costs no more than a good one.

    Parameters
    ----------
    data : bytes or memoryview
        The whole datagram; a view is one of single bytes.
    max_size, copy : int, bool
        As for `decode`.

    Returns
    -------
    Small, Fragment or Fault
        What `decode` would return, or why it would raise.

    Examples
    --------
    >>> fault = examine(b"M-SEARCH * HTTP/1.1")
    >>> fault.kind.__name__, fault.is_foreign
    ('BadHeader', True)
    """
    magic = data[:4]
    if magic == SMALL_MAGIC:
        return _small(data, max_size)
    if magic == FRAGMENT_MAGIC:
        return _fragment(data, max_size, copy=copy)
    if len(magic) < len(SMALL_MAGIC):
        beginning = bytes(magic)
        if SMALL_MAGIC.startswith(beginning) or FRAGMENT_MAGIC.startswith(beginning):
            return _faults.CUT_BEGINNING
    return _faults.FOREIGN


def split_small(data: bytes, max_size: int = MAX_SIZE, /) -> tuple[int, str, bytes] | None:
    r"""Read a message in one datagram, and leave everything else to `decode`.

    For a receiver of many: it takes two thirds of the time.

    Parameters
    ----------
    data, max_size : bytes, int
        As for `decode`.

    Returns
    -------
    tuple of int, str, bytes, or None
        Sequence, channel and payload, as in `Small`. None where `decode`
        would return a fragment, or raise.

    Examples
    --------
    >>> split_small(b"LC02\x00\x00\x00\x07ADC\x00hello")
    (7, 'ADC', b'hello')
    """
    if data[:4] != SMALL_MAGIC:
        return None
    end = data.find(0, _SMALL_LENGTH, _SMALL_STOP)
    if end < 0 or len(data) - end - 1 > max_size:
        return None
    name = data[_SMALL_LENGTH:end]
    # Mostly it is ASCII, for which a call would take as long as all the rest.
    channel = name.decode() if name.isascii() else text_of(name)
    if channel is None:
        return None
    return _SEQUENCE_AT(data, _SEQUENCE)[0], channel, data[end + 1 :]


def _small(data: bytes | memoryview, max_size: int) -> Small | Fault:
    # Headers are read from bytes: views know neither find nor decode.
    head = data if type(data) is bytes else bytes(data[:_SMALL_STOP])
    end = head.find(0, _SMALL_LENGTH, _SMALL_STOP)
    if end < 0:
        if len(head) <= _SMALL_LENGTH:
            return _faults.CUT_HEAD
        return _faults.CUT_CHANNEL if len(head) < _SMALL_STOP else _faults.LONG_CHANNEL
    if len(data) - end - 1 > max_size:
        return _faults.LARGE_SMALL
    channel = text_of(head[_SMALL_LENGTH:end])
    if channel is None:
        return _faults.NO_TEXT
    return Small(_SEQUENCE_AT(head, _SEQUENCE)[0], channel, bytes(data[end + 1 :]))


def _fragment(data: bytes | memoryview, max_size: int, *, copy: bool) -> Fragment | Fault:
    length = len(data)
    if length < _FRAGMENT_LENGTH:
        return _faults.CUT_HEAD
    _, sequence, size, offset, number, count = _FRAGMENT_AT(data)
    if number >= count:
        return _faults.BAD_NUMBER
    if size > max_size:
        return _faults.LARGE_FRAGMENT
    begin = _FRAGMENT_LENGTH
    channel = None
    if number == 0:
        head = data if type(data) is bytes else bytes(data[:_FRAGMENT_STOP])
        end = head.find(0, begin, _FRAGMENT_STOP)
        if end < 0:
            return _faults.CUT_CHANNEL if length < _FRAGMENT_STOP else _faults.LONG_CHANNEL
        channel = text_of(head[begin:end])
        if channel is None:
            return _faults.NO_TEXT
        begin = end + 1
    if offset + length - begin > size:
        return _faults.BEYOND
    payload = data[begin:]
    if copy and type(payload) is not bytes:
        payload = bytes(payload)
    return Fragment(sequence, size, offset, number, count, channel, payload)
