"""Channel names, the same on the wire and in logs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

#: Bytes of the longest channel name, without its NUL.
MAX_CHANNEL: Final = 63


def name_of(channel: str) -> bytes:
    """Return the bytes of a channel name, without a NUL.

    Raises
    ------
    TypeError
        It is not text.
    ValueError
        It is longer than `MAX_CHANNEL` bytes, holds what UTF-8 cannot say, or a NUL.
    """
    if not isinstance(channel, str):
        raise TypeError(f"a channel is a str, not {type(channel).__name__}")
    return _checked(channel)


# A program has few channels, and checking a name takes as long as packing a header.
@lru_cache(maxsize=64)
def _checked(channel: str) -> bytes:
    name = channel.encode()
    if len(name) > MAX_CHANNEL:
        raise ValueError(f"channel {channel!r} has {len(name)} bytes, the limit is {MAX_CHANNEL}")
    if b"\0" in name:
        raise ValueError(f"channel {channel!r} contains a NUL, which ends names on the wire")
    return name


def text_of(name: bytes) -> str | None:
    """Return the channel of a name that came; None if it is not UTF-8.

    Without an error to catch, which takes five times as long: such names come in floods.
    """
    if name.isascii():
        return name.decode()
    text = name.decode("utf-8", "ignore")
    return text if text.encode() == name else None
