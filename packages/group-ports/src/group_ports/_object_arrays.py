"""Arrays and numbers of NumPy out of pickles, without letting NumPy read what a peer wrote.

A pickle holds an array as an empty one and a state, or from protocol 5 on as
its memory; a type of number as its name and a state. Here both stay unfinished
until the state is checked, and the array is then made from the bytes that are
there. NumPy is imported when the first one comes.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from group_ports.errors import ObjectRefused

if TYPE_CHECKING:
    from collections.abc import Callable

#: Truth, integers, floats, complex numbers, bytes and text; no objects, records or times.
_CODE: Final = re.compile(r"[<>|=]?(b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU][1-9][0-9]{0,8})")
_MAX_DIMENSIONS: Final = 32
#: More than there is memory; without it, the product of the lengths could take for ever.
_LONGEST: Final = 1 << 48
_HIGHEST_CODE_POINT: Final = 0x10FFFF
_STATE_VERSIONS: Final = (3, 4)
_STATE_PARTS: Final = 8
_ARRAY_STATE_PARTS: Final = 5


class Unfinished:
    """An object whose state is still to come; `value` is what it stands for by now."""

    value: Any = None

    def set_state(self, state: Any) -> None:
        """Check the state and take it."""
        raise NotImplementedError


class Token:
    """The class of arrays, where a pickle names it as an argument."""


def finished(thing: Any) -> Any:
    """Return what this stands for; most objects stand for themselves."""
    if isinstance(thing, Unfinished):
        if thing.value is None:
            raise ObjectRefused("an array without contents")
        return thing.value
    return thing


class _NumberType(Unfinished):
    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or _CODE.fullmatch(code) is None:
            kind = ascii(code[:32]) if isinstance(code, str) else f"a {type(code).__name__}"
            raise ObjectRefused(f"arrays of {kind} are not allowed")
        self.value = _numpy().dtype(code)

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != _STATE_PARTS:
            raise ObjectRefused("not the state of a type of number")
        version, order, subarray, names, fields, size, alignment, flags = state
        if (
            version not in _STATE_VERSIONS
            or order not in ("<", ">", "|", "=")
            or (subarray, names, fields) != (None, None, None)
            or flags != self.value.flags
            or size not in (-1, self.value.itemsize)
            or alignment not in (-1, self.value.alignment)
        ):
            raise ObjectRefused("not the state of a type of number")
        if order in ("<", ">"):
            self.value = self.value.newbyteorder(order)


class _Array(Unfinished):
    def __init__(self, kind: Any, *_: Any) -> None:
        if kind is not NDARRAY:
            raise ObjectRefused("only plain arrays are allowed")

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != _ARRAY_STATE_PARTS:
            raise ObjectRefused("not the state of an array")
        _, shape, kind, is_fortran, memory = state
        self.value = _array(memory, kind, shape, "F" if is_fortran is True else "C")


def _array(memory: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
    np = _numpy()
    if not isinstance(kind, np.dtype) or not isinstance(memory, (bytes, bytearray)):
        raise ObjectRefused("an array is its memory and a type of number")
    if (
        type(shape) is not tuple
        or len(shape) > _MAX_DIMENSIONS
        or not all(type(length) is int and 0 <= length <= _LONGEST for length in shape)
        or order not in ("C", "F")
    ):
        raise ObjectRefused("not the shape of an array")
    if math.prod(shape) * kind.itemsize != len(memory):
        raise ObjectRefused(f"{len(memory)} bytes are no array of shape {shape} of {kind}")
    array = np.frombuffer(memory, kind) if memory else np.empty(0, kind)
    if kind.kind == "b" and memory and array.view("u1").max() > 1:
        raise ObjectRefused("truth is 0 or 1")
    if kind.kind == "U" and memory:
        points = array.view(np.dtype("u4").newbyteorder(kind.byteorder))
        if points.max() > _HIGHEST_CODE_POINT:
            raise ObjectRefused("not text")
    # A copy may be written to, and keeps nothing else alive.
    return array.reshape(shape, order=order).copy(order=order)


def _scalar(kind: Any, memory: Any) -> Any:
    return _array(memory, kind, ())[()]


def _numpy() -> Any:
    try:
        import numpy as np
    except ImportError as error:
        raise ObjectRefused("an array came, and NumPy is not installed") from error
    return np


NDARRAY: Final = Token()

#: Modules (of NumPy 1 and 2), name, and what stands for it.
CONSTRUCTORS: Final[tuple[tuple[tuple[str, ...], str, Callable[..., Any]], ...]] = (
    (("numpy",), "dtype", _NumberType),
    (("numpy.core.multiarray", "numpy._core.multiarray"), "_reconstruct", _Array),
    (("numpy.core.multiarray", "numpy._core.multiarray"), "scalar", _scalar),
    (("numpy.core.numeric", "numpy._core.numeric"), "_frombuffer", _array),
)
