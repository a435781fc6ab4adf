"""The fourth frame of a message, which members that do not know it ignore.

===== ========================================================================
bytes content
===== ========================================================================
0-3   ``WFx1``
4-7   flags, u32; none is defined, unknown ones mean nothing
8-15  sequence, u64: 1 for the first message of a publisher, then one more each
16-31 sender
32-47 group
48-   ignored: room for later versions
===== ========================================================================

All integers are big-endian. The sequence is per sender and per socket, so a
gap in it is a loss.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from wireframe.errors import BadHeader, BadPayload, TruncatedFrame

#: First bytes of an extension.
EXTENSION_MAGIC: Final = b"WFx1"

_LAYOUT: Final = struct.Struct(">4sIQ16s16s")
#: Bytes of an extension; what stands behind them is ignored.
EXTENSION_LENGTH: Final = _LAYOUT.size
_ID_LENGTH: Final = 16


@dataclass(slots=True)
class Extension:
    """What a message says beyond the original protocol.

    Attributes
    ----------
    sequence : int
        Number of the message among those of its sender on this path, 1 to 2^64 - 1.
    sender : bytes
        Who published it: 16 bytes, its member id.
    group : bytes
        Which group it is for: 16 bytes, the BLAKE2s digest of that size of
        ``type.instance``, the name of the group in UTF-8.
    flags : int
        Unsigned 32-bit. None is defined yet.
    """

    sequence: int
    sender: bytes
    group: bytes
    flags: int = 0


def encode_extension(extension: Extension) -> bytes:
    """Return the frame of an extension.

    Parameters
    ----------
    extension : Extension
        What it says.

    Returns
    -------
    bytes
        `EXTENSION_LENGTH` bytes.

    Raises
    ------
    ValueError
        An identity is not 16 bytes, or a number does not fit.

    Examples
    --------
    >>> frame = encode_extension(Extension(1, bytes(16), bytes(16)))
    >>> len(frame), decode_extension(frame).sequence
    (48, 1)
    """
    sequence, sender, group = extension.sequence, extension.sender, extension.group
    if len(sender) != _ID_LENGTH or len(group) != _ID_LENGTH or sequence < 1:
        raise ValueError(f"sequences begin with 1 and identities have 16 bytes, got {extension!r}")
    try:
        return _LAYOUT.pack(EXTENSION_MAGIC, extension.flags, sequence, sender, group)
    except struct.error as error:
        raise ValueError(f"not an extension, {error}: {extension!r}") from error


def decode_extension(frame: bytes) -> Extension:
    """Read the frame of an extension.

    Parameters
    ----------
    frame : bytes
        The whole frame; what stands behind the first 48 bytes is ignored.

    Returns
    -------
    Extension
        Keeps nothing else of the frame.

    Raises
    ------
    BadHeader
        It does not begin with the magic.
    TruncatedFrame
        It is too short.
    BadPayload
        The sequence is 0.

    Notes
    -----
    No other error comes from any bytes.
    """
    if frame[:4] != EXTENSION_MAGIC:
        raise BadHeader(f"a fourth frame begins with {EXTENSION_MAGIC!r}, got {frame[:4]!r}", frame)
    if len(frame) < EXTENSION_LENGTH:
        raise TruncatedFrame(len(frame), EXTENSION_LENGTH, frame)
    _, flags, sequence, sender, group = _LAYOUT.unpack_from(frame)
    if not sequence:
        raise BadPayload("sequences begin with 1, got 0", frame)
    return Extension(sequence, sender, group, flags)
