"""What sender and receiver share: a datagram socket that knows its group."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, NoReturn

from udp_multicast._address import check_port, parse_group

if TYPE_CHECKING:
    from udp_multicast._address import Group

__all__ = ["DEFAULT_GROUP", "DEFAULT_PORT", "MulticastSocketBase"]

#: Not a multicast group: works on a host without a network, for one receiver.
DEFAULT_GROUP: Final = "127.0.0.1"
DEFAULT_PORT: Final = 5007


class MulticastSocketBase(socket.socket):
    """A UDP socket for one group and port.

    Everything a `socket.socket` has is there, ``fileno``, ``close``, the
    context manager, but for ``dup``.

    Parameters
    ----------
    group : str
        IPv4 or IPv6 group, as a number; ``ff02::1%eth0`` names the interface
        too. Or the address of one host, which is not multicast: one receiver
        gets everything.
    port : int
        UDP port.

    Raises
    ------
    AddressError
        `group` is not a group.
    TypeError, ValueError
        `port` is not a port.
    """

    def __init__(self, group: str = DEFAULT_GROUP, port: int = DEFAULT_PORT) -> None:
        parsed = parse_group(group)
        check_port(port)
        super().__init__(parsed.family, socket.SOCK_DGRAM)
        self._group: Group = parsed
        self._given = (group, port)

    def address(self) -> tuple[str, int]:
        """Return group and port as they were given.

        See Also
        --------
        socket.socket.getsockname : the address the socket is bound to
        """
        return self._given

    def set_option(self, identifier: int, value: int | bytes) -> None:
        """Set a socket option of the IP level, IPv4 or IPv6 as the group is.

        Parameters
        ----------
        identifier : int
            Such as `socket.IP_MULTICAST_TTL`.
        value : int or bytes
            What the option is to be.

        Raises
        ------
        OSError
            The system refused it.
        """
        self.setsockopt(self._level, identifier, value)

    def dup(self) -> NoReturn:
        """Refuse: a copy would not know its group.

        Raises
        ------
        TypeError
            Always. `socket.dup` of the standard library copies the descriptor.
        """
        raise TypeError(f"{type(self).__name__} cannot be copied with dup: make another one")

    @property
    def _level(self) -> int:
        """Protocol level of the options of this family."""
        return socket.IPPROTO_IP if self._group.family == socket.AF_INET else socket.IPPROTO_IPV6
