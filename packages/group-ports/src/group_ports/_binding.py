"""Binding to an interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq

from group_ports._room import FOR_BIND, require_files
from group_ports._socket_options import endpoint

if TYPE_CHECKING:
    from group_ports.security import CurveKeys


def bind(socket: zmq.Socket[bytes], host: str, port: int, keys: CurveKeys | None) -> int:
    """Bind and return the TCP port.

    Parameters
    ----------
    socket : zmq.Socket
    host : str
        Address of the interface.
    port : int
        0 for any that is free.
    keys : CurveKeys or None

    Raises
    ------
    zmq.ZMQError
        The address is taken, or not here.
    PortError
        There is no file left.
    ValueError
        Not a host.
    """
    if keys is not None:
        keys.guard(socket)
    if ":" in host:
        socket.setsockopt(zmq.IPV6, 1)
    require_files(FOR_BIND)
    socket.bind(endpoint(host, port or "*"))
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    return int(bytes(bound).rstrip(b"\0").rpartition(b":")[2])
