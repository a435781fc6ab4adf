"""The listening socket of a server, watched while there is room."""

from __future__ import annotations

import math
import selectors
import time
from typing import TYPE_CHECKING, Final

from wireframe.json_socket._address import is_allowed, peer_name
from wireframe.json_socket._errors import SocketClosed

if TYPE_CHECKING:
    import socket
    from ipaddress import IPv4Network, IPv6Network

    from wireframe.json_socket._drops import Drops

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
        The selector has the listening socket.
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
        self.watched = False

    def check(self) -> None:
        """Raise `SocketClosed` if somebody closed the listening socket."""
        if self.listener.fileno() < 0:
            raise SocketClosed("the listening socket was closed")

    def watch(self, selector: selectors.BaseSelector, *, room: bool) -> None:
        """Watch the listening socket, or leave callers to the kernel's queue."""
        wanted = room and time.monotonic() >= self.closed_until
        if wanted and not self.watched:
            selector.register(self.listener, selectors.EVENT_READ)
        elif self.watched and not wanted:
            selector.unregister(self.listener)
        self.watched = wanted

    def accept(self) -> tuple[socket.socket, str] | None:
        """Return a non-blocking connection and its peer's name, or None for now."""
        while True:
            try:
                sock, address = self.listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                self.closed_until = time.monotonic() + ACCEPT_PAUSE
                self._drops.note("cannot accept connections for now", error)
                return None
            peer = peer_name(address)
            try:
                sock.setblocking(False)
                if self._allow is not None and not is_allowed(peer, self._allow):
                    raise PermissionError(f"{peer} is not in the allow list")
            except OSError as error:
                sock.close()
                self._drops.add(peer, error)
                continue
            return sock, peer
