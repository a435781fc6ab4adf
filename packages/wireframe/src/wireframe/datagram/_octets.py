"""Any bytes-like object as a flat row of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


def octets(data: Buffer) -> bytes | memoryview:
    """Return the memory of a buffer: bytes as they are, others as a view of single bytes.

    A copy is made only where no flat view exists: strided arrays, arrays of
    foreign byte order, arrays without an element.

    Raises
    ------
    TypeError
        `data` is not bytes-like.
    """
    if type(data) is bytes:
        return data
    view = memoryview(data)
    try:
        return view.cast("B")
    except TypeError:
        return memoryview(view.tobytes())
