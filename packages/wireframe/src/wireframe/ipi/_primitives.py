"""Numbers and byte strings to bytes, checked: what every i-PI encoder is made of.

======  ====================================================
int     4 bytes, signed, little-endian
real    8 bytes, IEEE double, little-endian
block   so many reals, nothing around them
string  int length, that many bytes
======  ====================================================

A wrong argument is a `ValueError` or `TypeError` that tells what it was meant
for, before one byte of the message is made.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Final

from wireframe.ipi._messages import REAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

_INT = struct.Struct("<i")
_INT_MAX: Final = (1 << 31) - 1

#: Element types of buffers whose memory already is a block of little-endian
#: float64: plain bytes, and float64 where the machine is little-endian.
_BLOCK_FORMATS: Final = frozenset({"B", "b", "c", "<d"} | ({"d"} if sys.byteorder == "little" else set()))


def octets(data: Buffer) -> bytes:
    """Return the bytes of a buffer; bytes() alone would also take numbers and lists."""
    return data if type(data) is bytes else bytes(memoryview(data))


def int32(number: int, what: str) -> bytes:
    """Return a signed 32-bit integer; `what` it is goes into the error."""
    try:
        return _INT.pack(number)
    except struct.error as error:
        raise ValueError(f"{what} {number!r} is not a signed 32-bit number") from error


def byte_string(data: Buffer, what: str) -> tuple[bytes, bytes]:
    """Return the length, four bytes, and the bytes themselves."""
    size = len(data) if type(data) is bytes else memoryview(data).nbytes
    if size > _INT_MAX:
        raise ValueError(f"{what} has {size} bytes, its length field ends at {_INT_MAX}")
    return _INT.pack(size), octets(data)


def pack_reals(values: Iterable[float], what: str) -> bytes:
    """Return the block of these numbers."""
    numbers = tuple(values)
    try:
        return struct.pack(f"<{len(numbers)}d", *numbers)
    except struct.error as error:
        raise TypeError(f"{what} must be 64-bit real numbers, in one flat sequence") from error


def _memory_of(values: object) -> bytes | None:
    """Return the bytes of a buffer that is a block of reals, else None."""
    try:
        view = memoryview(values)  # type: ignore[arg-type]  # whether it is a buffer is the question
    except TypeError:
        return None
    return view.tobytes() if view.format in _BLOCK_FORMATS else None


def block_of(values: Buffer | Iterable[float], what: str, multiple: int) -> bytes:
    """Return the block of `values`: floats, or a buffer that already is such a block."""
    if isinstance(values, bytes):
        block = values
    elif isinstance(values, (tuple, list)):
        block = pack_reals(values, what)
    else:
        memory = _memory_of(values)
        block = pack_reals(values, what) if memory is None else memory  # type: ignore[arg-type]  # no buffer: an iterable
    if len(block) % multiple:
        raise ValueError(f"{what} must be a multiple of {multiple // REAL} reals, got {len(block)} bytes")
    return block


def exact_block(values: Buffer | Iterable[float], what: str, size: int) -> bytes:
    """Return a block of exactly so many bytes."""
    if type(values) is bytes and len(values) == size:  # nearly always
        return values
    block = block_of(values, what, size)
    if len(block) != size:
        raise ValueError(f"{what} must be {size // REAL} reals, got {len(block)} bytes")
    return block
