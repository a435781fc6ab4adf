"""The way of a channel's datagrams: a connected socket, made anew when its way is gone.

Connected, the system looks up the route once and not for each datagram
(measured: 0.3 of 4 microseconds). The price is that the socket keeps the
source address it had then. When an interface has got another one, sending
fails from then on, so another socket takes over, with the same port and the
address of now.

A group that is one host is not connected to: without a receiver, it would
answer each other datagram with an error.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from udp_multicast.sender import MulticastSender
    from wireframe.datagram import Parts

#: Bytes up to which header and payload are joined: quicker than gathered by the system.
_JOINED: Final = 4096
#: How the system says that it has no way with this source address. One that
#: never comes again, or one that a new socket does not find either.
_NO_WAY: Final = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EHOSTUNREACH,
        errno.EINVAL,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENODEV,
    }
)


class Outlet:
    """Sends datagrams of two parts.

    Parameters
    ----------
    make_sender : callable
        Returns a sender, each time another one to the same place.
    needs_route : bool
        Without a route such a sender takes the loopback interface, for good.

    Notes
    -----
    One thread at a time sends; any may close.
    """

    def __init__(self, make_sender: Callable[[], MulticastSender], *, needs_route: bool) -> None:
        self._make_sender = make_sender
        self._needs_route = needs_route
        self._is_closed = False
        self._use(make_sender())

    def _use(self, sender: MulticastSender) -> None:
        self.sender = sender
        self._send: Callable[[bytes], int] = sender.send_data
        self._send_parts: Callable[[Parts], int] = sender.send_parts
        if sender._group.is_multicast and hasattr(sender, "sendmsg"):
            with contextlib.suppress(OSError):  # no route: there may be one later
                sender.connect(sender._target)
                self._send, self._send_parts = sender.send, sender.sendmsg

    def send(self, parts: Parts) -> None:
        """Send one datagram.

        Raises
        ------
        OSError
            As `MulticastSender.send_parts`.
        """
        try:
            sent = self._send(b"".join(parts)) if len(parts[1]) <= _JOINED else self._send_parts(parts)
        except OSError as error:
            if error.errno in _NO_WAY:
                self._renew()
            # Once more with the address, which works, or tells what is wrong.
            self.sender.send_parts(parts)
        else:
            if sent > self.sender._whole:
                self.sender._warn(sent)

    def _renew(self) -> None:
        """Take another socket, which has the port of the one before, if there is a way at all."""
        port = self.sender.getsockname()[1]
        try:
            if self._needs_route:
                with socket.socket(self.sender.family, socket.SOCK_DGRAM) as probe:
                    probe.connect(self.sender._target)
            sender = self._make_sender()
        except (OSError, ValueError):  # ValueError: there is no such interface any more
            return
        self.sender.close()
        with contextlib.suppress(OSError):  # somebody was quicker; receivers see another sender
            sender.bind(("", port))
        self._use(sender)
        if self._is_closed:
            sender.close()

    def close(self) -> None:
        """Close the socket; may be called again."""
        self._is_closed = True
        self.sender.close()
