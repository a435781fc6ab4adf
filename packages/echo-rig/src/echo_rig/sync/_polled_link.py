"""A link for a thread that waits: its timer is a deadline of the loop, and outcomes tell of echoes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echo_rig._link import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._link import Address
    from echo_rig._sending import Sending
    from echo_rig.sync._carrier import Carrier


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


class PolledLink(Link):
    """A link for the calls of one thread; contexts of its messages are an `Outcome` or None.

    If anything is interrupted (from the keyboard) while the state changes, the
    carrier forgets the link: nobody can know what is left of it.

    Parameters
    ----------
    address, conversation : object
        See `Link`.
    write : callable
        As for `Link`. Does not raise; it calls `fail`.
    carrier : Carrier
    """

    __slots__ = ("_carrier",)

    def __init__(
        self,
        address: Address,
        conversation: Conversation,
        write: Callable[[bytes], object],
        carrier: Carrier,
    ) -> None:
        super().__init__(address, conversation, write, carrier.owner)
        self._carrier = carrier

    def send(self, message: bytes, *, confirm: bool, context: Any = None) -> Sending:
        """Send a message, now or as soon as it is its turn."""
        try:
            return super().send(message, confirm=confirm, context=context)
        except BaseException:
            self._carrier.forget(self)
            raise

    def give_up(self, sending: Sending) -> None:
        """Wait no longer for an echo; nothing happens if it has come, or if the link is over."""
        try:
            super().give_up(sending)
        except BaseException:
            self._carrier.forget(self)
            raise

    def receive(self, data: bytes) -> None:
        """Take one datagram, or one piece from the splitter of a stream."""
        try:
            super().receive(data)
        except BaseException:
            self._carrier.forget(self)
            raise

    def on_time(self) -> None:
        """Do what is due."""
        try:
            super().on_time()
        except BaseException:
            self._carrier.forget(self)
            raise

    def _settle(self, sending: Sending | None, error: Exception | None = None) -> None:
        if sending is not None and sending.context is not None:
            sending.context.set(error)

    def _set_timer(self) -> None:
        deadlines = self._carrier.loop.deadlines
        deadline = None if self.is_over else self.conversation.next_deadline()
        if deadline is not None:
            deadlines[self] = deadline
        elif deadlines:
            deadlines.pop(self, None)

    def _stop_timer(self) -> None:
        self._carrier.loop.deadlines.pop(self, None)
