"""`Socket`: the two ends of a conversation in JSON."""

from __future__ import annotations

import functools
import time
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final

from wireframe.json_socket._address import peer_name
from wireframe.json_socket._client import Client
from wireframe.json_socket._clock import seconds
from wireframe.json_socket._door import open_door
from wireframe.json_socket._drops import DroppedPeer, Drops, logger
from wireframe.json_socket._intake import Intake
from wireframe.json_socket._loads import loads as quick_loads
from wireframe.json_socket._server import Server
from wireframe.lenjson import MAX_SIZE, Decoder, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType
    from typing import Self

#: The port of the original.
DEFAULT_PORT: Final = 61981


class Socket:
    """One end of a conversation in JSON over TCP.

    A client sends one message per connection and reads the replies on it; a
    server takes messages and answers the last one it took. The bytes are those
    of optbayesexpt's ``Socket``, so either end may be the original.

    Parameters
    ----------
    role : {"client", "server"}
        A server listens from construction on.
    ip_address : str
        IPv4 or IPv6 address, or a host name (IPv4 is preferred). For a server
        the address to listen on; ``""`` means all IPv4 interfaces.
    port : int
        0 lets a server take any free port, see `port` and `address`.
    timeout : float, optional
        Seconds `receive` and `tcpcmd` wait in all, connecting included. None
        waits for ever, like the original. Zero takes what is there.
    header_timeout : float, optional
        Seconds a server gives a new connection, or one that began to send, for
        the ten digits. None: without limit.
    frame_timeout : float, optional
        Seconds a whole message may take from its first byte to its last, in
        either direction, and a connection to come about. None: without limit.
    max_size : int
        Bytes of the longest message body to accept. Unfinished bodies take at
        most two times this in a server's memory, and 64 KiB per connection.
    max_connections : int
        Connections a server keeps at once. For a new one beyond it the oldest
        that was silent for a second gives way; if none was, the new one waits.
    persistent : bool
        Client: use one connection for all messages; only for servers that are
        known to read more than one, such as this class in `serve` or with
        `persistent`. Server: keep connections open after another was served.
    strict : bool
        Raise from `receive` what a peer did wrong; otherwise it is only dropped,
        counted and logged.
    allow : iterable of str, optional
        Addresses and networks (``"192.168.4.0/24"``) whose hosts a server
        accepts; None, the default, for all. An empty list is a list too: nobody
        is in it.
    loads, dumps : callable, optional
        Replace the standard JSON codec, see `wireframe.lenjson`.

    Attributes
    ----------
    role, ip_address : str
        As given.
    port : int
        As given, or the port a server got instead of 0.
    server : socket.socket
        The listening socket; a client has no such attribute.

    Raises
    ------
    ValueError
        Unknown role, negative time or `max_size`, no connection allowed, or bad
        network.
    TypeError
        `allow` is a single text.
    OSError
        A server cannot listen there.

    Notes
    -----
    Threads: `tcpcmd` may be called by any number of threads at once, `close`
    and `shutdown` by any thread at any time. `send` and `receive` belong to one
    conversation, so to one thread at a time; a second thread in `receive` or
    `serve` of one server gets a RuntimeError. Handlers of signals may call
    `close` and `shutdown`, too. After a fork use the socket in
    one process: a server refuses to work in the child.
    """

    server: socket.socket

    def __init__(
        self,
        role: str,
        ip_address: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        timeout: float | None = None,
        header_timeout: float | None = 5.0,
        frame_timeout: float | None = 60.0,
        max_size: int = MAX_SIZE,
        max_connections: int = 128,
        persistent: bool = False,
        strict: bool = False,
        allow: Iterable[str] | None = None,
        loads: Callable[[str], Any] | None = None,
        dumps: Callable[[Any], str | bytes] | None = None,
    ) -> None:
        if max_size < 0:
            raise ValueError(f"max_size cannot be {max_size!r} bytes")
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections!r}")
        self.role = role
        self.ip_address = ip_address
        self.port = port
        self._patience = seconds(timeout)
        self._frame_timeout = seconds(frame_timeout)
        self._dumps = dumps
        self._drops = Drops()
        self._server: Server | None = None
        decoder = functools.partial(Decoder, max_size, loads=quick_loads if loads is None else loads)
        self._client = Client(decoder, self._frame_timeout, persistent=persistent)
        header_limit = seconds(header_timeout)
        if role == "server":
            door = open_door(ip_address, port, self._drops, allow)
            intake = Intake(
                door,
                decoder,
                self._drops,
                max_size=max_size,
                max_connections=max_connections,
                header_timeout=header_limit,
                frame_timeout=self._frame_timeout,
            )
            self._server = Server(intake, self._drops, persistent=persistent, strict=strict)
            self.server = door.listener
            self._bound: tuple[str, int] = self.server.getsockname()[:2]
            self.port = self._bound[1]
            logger.info("listening on %s", peer_name(self._bound))
        elif role != "client":
            raise ValueError(f"role must be 'client' or 'server', not {role!r}")

    # What the original has.

    @property
    def connection(self) -> socket.socket | None:
        """Client: the last connection opened. Server: the one of the last message."""
        return self._client.last if self._server is None else self._server.last

    def send(self, value: Any) -> None:
        """Send one message.

        A client opens a new connection for it, unless it is persistent, and
        closes the one before. A server answers the last message it received;
        it may do so several times.

        Parameters
        ----------
        value : JSON value
            See `wireframe.lenjson.encode`; arrays and scalars of numpy are fine.

        Raises
        ------
        TypeError, ValueError
            JSON cannot carry `value`; no connection was opened.
        TimeoutError
            The connection did not come about, or the frame was not taken, within
            `frame_timeout`. The connection is closed.
        BrokenConnection
            The peer is gone, or a server has received nothing yet.
        SocketClosed
            `close` or `shutdown` was called meanwhile or, for a client, before.
        OSError
            A client cannot connect.
        """
        frame = encode(value, dumps=self._dumps)
        if self._server is None:
            self._client.send(self.ip_address, self.port, frame)
        else:
            self._server.send(frame, time.monotonic() + self._frame_timeout)

    def receive(self, *, timeout: float | EllipsisType | None = ...) -> Any:
        """Return the next message.

        A client reads from the connection its last `send` opened. A server
        returns the message that is complete first, from whatever connection;
        among complete ones the order of connections counts. The connection of
        the message before is closed then, unless the server is persistent.

        Parameters
        ----------
        timeout : float, optional
            Seconds, instead of the constructor's; None waits for ever.

        Returns
        -------
        JSON value

        Raises
        ------
        TimeoutError
            No whole message in time. Call again to go on waiting; only a
            persistent client has closed its connection.
        FrameError
            Client, or strict server: the peer sent something else.
        BrokenConnection
            Client, or strict server: the peer closed too early.
        SocketClosed
            `shutdown` was called or, for a client, `close`.
        RuntimeError
            Another thread is receiving from this server.
        """
        deadline = self._deadline(timeout)
        return (self._client if self._server is None else self._server).receive(deadline)

    def tcpcmd(self, value: Any, *, timeout: float | EllipsisType | None = ...) -> Any:
        """Send a command, return its reply and close the connection.

        A persistent client keeps the connection. A server does nothing and
        returns None, like the original. Raises what `send` and `receive` raise;
        whatever happens, no connection is left behind.

        Parameters
        ----------
        value : JSON value
        timeout : float, optional
            Seconds in all, instead of the constructor's; None waits for ever.

        Returns
        -------
        JSON value or None
        """
        if self._server is not None:
            return None
        frame = encode(value, dumps=self._dumps)
        return self._client.command(self.ip_address, self.port, frame, self._deadline(timeout))

    def close(self) -> None:
        """Close the connection; a server goes on listening. Calling it again is fine."""
        (self._client if self._server is None else self._server).close()

    # What is new.

    @property
    def address(self) -> tuple[str, int]:
        """Where a server listens, or a client connects to."""
        return (self.ip_address, self.port) if self._server is None else self._bound

    @property
    def dropped(self) -> int:
        """How many connections a server closed because of what their peers did."""
        return self._drops.count

    @property
    def drops(self) -> tuple[DroppedPeer, ...]:
        """The latest 64 of them, oldest first."""
        return tuple(self._drops.recent)

    def serve(self, handlers: Mapping[str, Callable[..., Any]], *, stop: str | Collection[str] = ()) -> None:
        """Answer commands until told to stop.

        ``{"command": name, ...}`` calls ``handlers[name]`` with the other
        members as keyword arguments and sends back what it returns. An unknown
        command, a message that is no command and a handler that raises are
        answered by ``{"error": {"type": ..., "message": ...}}``. Connections
        stay open for further commands; replies never wait for slow readers.

        Parameters
        ----------
        handlers : mapping of str to callable
            They run in this thread, one at a time, and may call `shutdown`.
        stop : str or collection of str
            Commands that end the loop once they are answered, by ``"OK"`` where
            there is no handler.

        Raises
        ------
        SocketClosed
            The server was shut down before. Later `shutdown` just ends the loop.
        RuntimeError
            Another thread is receiving, or this is a client.
        """
        if self._server is None:
            raise RuntimeError("only a server can serve")
        self._server.serve(handlers, {stop} if isinstance(stop, str) else set(stop), self._dumps)

    def shutdown(self) -> None:
        """Close everything, the listening socket too, and wake every waiter.

        Waiters get `SocketClosed`; `serve` returns. Calling it again is fine.
        If another thread is in `receive`, its closing is waited for, one second
        at most; a handler of `serve` that is running is allowed to finish.
        """
        (self._client if self._server is None else self._server).shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.role} {peer_name(self.address)}>"

    def __getstate__(self) -> None:
        raise TypeError("a Socket cannot be pickled, make one in each process")

    def _deadline(self, timeout: float | EllipsisType | None) -> float:
        patience = self._patience if isinstance(timeout, EllipsisType) else seconds(timeout)
        return time.monotonic() + patience
