"""numpy arrays to request bytes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

#: Vectors: shape (N, 3), float64.
Fields: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

#: float64 in wire order; the native type on every machine that speaks this protocol.
WIRE_FLOAT: Final = np.dtype("<f8")


def reals(values: ArrayLike) -> Fields:
    """Return float64, or raise TypeError where numpy would make some of anything.

    Asked for float64 at once, numpy reads strings, takes None for nan and
    drops imaginary parts.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{array.dtype} is no type of real numbers")
    return array.astype(WIRE_FLOAT, copy=False)


def fields_of_requests(requests: Mapping[int, Mapping[str, Any]]) -> bytes:
    """Return the ``efield_au`` of all requests as one block.

    Parameters
    ----------
    requests : mapping of int to mapping
        Each with ``efield_au``, array-like, shape (3,), atomic units.

    Returns
    -------
    bytes
        3 little-endian float64 for each request, in order.

    Raises
    ------
    ValueError
        A field is missing or is not three real numbers; the molecule is named.
    """
    try:
        fields = reals([request["efield_au"] for request in requests.values()])
        if fields.shape == (len(requests), 3):
            return fields.tobytes()
    except (KeyError, TypeError, ValueError):
        pass  # find out below who it was
    for molecule_id, request in requests.items():
        try:
            shape = reals(request["efield_au"]).shape
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"molecule {molecule_id}: no usable efield_au in its request: {error!r}"
            ) from error
        if shape != (3,):
            raise ValueError(f"molecule {molecule_id}: efield_au has shape {shape}, it must be (3,)")
    raise ValueError("the requests hold no fields of shape (3,)")


def fields_of_array(fields: ArrayLike, count: int) -> bytes:
    """Return an (N, 3) array as one block.

    Raises
    ------
    ValueError
        The shape is not ``(count, 3)``, or these are not real numbers.
    """
    try:
        array = reals(fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fields are no array of real numbers: {error}") from error
    if array.shape != (count, 3):
        raise ValueError(f"fields have shape {array.shape}, the molecules need ({count}, 3)")
    return array.tobytes()


def vectors_of(block: bytes) -> Fields:
    """Return a writable (N, 3) array of its own of the vectors in a block."""
    return np.ndarray((len(block) // 24, 3), WIRE_FLOAT, bytearray(block))
