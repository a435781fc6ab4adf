"""CURVE keys as they are written: 40 characters of Z85 for 32 bytes."""

from __future__ import annotations

import contextlib
import struct
from typing import Final

from zmq.utils import z85

_LENGTH: Final = 40


def raw_key(key: bytes) -> bytes:
    """Return the 32 bytes of a key; ValueError if it is none."""
    raw: bytes = z85.decode(checked_key(key))
    return raw


def checked_key(key: object) -> bytes:
    """Return a key that ZeroMQ will take; ValueError if it is none."""
    if isinstance(key, bytes) and len(key) == _LENGTH:
        with contextlib.suppress(KeyError, struct.error):
            z85.decode(key)
            return key
    raise ValueError("a key is 40 characters of Z85, as bytes")
