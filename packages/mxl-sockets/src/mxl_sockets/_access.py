"""Who may connect: address lists for TCP, the same user for UNIX sockets."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

#: Networks that may connect; None for all of them.
Allowed: TypeAlias = "tuple[IPv4Network | IPv6Network, ...] | None"


def parse_allowed(allow: Iterable[str] | None) -> Allowed:
    """Read a list of addresses and networks such as ``"10.1.0.0/16"`` or ``"::1"``.

    Raises
    ------
    ValueError
        An entry is neither an address nor a network, or is an address within a
        network, such as ``"10.1.2.3/16"``.
    TypeError
        A single text instead of a list.
    """
    if allow is None:
        return None
    if isinstance(allow, str):
        raise TypeError(f"a list of addresses, not a single text: {allow!r}")
    from ipaddress import ip_network  # here and below: few hubs have a list

    return tuple(map(ip_network, allow))


def is_allowed(host: str, allowed: Allowed) -> bool:
    """Whether a numeric address is in the list: None has everybody, an empty one nobody."""
    if allowed is None:
        return True
    from ipaddress import ip_address

    address = ip_address(host.partition("%")[0])
    # A dual-stack listener sees IPv4 peers as ::ffff:a.b.c.d.
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network or address in network for network in allowed)


def foreign_user(connection: socket.socket) -> int | None:
    """Return the user id of a UNIX peer that is neither us nor root, else None.

    The kernel is asked (``SO_PEERCRED``), which Python offers on Linux only.
    Elsewhere the socket's file mode 0600 is the only guard, and None is returned.
    """
    if sys.platform != "linux":
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return None if user in (0, os.geteuid()) else user
