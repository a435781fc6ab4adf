"""One TCP connection: its stream cut into messages, its flow, its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Final, Protocol

from echo_rig._apart import ApartWriter
from echo_rig._link import address_of
from wireframe.echo import NEED_DATA, Oversized, Splitter

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._link import Address, Link

#: Bytes to ask the socket for. asyncio asks for 256 KiB each time, which many an allocator fetches from the
#: system and gives back, for every message: that doubles the time of a round trip. This is just below what
#: glibc takes from its own store.
MAX_READ: Final = 131_000
#: Seconds of silence after which a word without brackets counts as complete. Messages of the protocol are
#: lists and never wait for it.
SILENCE_S: Final = 0.05
#: Seconds of silence after which a list without its end counts as given up. It would swallow what follows.
UNFINISHED_S: Final = 5.0
#: Seconds for an end that reads slowly to take what it was sent before the connection was closed.
LINGER_S: Final = 2.0
#: Seconds: an end that vanished without a word is noticed after about this long. Both options are needed,
#: one works while data is under way, the other one while nothing is.
KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3
UNANSWERED_MS: Final = 30_000


class Owner(Protocol):
    """Who is told of the fate of a connection."""

    def open_link(self, connection: Connection, address: Address) -> Link | None:
        """Return the link for a new connection; without one it is closed."""

    def oversized(self, size: int, address: Address) -> None:
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
    max_message_size : int
        Bytes of the largest message to take.
    loop : asyncio.AbstractEventLoop
        Runs the timers.
    put : callable, optional
        ``put(data)`` writes to the stream; the transport does so by default.
    """

    def __init__(
        self,
        owner: Owner,
        max_message_size: int,
        loop: asyncio.AbstractEventLoop,
        put: Callable[[bytes], object] | None = None,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._splitter = Splitter(max_message_size)
        self._put = put or self._write_transport
        self._apart = ApartWriter(self._put, loop)
        #: What is being taken; when it is written, it is an echo.
        self._arrived: bytes | None = None
        #: Bytes of a message that is not complete.
        self._incomplete = 0
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
        _watch_liveness(transport.get_extra_info("socket"))
        if hasattr(transport, "max_size"):
            transport.max_size = MAX_READ
        self.link = self._owner.open_link(self, self.address)
        if self.link is None:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Cut what arrived into messages."""
        self._incomplete += len(data)
        self._splitter.feed(data)
        self._drain()
        self._stop_timer()
        if self._incomplete:
            silence_s = SILENCE_S if self._splitter.waiting else UNFINISHED_S
            self._silence = self._loop.call_later(silence_s, self._flush)

    def eof_received(self) -> None:
        """Take what was complete but for the end of the stream; the transport then closes."""
        if self._splitter.waiting:
            self._splitter.feed_eof()
            self._drain()
        elif self._incomplete:
            # Part of a message or an echo: it is lost with the connection, and says nothing.
            self._owner.unfinished(self._incomplete, self.address)

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
        self._splitter.flush(unfinished=True)
        self._drain()

    def _drain(self) -> None:
        while (piece := self._splitter.next_event()) is not NEED_DATA:
            if self.link is None or self.transport is None or self.transport.is_closing():
                return  # closed by a callback
            if isinstance(piece, Oversized):
                self._incomplete -= piece.size
                self._owner.oversized(piece.size, self.address)
            else:
                self._incomplete -= len(piece)
                self._arrived = piece
                self.link.receive(piece)
        self._arrived = None

    def _write_transport(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


def _watch_liveness(stream: socket.socket | None) -> None:
    """Ask the system to notice an end that vanished; what a platform lacks is left out."""
    if stream is None:
        return
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if sys.platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS),
        ]
    with contextlib.suppress(OSError):
        for level, name, value in options:
            stream.setsockopt(level, name, value)
