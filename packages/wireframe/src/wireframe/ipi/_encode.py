"""Messages to bytes: the i-PI encoders."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wireframe.ipi._messages import (
    FORCEREADY,
    GETFORCE,
    HEADER_LENGTH,
    IDENTITY,
    INIT,
    MATRIX,
    POSDATA,
    VECTOR,
    ZEROS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Buffer

_INT = struct.Struct("<i")
_TWO_INTS = struct.Struct("<ii")
_REAL = struct.Struct("<d")


def encode_header(name: bytes) -> bytes:
    """Return a header, padded to 12 bytes.

    Raises
    ------
    ValueError
        `name` is longer than 12 bytes.

    Examples
    --------
    >>> encode_header(b"READY")
    b'READY       '
    """
    if len(name) > HEADER_LENGTH:
        raise ValueError(f"header {name!r} is longer than {HEADER_LENGTH} bytes")
    return name.ljust(HEADER_LENGTH)


_POSDATA_HEAD: Final = encode_header(POSDATA)
_FORCEREADY_HEAD: Final = encode_header(FORCEREADY)
_REQUEST_HEAD: Final = _POSDATA_HEAD + IDENTITY + IDENTITY + _INT.pack(1)
_REQUEST_TAIL: Final = encode_header(GETFORCE)


def _block(values: Buffer | Iterable[float], what: str, multiple: int) -> bytes:
    """Little-endian bytes of `values`: floats, or a buffer that already is such a block."""
    block: bytes
    if isinstance(values, (bytes, bytearray, memoryview)):
        block = bytes(values)
    else:
        numbers: Sequence[float] = tuple(values)  # type: ignore[arg-type]
        block = struct.pack(f"<{len(numbers)}d", *numbers)
    if len(block) % multiple:
        raise ValueError(f"{what} must be a multiple of {multiple // 8} reals, got {len(block)} bytes")
    return block


def _matrix(values: Buffer | Iterable[float], what: str) -> bytes:
    block = _block(values, what, MATRIX)
    if len(block) != MATRIX:
        raise ValueError(f"{what} must be 9 reals, got {len(block)} bytes")
    return block


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
        `bead` does not fit 32 bits.

    Examples
    --------
    >>> encode_init(4, b"dt : 0.5")
    b'INIT        \x04\x00\x00\x00\x08\x00\x00\x00dt : 0.5'
    """
    payload = bytes(text)
    try:
        numbers = _TWO_INTS.pack(bead, len(payload))
    except struct.error as error:
        raise ValueError(f"bead {bead!r} is not a signed 32-bit number") from error
    return b"".join((encode_header(INIT), numbers, payload))


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
    """
    block = _block(forces, "forces", VECTOR)
    more = bytes(extra)
    return b"".join(
        (
            _FORCEREADY_HEAD,
            _REAL.pack(energy),
            _INT.pack(len(block) // VECTOR),
            block,
            _matrix(virial, "virial"),
            _INT.pack(len(more)),
            more,
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
    """
    blocks = [_block(one, "positions", VECTOR) for one in positions]
    pairs = [_matrix(a, "cell") + _matrix(b, "inverse cell") for a, b in cells]
    nat = _common_nat(blocks, len(pairs))
    return b"".join((_POSDATA_HEAD, _INT.pack(nat), *pairs, *blocks))


def encode_forceready_batch(
    forces: Sequence[Buffer | Iterable[float]],
    energies: Sequence[float],
    virials: Sequence[Buffer | Iterable[float]],
    extras: Sequence[Buffer],
) -> bytes:
    """Return a ``FORCEREADY`` message for a batch.

    Parameters
    ----------
    forces : sequence of N blocks
        nat x 3 reals each, the same nat for all.
    energies : sequence of N floats
    virials : sequence of N blocks of 9 reals
    extras : sequence of N bytes-like

    Raises
    ------
    ValueError
        Sizes differ, a block has the wrong size, or the batch is empty.
    """
    blocks = [_block(one, "forces", VECTOR) for one in forces]
    matrices = [_matrix(one, "virial") for one in virials]
    texts = [bytes(one) for one in extras]
    nat = _common_nat(blocks, len(energies), len(matrices), len(texts))
    strings = [_INT.pack(len(text)) + text for text in texts]
    return b"".join(
        (_FORCEREADY_HEAD, _block(energies, "energies", 8), _INT.pack(nat), *blocks, *matrices, *strings)
    )


def _common_nat(blocks: Sequence[bytes], *counts: int) -> int:
    sizes = {len(block) for block in blocks}
    if len(sizes) != 1 or any(count != len(blocks) for count in counts):
        raise ValueError("a batch needs at least one system, all of one size, and one of everything for each")
    return sizes.pop() // VECTOR
