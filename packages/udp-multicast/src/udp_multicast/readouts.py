"""Readouts: what one datagram means.

Any class with `to_bytes` and a class method `from_bytes` is a readout. Three
ready ones:

=============== ============================================================
`RawBytes`      the bytes of the datagram, as they are
`JsonReadout`   one JSON value, UTF-8
`ArrayReadout`  a numpy array with dtype and shape
=============== ============================================================

Bytes of an `ArrayReadout`, numbers little-endian:

======= ======================================================================
bytes   content
======= ======================================================================
0       length of the dtype, u8
then    dtype as numpy's ``dtype.str``, ASCII: byte order, kind, size (``<f8``)
then    number of dimensions, u8
then    length of each dimension, u32
then    the elements, last dimension fastest
======= ======================================================================

`ArrayReadout.fixed` makes a class for one dtype and shape that both sides
know: its datagrams are the elements alone.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Protocol, Self, TypeVar, runtime_checkable

from wireframe import BadHeader, BadPayload, TruncatedFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

__all__ = ["ArrayReadout", "JsonReadout", "RawBytes", "Readout", "ReadoutClass", "SendableReadout"]

R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class SendableReadout(Protocol):
    """What a sender needs: an object that can be written as bytes."""

    def to_bytes(self) -> bytes:
        """Return the whole datagram."""
        ...


@runtime_checkable
class Readout(SendableReadout, Protocol):
    """What both sides need: an object that can be written as bytes, and read again."""

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """Return the readout of a whole datagram.

        Raises
        ------
        Exception
            It is not one. Which exception does not matter.
        """
        ...


class ReadoutClass(Protocol[R_co]):
    """What a receiver needs: a class, or any object, that makes readouts of bytes."""

    def from_bytes(self, data: bytes, /) -> R_co:
        """Return the readout of a whole datagram, or raise whatever it likes."""
        ...


class RawBytes(bytes):
    """Bytes that are their own readout.

    Examples
    --------
    >>> RawBytes.from_bytes(b"abc").to_bytes()
    b'abc'
    """

    __slots__ = ()

    if TYPE_CHECKING:
        # mypy does not see a class with several constructors, such as bytes, as a `ReadoutClass`.
        def __new__(cls, data: Buffer = b"", /) -> Self: ...  # noqa: D102

        def to_bytes(self) -> bytes:
            """Return the bytes as they are."""

        @classmethod
        def from_bytes(cls, data: bytes, /) -> Self:
            """Return a whole datagram as it is."""
    else:
        # Without a Python function in between: this is the class for speed.
        to_bytes = bytes.__bytes__
        from_bytes = classmethod(bytes.__new__)

    def __repr__(self) -> str:
        return f"RawBytes({super().__repr__()})"


def _refuse_constant(name: str) -> NoReturn:
    raise BadPayload(f"{name} is not JSON")


class JsonReadout:
    """One JSON value.

    Parameters
    ----------
    value : object
        What the `json` module can write; no NaN and no infinity, which JSON
        does not have.

    Attributes
    ----------
    value : object
        As given.

    Examples
    --------
    >>> JsonReadout({"run": 7, "temperature_k": 4.2}).to_bytes()
    b'{"run":7,"temperature_k":4.2}'
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def to_bytes(self) -> bytes:
        """Return the value as JSON without blanks, UTF-8.

        Raises
        ------
        TypeError, ValueError
            JSON has nothing for it.
        """
        return json.dumps(self.value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """Return the readout of a whole datagram.

        Raises
        ------
        wireframe.BadPayload
            It is not one JSON value, or nested too deeply.
        """
        try:
            return cls(json.loads(data.decode(), parse_constant=_refuse_constant))
        except BadPayload:
            raise
        except (ValueError, RecursionError) as error:
            raise BadPayload(f"not JSON: {error}", data) from error

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, JsonReadout) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # values are dicts and lists as a rule

    def __repr__(self) -> str:
        return f"JsonReadout({self.value!r})"


#: Booleans, integers, floats, complex numbers. No objects, whose elements are
#: addresses, and nothing that numpy would have to parse.
_DTYPE: Final = re.compile(r"[<>|][biufc]\d{1,2}", re.ASCII)
_MAX_DIMENSIONS: Final = 32


class ArrayReadout:
    """A numpy array that brings its dtype and shape along. Needs numpy.

    Parameters
    ----------
    array : array_like
        Booleans, integers, floats or complex numbers.

    Attributes
    ----------
    array : ndarray
        The array; that of a received readout is read-only.

    Raises
    ------
    TypeError
        Elements of another kind, such as objects.
    ValueError
        Another dtype or shape than this class was made for, see `fixed`.

    Examples
    --------
    >>> readout = ArrayReadout([[1.0, 2.0]])
    >>> ArrayReadout.from_bytes(readout.to_bytes()).array
    array([[1., 2.]])
    """

    __slots__ = ("array",)

    _dtype: ClassVar[str | None] = None
    _shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, array: npt.ArrayLike) -> None:
        import numpy as np

        self.array: np.ndarray[Any, np.dtype[Any]] = np.asarray(array)
        text = _check_dtype(self.array.dtype)
        if self._dtype is not None and (text, self.array.shape) != (self._dtype, self._shape):
            raise ValueError(
                f"array of {text} {self.array.shape} for readouts of {self._dtype} {self._shape}"
            )

    @classmethod
    def fixed(cls, dtype: npt.DTypeLike, shape: int | Sequence[int]) -> type[ArrayReadout]:
        """Return a class for arrays of one dtype and shape, whose datagrams have no header.

        Parameters
        ----------
        dtype : dtype
            Give the byte order if the two ends may differ: ``"<f8"``.
        shape : int or sequence of int
            Lengths of the dimensions.

        Raises
        ------
        TypeError
            Elements that are not numbers.
        ValueError
            A negative length.

        Examples
        --------
        >>> Waveform = ArrayReadout.fixed("<i2", 4)
        >>> import numpy as np
        >>> Waveform(np.array([1, 2, 3, 4], "<i2")).to_bytes().hex()
        '0100020003000400'
        """
        import numpy as np

        lengths = (shape,) if isinstance(shape, int) else tuple(shape)
        if any(length < 0 for length in lengths):
            raise ValueError(f"negative length in {lengths}")
        text = _check_dtype(np.dtype(dtype))
        return type(cls.__name__, (cls,), {"__slots__": (), "_dtype": text, "_shape": lengths})

    def to_bytes(self) -> bytes:
        """Return header and elements.

        Raises
        ------
        ValueError
            More than 32 dimensions.
        """
        elements = self.array.tobytes()
        if self._dtype is not None:
            return elements
        shape = self.array.shape
        if len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"{len(shape)} dimensions, more than {_MAX_DIMENSIONS}")
        text = self.array.dtype.str.encode()
        return struct.pack(f"<B{len(text)}sB{len(shape)}I", len(text), text, len(shape), *shape) + elements

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """Return the readout of a whole datagram; its array is a view of `data`.

        Raises
        ------
        wireframe.FrameError
            Not a header of this layout, or not as many bytes as it says. Nothing
            was allocated then.
        """
        import numpy as np

        text, shape, start = (cls._dtype, cls._shape, 0) if cls._dtype else _read_header(data)
        try:
            dtype = np.dtype(text)
        except TypeError as error:  # such as floats of 3 bytes
            raise BadHeader(f"no such dtype: {text!r}", data) from error
        expected = start + dtype.itemsize * math.prod(shape)
        if len(data) < expected:
            raise TruncatedFrame(len(data), expected, data)
        if len(data) > expected:
            raise BadPayload(f"{len(data)} bytes, where {text} {shape} has {expected}", data)
        readout = cls.__new__(cls)
        # frombuffer refuses a start at the end, where an empty array begins.
        flat = np.frombuffer(data, dtype, offset=start) if start < len(data) else np.empty(0, dtype)
        try:
            readout.array = flat.reshape(shape)
        except ValueError as error:  # no elements, but lengths beyond what numpy can count
            raise BadHeader(f"no such shape: {shape}", data) from error
        readout.array.flags.writeable = False
        return readout

    def __repr__(self) -> str:
        return f"ArrayReadout({self.array!r})"


def _check_dtype(dtype: np.dtype[Any]) -> str:
    if not _DTYPE.fullmatch(dtype.str):
        raise TypeError(f"arrays of {dtype} are not sent: only booleans and numbers are")
    return dtype.str


def _read_header(data: bytes) -> tuple[str, tuple[int, ...], int]:
    """Return dtype, shape, and where the elements begin."""
    end = 1 + data[0] if data else 1
    if len(data) <= end:
        raise TruncatedFrame(len(data), end + 1, data)
    text = data[1:end].decode("latin-1")
    dimensions = data[end]
    if not _DTYPE.fullmatch(text) or dimensions > _MAX_DIMENSIONS:
        raise BadHeader(f"not the header of an array: dtype {text!r}, {dimensions} dimensions", data)
    start = end + 1 + 4 * dimensions
    if len(data) < start:
        raise TruncatedFrame(len(data), start, data)
    return text, struct.unpack_from(f"<{dimensions}I", data, end + 1), start
