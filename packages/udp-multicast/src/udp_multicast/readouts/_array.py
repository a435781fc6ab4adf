"""Arrays of numpy, with or without a header; `udp_multicast.readouts` shows the layout."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from wireframe import BadHeader, BadPayload, TruncatedFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

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

    #: Of a class for one kind of array, and the bytes that takes.
    _dtype: ClassVar[np.dtype[Any] | None] = None
    _shape: ClassVar[tuple[int, ...]] = ()
    _size: ClassVar[int] = 0

    def __init__(self, array: npt.ArrayLike) -> None:
        import numpy as np

        self.array: np.ndarray[Any, np.dtype[Any]] = np.asarray(array)
        dtype, shape = self.array.dtype, self.array.shape
        _check_dtype(dtype)
        if self._dtype is not None and (dtype, shape) != (self._dtype, self._shape):
            raise ValueError(f"array of {dtype.str} {shape} for readouts of {self._dtype.str} {self._shape}")

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
        kind = np.dtype(dtype)
        _check_dtype(kind)
        size = kind.itemsize * math.prod(lengths)
        names = {"__slots__": (), "_dtype": kind, "_shape": lengths, "_size": size}
        return type(cls.__name__, (cls,), names)

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
        if cls._dtype is not None:
            dtype, shape, start, size = cls._dtype, cls._shape, 0, cls._size
        else:
            dtype, shape, start = _read_header(data)
            size = start + dtype.itemsize * math.prod(shape)
        if len(data) != size:
            if len(data) < size:
                raise TruncatedFrame(len(data), size, data)
            raise BadPayload(f"{len(data)} bytes, where the array has {size}", data)
        import numpy as np

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


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if not _DTYPE.fullmatch(dtype.str):
        raise TypeError(f"arrays of {dtype} are not sent: only booleans and numbers are")


def _read_header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
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
    import numpy as np

    try:
        dtype = np.dtype(text)
    except TypeError as error:  # such as floats of 3 bytes
        raise BadHeader(f"no such dtype: {text!r}", data) from error
    return dtype, struct.unpack_from(f"<{dimensions}I", data, end + 1), start
