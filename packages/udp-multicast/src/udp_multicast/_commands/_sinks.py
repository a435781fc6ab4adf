"""One face for sending on both wires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from udp_multicast.channels import ChannelSender
from udp_multicast.sender import DEFAULT_TTL, MulticastSender

if TYPE_CHECKING:
    from types import TracebackType

    from udp_multicast._commands._place import Place


class Sink(Protocol):
    """What `open_sink` returns; a context manager.

    Attributes
    ----------
    messages, size : int
        What was sent, and its bytes.
    """

    messages: int
    size: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def send(self, channel: str, data: bytes) -> None:
        """Send on a channel; plain readouts have none."""
        ...


class PlainSink:
    """Plain readouts, one datagram each.

    Parameters
    ----------
    place : Place
        Where to send.
    """

    def __init__(self, place: Place) -> None:
        ttl = DEFAULT_TTL if place.ttl is None else place.ttl
        self._sender = MulticastSender(place.group, place.port, ttl, interface=place.interface)
        self.messages = 0
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.close()

    def send(self, channel: str, data: bytes) -> None:
        """Send a readout; its channel has no place on this wire."""
        self.size += self._sender.send_data(data)
        self.messages += 1


class ChannelSink:
    """Messages of channels.

    Parameters
    ----------
    place : Place
        Where to send.
    """

    def __init__(self, place: Place) -> None:
        self._sender = ChannelSender(
            place.channels[0] if place.channels else "",
            place.group,
            place.port,
            place.ttl,
            interface=place.interface,
        )
        self.messages = 0
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.close()

    def send(self, channel: str, data: bytes) -> None:
        """Send a message."""
        self.size += self._sender.send(data, channel=channel)
        self.messages += 1


def open_sink(place: Place) -> PlainSink | ChannelSink:
    """Begin to send.

    Raises
    ------
    OSError, ValueError
        The place cannot be used.
    """
    return ChannelSink(place) if place.on_channels else PlainSink(place)
