"""One DAQ, any number of monitors: readouts over UDP multicast, with every loss accounted for.

::

    DAQ ── readout ──▶ MulticastSender ── datagram ──▶ group ──▶ MulticastReceiver ── readout ──▶ monitor
                                                            └──▶ MulticastReceiver ── readout ──▶ monitor

Any class with `to_bytes` and a class method `from_bytes` is a readout; nothing
is added to its bytes.
"""

from __future__ import annotations

from udp_multicast._intake import Datagram
from udp_multicast._losses import SenderLosses
from udp_multicast._version import __version__
from udp_multicast.background import BackgroundReceiver
from udp_multicast.channels import (
    ChannelMessage,
    ChannelReceiver,
    ChannelSender,
    ChannelStatistics,
    SenderStatistics,
)
from udp_multicast.errors import (
    AddressError,
    DatagramTooLarge,
    ForeignProcessError,
    ReceiverBusy,
    ReceiverClosed,
    UnsupportedHere,
)
from udp_multicast.multicast_socket import DEFAULT_GROUP, DEFAULT_PORT, MulticastSocketBase
from udp_multicast.readouts import (
    ArrayReadout,
    JsonReadout,
    RawBytes,
    Readout,
    ReadoutClass,
    SendableReadout,
)
from udp_multicast.receiver import DEFAULT_BUFFER_SIZE, DEFAULT_MAX_PACKET_SIZE, MulticastReceiver
from udp_multicast.sender import DEFAULT_TTL, MulticastSender
from udp_multicast.statistics import ReceiverStatistics

__all__ = [
    "DEFAULT_BUFFER_SIZE",
    "DEFAULT_GROUP",
    "DEFAULT_MAX_PACKET_SIZE",
    "DEFAULT_PORT",
    "DEFAULT_TTL",
    "AddressError",
    "ArrayReadout",
    "BackgroundReceiver",
    "ChannelMessage",
    "ChannelReceiver",
    "ChannelSender",
    "ChannelStatistics",
    "Datagram",
    "DatagramTooLarge",
    "ForeignProcessError",
    "JsonReadout",
    "MulticastReceiver",
    "MulticastSender",
    "MulticastSocketBase",
    "RawBytes",
    "Readout",
    "ReadoutClass",
    "ReceiverBusy",
    "ReceiverClosed",
    "ReceiverStatistics",
    "SendableReadout",
    "SenderLosses",
    "SenderStatistics",
    "UnsupportedHere",
    "__version__",
]
