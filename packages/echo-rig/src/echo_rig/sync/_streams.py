"""TCP: one connection of a client, or the listener and the connections of a server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import TYPE_CHECKING, Final

from echo_rig._connections import Connections
from echo_rig._link import address_of
from echo_rig._liveness import watch_liveness
from echo_rig._message_cutter import MessageCutter
from echo_rig.sync._carrier import READ_SIZE, Carrier, interrupted, socket_address

if TYPE_CHECKING:
    from echo_rig._link import Address
    from echo_rig.sync._carrier import Owner
    from echo_rig.sync._loop import Loop
    from echo_rig.sync._polled_link import PolledLink

#: Bytes kept for an other end that does not read; beyond, nothing more is taken from it.
MAX_UNSENT: Final = 256 * 1024
#: Seconds until the next attempt when no connection can be accepted, because files are short.
ACCEPT_AGAIN_S: Final = 0.1


class Stream:
    """One connection: its stream cut into messages, what could not be written yet.

    Parameters
    ----------
    carrier : Streams
    connection : socket.socket
        Becomes non-blocking.
    address : tuple of (str, int)
        The other end.
    """

    def __init__(self, carrier: Streams, connection: socket.socket, address: Address) -> None:
        self._carrier = carrier
        self._cutter = MessageCutter(self._oversized)
        self._unsent = bytearray()
        self._events = selectors.EVENT_READ
        self.socket = connection
        self.address = address
        self.is_closed = False
        self.link = carrier.links.open(address, self.write, carrier.owner.numbering)
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # some systems refuse it when the other end has gone again
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watch_liveness(connection)
        self._carrier.loop.selector.register(connection, self._events, self.ready)

    @property
    def is_congested(self) -> bool:
        """Whether much waits for an other end that does not read."""
        return len(self._unsent) > MAX_UNSENT

    def write(self, data: bytes) -> None:
        """Send a piece of the stream, or keep what cannot be sent yet."""
        if self.is_closed:
            return
        try:
            # Separate calls, and no delay: an old peer reads an echo and a message only apart.
            done = 0 if self._unsent else self.socket.send(data)
        except BlockingIOError:
            done = 0
        except OSError as error:
            self.close(error)
            return
        except BaseException:
            self.close(interrupted())  # how much of the message is out is not known
            raise
        if done < len(data):
            self._unsent += data[done:]
            self._watch()

    def ready(self, events: int) -> None:
        """Write and read what is possible."""
        if self.is_closed:
            return
        try:
            if events & selectors.EVENT_WRITE:
                del self._unsent[: self.socket.send(self._unsent)]
                self._watch()
            if events & selectors.EVENT_READ:
                self._read()
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error)
        except BaseException:
            self.close(interrupted())  # a piece of the stream may be missing
            raise

    def on_time(self) -> None:
        """Take what has no end for complete, because nothing followed."""
        self._cutter.flush()
        self._drain()

    def close(self, error: Exception | None = None) -> None:
        """Close the connection and let everything that waits for an echo fail; safe to call twice."""
        if self.is_closed:
            return
        self.is_closed = True
        self._carrier.loop.deadlines.pop(self, None)
        self._carrier.loop.selector.unregister(self.socket)
        self.socket.close()
        self._carrier.ended(
            self, error or ConnectionResetError(f"{self.address[0]}:{self.address[1]} has closed")
        )

    def _read(self) -> None:
        data = self.socket.recv(READ_SIZE)
        if data:
            self._cutter.feed(data)
            self._drain()
            return
        lost = self._cutter.end()
        self._drain()
        if lost:
            # Part of a message or an echo, which says nothing.
            self._carrier.owner.unfinished(lost, self.address)
        self.close()

    def _drain(self) -> None:
        while (message := self._cutter.next_message()) is not None:
            self.link.receive(message)
            if self.is_closed:
                return
        silence_s = self._cutter.silence_s
        if silence_s is not None:
            self._carrier.loop.deadlines[self] = time.monotonic() + silence_s
        elif self._carrier.loop.deadlines:
            self._carrier.loop.deadlines.pop(self, None)

    def _oversized(self, size: int, limit: int) -> None:
        self._carrier.owner.oversized(size, limit, self.address)

    def _watch(self) -> None:
        """Have the selector tell what this connection can go on with."""
        events = 0 if self.is_congested else selectors.EVENT_READ
        if self._unsent:
            events |= selectors.EVENT_WRITE
        if events != self._events:
            self._events = events
            self._carrier.loop.selector.modify(self.socket, events, self.ready)


class Streams(Carrier):
    """The TCP sockets of an end.

    Parameters
    ----------
    owner : Owner
    loop : Loop
    host : str
    port : int
    connect_timeout : float
        Seconds a client waits for the server to answer.

    Raises
    ------
    OSError
        The address cannot be bound, or nobody listens there.
    """

    datagrams = False

    def __init__(self, owner: Owner, loop: Loop, host: str, port: int, connect_timeout: float) -> None:
        super().__init__(owner, loop)
        self._streams: Connections[Stream] = Connections(Stream.close, owner._quiet)
        self._listener: socket.socket | None = None
        if owner.role == "server":
            family, place = socket_address(host, port, socket.SOCK_STREAM)
            self.socket = self._listener = socket.create_server(place, family=family)
            self.socket.setblocking(False)
            loop.selector.register(self.socket, selectors.EVENT_READ, self._accept)
        else:
            self.socket = socket.create_connection((host, port), timeout=connect_timeout)
            self._streams[host, port] = Stream(self, self.socket, (host, port))
        loop.join(self)

    def link_to(self, address: Address) -> PolledLink | None:
        """Return the link to an address if there is a connection with it."""
        return self.links.get(address)

    def is_congested(self, address: Address) -> bool:
        """Whether an other end does not read as fast as this end writes."""
        stream = self._streams.get(address)
        return stream is not None and stream.is_congested

    def forget(self, link: PolledLink) -> None:
        """Close the connection."""
        stream = self._streams.get(link.address)
        if stream is not None and stream.link is link:
            stream.close(interrupted())

    def sockets(self) -> list[socket.socket]:
        """Return the listener and those of all connections."""
        listener = [] if self._listener is None else [self._listener]
        return listener + [stream.socket for stream in self._streams.values()]

    def close_sockets(self) -> None:
        """Close the listener and all connections."""
        for stream in tuple(self._streams.values()):
            stream.close(self.failure)
        if self._listener is not None and self._listener.fileno() >= 0:
            self.loop.deadlines.pop(self, None)
            if self._listener in self.loop.selector.get_map():
                self.loop.selector.unregister(self._listener)
            self._listener.close()

    def ended(self, stream: Stream, error: Exception) -> None:
        """Take note that a connection is over: its sends fail, the others go on."""
        if self._streams.get(stream.address) is stream:
            del self._streams[stream.address]
            self.links.pop(stream.address, None)
        stream.link.end(error)
        self.owner.logger.info("%s:%s disconnected", *stream.address)
        if self._listener is None and self.failure is None:
            self.close(error)

    def on_time(self) -> None:
        """Accept again."""
        self.loop.deadlines.pop(self, None)
        if self._listener is not None:
            self.loop.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _: int) -> None:
        """Take one new connection."""
        if self._listener is None:
            return
        try:
            connection, place = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # it has gone again
        except OSError as error:
            self.owner._quiet.warn("", "accept", "%s: cannot accept now: %s", self.owner.name, error)
            # It would be ready, and fail, all the time.
            self.loop.selector.unregister(self._listener)
            self.loop.deadlines[self] = time.monotonic() + ACCEPT_AGAIN_S
            return
        address = address_of(place)
        if self.owner.refuses(address) or not self._streams.make_room(address):
            connection.close()
        else:
            self.owner.logger.info("%s:%s connected", *address)
            self._streams[address] = Stream(self, connection, address)
