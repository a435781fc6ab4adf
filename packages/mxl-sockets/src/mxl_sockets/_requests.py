"""The requests of one step, side by side in one block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mxl_sockets._arrays import WIRE_FLOAT
from wireframe import ipi

if TYPE_CHECKING:
    from mxl_sockets._arrays import Fields


class RequestBlock:
    """The requests of one step, 196 bytes each, in one preallocated block.

    Parameters
    ----------
    count : int
        Number of molecules.
    last_header : bytes
        What follows each field: ``GETFORCE``, or ``STATUS`` for two phases.

    Attributes
    ----------
    rows : list of memoryview
        One request each; valid until the next `fill`.
    """

    def __init__(self, count: int, last_header: bytes) -> None:
        self._shape = (count, 3)
        template = ipi.encode_request(bytes(24))[: -ipi.HEADER_LENGTH] + ipi.encode_header(last_header)
        block = bytearray(template * count)
        strides = (ipi.REQUEST_LENGTH, WIRE_FLOAT.itemsize)
        self._fields: Fields = np.ndarray(self._shape, WIRE_FLOAT, block, ipi.REQUEST_FIELD_OFFSET, strides)
        self._staged = bytearray(24 * count)
        self._values: Fields = np.ndarray(self._shape, WIRE_FLOAT, self._staged)
        view = memoryview(block)
        self.rows = [
            view[start : start + ipi.REQUEST_LENGTH] for start in range(0, len(block), ipi.REQUEST_LENGTH)
        ]

    def fill(self, fields: bytes) -> None:
        """Put 24 bytes of field into each request."""
        self._staged[:] = fields
        self._fields[...] = self._values
