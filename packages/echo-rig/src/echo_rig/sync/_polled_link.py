"""One other end for a waiting thread: its conversation, the way its bytes leave, its deadline.

What `echo_rig._link` is for an event loop. Nothing here looks into a message.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Final

from echo_rig._verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._link import Address
    from echo_rig._sending import Sending
    from echo_rig._verdict import Received
    from echo_rig.sync._carrier import Carrier

# Bound once: looking up a member of an Enum is slow.
_CONFIRMED: Final = Verdict.CONFIRMED
_NEWS: Final = Verdict.NEWS


class Outcome:
    """What became of one confirmed message.

    Attributes
    ----------
    is_done : bool
        Whether it is confirmed or has failed.
    error : Exception or None
        Why it failed.
    """

    __slots__ = ("error", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        self.error: Exception | None = None

    def set(self, error: Exception | None = None) -> None:
        """Take note of the echo, or of the failure."""
        self.error = error
        self.is_done = True


class PolledLink:
    """A conversation with the wire at one end of it and the carrier at the other.

    If anything is interrupted (from the keyboard) while the state changes, the
    carrier forgets the link: nobody can know what is left of it.

    Parameters
    ----------
    address : tuple of (str, int)
        The other end.
    conversation : Conversation
    write : callable
        ``write(data)`` puts one datagram, or a piece of a stream, on the wire.
        Does not raise; it calls `fail`.
    carrier : Carrier
    """

    __slots__ = ("_carrier", "_write", "address", "conversation", "echoed_at", "is_over")

    def __init__(
        self,
        address: Address,
        conversation: Conversation,
        write: Callable[[bytes], object],
        carrier: Carrier,
    ) -> None:
        self.address = address
        self.conversation = conversation
        #: When something was last written in answer to what came, in monotonic seconds.
        self.echoed_at = -inf
        #: Nothing is written any more.
        self.is_over = False
        self._write = write
        self._carrier = carrier

    def send(self, message: bytes, outcome: Outcome | None = None) -> Sending:
        """Send a message, now or as soon as it is its turn; confirmed if there is an outcome to set."""
        try:
            sending, pieces = self.conversation.send(
                message, time.monotonic(), confirm=outcome is not None, context=outcome
            )
            for piece in pieces:
                self._write(piece)
            self._set_deadline()
        except BaseException:
            self._carrier.forget(self)
            raise
        return sending

    def give_up(self, sending: Sending) -> None:
        """Wait no longer for an echo; nothing happens if it has come, or if the link is over."""
        if self.is_over:
            return
        try:
            for piece in self.conversation.give_up(sending, time.monotonic()):
                self._write(piece)
            self._set_deadline()
        except BaseException:
            self._carrier.forget(self)
            raise

    def receive(self, data: bytes) -> None:
        """Take one datagram, or one piece from the splitter of a stream."""
        try:
            now = time.monotonic()
            received = self.conversation.receive(data, now)
            verdict = received.verdict
            if verdict is _CONFIRMED and not received.write:
                # The most frequent case. A deadline of this message may stay: then nothing will be due.
                _set(received.sending)
                return
            for piece in received.write:
                self._write(piece)
                self.echoed_at = now
            if verdict is _CONFIRMED:
                _set(received.sending)
            elif verdict is not _NEWS:
                self._note(received)
            for message in received.deliver:
                self._carrier.owner.message_received(message, self.address)
            self._set_deadline()
        except BaseException:
            self._carrier.forget(self)
            raise

    def on_time(self) -> None:
        """Do what is due."""
        try:
            due = self.conversation.on_time(time.monotonic())
            for piece in due.write:
                self._write(piece)
            for message in due.deliver:
                self._carrier.owner.message_received(message, self.address)
            self._set_deadline()
        except BaseException:
            self._carrier.forget(self)
            raise

    def fail(self, error: Exception) -> None:
        """Let everything that waits for an echo fail, and forget it. The link can still be used."""
        for sending in self.conversation.lost():
            _set(sending, error)

    def end(self, error: Exception) -> None:
        """Let everything that waits for an echo fail; nothing is written any more."""
        self.is_over = True
        self.fail(error)
        self._carrier.loop.deadlines.pop(self, None)

    def _note(self, received: Received) -> None:
        if received.verdict is Verdict.TRUNCATED_ECHO:
            _set(received.sending)
        elif received.verdict is Verdict.UNEXPECTED:
            _set(received.sending, RuntimeError("Unexpected response instead of the echo"))
        self._carrier.owner.something_unusual(received, self.address)

    def _set_deadline(self) -> None:
        deadlines = self._carrier.loop.deadlines
        deadline = None if self.is_over else self.conversation.next_deadline()
        if deadline is not None:
            deadlines[self] = deadline
        elif deadlines:
            deadlines.pop(self, None)


def _set(sending: Sending | None, error: Exception | None = None) -> None:
    """Tell whoever waits for this, if somebody does."""
    if sending is not None and sending.context is not None:
        sending.context.set(error)
