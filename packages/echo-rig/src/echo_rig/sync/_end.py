"""What an `Endpoint` is made of: its carrier, its callbacks, its mailbox."""

from __future__ import annotations

import inspect
import time
from asyncio import isfuture
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from echo_rig._allowed import AllowedSources
from echo_rig._forked import abandon_in_children, foreign
from echo_rig._wire_end import WireEnd
from echo_rig.events import Event
from echo_rig.sync._datagrams import Datagrams
from echo_rig.sync._loop import Loop
from echo_rig.sync._mailbox import Mailbox
from echo_rig.sync._streams import Streams

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from echo_rig._link import Address
    from echo_rig.callbacks import Callback
    from echo_rig.sync._carrier import Carrier
    from echo_rig.sync._polled_link import Outcome, PolledLink
    from echo_rig.uri import IPAddress
    from wireframe.echo import ExpMessage

#: Seconds between an echo and the next message to an end that does not number, over TCP. An old peer that
#: finds both in one read takes them for a wrong echo and closes. It reads what has come as soon as it can.
APART_S: Final = 0.005
#: Seconds for a TCP connection to be made.
CONNECT_TIMEOUT: Final = 5.0


class End(WireEnd):
    """Everything but the operations; see `Endpoint`."""

    def __init__(
        self,
        server_uri: str | IPAddress,
        role: str,
        name: str | None = None,
        logger: logging.Logger | None = None,
        *,
        numbering: bool | None = None,
        allow: Iterable[str] | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        super().__init__(server_uri, role, name, logger)
        self.server_address: Address = (self.hostname, self.port)
        self.numbering = numbering
        self.allowed = None if allow is None else AllowedSources(allow)
        self._mailbox = Mailbox()
        #: Bytes of the message that is being read.
        self._size = 0
        loop = Loop()
        try:
            self._carrier: Carrier = (
                Datagrams(self, loop, *self.server_address)
                if self.is_datagram
                else Streams(self, loop, *self.server_address, connect_timeout)
            )
        except BaseException:
            loop.selector.close()
            raise
        self._links = self._carrier.links
        abandon_in_children(self)
        doing = "listens at" if self.role == "server" else "uses"
        self.logger.info("%s %s %s", self.name, doing, self.server_uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    @property
    def loop(self) -> Loop:
        """What waits for the sockets, and keeps other threads out."""
        return self._carrier.loop

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent, as far as is known."""
        return self._carrier.failure is None

    def close(self) -> None:
        """Close the end and everything that belongs to it; safe to call twice. Nothing in a forked child.

        Raises
        ------
        RuntimeError
            Another thread is using it.
        """
        if self._is_foreign:
            return
        with self.loop:
            super().close()
            self._carrier.close(ConnectionAbortedError(f"{self.name} is closed"))

    def assign_callback(self, event: ExpMessage | int | str, callback: Callback) -> None:
        """Call a plain function when an event comes; see `Communicator.assign_callback`.

        Raises
        ------
        TypeError
            `callback` is not callable, or is a coroutine function or a future:
            no event loop runs here.
        ValueError
            There is no such event.
        """
        if isfuture(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("no event loop runs here: a callback is a plain function")
        super().assign_callback(event, callback)

    def on_event(self, event: ExpMessage | int | str) -> NoReturn:
        """Raise TypeError: `wait_for` is the call that waits."""
        raise TypeError("nothing can be awaited here; use wait_for()")

    def events(self, event: ExpMessage | int | str = 0, *, max_queued: int = 0) -> NoReturn:
        """Raise TypeError: `next_event` is the call that waits."""
        raise TypeError("nothing can be awaited here; use next_event()")

    def message_received(self, message: bytes, address: Address) -> None:
        """Read one message, put its event aside and have its callbacks run."""
        self._size = len(message)
        self._receive(message, address)

    def _abandon(self) -> None:
        """Let the parent of this forked child have the sockets."""
        self._is_foreign = True
        self._carrier.abandon(foreign(self.name))

    def require_open(self) -> None:
        """Raise why the end is over, if it is."""
        self._require_own_process()
        failure = self._carrier.failure
        if failure is not None:
            raise ConnectionAbortedError(f"{self.name} is not connected any more") from failure

    def require_echo(self, outcome: Outcome, address: Address) -> None:
        """Raise why a message failed, if it did."""
        error = outcome.error
        if isinstance(error, RuntimeError):
            raise self._no_proper_echo(address) from error
        if error is not None:
            raise error

    def link_with_room(self, address: Address, deadline: float) -> PolledLink:
        """Return the link to an address, as soon as it takes messages.

        Raises
        ------
        ConnectionError
            The end is closed, or there is no connection.
        TimeoutError
            The other end does not read.
        """
        self.require_open()
        carrier = self._carrier
        link = carrier.link_to(address)
        if link is not None and carrier.is_congested(address):
            if not carrier.loop.wait_until(lambda: not carrier.is_congested(address), deadline):
                raise TimeoutError(f"{self.name}: {address[0]}:{address[1]} does not read what it is sent")
            link = carrier.links.get(address)
        if link is not None and not self.is_datagram:
            self._keep_apart(link, deadline)
            link = carrier.links.get(address)
        if link is None:
            raise ConnectionResetError(f"{self.name}: no connection with {address[0]}:{address[1]}")
        return link

    def _keep_apart(self, link: PolledLink, deadline: float) -> None:
        """Let an old peer read an echo before the next message comes."""
        while not (link.is_over or link.conversation.peer_numbers):
            apart_at = link.echoed_at + APART_S
            if time.monotonic() >= min(apart_at, deadline):
                return
            self.loop.wait_until(lambda: link.is_over, min(apart_at, deadline))

    def take_event(self, wanted: ExpMessage) -> Event | None:
        """Return the oldest event of those wanted that was not returned before; see `Mailbox.take`."""
        return self._mailbox.take(wanted)

    @property
    def _server_address(self) -> Address:
        return self.server_address

    def _dispatch(self, event: ExpMessage, data: list[Any], addr: Address) -> None:
        self._mailbox.put(Event(event, data, addr), self._size)
        # Not now: a callback may itself wait for an echo, in the middle of what has just been received.
        if not self.loop.call_later(self._size, self._run_callbacks, event, data, addr):
            self._quiet.warn(
                addr[0], "callbacks", "%s: too many events for its callbacks, dropped one", self.name
            )

    def _run_callbacks(self, event: ExpMessage, data: list[Any], addr: Address) -> None:
        if not self._callbacks_closed:
            super()._dispatch(event, data, addr)

    def move(self, loop: Loop) -> None:
        """Let another loop wait for this end; see `Carrier.move`."""
        with self.loop:
            self._carrier.move(loop)
