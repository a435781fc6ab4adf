"""The part of `EchoProtocol` between the transports of asyncio and the links."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, Final, Self

from echo_rig._clock_desk import ClockDesk
from echo_rig._connection import Connection
from echo_rig._connections import Connections
from echo_rig._entered_by_hand import EnteredByHand
from echo_rig._forked import abandon_in_children, let_go
from echo_rig._link import address_of
from echo_rig._links import Links, lost_connection
from echo_rig._timed_link import TimedLink
from echo_rig._wire_end import WireEnd
from echo_rig.communicator import Communicator
from echo_rig.uri import is_valid_ip
from wireframe.echo import read_clock_note

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._link import Address

#: Bytes to ask a UDP socket for; no datagram is longer. For each of them asyncio asks for 256 KiB, which many
#: an allocator fetches from the system and gives back: that doubles the time of a round trip.
MAX_READ: Final = 65536
#: Bytes that wait to leave, because an end does not read or the network is slower. Beyond that nothing is
#: sent without confirmation; what is confirmed limits itself.
MAX_UNSENT: Final = 16 << 20
#: Errors of the network told apart in the log; systems have fewer.
MAX_CAUSES: Final = 256


class Exchange(WireEnd, asyncio.DatagramProtocol, asyncio.Protocol):
    """Moves bytes between one or several transports and the links, one for each other end."""

    #: The asyncio server of a TCP server.
    Server: asyncio.Server | None = None

    def __init__(
        self, server_uri: Any, role: str, name: str | None = None, logger: logging.Logger | None = None
    ) -> None:
        super().__init__(server_uri, role, name, logger)
        self._loop = asyncio.get_running_loop()
        self._links: Links[TimedLink] = Links(
            self._new_link, datagrams=self.is_datagram, max_message_size=self.max_message_size
        )
        self._connections: Connections[Connection] = Connections(self._let_end, self._quiet)
        #: The stream of a client.
        self._connection: Connection | None = None
        #: The server as the socket of a client knows it, which may differ from the URI in spelling.
        self._peer: Address | None = None
        self._transport: Any = None
        self._socket: Any = None
        self._is_closed = False
        self._clock = ClockDesk()
        #: Errors of the network that were logged.
        self._causes: set[object] = set()
        self._last_sent = EnteredByHand()
        self.on_connection_lost: asyncio.Future[Any] = self._loop.create_future()
        self.on_error_received: asyncio.Future[Any] = self._loop.create_future()
        self.on_eof_received: asyncio.Future[Any] = self._loop.create_future()
        abandon_in_children(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        self.close()
        # asyncio lets go of a UDP port in the next turn of the loop: then another end can have it.
        await asyncio.sleep(0)

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent: the transport is there, a TCP server is listening."""
        if self._is_closed:
            return False
        if self.Server is not None:
            return self.Server.is_serving()
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close the end and everything that belongs to it; safe to call twice, also without a running loop.

        Whoever waits for an echo or an event is cancelled; `on_connection_lost`
        is set to ``'Close called on communicator'``. In a forked child nothing is done.
        """
        if self._is_foreign:
            return
        self._is_closed = True
        super().close()
        # A loop that is closed has let go of all transports and of everybody who waits.
        if not self._loop.is_closed():
            if self.Server is not None:
                self.Server.close()
            for connection in tuple(self._connections.values()):
                connection.close()
            if self._transport is not None:
                self._transport.close()
            for link in self._links.values():
                link.cancel()
            self._links.clear()
            self._last_sent.cancel()
        self._settle(self.on_connection_lost, "Close called on communicator")
        self.on_error_received.cancel()
        self.on_eof_received.cancel()

    def connection_made(self, transport: Any) -> None:
        """Take the transport of a UDP end, or of a TCP client."""
        carrier = transport.get_extra_info("socket")
        wanted = socket.SOCK_DGRAM if self.is_datagram else socket.SOCK_STREAM
        if getattr(carrier, "type", None) is not wanted:
            raise RuntimeError(f"Unsupported transport layer for {self.protocol}://: {carrier!r}")
        self._socket = carrier
        self._transport = transport
        if self._role == "client":
            peer = transport.get_extra_info("peername")
            self._peer = address_of(peer) if peer else None
        if self.is_datagram:
            if hasattr(transport, "max_size"):
                transport.max_size = MAX_READ
        else:
            self._connection = Connection(self, self._loop, self._write_stream)
            self._connection.connection_made(transport)
        self.logger.info(
            "%s %s %s", self.name, "listens at" if self.role == "server" else "uses", self.server_uri
        )

    def listens_with(self, server: asyncio.Server) -> None:
        """Take the listener of a TCP server."""
        self.Server = server
        self._socket = server.sockets[0]
        self.logger.info("%s listens at %s", self.name, self.server_uri)

    def cannot_accept(self, error: OSError) -> None:
        """Take note that the system lacks what a connection needs."""
        self._quiet.warn("", "accept", "%s: cannot accept now: %s", self.name, error)

    def new_connection(self) -> Connection:
        """Return the protocol object for a connection that a TCP server has accepted."""
        return Connection(self, self._loop)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Take one datagram."""
        address = address_of(addr)
        if self._role == "client":
            if address[0] != self._server_address[0]:
                self._quiet.warn(
                    address[0], "foreign", "Ignored %d bytes from %s:%s, not the server", len(data), *address
                )
                return
        elif self.refuses(address):
            return
        self._receive(data, address)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the stream of a TCP client."""
        if self._connection is not None:
            self._connection.data_received(data)

    def eof_received(self) -> None:
        """Take note that the other end of a TCP client's stream will send nothing more."""
        if self._connection is not None:
            self._connection.eof_received()
        self._settle(self.on_eof_received, True)

    def error_received(self, exc: Exception) -> None:
        """Take what the network says of a datagram, such as that nobody listens."""
        cause = getattr(exc, "errno", None) or str(exc)
        # Once per cause: who sends with a false address can make as many errors here.
        level = logging.DEBUG if cause in self._causes else logging.ERROR
        if len(self._causes) < MAX_CAUSES:
            self._causes.add(cause)
        self.logger.log(level, "%s: %s", self.server_uri, exc)
        self._settle(self.on_error_received, exc)
        if self._role == "client":
            for link in self._links.values():
                link.fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the transport of a UDP end or a TCP client is gone."""
        if self._connection is not None:
            self._connection.connection_lost(exc)
        else:
            self._lost(exc)

    def pause_writing(self) -> None:
        """See `Connection.pause_writing`."""
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See `Connection.resume_writing`."""
        if self._connection is not None:
            self._connection.resume_writing()

    def open_link(self, connection: Connection, address: Address) -> TimedLink | None:
        """Return the link for a new connection, None if it is not wanted."""
        if self._is_closed:
            return None  # accepted right before
        if self._role == "server":
            if self.refuses(address) or not self._connections.make_room(address):
                return None
            self.logger.info("%s:%s connected", *address)
        self._connections[address] = connection
        return self._links.open(address, connection.write, self.numbering)

    def _let_end(self, connection: Connection) -> None:
        connection.close()
        self.connection_ended(connection, None)

    def connection_ended(self, connection: Connection, error: Exception | None) -> None:
        """Take note that a connection is over: its sends fail, the others go on."""
        if self._connections.get(connection.address) is not connection:
            return
        del self._connections[connection.address]
        self._links.end(connection.address, error)
        self._clock.lost(connection.address, lost_connection(connection.address, error))
        self.logger.info("%s:%s disconnected", *connection.address)
        if connection is self._connection:
            self._lost(error)

    def message_received(self, message: bytes, address: Address) -> None:
        """Tell the callbacks of one message."""
        if self._is_closed:
            return
        note = read_clock_note(message)
        if note is None:
            Communicator._receive(self, message, address)
        else:
            self._clock.take(note, address, self._links.get(address))

    def _receive(self, data: bytes, addr: Address) -> None:
        """Take one datagram, or one message of a stream."""
        if self._is_closed:
            return
        if self._last_sent and self._last_sent.take(data, addr, self.max_message_size, self.logger):
            return
        link = self._links.get(addr)
        if link is None:
            link = self._link_to(addr)
            if link is None:
                return
        link.receive(data)

    def _link_to(self, address: Address) -> TimedLink | None:
        """Return the link to an address; over UDP it is made if there is none."""
        if self._is_closed:
            self._require_own_process()
            raise ConnectionResetError(f"{self.name} is closed")
        if self._transport is None and self.Server is None:
            raise ConnectionError(f"{self.name} has no transport yet")
        link = self._links.get(address)
        if link is None and self.is_datagram:
            if self._role == "server" and not is_valid_ip(address[0]):
                # Its echo comes from an IP address, and to look it up would block the loop.
                raise ValueError(f"a server needs the IP address of a client, not {address[0]!r}")
            link = self._links.open(address, self._writer(address), self.numbering)
        return link

    def _new_link(
        self, address: Address, conversation: Conversation, write: Callable[[bytes], object]
    ) -> TimedLink:
        return TimedLink(address, conversation, write, self, self._loop)

    @property
    def _server_address(self) -> Address:
        return self._peer or (self.hostname, self.port)

    def _require_room(self, address: Address) -> None:
        """Refuse to fill the memory with messages for an end that does not read."""
        connection = self._connections.get(address)
        transport: Any = self._transport if connection is None else connection.transport
        waiting = transport.get_write_buffer_size()
        if waiting > MAX_UNSENT:
            raise ConnectionError(f"{address[0]}:{address[1]} does not read: {waiting} bytes wait to leave")

    def _writer(self, address: Address) -> Any:
        """Return what puts a datagram for an address on the wire."""
        if self._role == "client":
            # Looked up each time: the transport may be replaced.
            return self._write_datagram
        return lambda data: self._transport.sendto(data, address)

    def _write_stream(self, data: bytes) -> None:
        # Looked up each time: programs put something in place of the transport.
        self._transport.write(data)

    def _write_datagram(self, data: bytes) -> None:
        self._transport.sendto(data)

    def _abandon(self) -> None:
        """Let the parent of this forked child have the sockets, and the loop that waits for them."""
        self._is_foreign = self._is_closed = True
        sockets = [self._socket, *(self.Server.sockets if self.Server is not None else ())]
        transports = [connection.transport for connection in self._connections.values()]
        sockets += [one.get_extra_info("socket") for one in transports if one is not None]
        let_go(one.fileno() for one in sockets if one is not None)

    def _lost(self, error: Exception | None) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._settle(self.on_connection_lost, error)
            self._links.end_all(error)
            Communicator.close(self)

    @staticmethod
    def _settle(future: asyncio.Future[Any], result: Any) -> None:
        """Set a future once."""
        if not future.done():
            future.set_result(result)
