"""The part of `EchoProtocol` between the transports of asyncio and the links."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from echo_rig._clock_desk import ClockDesk
from echo_rig._connection import Connection
from echo_rig._entered_by_hand import EnteredByHand
from echo_rig._forked import abandon_in_children, let_go
from echo_rig._link import address_of
from echo_rig._links import Links
from echo_rig._verdict import Verdict
from echo_rig.communicator import Communicator
from echo_rig.uri import is_valid_ip
from wireframe.echo import read_clock_note

if TYPE_CHECKING:
    from collections.abc import Container

    from echo_rig._link import Address, Link
    from echo_rig._verdict import Received

#: Bytes to ask a UDP socket for; no datagram is longer. For each of them asyncio asks for 256 KiB, which many
#: an allocator fetches from the system and gives back: that doubles the time of a round trip.
MAX_READ: Final = 65536
#: Bytes of the longest message taken from a stream. Above `max_message_size`, because an old peer too reads
#: longer ones if it is lucky.
MAX_STREAM_MESSAGE: Final = 1 << 20
#: Bytes that wait to leave, because an end does not read or the network is slower. Beyond that nothing is
#: sent without confirmation; what is confirmed limits itself.
MAX_UNSENT: Final = 16 << 20
#: Errors of the network told apart in the log; systems have fewer.
MAX_CAUSES: Final = 256
#: Connections a TCP server keeps; more than any laboratory has rigs, fewer than a process may open files.
MAX_CONNECTIONS: Final = 512


class Exchange(Communicator, asyncio.DatagramProtocol, asyncio.Protocol):
    """Moves bytes between one or several transports and the links, one for each other end."""

    #: The asyncio server of a TCP server.
    Server: asyncio.Server | None = None
    max_message_size: ClassVar[int] = 65535

    def __init__(
        self, server_uri: Any, role: str, name: str | None = None, logger: logging.Logger | None = None
    ) -> None:
        role = role.strip().lower()
        if role not in ("server", "client"):
            raise ValueError(f"the role is 'server' or 'client', not {role!r}")
        self._role = role
        super().__init__(server_uri, name=name, logger=logger)
        self._loop = asyncio.get_running_loop()
        self._links = Links(
            self, self._loop, datagrams=self.is_datagram, max_message_size=self.max_message_size
        )
        self._connections: dict[Address, Connection] = {}
        #: The stream of a client.
        self._connection: Connection | None = None
        #: The server as the socket of a client knows it, which may differ from the URI in spelling.
        self._peer: Address | None = None
        self._transport: Any = None
        self._socket: Any = None
        self._is_closed = False
        self._clock = ClockDesk()
        self.numbering: bool | None = None
        self.allowed: Container[str] | None = None
        #: What came from addresses that are not allowed.
        self.strangers = 0
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

    @property
    def role(self) -> str:
        """``'server'`` or ``'client'``."""
        return self._role

    @property
    def is_datagram(self) -> bool:
        """Whether messages travel as UDP datagrams."""
        return self.protocol == "udp"

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent: the transport is there, a TCP server is listening."""
        if self._is_closed:
            return False
        if self.Server is not None:
            return self.Server.is_serving()
        return self._transport is not None and not self._transport.is_closing()

    @property
    def addresses(self) -> list[Address]:
        """Other ends known at present."""
        return list(self._links)

    def round_trip(self, addr: Address | None = None) -> float | None:
        """Return the smoothed round trip time to another end in seconds, None before the first echo.

        Parameters
        ----------
        addr : tuple of (str, int), optional
            Needed in the server role.
        """
        link = self._links.get(self._server_address if addr is None else addr)
        return None if link is None else link.conversation.round_trip.smoothed_s

    def heard_at(self, addr: Address | None = None) -> float | None:
        """Return when anything came from another end last, in monotonic seconds; None if nothing has.

        Parameters
        ----------
        addr : tuple of (str, int), optional
            Needed in the server role.
        """
        link = self._links.get(self._server_address if addr is None else addr)
        return None if link is None else link.heard_at

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
            self._links.cancel_all()
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
            self._connection = Connection(self, MAX_STREAM_MESSAGE, self._loop, self._write_stream)
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
        return Connection(self, MAX_STREAM_MESSAGE, self._loop)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Take one datagram."""
        address = address_of(addr)
        if self._role == "client":
            if address[0] != self._server_address[0]:
                self._quiet.warn(
                    address[0], "foreign", "Ignored %d bytes from %s:%s, not the server", len(data), *address
                )
                return
        elif self.allowed is not None and address[0] not in self.allowed:
            self._refuse_stranger(address)
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
                link.refuse(exc)

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

    def open_link(self, connection: Connection, address: Address) -> Link | None:
        """Return the link for a new connection, None if it is not wanted."""
        if self._is_closed:
            return None  # accepted right before
        if self._role == "server":
            if self.allowed is not None and address[0] not in self.allowed:
                self._refuse_stranger(address)
                return None
            if len(self._connections) >= MAX_CONNECTIONS and not self._close_a_silent_one():
                self._quiet.warn(
                    address[0], "full", "Refused %s:%s: %d connections", *address, MAX_CONNECTIONS
                )
                return None
            self.logger.info("%s:%s connected", *address)
        self._connections[address] = connection
        return self._links.open(address, connection.write, self.numbering)

    def _close_a_silent_one(self) -> bool:
        """Make room for a newcomer at the cost of the oldest connection that never said anything."""
        for address, connection in self._connections.items():
            if connection.link is not None and connection.link.heard_at is None:
                self._quiet.warn(address[0], "silent", "Closed %s:%s, which said nothing", *address)
                connection.close()
                self.connection_ended(connection, None)
                return True
        return False

    def connection_ended(self, connection: Connection, error: Exception | None) -> None:
        """Take note that a connection is over: its sends fail, the others go on."""
        if self._connections.get(connection.address) is not connection:
            return
        del self._connections[connection.address]
        self._links.end(connection.address, error)
        self.logger.info("%s:%s disconnected", *connection.address)
        if connection is self._connection:
            self._lost(error)

    def oversized(self, size: int, address: Address) -> None:
        """Take note of a message beyond the limit in a stream."""
        self._quiet.warn(
            address[0], "oversized", "Dropped a message of %d bytes from %s:%s, the limit is %d",
            size, *address, MAX_STREAM_MESSAGE,
        )  # fmt: skip

    def unfinished(self, size: int, address: Address) -> None:
        """Take note of a message that the end of the stream has cut off."""
        self._quiet.warn(
            address[0], "unfinished", "The stream of %s:%s ended inside a message, dropped %d bytes of it",
            *address, size,
        )  # fmt: skip

    def message_received(self, message: bytes, address: Address) -> None:
        """Tell the callbacks of one message."""
        if self._is_closed:
            return
        note = read_clock_note(message)
        if note is None:
            Communicator._receive(self, message, address)
        else:
            self._clock.take(note, address, self._links.get(address))

    def something_unusual(self, received: Received, address: Address) -> None:
        """Log what is neither news nor a proper echo."""
        verdict = received.verdict
        if verdict is Verdict.TRUNCATED_ECHO:
            self.logger.warning("Received truncated echo from %s:%s", *address)
        elif verdict is Verdict.UNEXPECTED:
            self.logger.error("Expected an echo from %s:%s, got something else", *address)
        elif verdict in (Verdict.BOUNCE, Verdict.REFUSED):
            self._quiet.warn(
                address[0], verdict.value, "Dropped a message of %s:%s: %s", *address, verdict.value
            )
        else:
            self.logger.debug("From %s:%s: %s", *address, verdict.value)

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

    def _link_to(self, address: Address) -> Link | None:
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

    @property
    def _server_address(self) -> Address:
        """Where a message goes unless told otherwise."""
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

    def _refuse_stranger(self, address: Address) -> None:
        self.strangers += 1
        self._quiet.warn(address[0], "stranger", "Ignored %s:%s, which is not allowed", *address)

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
