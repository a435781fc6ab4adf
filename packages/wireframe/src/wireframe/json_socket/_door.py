"""The listening socket of a server, watched while there is room."""

from __future__ import annotations

import ipaddress
import math
import time
from typing import TYPE_CHECKING, Final

from wireframe.json_socket._address import is_allowed, listen, peer_name
from wireframe.json_socket._errors import SocketClosed
from wireframe.json_socket._poll import READ, is_ready

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

    from wireframe.json_socket._drops import Drops
    from wireframe.json_socket._poll import Poll

#: Seconds without accepting after accepting failed, mostly for want of
#: descriptors. The connection that waits would end every `select` meanwhile.
ACCEPT_PAUSE: Final = 0.1


class Door:
    """Accepts connections and survives what may happen then.

    Attributes
    ----------
    closed_until : float
        No connection is accepted before, on the monotonic clock.
    watched : bool
        The listening socket is among what is polled.
    steady : bool
        It is, and stays there as long as there is room.
    """

    def __init__(
        self,
        listener: socket.socket,
        drops: Drops,
        allow: tuple[IPv4Network | IPv6Network, ...] | None,
    ) -> None:
        self.listener = listener
        self.closed_until = -math.inf
        self._drops = drops
        self._allow = allow
        self.watched = self.steady = False

    def check(self) -> None:
        """Raise `SocketClosed` if somebody closed the listening socket."""
        if self.listener.fileno() < 0:
            raise SocketClosed("the listening socket was closed")

    def watch(self, poll: Poll, *, room: bool) -> None:
        """Watch the listening socket, or leave callers to the kernel's queue."""
        wanted = room and time.monotonic() >= self.closed_until
        if wanted and not self.watched:
            poll.register(self.listener, READ)
        elif self.watched and not wanted:
            poll.unregister(self.listener)
        self.watched = self.steady = wanted

    def accept(self) -> tuple[socket.socket, str] | None:
        """Return a connection and its peer's name, or None for now."""
        while True:
            try:
                sock, address = self.listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                self.closed_until = time.monotonic() + ACCEPT_PAUSE
                self.steady = False
                self._drops.note("cannot accept connections for now", error)
                return None
            peer = peer_name(address)
            if self._allow is not None and not is_allowed(peer, self._allow):
                sock.close()
                self._drops.add(peer, PermissionError(f"{peer} is not in the allow list"))
                continue
            if sock.gettimeout() is not None:  # by `socket.setdefaulttimeout`: it would wait
                sock.setblocking(True)
            return sock, peer

    def is_knocked_at(self) -> bool:
        """Whether another one waits; to accept in vain takes 4 microseconds, this less than one."""
        try:
            return is_ready(self.listener, READ, 0)
        except OSError:  # somebody closed it
            return False


def open_door(host: str, port: int, drops: Drops, allow: Iterable[str] | None) -> Door:
    """Listen, for the hosts in the networks of `allow`.

    Raises
    ------
    OSError
        The address is taken, or not one of this machine.
    ValueError, TypeError
        `allow` has a bad network, or is a single text.
    """
    if isinstance(allow, str):
        raise TypeError(f"a list of networks, not a single text: {allow!r}")
    networks = None if allow is None else tuple(map(ipaddress.ip_network, allow))
    return Door(listen(host, port), drops, networks)
