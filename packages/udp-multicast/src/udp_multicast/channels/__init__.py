"""Channels: numbered messages of any size, on the wire of LCM.

A readout on a channel has a name and a number. Names let several streams share
a group; numbers let every receiver count what each sender sent and it did not
get; and readouts larger than a datagram travel in fragments. Any LCM program
can read and write these streams, `wireframe.datagram` has the bytes.

This costs 9 bytes and the name per message, and plain `MulticastReceiver` and
astropix programs do not understand it: both ends have to use channels.
"""

from __future__ import annotations

from udp_multicast._url import DEFAULT_URL, ChannelUrl, parse_url
from udp_multicast.channels._message import ChannelMessage
from udp_multicast.channels._receiver import ChannelReceiver
from udp_multicast.channels._sender import DEFAULT_BYTES_PER_S, ChannelSender
from udp_multicast.channels._statistics import ChannelStatistics, SenderStatistics

__all__ = [
    "DEFAULT_BYTES_PER_S",
    "DEFAULT_URL",
    "ChannelMessage",
    "ChannelReceiver",
    "ChannelSender",
    "ChannelStatistics",
    "ChannelUrl",
    "SenderStatistics",
    "parse_url",
]
