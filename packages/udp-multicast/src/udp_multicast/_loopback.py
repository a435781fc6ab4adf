"""The interface that is there when the network is not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from udp_multicast._address import LOOPBACK_NAMES, Interface, resolve_interface

if TYPE_CHECKING:
    from udp_multicast._address import Group


def loopback(group: Group) -> Interface:
    """Return the loopback interface, as the group's family wants it.

    Raises
    ------
    AddressError
        It has none of the usual names (IPv6 only).
    """
    if group.family == socket.AF_INET:
        return resolve_interface("127.0.0.1", group.family)
    names = {name for _, name in socket.if_nameindex()}
    found = [name for name in LOOPBACK_NAMES if name in names] or LOOPBACK_NAMES
    return resolve_interface(found[0], group.family)
