"""Short ways for one reply: no decoder, no event, only the numbers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wireframe.ipi._encode import encode_header
from wireframe.ipi._messages import FORCEREADY, MAX_STRING, REAL, REPLY, REPLY_LENGTH

if TYPE_CHECKING:
    from typing_extensions import Buffer

_REPLY_AT = REPLY.unpack_from
_FORCEREADY_HEAD: Final = encode_header(FORCEREADY)


def reals(block: Buffer) -> tuple[float, ...]:
    """Read a block of little-endian float64.

    Parameters
    ----------
    block : bytes-like
        8 bytes for each number.

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        The size is not a multiple of 8 bytes.

    Examples
    --------
    >>> from wireframe.ipi import encode_request
    >>> reals(encode_request((1.5, -2.0, 0.25))[160:184])
    (1.5, -2.0, 0.25)
    """
    size = memoryview(block).nbytes
    if size % REAL:
        raise ValueError(f"a block of reals is a multiple of {REAL} bytes, got {size}")
    return struct.unpack(f"<{size // REAL}d", block)


def split_reply(data: Buffer, size: int, max_extra: int = MAX_STRING) -> tuple[bytes, bytes] | None:
    """Read one whole ``FORCEREADY`` of one atom, if it is just that.

    The short way through the hot path of a hub: nearly every read returns
    exactly one reply. In every other case let a `Decoder` see the bytes.

    Parameters
    ----------
    data : bytes-like
        Starts with what was read.
    size : int
        How many bytes of `data` were read.
    max_extra : int
        Largest extra, bytes; the limit of the `Decoder` for the other cases.

    Returns
    -------
    tuple of (bytes, bytes) or None
        The force (24 bytes) and the extra; None if the `size` bytes are
        anything but one complete, legal reply with nat 1.

    Examples
    --------
    >>> from wireframe.ipi import encode_forceready
    >>> reply = encode_forceready((0.0, 0.0, 2.0), extra=b"{}")
    >>> force, extra = split_reply(reply, len(reply))
    >>> reals(force), extra
    ((0.0, 0.0, 2.0), b'{}')
    >>> split_reply(reply, len(reply) - 1) is None
    True
    """
    if size < REPLY_LENGTH:
        return None
    try:
        header, _, nat, force, _, length = _REPLY_AT(data)
    except struct.error:  # `data` is shorter than `size` says
        return None
    if header != _FORCEREADY_HEAD or nat != 1 or length != size - REPLY_LENGTH:
        return None
    if not length:
        return force, b""
    if length > max_extra:
        return None
    extra = bytes(memoryview(data).cast("B")[REPLY_LENGTH:size])
    return (force, extra) if len(extra) == length else None
