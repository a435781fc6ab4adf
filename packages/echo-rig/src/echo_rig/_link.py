"""One other end: its conversation, the way its bytes leave, and its timer.

The thin part between `_conversation`, which decides, and the transports, which
carry. Nothing here looks into a message.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from echo_rig._verdict import Verdict

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._sending import Sending
    from echo_rig._verdict import Received

#: IP address and port of another end; the address of a link-local IPv6 end has the zone in it.
Address: TypeAlias = tuple[str, int]


def address_of(socket_address: tuple[Any, ...]) -> Address:
    """Return what a socket calls an address as IP address and port.

    Examples
    --------
    >>> address_of(("127.0.0.1", 11001)), address_of(("fe80::1", 11001, 0, 2))
    (('127.0.0.1', 11001), ('fe80::1%2', 11001))
    """
    host, port, *more = socket_address
    # A link-local address means nothing without the number of the interface behind it.
    return (f"{host}%{more[1]}", port) if len(more) == 2 and more[1] else (host, port)


class Listener(Protocol):
    """Who is told what came over a link."""

    def message_received(self, message: bytes, address: Address) -> None:
        """Take one message whose echo is on its way."""

    def something_unusual(self, received: Received, address: Address) -> None:
        """Take note of what is neither news nor a proper echo."""


class Link:
    """A conversation with the wire at one end of it and a listener at the other.

    To be used from the thread of the event loop.

    Parameters
    ----------
    address : tuple of (str, int)
        The other end.
    conversation : Conversation
    write : callable
        ``write(data)`` puts one datagram, or a piece of a stream, on the wire.
    listener : Listener
    loop : asyncio.AbstractEventLoop
        Runs the timer.

    Attributes
    ----------
    heard_at : float or None
        When anything came from the other end last, in monotonic seconds.
    """

    __slots__ = (
        "_is_over",
        "_listener",
        "_loop",
        "_timer",
        "_write",
        "address",
        "conversation",
        "heard_at",
    )

    def __init__(
        self,
        address: Address,
        conversation: Conversation,
        write: Callable[[bytes], object],
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.address = address
        self.conversation = conversation
        self.heard_at: float | None = None
        self._write = write
        self._listener = listener
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def send(self, message: bytes, *, confirm: bool, context: asyncio.Future[Any] | None = None) -> Sending:
        """Send a message, now or as soon as it is its turn."""
        sending, pieces = self.conversation.send(message, time.monotonic(), confirm=confirm, context=context)
        for piece in pieces:
            self._write(piece)
        self._set_timer()
        return sending

    def give_up(self, sending: Sending) -> None:
        """Wait no longer for an echo; nothing happens if it has come, or if the link is over."""
        if self._is_over:
            return
        for piece in self.conversation.give_up(sending, time.monotonic()):
            self._write(piece)
        self._set_timer()

    def receive(self, data: bytes) -> None:
        """Take one datagram, or one piece from the splitter of a stream."""
        self.heard_at = now = time.monotonic()
        received = self.conversation.receive(data, now)
        # An echo goes out before any callback runs: that is what its sender waits for.
        for piece in received.write:
            self._write(piece)
        if received.verdict is Verdict.CONFIRMED:
            _fulfil(received.sending)
        elif received.verdict is not Verdict.NEWS:
            self._note(received)
        for message in received.deliver:
            self._listener.message_received(message, self.address)
        self._set_timer()

    def greet(self) -> None:
        """Show the other end that we number, which an old one does not notice."""
        for piece in self.conversation.greet(time.monotonic()):
            self._write(piece)
        self._set_timer()

    def refuse(self, error: Exception) -> None:
        """Let everything that waits for an echo fail; the link goes on."""
        for sending in self.conversation.lost():
            _refuse(sending, error)

    def fail(self, error: Exception) -> None:
        """Let everything that waits for an echo fail, and stop the timer."""
        self.refuse(error)
        self.stop()

    def end(self, error: Exception | None) -> None:
        """Fail for good, or cancel what waits if there is no error."""
        self._is_over = True
        if error is None:
            for sending in self.conversation.lost():
                if sending.context is not None:
                    sending.context.cancel()
            self.stop()
        else:
            self.fail(error)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self, received: Received) -> None:
        if received.verdict is Verdict.TRUNCATED_ECHO:
            _fulfil(received.sending)
        elif received.verdict is Verdict.UNEXPECTED and received.sending is not None:
            _refuse(received.sending, RuntimeError("Unexpected response instead of the echo"))
        self._listener.something_unusual(received, self.address)

    def _set_timer(self) -> None:
        """Have the timer run when the conversation needs it, and not before."""
        deadline = None if self._is_over else self.conversation.next_deadline()
        if deadline is None:
            # A timer that is still set finds nothing due and is not renewed: cheaper than cancelling it.
            return
        timer = self._timer
        wait = deadline - time.monotonic()
        if timer is not None:
            if timer.when() <= self._loop.time() + wait:
                return
            timer.cancel()
        self._timer = self._loop.call_later(max(0.0, wait), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        due = self.conversation.on_time(time.monotonic())
        for piece in due.write:
            self._write(piece)
        for message in due.deliver:
            self._listener.message_received(message, self.address)
        self._set_timer()


def _future(sending: Sending | None) -> asyncio.Future[Any] | None:
    """Return the future of whoever waits for this, if somebody still does."""
    future: asyncio.Future[Any] | None = None if sending is None else sending.context
    return None if future is None or future.done() else future


def _fulfil(sending: Sending | None) -> None:
    future = _future(sending)
    if sending is not None and future is not None:
        future.set_result(sending.round_trip_s)


def _refuse(sending: Sending, error: Exception) -> None:
    future = _future(sending)
    if future is not None:
        future.set_exception(error)
