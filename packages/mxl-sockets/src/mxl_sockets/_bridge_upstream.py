"""A bridge's connection to its hub: bytes between a socket and the protocol."""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

from mxl_sockets._aggregate_link import take_column
from wireframe import NEED_DATA, aggregate

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Self

    from mxl_sockets._stop import StopSignal

#: Bytes per read.
READ_SIZE = 1 << 18

#: Seconds between looks at the stop signal while the hub does not read.
TICK_S = 1.0


class Upstream:
    """One connection to a hub; a context manager, belongs to one thread.

    Parameters
    ----------
    sock : socket.socket
        Connected; owned from here on.
    stop : StopSignal
        Ends waits.

    Attributes
    ----------
    messages : int
        Messages received.
    """

    def __init__(self, sock: socket.socket, stop: StopSignal) -> None:
        sock.setblocking(False)
        self.messages = 0
        self._sock = sock
        self._stop = stop
        self._decoder = aggregate.Decoder(accept=aggregate.FROM_HUB, column=take_column)
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._sock.close()

    def receive(self, timeout_s: float | None) -> Iterator[aggregate.Event]:
        """Yield the next message, if there is one: waiting at most so long; None waits for ever.

        Raises
        ------
        EOFError
            The hub has closed the connection.
        OSError
            The connection broke.
        wireframe.FrameError
            The hub sent something illegal, or closed inside a message (`TruncatedFrame`).
        """
        event = self._decoder.next_event()
        if event is NEED_DATA and self._selector.select(timeout_s):
            self._read()
            event = self._decoder.next_event()
        if event is not NEED_DATA:
            self.messages += 1
            yield event
        elif self._ended:
            raise EOFError("the hub closed the connection")

    def _read(self) -> None:
        try:
            while size := self._sock.recv_into(self._scratch):
                self._decoder.feed(self._scratch[:size])
                if size < READ_SIZE:
                    return
        except BlockingIOError:
            return
        self._ended = True
        self._decoder.feed_eof()

    def send(self, message: bytes) -> None:
        """Send a message whole, however long the hub takes to read it, unless the stop signal comes.

        Raises
        ------
        OSError
            The connection broke.
        """
        rest = memoryview(message)
        while rest and not self._stop.is_set:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                self._stop.wait_writable(self._sock, TICK_S)
