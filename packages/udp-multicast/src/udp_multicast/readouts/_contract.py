"""What a class must have to be sent and received."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar, runtime_checkable

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
