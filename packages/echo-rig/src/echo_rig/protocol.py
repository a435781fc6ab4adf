"""`EchoProtocol`: one end of the wire, in either role, over UDP or TCP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from echo_rig import _endpoints
from echo_rig._operations import Operations

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from echo_rig._link import Address

__all__ = ["EchoProtocol"]


class EchoProtocol(Operations):
    """One end of the wire: sends messages that the other end confirms, and tells callbacks what comes.

    Make one with `server` or `client`. A server hears from any number of
    clients and must name the address for every message; a client has one server.

    Parameters
    ----------
    server_uri : str or IP address
        Where the server listens, see `echo_rig.uri`.
    role : {'server', 'client'}
    name : str, optional
        Name for logs and in `Services`; the URI by default.
    logger : logging.Logger, optional
        By default the logger called `name`. Handlers and levels are left alone.

    Attributes
    ----------
    default_echo_timeout : float
        Seconds to wait for an echo.
    max_message_size : int
        Bytes of the largest message taken from a stream.
    on_connection_lost, on_error_received, on_eof_received : asyncio.Future
        Set once, when the connection is over, the network reports an error,
        and the other end of a stream will send nothing more.

    Raises
    ------
    ValueError
        The role or the URI is none.
    RuntimeError
        No event loop is running.

    Notes
    -----
    To be used within the thread of its event loop. In a forked child every send raises
    `ForeignProcessError`, and closing does nothing: the sockets are the parent's. A send that fails, whatever
    the reason, leaves the others and the end itself as they are.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     rig = await EchoProtocol.server("udp://127.0.0.1:14471")
    ...     rig.assign_callback("EXPINIT", lambda data, address: print("initialised with", data))
    ...     pc = await EchoProtocol.client("udp://127.0.0.1:14471")
    ...     await pc.init({"subject": "mouse"})
    ...     pc.close()
    ...     rig.close()
    >>> asyncio.run(main())
    initialised with [{'subject': 'mouse'}]
    """

    @staticmethod
    async def server(
        server_uri: Any,
        name: str | None = None,
        log: logging.Logger | None = None,
        *,
        numbering: bool | None = None,
        allow: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> EchoProtocol:
        """Listen at an address.

        Parameters
        ----------
        server_uri : str or IP address
            Where to listen, such as ``"udp://192.168.0.1:11001"``. A name is
            looked up without blocking the loop.
        name, log : optional
            See the class.
        numbering : bool, optional
            Number messages invisibly: from the first one (True), once the
            other end does (None, the default), or never (False).
        allow : iterable of str, optional
            Addresses and networks (``"10.0.0.0/24"``) that are listened to;
            everybody by default. What comes from others is counted and neither
            echoed nor delivered.
        **kwargs
            For `loop.create_datagram_endpoint` or `loop.create_server`.

        Returns
        -------
        EchoProtocol

        Raises
        ------
        ValueError
            The URI or an entry of `allow` is none.
        OSError
            The address cannot be bound.
        """
        return await _endpoints.serve(EchoProtocol, server_uri, name, log, numbering, allow, kwargs)

    @staticmethod
    async def client(
        server_uri: Any,
        name: str | None = None,
        log: logging.Logger | None = None,
        *,
        numbering: bool | None = None,
        **kwargs: Any,
    ) -> EchoProtocol:
        """Connect to a server. Over UDP that succeeds also while nobody listens.

        Parameters
        ----------
        server_uri, name, log, numbering
            As for `server`.
        **kwargs
            For `loop.create_datagram_endpoint` or `loop.create_connection`.

        Returns
        -------
        EchoProtocol

        Raises
        ------
        ValueError
            The URI is none.
        OSError
            Nobody listens (TCP), or there is no way to the address.
        """
        return await _endpoints.connect(EchoProtocol, server_uri, name, log, numbering, kwargs)

    def awaiting_response(self, addr: Address | None = None) -> bool:
        """Whether an echo is being waited for, from one address or from any."""
        if self._last_sent.waits(addr):
            return True
        links = self._links.values() if addr is None else filter(None, [self._links.get(addr)])
        return any(link.conversation.outstanding for link in links)

    def send(self, data: Any, addr: Address | None = None) -> None:
        """Send a message and do not wait for its echo.

        Parameters
        ----------
        data : bytes, str or JSON value
            Bytes and text go out as they are, anything else as JSON.
        addr : tuple of (str, int), optional
            Where to. By default the server over UDP, the other end of the
            connection over TCP.

        Raises
        ------
        ConnectionError
            This end is closed, or the other end reads so slowly that a lot waits to leave.
        ValueError
            The message does not fit a datagram, or a server is given a name instead of an IP address.

        Notes
        -----
        Over TCP an address that nobody is connected from is logged as a warning
        and nothing is sent.
        """
        address = self._server_address if addr is None else (addr[0], addr[1])
        link = self._link_to(address)
        if link is None:
            self.logger.warning("Nothing sent: no connection with %s:%s", *address)
            return
        message = self._encoded(data)
        self._require_room(address)
        link.send(message, confirm=False)

    async def confirmed_send(
        self, data: Any, addr: Address | None = None, timeout: float | None = None
    ) -> None:
        """Send a message and wait until the other end has echoed it.

        Parameters
        ----------
        data : bytes, str or JSON value
            As for `send`.
        addr : tuple of (str, int), optional
            Where to; needed in the server role, and of no use in the client role.
        timeout : float, optional
            Seconds to wait for the echo; `default_echo_timeout` by default.

        Raises
        ------
        TypeError
            Server role and no address.
        ValueError
            Client role and another address than the server's; a timeout that is
            not above 0; a message that does not fit a datagram; server role and
            a name instead of an IP address.
        TimeoutError
            The echo did not come. Whether the message arrived is not known.
        RuntimeError
            Something came instead of the echo that is no message at all.
        ConnectionError
            This end is closed, the other end has closed the connection, or
            nobody listens there.
        OSError
            There is no way to the address.
        asyncio.CancelledError
            `close` was called meanwhile.

        Notes
        -----
        Any number of sends may wait at the same time. Cancelling one leaves
        nothing behind; the message may have arrived all the same.
        """
        await self.timed_send(data, addr, timeout)

    async def timed_send(self, data: Any, addr: Address | None = None, timeout: float | None = None) -> float:
        """Send as `confirmed_send` does, and return the seconds from sending to the echo."""
        address = self._checked_address(addr)
        timeout = self._checked_timeout(timeout)
        message = self._encoded(data)
        link = self._link_to(address)
        if link is None:
            raise ConnectionResetError(f"no connection with {address[0]}:{address[1]}")
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        sending = link.send(message, confirm=True, context=future)
        try:
            seconds = await asyncio.wait_for(future, timeout=timeout)
        except TimeoutError as error:
            raise self._no_echo(address, timeout) from error
        except RuntimeError as error:
            raise self._no_proper_echo(address) from error
        finally:
            if sending.round_trip_s is None:
                link.give_up(sending)
        if task is not None and task.cancelling() > cancelled:
            # `wait_for` of Python 3.11 swallows a cancellation that comes together with the echo.
            raise asyncio.CancelledError
        return seconds
