"""UDP: one socket for all other ends, connected if there is only one."""

from __future__ import annotations

import selectors
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

from echo_rig._link import address_of
from echo_rig.sync._carrier import READ_SIZE, Carrier, interrupted, socket_address
from echo_rig.sync._loop import LONGEST_WAIT_S
from echo_rig.uri import is_valid_ip

if TYPE_CHECKING:
    from echo_rig._link import Address
    from echo_rig.sync._carrier import Owner
    from echo_rig.sync._loop import Loop
    from echo_rig.sync._polled_link import PolledLink

#: For sockets that may wait; 0 where none may.
DO_NOT_WAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)


class Datagrams(Carrier):
    """The UDP socket of an end.

    Parameters
    ----------
    owner : Owner
    loop : Loop
    host : str
    port : int

    Raises
    ------
    OSError
        The address cannot be bound, or there is no way to it.
    """

    datagrams = True

    def __init__(self, owner: Owner, loop: Loop, host: str, port: int) -> None:
        super().__init__(owner, loop)
        self._is_server = owner.role == "server"
        family, place = socket_address(host, port, socket.SOCK_DGRAM)
        self._server: Address = (host, port)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._limit_waits()
            if self._is_server:
                self.socket.bind(place)
            else:
                self.socket.connect(place)
            loop.selector.register(self.socket, selectors.EVENT_READ, self._ready)
        except BaseException:
            self.socket.close()
            raise
        loop.join(self)

    def link_to(self, address: Address) -> PolledLink:
        """Return the link to an address; it is made if there is none."""
        link = self.links.get(address)
        if link is None:
            place = None
            if self._is_server:
                if not is_valid_ip(address[0]):  # the echo comes from one
                    raise ValueError(f"a server needs the IP address of a client, not {address[0]!r}")
                place = socket_address(*address, socket.SOCK_DGRAM)[1]
            link = self.links.open(address, self._writer(address, place), self.owner.numbering)
        return link

    def is_congested(self, address: Address) -> bool:
        """Never: a datagram is sent or lost."""
        return False

    def sockets(self) -> list[socket.socket]:
        """Return the socket."""
        return [self.socket]

    def close_sockets(self) -> None:
        """Close the socket."""
        if self.socket.fileno() >= 0:
            self.loop.selector.unregister(self.socket)
            self.socket.close()

    def forget(self, link: PolledLink) -> None:
        """Begin a new conversation with the next message."""
        if self.links.get(link.address) is link:
            self.links.forget(link.address, interrupted())
        else:
            link.end(interrupted())

    def _limit_waits(self) -> None:
        """Let the system end each wait for the socket; where it cannot, do not wait for it."""
        if sys.platform == "win32":
            self.socket.setblocking(False)
            return
        limit = struct.pack("@ll", 0, int(LONGEST_WAIT_S * 1e6))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.read_blocking = self._take

    def _ready(self, _: int) -> None:
        """Take what the selector has seen, which may be damaged and so not there."""
        self._take(DO_NOT_WAIT)

    def _take(self, flags: int = 0) -> bool:
        """Take one datagram and tell whether there was one."""
        try:
            if self._is_server:
                data, place = self.socket.recvfrom(READ_SIZE, flags)
            else:
                data, place = self.socket.recv(READ_SIZE, flags), self._server
        except BlockingIOError:
            return False
        except OSError as error:
            self._network_error(error)
            return True
        address = address_of(place) if self._is_server else self._server
        link = self.links.get(address)
        if link is None:
            if self.owner.refuses(address):
                return True
            # With the zone of an IPv6 address, which the pair of address and port may lack.
            where = place if self._is_server else None
            link = self.links.open(address, self._writer(address, where), self.owner.numbering)
        link.receive(data)
        return True

    def _writer(self, address: Address, place: Any) -> Any:
        """Return what sends a datagram to an address and never raises for what the network says.

        `place` is the address for the system; None if the socket is connected to it.
        """
        send = self.socket.send
        sendto = self.socket.sendto

        def write(data: bytes) -> None:
            try:
                if place is None:
                    send(data)
                else:
                    sendto(data, place)
            except ConnectionRefusedError:
                # That was about an earlier datagram; this one is not out.
                self._again(data)
            except BlockingIOError:
                self.owner.logger.debug("%s: no room for %d bytes, lost", self.owner.name, len(data))
            except OSError as error:
                self._network_error(error, address)

        return write

    def _again(self, data: bytes) -> None:
        try:
            self.socket.send(data)
        except OSError as error:
            self._network_error(error)

    def _network_error(self, error: OSError, address: Address | None = None) -> None:
        """Take what the network says, such as that nobody listens."""
        self.owner._quiet.warn(
            "", f"network {error.errno}", "%s: the network says: %s", self.owner.name, error
        )
        if address is None and not self._is_server:
            address = self._server
        link = None if address is None else self.links.get(address)
        if link is not None:
            link.fail(error)
