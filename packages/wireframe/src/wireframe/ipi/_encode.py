"""Messages to bytes: the i-PI encoders.

Blocks of reals may be given as floats in one flat iterable, as little-endian
float64 bytes, or as any float64 array that shares its memory (``array``,
``numpy.ndarray`` of any shape). Bytes are passed on as they are, so every NaN,
infinity, denormal and -0.0 arrives as it was.
"""

from __future__ import annotations

import struct
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
from wireframe.ipi._primitives import block_of, byte_string, exact_block, int32, octets, pack_reals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Buffer


def encode_header(name: bytes) -> bytes:
    """Return a header, padded to 12 bytes.

    Parameters
    ----------
    name : bytes-like
        ASCII, upper case, at most 12 bytes.

    Returns
    -------
    bytes, 12

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
    header = octets(name)
    if len(header) > HEADER_LENGTH:
        raise ValueError(f"header {header!r} is longer than {HEADER_LENGTH} bytes")
    return header.ljust(HEADER_LENGTH)


_INIT_HEAD: Final = encode_header(INIT)
_POSDATA_HEAD: Final = encode_header(POSDATA)
_FORCEREADY_HEAD: Final = encode_header(FORCEREADY)
_FORCEREADY_BEGIN: Final = struct.Struct(f"<{HEADER_LENGTH}sdi")
_REQUEST_HEAD: Final = _POSDATA_HEAD + IDENTITY + IDENTITY + int32(1, "atom count")
_REQUEST_TAIL: Final = encode_header(GETFORCE)


def encode_init(bead: int, text: Buffer = b"") -> bytes:
    r"""Return an ``INIT`` message.

    Parameters
    ----------
    bead : int
        Bead index or molecule id, a signed 32-bit number.
    text : bytes-like
        Parameters for the driver.

    Returns
    -------
    bytes, 20 and the text

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
    return b"".join((_INIT_HEAD, int32(bead, "bead"), *byte_string(text, "text")))


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

    Returns
    -------
    bytes, 160 + 24 nat

    Raises
    ------
    ValueError
        A block has the wrong size.
    TypeError
        A block holds something else than 64-bit real numbers.
    """
    block = block_of(positions, "positions", VECTOR)
    return b"".join(
        (
            _POSDATA_HEAD,
            exact_block(cell, "cell", MATRIX),
            exact_block(inverse_cell, "inverse cell", MATRIX),
            int32(len(block) // VECTOR, "atom count"),
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

    Returns
    -------
    bytes, 196

    Raises
    ------
    ValueError
        It is not one vector.
    TypeError
        It holds something else than 64-bit real numbers.
    """
    block = block_of(field_au, "field", VECTOR)
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

    Returns
    -------
    bytes, 124 + 24 (nat - 1) and the extra

    Raises
    ------
    ValueError
        A block has the wrong size.
    TypeError
        A block holds something else than 64-bit real numbers.
    """
    block = block_of(forces, "forces", VECTOR)
    nat = len(block) // VECTOR
    matrix = exact_block(virial, "virial", MATRIX)
    try:
        begin = _FORCEREADY_BEGIN.pack(_FORCEREADY_HEAD, energy, nat)
    except struct.error:  # one by one they say what is wrong
        begin = _FORCEREADY_HEAD + pack_reals((energy,), "energy") + int32(nat, "atom count")
    return b"".join((begin, block, matrix, *byte_string(extra, "extra")))


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

    Returns
    -------
    bytes, 16 + N (144 + 24 nat)

    Raises
    ------
    ValueError
        Sizes differ, a block has the wrong size, or the batch is empty.
    TypeError
        A block holds something else than 64-bit real numbers.
    """
    blocks = [block_of(one, "positions", VECTOR) for one in positions]
    pairs = [exact_block(a, "cell", MATRIX) + exact_block(b, "inverse cell", MATRIX) for a, b in cells]
    nat = _common_nat(blocks, len(pairs))
    return b"".join((_POSDATA_HEAD, int32(nat, "atom count"), *pairs, *blocks))


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

    Returns
    -------
    bytes, 16 + N (8 + 24 nat + 72 + 4) and the extras

    Raises
    ------
    ValueError
        Sizes differ, a block has the wrong size, or the batch is empty.
    TypeError
        A block holds something else than 64-bit real numbers.
    """
    blocks = [block_of(one, "forces", VECTOR) for one in forces]
    matrices = [exact_block(one, "virial", MATRIX) for one in virials]
    energy_block = block_of(energies, "energies", REAL)
    strings = [byte_string(one, "extra") for one in extras]
    nat = _common_nat(blocks, len(energy_block) // REAL, len(matrices), len(strings))
    return b"".join(
        (
            _FORCEREADY_HEAD,
            energy_block,
            int32(nat, "atom count"),
            *blocks,
            *matrices,
            *chain.from_iterable(strings),
        )
    )


def _common_nat(blocks: Sequence[bytes], *counts: int) -> int:
    sizes = {len(block) for block in blocks}
    if len(sizes) != 1 or any(count != len(blocks) for count in counts):
        raise ValueError("a batch needs at least one system, all of one size, and one of everything for each")
    return sizes.pop() // VECTOR
