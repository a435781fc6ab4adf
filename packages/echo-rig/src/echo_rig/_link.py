"""One other end: its conversation, and the way its bytes leave.

The thin part between `_conversation`, which decides, and what carries the bytes: `_timed_link` in an event
loop, `sync._polled_link` for a thread that waits. Nothing here looks into a message.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from echo_rig._verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._sending import Sending
    from echo_rig._verdict import Received

#: IP address and port of another end; the address of a link-local IPv6 end has the zone in it.
Address: TypeAlias = tuple[str, int]

# Bound once: looking up a member of an Enum is slow.
_CONFIRMED: Final = Verdict.CONFIRMED
_NEWS: Final = Verdict.NEWS


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


class Link(ABC):
    """A conversation with the wire at one end of it and a listener at the other.

    Parameters
    ----------
    address : tuple of (str, int)
        The other end.
    conversation : Conversation
    write : callable
        ``write(data)`` puts one datagram, or a piece of a stream, on the wire.
    listener : Listener

    Attributes
    ----------
    heard_at : float or None
        When anything came from the other end last, in monotonic seconds.
    echoed_at : float
        When something was last written in answer to what came, in monotonic seconds.
    is_over : bool
        Nothing is written any more.
    """

    __slots__ = ("_listener", "_write", "address", "conversation", "echoed_at", "heard_at", "is_over")

    def __init__(
        self,
        address: Address,
        conversation: Conversation,
        write: Callable[[bytes], object],
        listener: Listener,
    ) -> None:
        self.address = address
        self.conversation = conversation
        self.heard_at: float | None = None
        self.echoed_at = -inf
        self.is_over = False
        self._write = write
        self._listener = listener

    @abstractmethod
    def _settle(self, sending: Sending | None, error: Exception | None = None) -> None:
        """Tell whoever waits for this that it is confirmed, or has failed; if somebody does."""

    @abstractmethod
    def _set_timer(self) -> None:
        """Have `on_time` called when the conversation needs it; not at all when the link is over."""

    @abstractmethod
    def _stop_timer(self) -> None:
        """Have `on_time` not called any more."""

    def send(self, message: bytes, *, confirm: bool, context: Any = None) -> Sending:
        """Send a message, now or as soon as it is its turn."""
        sending, pieces = self.conversation.send(message, time.monotonic(), confirm=confirm, context=context)
        self._put(pieces)
        return sending

    def give_up(self, sending: Sending) -> None:
        """Wait no longer for an echo; nothing happens if it has come, or if the link is over."""
        if not self.is_over:
            self._put(self.conversation.give_up(sending, time.monotonic()))

    def greet(self) -> None:
        """Show the other end that we number, which an old one does not notice."""
        self._put(self.conversation.greet(time.monotonic()))

    def receive(self, data: bytes) -> None:
        """Take one datagram, or one piece from the splitter of a stream."""
        self.heard_at = now = time.monotonic()
        received = self.conversation.receive(data, now)
        verdict = received.verdict
        if verdict is _CONFIRMED and not received.write:
            # The most frequent case. A timer of this message may stay: then nothing will be due.
            self._settle(received.sending)
            return
        # An echo goes out before any callback runs: that is what its sender waits for.
        for piece in received.write:
            self._write(piece)
            self.echoed_at = now
        if verdict is _CONFIRMED:
            self._settle(received.sending)
        elif verdict is not _NEWS:
            self._note(received)
        for message in received.deliver:
            self._listener.message_received(message, self.address)
        self._set_timer()

    def on_time(self) -> None:
        """Do what is due."""
        due = self.conversation.on_time(time.monotonic())
        for piece in due.write:
            self._write(piece)
        for message in due.deliver:
            self._listener.message_received(message, self.address)
        self._set_timer()

    def fail(self, error: Exception) -> None:
        """Let everything that waits for an echo fail, and forget it. The link can still be used."""
        for sending in self.conversation.lost():
            self._settle(sending, error)

    def end(self, error: Exception) -> None:
        """Let everything that waits for an echo fail; nothing is written any more."""
        self.is_over = True
        self.fail(error)
        self._stop_timer()

    def _put(self, pieces: tuple[bytes, ...]) -> None:
        for piece in pieces:
            self._write(piece)
        self._set_timer()

    def _note(self, received: Received) -> None:
        if received.verdict is Verdict.TRUNCATED_ECHO:
            self._settle(received.sending)
        elif received.verdict is Verdict.UNEXPECTED:
            self._settle(received.sending, RuntimeError("Unexpected response instead of the echo"))
        self._listener.something_unusual(received, self.address)
