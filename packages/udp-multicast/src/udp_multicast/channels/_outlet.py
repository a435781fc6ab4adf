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

from udp_multicast import _options
from udp_multicast._batch import BatchSender, runs
from wireframe.datagram import encode_fragments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from udp_multicast.channels._sendmmsg import Volley
    from udp_multicast.sender import MulticastSender
    from wireframe.datagram import Parts

#: Bytes up to which header and payload are joined: quicker than gathered by the system.
JOINED: Final = 4096
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
    """Sends datagrams.

    Parameters
    ----------
    make_sender : callable
        Returns a sender, each time another one to the same place.
    needs_route : bool
        Without a route such a sender takes the loopback interface, for good.
    in_volleys : bool
        Prepare for `send_fragments`.

    Notes
    -----
    One thread at a time sends; any may close.
    """

    def __init__(
        self, make_sender: Callable[[], MulticastSender], *, needs_route: bool, in_volleys: bool = False
    ) -> None:
        self._make_sender = make_sender
        self._needs_route = needs_route
        self._is_closed = False
        #: Datagrams of batches that went one by one.
        self._sent_alone = 0
        self._volley = _open_volley() if in_volleys else None
        self._use(make_sender())

    def _use(self, sender: MulticastSender) -> None:
        self.sender = sender
        self._whole = sender._whole
        self._batches: BatchSender | None = None
        self._send: Callable[[bytes], int] = sender.send_data
        self._send_parts: Callable[[Parts], int] = sender.send_parts
        self._is_connected = False
        if sender._group.is_multicast and hasattr(sender, "sendmsg"):
            with contextlib.suppress(OSError):  # no route: there may be one later
                sender.connect(sender._target)
                self._send, self._send_parts = sender.send, sender.sendmsg
                self._is_connected = True

    def send(self, datagram: bytes) -> None:
        """Send one datagram.

        Raises
        ------
        OSError
            As `MulticastSender.send_data`.
        """
        try:
            sent = self._send(datagram)
        except OSError as error:
            self._send_otherwise([datagram], error)
        else:
            if sent > self._whole:
                self.sender._warn(sent)

    def send_parts(self, parts: Parts) -> None:
        """Send one datagram, gathered by the system if it is large.

        Raises
        ------
        OSError
            As `MulticastSender.send_parts`.
        """
        if len(parts[1]) <= JOINED:
            self.send(b"".join(parts))
            return
        try:
            sent = self._send_parts(parts)
        except OSError as error:
            self._send_otherwise(parts, error)
        else:
            if sent > self._whole:
                self.sender._warn(sent)

    def send_fragments(self, sequence: int, channel: str, payload: bytes, max_datagram: int) -> None:
        """Send a message in fragments, in as few calls as the system allows.

        Parameters
        ----------
        sequence, channel, payload, max_datagram : int, str, bytes, int
            As for `wireframe.datagram.encode_fragments`; the payload is longer than
            one datagram.

        Raises
        ------
        ValueError, TypeError
            The message does not fit the wire; nothing was sent.
        OSError
            As `MulticastSender.send_parts`.
        """
        missing: int | None = None
        if self._is_connected and self._volley is not None:
            if max_datagram > self._whole:
                self.sender._warn(max_datagram)
            missing = self._volley.send(self.sender.fileno(), sequence, channel, payload, max_datagram)
        if missing != 0:
            datagrams = encode_fragments(sequence, channel, payload, max_datagram)
            for parts in datagrams if missing is None else datagrams[-missing:]:
                self.send_parts(parts)

    def send_many(self, datagrams: Sequence[bytes]) -> None:
        """Send datagrams, several in a call where they have the same size.

        Raises
        ------
        OSError
            As `MulticastSender.send_data`; those behind were not sent.
        """
        for run in runs(datagrams):
            if len(run) == 1:
                self.send(run[0])
                continue
            # Asked for each: a way that was found meanwhile has another socket.
            if self._batches is None:
                self._batches = BatchSender(self.sender, self.sender._target, self._send_one, self._whole)
            before = self._sent_alone
            try:
                self._batches.send(run)
            except OSError as error:
                if error.errno not in _NO_WAY:
                    raise
                self._renew()
                for datagram in run[self._sent_alone - before :]:
                    self.send(datagram)

    def _send_one(self, datagram: bytes) -> int:
        self.send(datagram)
        self._sent_alone += 1
        return len(datagram)

    def _send_otherwise(self, parts: Sequence[bytes | memoryview], error: OSError) -> None:
        if error.errno in _NO_WAY:
            self._renew()
        # Once more with the address, which works, or tells what is wrong.
        self.sender.send_parts(parts)

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


def _open_volley() -> Volley | None:
    """Return what sends several datagrams a call; None if the system has no such thing."""
    if _options.LINUX:
        # Imported where it is needed: ctypes takes longer than all the rest of the package.
        try:
            from udp_multicast.channels import _mmsg, _sendmmsg
        except ImportError:  # a Python that was built without ctypes
            return None
        call = _mmsg.find("sendmmsg")
        if call is not None:
            return _sendmmsg.Volley(call)
    return None
