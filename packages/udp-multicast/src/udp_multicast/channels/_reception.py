"""From the socket to messages: takes datagrams, waits for them, tells what is no message."""

from __future__ import annotations

import errno
import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from udp_multicast._intake import Datagram
from udp_multicast._quiet_log import MAX_CAUSES, QuietLogger
from wireframe.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType

    from udp_multicast._inlet import Inlet
    from udp_multicast.channels._ledger import ChannelLedger
    from udp_multicast.channels._message import ChannelMessage
    from udp_multicast.channels._statistics import ChannelStatistics
    from udp_multicast.receiver import MulticastReceiver

#: Datagrams that are still read after the deadline, if they are here already:
#: a message may be complete, but a flood must not hold the caller for ever.
GRACE: Final = 4096
#: Datagrams that an event loop has to wait for, as long as they make no message.
TURN: Final = 256
#: Bytes. Datagrams up to here are quicker to read as bytes than as a view.
_COPIED: Final = 4096

_log = logging.getLogger("udp_multicast.channels")


class ChannelReception:
    """Takes the messages of a receiver.

    Parameters
    ----------
    receiver : MulticastReceiver
        Where datagrams come from. Nobody else may take any.
    ledger : ChannelLedger
        Judges them.
    from_bytes : callable, optional
        Makes the readout of a message, or raises.
    strict : bool
        Raise what a peer did wrong, instead of counting it and going on.
    on_broken : callable, optional
        Told about each datagram that is no message, and the error.

    Notes
    -----
    One thread at a time takes, by the turn of the inlet; `statistics` is for all.
    """

    def __init__(
        self,
        receiver: MulticastReceiver[Any],
        ledger: ChannelLedger,
        from_bytes: Callable[[bytes], Any] | None,
        *,
        strict: bool,
        on_broken: Callable[[Datagram, Exception], object] | None,
    ) -> None:
        self._receiver = receiver
        self.inlet: Inlet = receiver._inlet
        self._intake = receiver._intake
        self._has_sources = bool(receiver._sources)
        self._ledger = ledger
        self._from_bytes = from_bytes
        self._strict = strict
        self._on_broken = on_broken
        self._quiet = QuietLogger(_log)
        #: Host and kind of error that are only counted from now on, so that a
        #: broken datagram costs no more than a message.
        self._told: set[tuple[str, type[Exception]]] = set()
        # Guards the ledger: statistics may be asked for by other threads.
        self._lock = threading.Lock()

    def receive(self, timeout: float | EllipsisType | None) -> ChannelMessage[Any]:
        """Wait for the next message; see `ChannelReceiver.receive`."""
        inlet = self.inlet
        if timeout is ...:
            # The timeout of the socket; it begins to run when there is something to wait for.
            flags, deadline = inlet.wait_flags, None
        elif timeout is None:
            flags, deadline = inlet.no_wait_flags, math.inf
        else:
            flags, deadline = inlet.no_wait_flags, time.monotonic() + timeout
        if not inlet.turn.acquire(False):
            if deadline is None:
                deadline = inlet.deadline()
            inlet.await_turn(deadline)
        try:
            return self._take(flags, deadline, GRACE)
        finally:
            inlet.turn.release()

    def receive_now(self, _deadline: float) -> ChannelMessage[Any]:
        """Return a message that is here, for an event loop, which has the turn.

        Raises
        ------
        TimeoutError, BlockingIOError
            There is none, or it is the turn of other tasks.
        """
        return self._take(self.inlet.no_wait_flags, -math.inf, TURN)

    def _take(self, flags: int, deadline: float | None, grace: int) -> ChannelMessage[Any]:
        """Return the next message.

        Parameters
        ----------
        flags : int
            For taking a datagram.
        deadline : float or None
            On the monotonic clock; -inf not to wait at all; None for the
            timeout of the socket, which begins to run now.
        grace : int
            Datagrams without a message that are taken after the deadline.
        """
        inlet = self.inlet
        while True:
            try:
                size, sender = inlet.take(inlet.buffer, 0, flags)
            except BlockingIOError:
                deadline = inlet.await_datagram(deadline)
                continue
            except OSError:
                if not inlet.is_closing:
                    raise
            if inlet.is_closing:
                inlet.raise_closed()
            now = time.monotonic()
            if self._has_sources and self._intake.is_stranger(sender):
                self._intake.strangers += 1
            else:
                data = inlet.buffer[:size]
                message = self._judge(bytes(data) if size <= _COPIED else data, sender, now)
                if message is not None:
                    return message
            if deadline is None:
                deadline = inlet.deadline()
            if now >= deadline:
                grace -= 1
                if not grace:
                    raise TimeoutError(errno.ETIMEDOUT, "no message in time")

    def _judge(
        self, data: bytes | memoryview, sender: tuple[Any, ...], now: float
    ) -> ChannelMessage[Any] | None:
        """Return the message that a datagram completes, if it does and is wanted."""
        try:
            with self._lock:
                message = self._ledger.take(data, sender, now)
        except FrameError as error:
            if (sender[0], type(error)) not in self._told:
                self._refuse(Datagram(bytes(data), sender), error)
            return None
        if message is not None and self._from_bytes is not None:
            try:
                message.readout = self._from_bytes(message.readout)
            except Exception as error:  # noqa: BLE001 - the class is the user's; what it raises is its verdict
                with self._lock:
                    self._ledger.unreadable += 1
                if (sender[0], type(error)) not in self._told:
                    self._refuse(Datagram(message.readout, sender), error)
                return None
        return message

    def _refuse(self, datagram: Datagram, error: Exception) -> None:
        """Tell about what is no message and, if strict, raise the error."""
        self._quiet.warn(
            str(datagram.sender[0]),
            type(error).__name__,
            "%d bytes from %s are no message: %r",
            len(datagram.data),
            datagram.sender,
            error,
        )
        if self._on_broken is not None:
            self._on_broken(datagram, error)
        if self._strict:
            raise error
        if self._on_broken is None and not _log.isEnabledFor(logging.DEBUG):
            if len(self._told) >= MAX_CAUSES:
                self._told.clear()
            self._told.add((datagram.sender[0], type(error)))

    def statistics(self) -> ChannelStatistics:
        """Return all counts as they are now."""
        socket = self._receiver.statistics
        with self._lock:
            return self._ledger.statistics(
                time.monotonic(),
                strangers=socket.strangers,
                kernel_drops=socket.kernel_drops,
                granted_buffer=socket.granted_buffer,
            )
