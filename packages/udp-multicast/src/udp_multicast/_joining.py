"""Joining groups and choosing the interface to send on: one request per family and platform."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

from udp_multicast import _options
from udp_multicast.errors import AddressError, UnsupportedHere

if TYPE_CHECKING:
    from udp_multicast._address import Group, Interface

#: Errors of a system that has no route to multicast groups, or no interface for them.
NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENODEV, errno.EADDRNOTAVAIL})
#: IPv4 group, interface address, interface index.
_MEMBERSHIP: Final = struct.Struct("@4s4si")
#: IPv6 group, interface index.
_MEMBERSHIP_IPV6: Final = struct.Struct("@16sI")
#: Interface index, then two socket addresses of 128 bytes, aligned as they are.
_SOURCE_MEMBERSHIP: Final = struct.Struct("@I0Q128s128s")
#: Socket addresses on Linux: family, port, IPv4 number; family, port, flow, IPv6 number, scope.
_SOCKADDR: Final = struct.Struct("@HH4s")
_SOCKADDR_IPV6: Final = struct.Struct("@HHI16sI")


def join(sock: socket.socket, group: Group, interface: Interface, source: str | None = None) -> None:
    """Join a group on an interface.

    Parameters
    ----------
    sock : socket.socket
        A datagram socket of the group's family.
    group : Group
        What to join.
    interface : Interface
        Where; `ANY_INTERFACE` lets the routing table choose one.
    source : str, optional
        Take datagrams of this sender only; the kernel drops all others.

    Raises
    ------
    OSError
        No such interface, no route (ENODEV), joined already (EADDRINUSE), or
        more groups than the system allows for one socket (ENOBUFS).
    UnsupportedHere
        A source was given, and the system is not Linux.
    """
    _change(sock, group, interface, source, joining=True)


def leave(sock: socket.socket, group: Group, interface: Interface, source: str | None = None) -> None:
    """Undo what `join` did with the same arguments."""
    _change(sock, group, interface, source, joining=False)


def _change(
    sock: socket.socket, group: Group, interface: Interface, source: str | None, *, joining: bool
) -> None:
    level = socket.IPPROTO_IP if group.family == socket.AF_INET else socket.IPPROTO_IPV6
    if source is not None:
        option, request = _source_request(group, interface, source, joining=joining)
    elif group.family == socket.AF_INET:
        option = socket.IP_ADD_MEMBERSHIP if joining else socket.IP_DROP_MEMBERSHIP
        request = group.packed + _ipv4_interface(interface)
    else:
        option = socket.IPV6_JOIN_GROUP if joining else socket.IPV6_LEAVE_GROUP
        request = _MEMBERSHIP_IPV6.pack(group.packed, interface.index)
    sock.setsockopt(level, option, request)


def _ipv4_interface(interface: Interface) -> bytes:
    """Return the second half of an IPv4 membership request."""
    address = socket.inet_aton(interface.address)
    if not _options.WINDOWS:
        return address + struct.pack("@i", interface.index)
    # Windows takes 0.0.0.index for an address.
    return struct.pack("!I", interface.index) if interface.index else address


def _source_request(group: Group, interface: Interface, source: str, *, joining: bool) -> tuple[int, bytes]:
    by_index = _options.MCAST_JOIN_SOURCE_GROUP if joining else _options.MCAST_LEAVE_SOURCE_GROUP
    by_address = _options.IP_ADD_SOURCE_MEMBERSHIP if joining else _options.IP_DROP_SOURCE_MEMBERSHIP
    if by_index is None or by_address is None:
        raise UnsupportedHere("joining a group for chosen sources (sources=)")
    number = socket.inet_pton(group.family, source)
    if group.family == socket.AF_INET6:
        scope = interface.index if group.needs_interface else 0
        to, sender = (
            _SOCKADDR_IPV6.pack(socket.AF_INET6, 0, 0, one, scope) for one in (group.packed, number)
        )
    elif interface.index:
        to, sender = (_SOCKADDR.pack(socket.AF_INET, 0, one) for one in (group.packed, number))
    else:
        return by_address, group.packed + socket.inet_aton(interface.address) + number
    return by_index, _SOURCE_MEMBERSHIP.pack(interface.index, to, sender)


def send_on(sock: socket.socket, group: Group, interface: Interface) -> None:
    """Choose the interface that multicast datagrams of this socket leave by.

    Raises
    ------
    OSError
        There is no such interface.
    """
    if group.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
        return
    address = socket.inet_aton(interface.address)
    if not interface.index:
        request = address
    elif _options.WINDOWS:
        request = struct.pack("!I", interface.index)
    else:
        request = _MEMBERSHIP.pack(bytes(4), address, interface.index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)


def require_interface(group: Group, interface: Interface) -> None:
    """Refuse a group that means another one on each interface, when none was named.

    Raises
    ------
    AddressError
        The group is one of ``ff01::/16`` or ``ff02::/16``, and no interface was given.
    """
    if group.is_multicast and group.needs_interface and not interface.index:
        raise AddressError(f"{group.host} exists once per interface: give the interface")
