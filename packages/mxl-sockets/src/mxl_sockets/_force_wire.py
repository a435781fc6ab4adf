"""Positions and forces as bytes: the messages of `mxl_sockets.forces`.

On the wire a cell has its lattice vectors in columns, and programs send the
transpose of their virial; here cells have them in rows and virials are as
they were meant.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mxl_sockets._arrays import WIRE_FLOAT, reals
from mxl_sockets._model import encode_extra
from mxl_sockets.errors import ModelError
from mxl_sockets.forces import ForceResult
from wireframe import ipi

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mxl_sockets._arrays import Fields

_ENERGY: Final = struct.Struct("<d")
_VECTOR: Final = 24
_MATRIX: Final = 72
_GETFORCE: Final = ipi.encode_header(ipi.GETFORCE)
#: What stands for a virial that a model does not give; and all that it may leave out, in its place.
_NO_VIRIAL: Final = object()
_NOT_GIVEN: Final = (None, None, _NO_VIRIAL, b"")
#: Bytes of a request that are not positions.
_AROUND: Final = ipi.REQUEST_LENGTH - _VECTOR


def encode_force_request(positions: ArrayLike, cell: ArrayLike | None) -> bytes:
    """Return POSDATA and GETFORCE in one piece.

    Parameters
    ----------
    positions : array-like, shape (nat, 3)
        Bohr, at least one atom.
    cell : array-like, shape (3, 3), or None
        Bohr, rows are the lattice vectors; None is the unit matrix.

    Raises
    ------
    ValueError
        A shape is wrong, these are not real finite numbers, or the cell has
        no volume.
    """
    atoms = _finite(positions, "positions")
    if atoms.ndim != 2 or atoms.shape[1] != 3 or not len(atoms):
        raise ValueError(f"positions have shape {atoms.shape}, they must be (nat, 3) with at least one atom")
    if cell is None:
        matrices: tuple[bytes, bytes] = (ipi.IDENTITY, ipi.IDENTITY)
    else:
        box = _finite(cell, "the cell")
        if box.shape != (3, 3):
            raise ValueError(f"the cell has shape {box.shape}, it must be (3, 3)")
        try:
            inverse = np.linalg.inv(box)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"the cell has no volume: {box.tolist()}") from error
        matrices = (_transposed(box), _transposed(inverse))
    return ipi.encode_posdata(atoms.tobytes(), *matrices) + _GETFORCE


def atoms_of(request: bytes) -> int:
    """Return how many atoms a request of `encode_force_request` has."""
    return (len(request) - _AROUND) // _VECTOR


def pack_answer(reply: ipi.ForceReady) -> bytes:
    """Return the numbers of a reply side by side: energy, virial, forces."""
    return _ENERGY.pack(reply.energy) + reply.virial + reply.forces


def unpack_answer(block: memoryview, nat: int, extra: bytes) -> tuple[ForceResult, memoryview]:
    """Return what `pack_answer` packed, and the rest of the block."""
    forces_at = _ENERGY.size + _MATRIX
    end = forces_at + _VECTOR * nat
    (energy,) = _ENERGY.unpack_from(block)
    virial = _matrix(block[_ENERGY.size : forces_at])
    forces = np.frombuffer(block[forces_at:end], WIRE_FLOAT).reshape(nat, 3).astype(np.float64)
    return ForceResult(energy, forces, virial, extra), block[end:]


def read_cell(message: ipi.PosData) -> Fields:
    """Return the cell of a message, as an array of its own."""
    return _matrix(message.cell)


def encode_force_reply(result: Any, nat: int) -> bytes:
    """Return FORCEREADY with what a model gave, a `ForceResult` or a tuple.

    Raises
    ------
    ModelError
        It cannot be sent.
    """
    if isinstance(result, ForceResult):
        energy, forces, virial, extra = result.energy, result.forces, result.virial, result.extra
    elif isinstance(result, tuple) and 2 <= len(result) <= 4:
        given: tuple[Any, ...] = result + _NOT_GIVEN[len(result) :]
        energy, forces, virial, extra = given
    else:
        raise ModelError(f"model returned {result!r:.60}, want a ForceResult or (energy, forces)")
    try:
        number = float(energy)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"model returned energy {energy!r:.60}, want a number") from error
    return ipi.encode_forceready(
        _given(forces, (nat, 3), "forces").tobytes(),
        number,
        ipi.ZEROS if virial is _NO_VIRIAL else _transposed(_given(virial, (3, 3), "a virial")),
        encode_extra(extra),
    )


def _finite(values: ArrayLike, what: str) -> Fields:
    try:
        array = reals(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: no array of real numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: not all numbers are finite; no program can compute with that")
    return array


def _given(values: Any, shape: tuple[int, int], what: str) -> Fields:
    try:
        array = reals(values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model returned {what} that cannot be sent: {error}") from error
    if array.shape != shape:
        raise ModelError(f"model returned {what} of shape {array.shape}, want {shape}")
    return array


def _matrix(block: bytes | memoryview) -> Fields:
    return np.ndarray((3, 3), WIRE_FLOAT, block, 0, (8, 24)).astype(np.float64, order="C")


def _transposed(matrix: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> bytes:
    return matrix.T.astype(WIRE_FLOAT).tobytes()
