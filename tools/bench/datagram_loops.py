"""Bare datagram loops, the floor of udp-multicast: what the sockets cost, and nothing else."""

from __future__ import annotations

import socket
from typing import Final, Self

GROUP: Final = "239.255.76.68"
LOCAL: Final = "127.0.0.1"
#: Bytes of receive buffer that every receiver of the bench asks for.
RECEIVE_BUFFER: Final = 4 << 20


class PythonReadout:
    """A readout whose methods are Python's, as those of most users are."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def to_bytes(self) -> bytes:
        """Return the datagram."""
        return self.payload

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Keep the datagram."""
        return cls(data)


def bare_sender() -> socket.socket:
    """Return a socket that sends to groups on the loopback interface."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOCAL))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
    return sender


def bare_receiver(port: int) -> socket.socket:
    """Return a socket that receives the group on the loopback interface."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    receiver.bind((GROUP, port))
    membership = socket.inet_aton(GROUP) + socket.inet_aton(LOCAL)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return receiver
