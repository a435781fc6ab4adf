"""Bytes as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer


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
        def __new__(cls, data: Buffer = b"", /) -> Self: ...

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
