"""One TCP connection: its stream cut into messages, its flow, its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from echo_rig._apart import ApartWriter
from echo_rig._link import address_of
from echo_rig._liveness import watch_liveness
from echo_rig._message_cutter import MessageCutter

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._link import Address, Link

#: Bytes to ask the socket for. asyncio asks for 256 KiB each time, which many an allocator fetches from the
#: system and gives back, for every message: that doubles the time of a round trip. This is just below what
#: glibc takes from its own store.
MAX_READ: Final = 131_000
#: Seconds for an end that reads slowly to take what it was sent before the connection was closed.
LINGER_S: Final = 2.0


class Owner(Protocol):
    """Who is told of the fate of a connection."""

    def open_link(self, connection: Connection, address: Address) -> Link | None:
        """Return the link for a new connection; without one it is closed."""

    def oversized(self, size: int, limit: int, address: Address) -> None:
        """Take note of a message beyond the limit."""

    def unfinished(self, size: int, address: Address) -> None:
        """Take note of a message that the end of the stream has cut off."""

    def connection_ended(self, connection: Connection, error: Exception | None) -> None:
        """Take note that a connection is over."""


class Connection(asyncio.Protocol):
    """The protocol object of one TCP connection.

    Parameters
    ----------
    owner : Owner
    loop : asyncio.AbstractEventLoop
        Runs the timers.
    put : callable, optional
        ``put(data)`` writes to the stream; the transport does so by default.
    """

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        put: Callable[[bytes], object] | None = None,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._cutter = MessageCutter(self._oversized)
        self._put = put or self._write_transport
        self._apart = ApartWriter(self._put, loop)
        #: What is being taken; when it is written, it is an echo.
        self._arrived: bytes | None = None
        self._silence: asyncio.TimerHandle | None = None
        self.address: Address = ("", 0)
        self.transport: asyncio.Transport | None = None
        self.link: Link | None = None
        #: The other end does not read as fast as this end writes.
        self.is_congested = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and open a link for it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what the loop hands to stream protocols
        self.transport = transport
        self.address = address_of(transport.get_extra_info("peername") or ("", 0))
        stream = transport.get_extra_info("socket")
        if stream is not None:
            watch_liveness(stream)
        if hasattr(transport, "max_size"):
            transport.max_size = MAX_READ
        self.link = self._owner.open_link(self, self.address)
        if self.link is None:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Cut what arrived into messages."""
        self._cutter.feed(data)
        self._drain()
        self._stop_timer()
        silence_s = self._cutter.silence_s
        if silence_s is not None:
            self._silence = self._loop.call_later(silence_s, self._flush)

    def eof_received(self) -> None:
        """Take what was complete but for the end of the stream; the transport then closes."""
        lost = self._cutter.end()
        self._drain()
        if lost:
            # Part of a message or an echo, which says nothing.
            self._owner.unfinished(lost, self.address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everything that waits fail."""
        self._stop_timer()
        self._apart.forget()
        self._owner.connection_ended(self, exc)

    def pause_writing(self) -> None:
        """Take nothing more from an end that does not read what it is sent."""
        self.is_congested = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self.is_congested = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send a message or an echo; apart, if the other end is an old one as far as is known."""
        if data is self._arrived:
            self._apart.echo(data)
        elif self.link is None or self.link.conversation.peer_numbers:
            self._apart.flush()
            self._put(data)
        else:
            self._apart.write(data)

    def close(self) -> None:
        """Close the connection; safe to call twice, also without a running loop."""
        self._stop_timer()
        if self.transport is None or self.transport.is_closing():
            return
        self._apart.flush()
        self.transport.close()
        if self.transport.get_write_buffer_size():
            # Else an end that never reads would keep the connection open for ever.
            self._loop.call_later(LINGER_S, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _flush(self) -> None:
        self._silence = None
        self._cutter.flush()
        self._drain()

    def _drain(self) -> None:
        while (message := self._cutter.next_message()) is not None:
            if self.link is None or self.transport is None or self.transport.is_closing():
                return  # closed by a callback
            self._arrived = message
            self.link.receive(message)
        self._arrived = None

    def _oversized(self, size: int, limit: int) -> None:
        self._owner.oversized(size, limit, self.address)

    def _write_transport(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
