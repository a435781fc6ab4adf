"""Messages to datagrams.

Payloads are never copied: a datagram is a list of buffers, its header and a
view of the payload, for ``sendmsg``; or ``b"".join`` it. The views must be sent
before the caller changes the payload.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wireframe.datagram._channel import name_of
from wireframe.datagram._messages import (
    FRAGMENT_HEAD,
    FRAGMENT_MAGIC,
    MAX_DATAGRAM,
    MIN_DATAGRAM,
    SMALL_HEAD,
    SMALL_MAGIC,
    Parts,
)
from wireframe.datagram._octets import octets

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_PACK_SMALL = SMALL_HEAD.pack
_PACK_FRAGMENT = FRAGMENT_HEAD.pack
_SMALL_LENGTH: Final = SMALL_HEAD.size
_FRAGMENT_LENGTH: Final = FRAGMENT_HEAD.size
_MAX_COUNT: Final = 0xFFFF
_MAX_WIRE_SIZE: Final = 0xFFFFFFFF


def encode_small(sequence: int, channel: str, payload: Buffer) -> Parts:
    r"""Return a message in one datagram.

    Parameters
    ----------
    sequence : int
        Number of the message, 0 to 2^32 - 1: one more than that of the
        sender's last message on any channel, modulo 2^32.
    channel : str
        At most 63 bytes of UTF-8, without NUL.
    payload : bytes-like
        Any bytes that fit one datagram of `MAX_DATAGRAM` bytes; an array is
        sent as its memory.

    Returns
    -------
    list of bytes or memoryview
        The buffers of the datagram.

    Raises
    ------
    ValueError
        A number, name or payload does not fit.
    TypeError
        `channel` is not a str, or `payload` not bytes-like.

    Examples
    --------
    >>> encode_small(7, "ADC", b"hello")
    [b'LC02\x00\x00\x00\x07ADC\x00', b'hello']
    """
    name = name_of(channel)
    body = octets(payload)
    size = _SMALL_LENGTH + len(name) + 1 + len(body)
    if size > MAX_DATAGRAM:
        raise ValueError(f"the datagram would have {size} bytes, the limit is {MAX_DATAGRAM}; send fragments")
    return _small(sequence, name, body)


def small_head(channel: str) -> Callable[[int], bytes]:
    r"""Return what makes the first bytes of the small messages of a channel.

    For a sender of many: the payload follows these bytes, and all in all they
    are what `encode_small` returns, in a fraction of the time.

    Parameters
    ----------
    channel : str
        As in `encode_small`.

    Returns
    -------
    callable
        Takes the number of a message, 0 to 2^32 - 1, of which the caller makes
        sure; returns everything in front of its payload.

    Raises
    ------
    ValueError, TypeError
        `channel` is no name.

    Examples
    --------
    >>> head = small_head("ADC")
    >>> head(7) + b"hello"
    b'LC02\x00\x00\x00\x07ADC\x00hello'
    """
    name = name_of(channel) + b"\0"
    pack = struct.Struct(f"{SMALL_HEAD.format}{len(name)}s").pack

    def head(sequence: int) -> bytes:
        return pack(SMALL_MAGIC, sequence, name)

    return head


def encode_fragments(
    sequence: int, channel: str, payload: Buffer, max_datagram: int = MAX_DATAGRAM
) -> list[Parts]:
    r"""Return a message in as few full fragments as it takes.

    Parameters
    ----------
    sequence, channel : int, str
        As in `encode_small`.
    payload : bytes-like
        Any bytes, an array as its memory; with full datagrams up to about 4.29e9.
        Receivers have limits of their own, ours is `MAX_SIZE` unless told
        otherwise.
    max_datagram : int
        Bytes of the largest datagram to make, `MIN_DATAGRAM` to `MAX_DATAGRAM`.
        LCM itself makes full ones only; smaller ones (1472 on Ethernet) are not
        cut by IP, so that one lost packet does not cost 64 KiB.

    Returns
    -------
    list of list of bytes or memoryview
        For each datagram its buffers.

    Raises
    ------
    ValueError
        A number or name does not fit, the payload is longer than 2^32 - 1 bytes
        or needs more than 65535 fragments, or `max_datagram` is out of range.
    TypeError
        `channel` is not a str, or `payload` not bytes-like.

    Examples
    --------
    >>> [len(b"".join(parts)) for parts in encode_fragments(7, "ADC", bytes(3000), max_datagram=1472)]
    [1472, 1472, 120]
    """
    name = name_of(channel)
    body = octets(payload)
    if not MIN_DATAGRAM <= max_datagram <= MAX_DATAGRAM:
        raise _bad_max_datagram(max_datagram)
    return _fragments(sequence, name, body, max_datagram)


def encode_message(
    sequence: int, channel: str, payload: Buffer, max_datagram: int = MAX_DATAGRAM
) -> list[Parts]:
    r"""Return a message as LCM would send it: small if it fits one datagram, else in fragments.

    Parameters
    ----------
    sequence, channel : int, str
        As in `encode_small`.
    payload, max_datagram : bytes-like, int
        As in `encode_fragments`. The message is small while
        ``8 + len(channel) + 1 + len(payload) <= max_datagram``.

    Returns
    -------
    list of list of bytes or memoryview
        For each datagram its buffers.

    Raises
    ------
    ValueError, TypeError
        As in `encode_fragments`.

    Examples
    --------
    >>> encode_message(7, "ADC", b"hello")
    [[b'LC02\x00\x00\x00\x07ADC\x00', b'hello']]
    >>> [len(encode_message(7, "DATA", bytes(size))) for size in (65494, 65495)]
    [1, 2]
    """
    name = name_of(channel)
    body = payload if type(payload) is bytes else octets(payload)
    if not MIN_DATAGRAM <= max_datagram <= MAX_DATAGRAM:
        raise _bad_max_datagram(max_datagram)
    if _SMALL_LENGTH + len(name) + 1 + len(body) <= max_datagram:
        return [_small(sequence, name, body)]
    return _fragments(sequence, name, body, max_datagram)


def _bad_max_datagram(max_datagram: int) -> ValueError:
    return ValueError(f"max_datagram is {MIN_DATAGRAM} to {MAX_DATAGRAM}, not {max_datagram}")


def _small(sequence: int, name: bytes, body: bytes | memoryview) -> Parts:
    try:
        return [b"%b%b\0" % (_PACK_SMALL(SMALL_MAGIC, sequence), name), body]
    except struct.error as error:
        raise ValueError(f"sequence {sequence!r} is not an unsigned 32-bit number") from error


def _fragments(sequence: int, name: bytes, body: bytes | memoryview, max_datagram: int) -> list[Parts]:
    size = len(body)
    step = max_datagram - _FRAGMENT_LENGTH
    first = step - len(name) - 1
    count = 1 + max(0, -(-(size - first) // step))
    if size > _MAX_WIRE_SIZE:
        raise ValueError(f"a message of {size} bytes does not fit its length field of 32 bits")
    if count > _MAX_COUNT:
        raise ValueError(
            f"a message of {size} bytes takes {count} datagrams of {max_datagram}, the limit is {_MAX_COUNT}"
        )
    view = memoryview(body)
    try:
        head = _PACK_FRAGMENT(FRAGMENT_MAGIC, sequence, size, 0, 0, count)
    except struct.error as error:
        raise ValueError(f"sequence {sequence!r} is not an unsigned 32-bit number") from error
    datagrams: list[Parts] = [[b"%b%b\0" % (head, name), view[:first]]]
    datagrams += [
        [_PACK_FRAGMENT(FRAGMENT_MAGIC, sequence, size, offset, number, count), view[offset : offset + step]]
        for number, offset in enumerate(range(first, size, step), 1)
    ]
    return datagrams
