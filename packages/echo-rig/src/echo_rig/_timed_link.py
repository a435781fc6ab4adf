"""A link in an event loop: its timer is one of the loop, and futures wait for echoes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from echo_rig._link import Link

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._link import Address, Listener
    from echo_rig._sending import Sending


class TimedLink(Link):
    """A link for the thread of an event loop; contexts of its messages are futures or None.

    Parameters
    ----------
    address, conversation, write, listener
        See `Link`.
    loop : asyncio.AbstractEventLoop
        Runs the timer.
    """

    __slots__ = ("_loop", "_timer")

    def __init__(
        self,
        address: Address,
        conversation: Conversation,
        write: Callable[[bytes], object],
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(address, conversation, write, listener)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """End it, and cancel whoever waits for an echo."""
        self.is_over = True
        for sending in self.conversation.lost():
            if sending.context is not None:
                sending.context.cancel()
        self._stop_timer()

    def _settle(self, sending: Sending | None, error: Exception | None = None) -> None:
        future: asyncio.Future[float] | None = None if sending is None else sending.context
        if sending is None or future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif sending.round_trip_s is not None:
            future.set_result(sending.round_trip_s)

    def _set_timer(self) -> None:
        deadline = None if self.is_over else self.conversation.next_deadline()
        if deadline is None:
            # A timer that is still set finds nothing due and is not renewed: cheaper than cancelling it.
            return
        timer = self._timer
        wait = deadline - time.monotonic()
        if timer is not None:
            if timer.when() <= self._loop.time() + wait:
                return
            timer.cancel()
        self._timer = self._loop.call_later(max(0.0, wait), self._run_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_out(self) -> None:
        self._timer = None
        self.on_time()
