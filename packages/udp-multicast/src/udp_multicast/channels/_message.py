"""A message as a receiver of channels returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

ReadoutT = TypeVar("ReadoutT")

#: Source address of a datagram: host and port, and for IPv6 flow and scope.
Address: TypeAlias = tuple[Any, ...]
#: A datagram and who sent it. A view is good until the next ones are fetched.
Arrived: TypeAlias = tuple[bytes | memoryview, Address]


@dataclass(slots=True)
class ChannelMessage(Generic[ReadoutT]):
    """One message of one channel.

    Attributes
    ----------
    channel : str
        Its name, at most 63 bytes of UTF-8.
    readout : bytes or instance of the readout class
        What it carries.
    sequence : int
        Its number among all messages of its sender, 0 to 2^32 - 1.
    sender : tuple
        Host and port it came from; for IPv6 also flow and scope.
    """

    channel: str
    readout: ReadoutT
    sequence: int
    sender: Address
