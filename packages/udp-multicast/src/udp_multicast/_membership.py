"""The groups a receiver is in: joined once each, left, joined again."""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

from udp_multicast import _options
from udp_multicast._address import ANY_INTERFACE
from udp_multicast._joining import NO_ROUTE, join, leave
from udp_multicast._loopback import loopback
from udp_multicast.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from udp_multicast._address import Group, Interface

_log = logging.getLogger(__name__)


class Membership:
    """One group, on one interface or more, from all sources or some.

    Parameters
    ----------
    sock : socket.socket
        The receiver.
    group : Group
        Multicast.
    sources : sequence of str
        Senders to take datagrams from; empty for all.
    """

    def __init__(self, sock: socket.socket, group: Group, sources: Sequence[str]) -> None:
        self._sock = sock
        self._group = group
        self._sources: Sequence[str | None] = sources or (None,)
        # What was asked for, and what was joined for it: the loopback
        # interface when there was no other.
        self._joined: dict[Interface, Interface] = {}

    def join(self, interface: Interface) -> None:
        """Join on an interface; nothing happens if it is joined there.

        Whether it is, the system knows: an interface that was unplugged took
        the membership with it, and comes back as another one.

        Raises
        ------
        OSError
            The system refused it.
        UnsupportedHere
            There are sources, and this is not Linux.
        """
        before = self._joined.get(interface)
        if before is not None and _options.WINDOWS:
            # There a second join may be refused in other words than "in use".
            return
        actual = interface
        try:
            self._join(interface)
        except OSError as error:
            if interface is not ANY_INTERFACE or error.errno not in NO_ROUTE:
                error.add_note(f"while joining {self._group.host} on interface {interface.given}")
                if error.errno == errno.ENOBUFS:
                    error.add_note("Linux allows net.ipv4.igmp_max_memberships per socket, 20 by default")
                raise
            actual = loopback(self._group)
            _log.warning("no route to %s: joined on the loopback interface only", self._group.host)
            self._join(actual)
        self._joined[interface] = actual
        if before is not None and before != actual:
            self._leave(before)

    def _join(self, interface: Interface) -> None:
        done: list[str | None] = []
        try:
            for source in self._sources:
                try:
                    join(self._sock, self._group, interface, source)
                except OSError as error:
                    # The same interface was joined by another of its names; with a source
                    # Linux says so in another way.
                    if error.errno != (errno.EADDRINUSE if source is None else errno.EADDRNOTAVAIL):
                        raise
                done.append(source)
        except OSError:
            for source in done:
                leave(self._sock, self._group, interface, source)
            raise

    def leave(self, interface: Interface) -> None:
        """Leave on an interface.

        Raises
        ------
        AddressError
            It was not joined there.
        """
        actual = self._joined.pop(interface, None)
        if actual is None:
            raise AddressError(f"{self._group.host} was not joined on interface {interface.given}")
        self._leave(actual)

    def _leave(self, interface: Interface) -> None:
        for source in self._sources:
            try:
                leave(self._sock, self._group, interface, source)
            except OSError as error:
                # The interface is gone, and the membership with it.
                if error.errno not in NO_ROUTE:
                    raise


def bind_to_group(sock: socket.socket, group: Group, port: int, interface: Interface, *, share: bool) -> None:
    """Bind so that datagrams of this group arrive, and no others.

    Parameters
    ----------
    sock : socket.socket
        Not bound yet.
    group : Group
        Multicast, or one address of this host.
    port : int
        0 for any free one.
    interface : Interface
        For IPv6 groups that exist once per interface.
    share : bool
        Let other sockets on this host receive the same multicast group.

    Raises
    ------
    OSError
        The port is taken by somebody who does not share it, or the address is
        not one of this host.
    """
    everything = _options.IP_MULTICAST_ALL if group.family == socket.AF_INET else _options.IPV6_MULTICAST_ALL
    level = socket.IPPROTO_IP if group.family == socket.AF_INET else socket.IPPROTO_IPV6
    if group.is_multicast and everything is not None:
        try:
            sock.setsockopt(level, everything, 0)
        except OSError as error:  # IPv6: a kernel before 4.20; the bind to the group remains
            _log.debug("option %d refused: %s", everything, error)
    if group.is_multicast and share:
        _options.share_port(sock)
    target = group.target(port, interface.index)
    if group.is_multicast and _options.WINDOWS:
        # Windows binds to addresses of its own only.
        target = ("", *target[1:])
    try:
        sock.bind(target)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and not group.is_multicast:
            error.add_note(
                f"{group.host} is one host: one receiver gets its datagrams. Any number of receivers share "
                "a group such as 239.1.1.1, on a single computer with interface='127.0.0.1'"
            )
        elif error.errno == errno.EADDRINUSE:
            error.add_note(f"another program has port {port} and does not share it (SO_REUSEADDR)")
        raise
