"""One face for both wires: what arrives, and how it went."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

from udp_multicast.channels import ChannelReceiver
from udp_multicast.readouts import RawBytes
from udp_multicast.receiver import MulticastReceiver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from udp_multicast._commands._place import Place

ReceiverT = TypeVar("ReceiverT", bound="MulticastReceiver[Any] | ChannelReceiver[Any]")

#: Senders of plain readouts that are told apart.
MAX_SENDERS: Final = 256
#: Bytes of receive buffer to ask for.
BUFFER_SIZE: Final = 4 << 20


@dataclass(slots=True)
class Arrival:
    """A readout or message that arrived.

    Attributes
    ----------
    channel : str
        Its channel; of a plain readout group and port.
    data : bytes
        What it carries.
    """

    channel: str
    data: bytes


@dataclass(slots=True)
class SenderTotals:
    """What came from one sender; `lost` is None where numbers are unknown."""

    messages: int = 0
    bytes: int = 0
    lost: int | None = None


@dataclass(slots=True)
class Totals:
    """What came so far.

    Attributes
    ----------
    messages, bytes : int
        Readouts or messages, and their payloads.
    lost : int or None
        Numbers that did not arrive; None for plain readouts, which have none.
    refused : int
        Datagrams that were not for us or broken.
    kernel_drops : int or None
        Datagrams dropped by the system, None where it does not tell.
    granted_buffer : int
        Bytes of the receive buffer.
    senders : mapping of str to SenderTotals
        By ``host:port``.
    """

    messages: int = 0
    bytes: int = 0
    lost: int | None = None
    refused: int = 0
    kernel_drops: int | None = None
    granted_buffer: int = 0
    senders: Mapping[str, SenderTotals] = field(default_factory=dict)


class Source(Protocol):
    """What `open_source` returns; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def receive(self, timeout: float) -> Arrival:
        """Return what arrives next, or raise `TimeoutError`."""
        ...

    def totals(self) -> Totals:
        """Return how it went so far."""
        ...


def name_of(sender: tuple[object, ...]) -> str:
    """Return a source address as people write it."""
    host, port = str(sender[0]), sender[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Listening(Generic[ReceiverT]):
    """A receiver, until the end of the `with`."""

    def __init__(self, receiver: ReceiverT) -> None:
        self._receiver = receiver

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.close()

    @property
    def port(self) -> int:
        """The port, also where the system chose it."""
        return self._receiver.port


class PlainSource(_Listening[MulticastReceiver[RawBytes]]):
    """Plain readouts, one datagram each.

    Parameters
    ----------
    place : Place
        Where to listen.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(
            MulticastReceiver(
                RawBytes,
                place.group,
                place.port,
                interface=place.interface,
                buffer_size=place.buffer_size or BUFFER_SIZE,
            )
        )
        self._label = str(place)
        self._messages = 0
        self._bytes = 0
        #: By source address, the last one heard at the end.
        self._senders: OrderedDict[tuple[object, ...], SenderTotals] = OrderedDict()

    def receive(self, timeout: float) -> Arrival:
        """Return what arrives next, or raise `TimeoutError`."""
        datagram = self._receiver.receive_datagram(timeout=timeout)
        size = len(datagram.data)
        self._messages += 1
        self._bytes += size
        sender = self._senders.get(datagram.sender)
        if sender is None:
            if len(self._senders) >= MAX_SENDERS:
                self._senders.popitem(last=False)
            sender = self._senders[datagram.sender] = SenderTotals()
        else:
            self._senders.move_to_end(datagram.sender)
        sender.messages += 1
        sender.bytes += size
        return Arrival(self._label, datagram.data)

    def totals(self) -> Totals:
        """Return how it went so far."""
        statistics = self._receiver.statistics
        return Totals(
            messages=self._messages,
            bytes=self._bytes,
            lost=None,
            refused=statistics.strangers + statistics.broken,
            kernel_drops=statistics.kernel_drops,
            granted_buffer=statistics.granted_buffer,
            senders={name_of(sender): one for sender, one in self._senders.items()},
        )


class ChannelSource(_Listening[ChannelReceiver[bytes]]):
    """Messages of channels.

    Parameters
    ----------
    place : Place
        Where to listen, and to which channels.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(
            ChannelReceiver(
                None,
                place.channels or None,
                place.group,
                place.port,
                interface=place.interface,
                buffer_size=place.buffer_size,
            )
        )

    def receive(self, timeout: float) -> Arrival:
        """Return what arrives next, or raise `TimeoutError`."""
        message = self._receiver.receive(timeout=timeout)
        return Arrival(message.channel, message.readout)

    def totals(self) -> Totals:
        """Return how it went so far."""
        statistics = self._receiver.statistics
        return Totals(
            messages=statistics.messages - statistics.ignored,
            bytes=statistics.bytes,
            lost=statistics.lost,
            refused=statistics.foreign + statistics.broken + statistics.strangers,
            kernel_drops=statistics.kernel_drops,
            granted_buffer=statistics.granted_buffer,
            senders={
                name_of(sender): SenderTotals(one.messages, one.bytes, one.lost)
                for sender, one in statistics.senders.items()
            },
        )


def open_source(place: Place) -> PlainSource | ChannelSource:
    """Begin to listen.

    Raises
    ------
    OSError, ValueError
        The place cannot be used.
    """
    return ChannelSource(place) if place.on_channels else PlainSource(place)
