"""One datagram to its event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wireframe.datagram._channel import MAX_CHANNEL
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
from wireframe.errors import MAX_EXCERPT, BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SMALL_AT = SMALL_HEAD.unpack_from
_FRAGMENT_AT = FRAGMENT_HEAD.unpack_from
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
    if type(data) is bytes and (fields := split_small(data, max_size)) is not None:
        return Small(*fields)
    whole = data if type(data) is bytes else octets(data)
    # Headers are read from bytes: views know neither find nor decode.
    head = whole if type(whole) is bytes else bytes(whole[:_FRAGMENT_STOP])
    magic = head[:4]
    if magic == SMALL_MAGIC:
        end = head.find(0, _SMALL_LENGTH, _SMALL_STOP)
        if end < 0:
            raise _without_channel(head, _SMALL_LENGTH)
        if len(whole) - end - 1 > max_size:
            raise FrameTooLarge("message size", len(whole) - end - 1, max_size, head)
        try:
            channel = head[_SMALL_LENGTH:end].decode()
        except UnicodeDecodeError as error:
            raise BadHeader(f"the channel name is not UTF-8: {error}", head) from error
        return Small(_SMALL_AT(head)[1], channel, bytes(whole[end + 1 :]))
    if magic == FRAGMENT_MAGIC and len(head) >= _FRAGMENT_LENGTH:
        return _fragment(whole, head, max_size, copy=copy)
    raise _without_head(head)


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
    end = data.find(0, _SMALL_LENGTH, _SMALL_STOP)
    if end < 0 or len(data) - end - 1 > max_size:
        return None
    magic, sequence = _SMALL_AT(data)
    if magic != SMALL_MAGIC:
        return None
    try:
        return sequence, data[_SMALL_LENGTH:end].decode(), data[end + 1 :]
    except UnicodeDecodeError:
        return None


def _fragment(whole: bytes | memoryview, head: bytes, max_size: int, *, copy: bool) -> Fragment:
    _, sequence, size, offset, number, count = _FRAGMENT_AT(head)
    if number >= count:
        raise BadHeader(f"peer sent fragment {number} of {count}", head)
    if size > max_size:
        raise FrameTooLarge("message size", size, max_size, head)
    begin = _FRAGMENT_LENGTH
    channel = None
    if number == 0:
        end = head.find(0, begin, _FRAGMENT_STOP)
        if end < 0:
            raise _without_channel(head, begin)
        try:
            channel = head[begin:end].decode()
        except UnicodeDecodeError as error:
            raise BadHeader(f"the channel name is not UTF-8: {error}", head) from error
        begin = end + 1
    length = len(whole) - begin
    if offset + length > size:
        raise BadPayload(f"peer sent {length} bytes at offset {offset} of a message of {size}", head)
    payload = whole[begin:]
    if copy and type(payload) is not bytes:
        payload = bytes(payload)
    return Fragment(sequence, size, offset, number, count, channel, payload)


def _without_head(head: bytes) -> FrameError:
    """Say why these first bytes are no header."""
    magic = head[:4]
    if magic == FRAGMENT_MAGIC:
        return TruncatedFrame(len(head), _FRAGMENT_LENGTH, head)
    if SMALL_MAGIC.startswith(magic) or FRAGMENT_MAGIC.startswith(magic):
        return TruncatedFrame(len(head), _SMALL_LENGTH + 1, head)
    return BadHeader(f"LC02 or LC03 expected, got {magic!r}", head[:MAX_EXCERPT])


def _without_channel(head: bytes, begin: int) -> FrameError:
    """Say why no NUL was found behind the header of `begin` bytes."""
    if len(head) < begin + MAX_CHANNEL + 1:
        return TruncatedFrame(len(head), max(len(head), begin) + 1, head)
    return BadHeader(f"the channel name is longer than {MAX_CHANNEL} bytes", head)
