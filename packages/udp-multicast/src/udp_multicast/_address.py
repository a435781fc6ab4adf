"""Groups, interfaces and sources: from what people write to what the system wants."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from udp_multicast.errors import AddressError

#: Linux: one line per IPv6 address, with the index of its interface in hexadecimal.
_IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")


@dataclass(frozen=True, slots=True)
class Group:
    """Where datagrams go to and come from.

    Attributes
    ----------
    host : str
        The number, without the scope of an IPv6 address.
    family : socket.AddressFamily
        AF_INET or AF_INET6.
    is_multicast : bool
        False for the address of one host, such as the default 127.0.0.1.
    needs_interface : bool
        Whether the same number means another group on each interface.
    scope : str
        What stood behind ``%``, or nothing.
    """

    host: str
    family: socket.AddressFamily
    is_multicast: bool
    needs_interface: bool = False
    scope: str = ""

    def target(self, port: int, index: int = 0) -> tuple[Any, ...]:
        """Return the address for `bind` and `sendto`.

        Parameters
        ----------
        port : int
            UDP port.
        index : int, optional
            Interface, for IPv6 addresses that need one.
        """
        if self.family == socket.AF_INET:
            return self.host, port
        return self.host, port, 0, index if self.needs_interface else 0

    @property
    def packed(self) -> bytes:
        """The number in network byte order, 4 or 16 bytes."""
        return socket.inet_pton(self.family, self.host)


def parse_group(text: str) -> Group:
    """Read a group.

    Parameters
    ----------
    text : str
        IPv4 or IPv6 number, IPv6 also with ``%interface`` behind it; or the
        name of a host, for datagrams to one host only.

    Raises
    ------
    AddressError
        It is none of these, or an address nobody can receive on (0.0.0.0, ::,
        255.255.255.255), or IPv4 written as IPv6 (``::ffff:239.1.1.1``).
    TypeError
        `text` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"group must be text, not {type(text).__name__}")
    host, _, scope = text.partition("%")
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        # A look-up would take 239.1.1 for 239.1.0.1.
        if not text or scope or not text.strip("0123456789."):
            raise AddressError(f"{text!r} is not a group") from None
        number = _look_up(text)
    mapped = getattr(number, "ipv4_mapped", None)
    if mapped is not None:
        raise AddressError(f"{text!r} is an IPv4 address in IPv6 clothes: give {mapped}")
    if number.is_unspecified or str(number) == "255.255.255.255":
        raise AddressError(f"{text!r} is not the address of a group or of one host")
    if isinstance(number, ipaddress.IPv4Address):
        if scope:
            raise AddressError(f"{text!r}: only IPv6 groups have a scope; give the interface by itself")
        return Group(str(number), socket.AF_INET, number.is_multicast)
    # ff01::/16 and ff02::/16 (and the same with flags) exist once per interface.
    local = number.packed[1] & 0x0F in (1, 2) if number.is_multicast else number.is_link_local
    return Group(str(number), socket.AF_INET6, number.is_multicast, local, scope)


def _look_up(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the first address of a host, IPv4 if it has one."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise AddressError(f"{name!r} is neither a group nor a known host: {error}") from error
    hosts = [str(address[0]).partition("%")[0] for _, _, _, _, address in found]
    return min(map(ipaddress.ip_address, hosts), key=lambda number: number.version)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as the system wants it.

    Attributes
    ----------
    given : str
        As the caller wrote it; for messages.
    index : int
        Number of the interface, 0 if only its address is known.
    address : str
        Its IPv4 address, ``0.0.0.0`` if only its index counts.
    """

    given: str = field(compare=False)
    index: int = 0
    address: str = "0.0.0.0"  # noqa: S104 - means "not told", nothing is bound to it


#: What Linux, and what macOS and the BSDs call the loopback interface.
LOOPBACK_NAMES: Final = ("lo", "lo0")
#: The system chooses, by its routing table.
ANY_INTERFACE: Final = Interface("any")


def resolve_interface(interface: str | int | None, family: socket.AddressFamily) -> Interface:
    """Find an interface.

    Parameters
    ----------
    interface : str, int or None
        Name (``"eth0"``), index (2), or an address of the interface
        (``"192.168.1.5"``; ``"::1"``, for IPv6 on Linux only). None is
        `ANY_INTERFACE`.
    family : socket.AddressFamily
        Of the group.

    Raises
    ------
    AddressError
        There is no such interface, or it cannot be found by that address.
    TypeError
        `interface` is none of these types.
    """
    if interface is None:
        return ANY_INTERFACE
    if isinstance(interface, int):
        try:
            return _by_index(socket.if_indextoname(interface), interface)
        except (OSError, OverflowError) as error:
            raise AddressError(f"there is no interface with index {interface}") from error
    if not isinstance(interface, str):
        raise TypeError(f"interface must be a name, an index or an address, not {type(interface).__name__}")
    try:
        number = ipaddress.ip_address(interface)
    except ValueError:
        return _by_index(interface, _index_of_name(interface))
    if number.version == 4 and family == socket.AF_INET:
        return Interface(interface, 0, str(number))
    if number.version == 4:
        raise AddressError(
            f"{interface!r}: for an IPv6 group give the name of the interface or its IPv6 address"
        )
    index = _index_of_ipv6(number, interface)
    return _by_index(socket.if_indextoname(index), index)


def _by_index(name: str, index: int) -> Interface:
    # Told the index alone, Linux sends from the loopback interface with the
    # address of another one, which no source filter for this host expects.
    return Interface(name, index, "127.0.0.1") if name in LOOPBACK_NAMES else Interface(name, index)


def _index_of_name(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError) as error:
        known = ", ".join(found for _, found in socket.if_nameindex())
        raise AddressError(f"there is no interface {name!r}; there are {known}") from error


def _index_of_ipv6(number: ipaddress.IPv4Address | ipaddress.IPv6Address, given: str) -> int:
    scope = getattr(number, "scope_id", None)
    if scope is not None:
        return _index_of_name(scope)
    try:
        lines = _IPV6_ADDRESSES.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise AddressError(f"{given!r}: here an interface for IPv6 is found by its name only") from error
    for line in lines:
        fields = line.split()
        if fields[0] == number.packed.hex():
            return int(fields[1], 16)
    raise AddressError(f"no interface has the address {given!r}")


def parse_source(text: str, family: socket.AddressFamily) -> str:
    """Read the address of a sender, as `recvfrom` will write it.

    Raises
    ------
    AddressError
        It is not a number of that family.
    """
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError) as error:
        kind = "IPv4" if family == socket.AF_INET else "IPv6"
        raise AddressError(f"source {text!r} is not an {kind} address") from error


def check_port(port: int) -> int:
    """Return a UDP port.

    Raises
    ------
    TypeError
        It is not an integer.
    ValueError
        It is not between 0 and 65535.
    """
    if not isinstance(port, int):
        raise TypeError(f"port must be an integer, not {type(port).__name__}")
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"port must be between 0 and 65535, not {port}")
    return port


def given_interface(group: Group, interface: str | int | None) -> Interface:
    """Find the interface of a group, which an IPv6 group may name itself.

    Raises
    ------
    AddressError
        There is none, or the two disagree.
    """
    if not group.scope:
        return resolve_interface(interface, group.family)
    scope = resolve_interface(int(group.scope) if group.scope.isdecimal() else group.scope, group.family)
    if interface is not None and resolve_interface(interface, group.family).index != scope.index:
        raise AddressError(f"group on interface {group.scope!r}, but interface {interface!r} was given")
    return scope
