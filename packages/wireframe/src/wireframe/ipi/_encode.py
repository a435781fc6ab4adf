"""Messages to bytes: the i-PI encoders.

Blocks of reals may be given as floats in one flat iterable, as little-endian
float64 bytes, or as any float64 array that shares its memory (``array``,
``numpy.ndarray`` of any shape). Bytes are passed on as they are, so every NaN,
infinity, denormal and -0.0 arrives as it was.
"""

from __future__ import annotations

import struct
import sys
from itertools import chain
from typing import TYPE_CHECKING, Final

from wireframe.ipi._messages import (
    FORCEREADY,
    GETFORCE,
    HEADER_LENGTH,
    IDENTITY,
    INIT,
    MATRIX,
    POSDATA,
    REAL,
    VECTOR,
    ZEROS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Buffer

_INT = struct.Struct("<i")
_INT_MAX: Final = (1 << 31) - 1

#: Element types of buffers whose memory already is a block of little-endian
#: float64: plain bytes, and float64 where the machine is little-endian.
_BLOCK_FORMATS: Final = frozenset({"B", "b", "c", "<d"} | ({"d"} if sys.byteorder == "little" else set()))


def encode_header(name: bytes) -> bytes:
    """Return a header, padded to 12 bytes.

    Raises
    ------
    ValueError
        `name` is longer than 12 bytes.
    TypeError
        `name` is not bytes-like.

    Examples
    --------
    >>> encode_header(b"READY")
    b'READY       '
    """
    header = _octets(name)
    if len(header) > HEADER_LENGTH:
        raise ValueError(f"header {header!r} is longer than {HEADER_LENGTH} bytes")
    return header.ljust(HEADER_LENGTH)


def _octets(data: Buffer) -> bytes:
    """Return the bytes of a buffer; bytes() alone would also take numbers and lists."""
    return data if type(data) is bytes else bytes(memoryview(data))


def _int32(number: int, what: str) -> bytes:
    try:
        return _INT.pack(number)
    except struct.error as error:
        raise ValueError(f"{what} {number!r} is not a signed 32-bit number") from error


def _byte_string(data: Buffer, what: str) -> tuple[bytes, bytes]:
    """Return the length, four bytes, and the bytes themselves."""
    size = memoryview(data).nbytes
    if size > _INT_MAX:
        raise ValueError(f"{what} has {size} bytes, its length field ends at {_INT_MAX}")
    return _INT.pack(size), _octets(data)


_INIT_HEAD: Final = encode_header(INIT)
_POSDATA_HEAD: Final = encode_header(POSDATA)
_FORCEREADY_HEAD: Final = encode_header(FORCEREADY)
_REQUEST_HEAD: Final = _POSDATA_HEAD + IDENTITY + IDENTITY + _INT.pack(1)
_REQUEST_TAIL: Final = encode_header(GETFORCE)


def _pack(values: Iterable[float], what: str) -> bytes:
    numbers = tuple(values)
    try:
        return struct.pack(f"<{len(numbers)}d", *numbers)
    except struct.error as error:
        raise TypeError(f"{what} must be real numbers, in one flat sequence") from error
    except OverflowError as error:
        raise ValueError(f"{what} must fit 64-bit reals") from error


def _memory_of(values: object) -> bytes | None:
    """Return the bytes of a buffer that is a block of reals, else None."""
    try:
        view = memoryview(values)  # type: ignore[arg-type]
    except TypeError:
        return None
    return view.tobytes() if view.format in _BLOCK_FORMATS else None


def _block(values: Buffer | Iterable[float], what: str, multiple: int) -> bytes:
    """Little-endian bytes of `values`: floats, or a buffer that already is such a block."""
    if isinstance(values, bytes):
        block = values
    elif isinstance(values, (tuple, list)):
        block = _pack(values, what)
    else:
        memory = _memory_of(values)
        block = _pack(values, what) if memory is None else memory  # type: ignore[arg-type]
    if len(block) % multiple:
        raise ValueError(f"{what} must be a multiple of {multiple // REAL} reals, got {len(block)} bytes")
    return block


def _matrix(values: Buffer | Iterable[float], what: str) -> bytes:
    block = _block(values, what, MATRIX)
    if len(block) != MATRIX:
        raise ValueError(f"{what} must be 9 reals, got {len(block)} bytes")
    return block


def _real(value: float, what: str) -> bytes:
    return _pack((value,), what)


def encode_init(bead: int, text: Buffer = b"") -> bytes:
    r"""Return an ``INIT`` message.

    Parameters
    ----------
    bead : int
        Bead index or molecule id, a signed 32-bit number.
    text : bytes-like
        Parameters for the driver.

    Raises
    ------
    ValueError
        `bead` does not fit 32 bits, or the text is longer than 2^31 - 1 bytes.
    TypeError
        `text` is not bytes-like.

    Examples
    --------
    >>> encode_init(4, b"dt : 0.5")
    b'INIT        \x04\x00\x00\x00\x08\x00\x00\x00dt : 0.5'
    """
    return b"".join((_INIT_HEAD, _int32(bead, "bead"), *_byte_string(text, "text")))


def encode_posdata(
    positions: Buffer | Iterable[float],
    cell: Buffer | Iterable[float] = IDENTITY,
    inverse_cell: Buffer | Iterable[float] = IDENTITY,
) -> bytes:
    """Return a ``POSDATA`` message.

    Parameters
    ----------
    positions : iterable of float or bytes-like
        nat x 3 reals, flat; bytes are taken as little-endian float64.
    cell, inverse_cell : iterable of float or bytes-like
        9 reals each, in wire order (columns are the lattice vectors).

    Raises
    ------
    ValueError
        A block has the wrong size.
    TypeError
        A block holds something else than real numbers.
    """
    block = _block(positions, "positions", VECTOR)
    return b"".join(
        (
            _POSDATA_HEAD,
            _matrix(cell, "cell"),
            _matrix(inverse_cell, "inverse cell"),
            _INT.pack(len(block) // VECTOR),
            block,
        )
    )


def encode_request(field_au: Buffer | Iterable[float]) -> bytes:
    """Return ``POSDATA`` for one molecule and ``GETFORCE`` in one piece.

    The 196 bytes are: header, identity (72), identity (72), int 1, the field
    at offset 160 (24), header. Every bit pattern of the field is passed on.

    Parameters
    ----------
    field_au : iterable of 3 floats or 24 bytes-like
        Electric field, atomic units.

    Raises
    ------
    ValueError
        It is not one vector.
    TypeError
        It holds something else than real numbers.
    """
    block = _block(field_au, "field", VECTOR)
    if len(block) != VECTOR:
        raise ValueError(f"a field is 3 reals, got {len(block)} bytes")
    return b"".join((_REQUEST_HEAD, block, _REQUEST_TAIL))


def encode_forceready(
    forces: Buffer | Iterable[float],
    energy: float = 0.0,
    virial: Buffer | Iterable[float] = ZEROS,
    extra: Buffer = b"",
) -> bytes:
    """Return a ``FORCEREADY`` message.

    Parameters
    ----------
    forces : iterable of float or bytes-like
        nat x 3 reals, flat; for one molecule the source amplitude.
    energy : float
        Hartree.
    virial : iterable of float or bytes-like
        9 reals in wire order.
    extra : bytes-like
        At most 2^31 - 1 bytes.

    Raises
    ------
    ValueError
        A block has the wrong size.
    TypeError
        A block holds something else than real numbers.
    """
    block = _block(forces, "forces", VECTOR)
    return b"".join(
        (
            _FORCEREADY_HEAD,
            _real(energy, "energy"),
            _INT.pack(len(block) // VECTOR),
            block,
            _matrix(virial, "virial"),
            *_byte_string(extra, "extra"),
        )
    )


def encode_posdata_batch(
    positions: Sequence[Buffer | Iterable[float]],
    cells: Sequence[tuple[Buffer | Iterable[float], Buffer | Iterable[float]]],
) -> bytes:
    """Return a ``POSDATA`` message for a batch.

    Parameters
    ----------
    positions : sequence of N blocks
        nat x 3 reals each, the same nat for all.
    cells : sequence of N pairs
        (cell, inverse cell), 9 reals each.

    Raises
    ------
    ValueError
        Sizes differ, a block has the wrong size, or the batch is empty.
    TypeError
        A block holds something else than real numbers.
    """
    blocks = [_block(one, "positions", VECTOR) for one in positions]
    pairs = [_matrix(a, "cell") + _matrix(b, "inverse cell") for a, b in cells]
    nat = _common_nat(blocks, len(pairs))
    return b"".join((_POSDATA_HEAD, _INT.pack(nat), *pairs, *blocks))


def encode_forceready_batch(
    forces: Sequence[Buffer | Iterable[float]],
    energies: Buffer | Iterable[float],
    virials: Sequence[Buffer | Iterable[float]],
    extras: Sequence[Buffer],
) -> bytes:
    """Return a ``FORCEREADY`` message for a batch.

    Parameters
    ----------
    forces : sequence of N blocks
        nat x 3 reals each, the same nat for all.
    energies : iterable of N floats or bytes-like
        Hartree.
    virials : sequence of N blocks
        9 reals each, in wire order.
    extras : sequence of N bytes-like
        At most 2^31 - 1 bytes each.

    Raises
    ------
    ValueError
        Sizes differ, a block has the wrong size, or the batch is empty.
    TypeError
        A block holds something else than real numbers.
    """
    blocks = [_block(one, "forces", VECTOR) for one in forces]
    matrices = [_matrix(one, "virial") for one in virials]
    energy_block = _block(energies, "energies", REAL)
    strings = [_byte_string(one, "extra") for one in extras]
    nat = _common_nat(blocks, len(energy_block) // REAL, len(matrices), len(strings))
    return b"".join(
        (_FORCEREADY_HEAD, energy_block, _INT.pack(nat), *blocks, *matrices, *chain.from_iterable(strings))
    )


def _common_nat(blocks: Sequence[bytes], *counts: int) -> int:
    sizes = {len(block) for block in blocks}
    if len(sizes) != 1 or any(count != len(blocks) for count in counts):
        raise ValueError("a batch needs at least one system, all of one size, and one of everything for each")
    return sizes.pop() // VECTOR
