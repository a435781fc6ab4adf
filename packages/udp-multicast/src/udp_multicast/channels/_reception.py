"""From the socket to messages: takes datagrams, waits for them, tells what is no message."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import socket
import threading
import time
import weakref
from collections import deque
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final

from udp_multicast._intake import Datagram
from udp_multicast._quiet_log import MAX_CAUSES, QuietLogger
from udp_multicast.channels._slots import open_slots
from udp_multicast.errors import ReceiverClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import EllipsisType

    from udp_multicast._inlet import Inlet
    from udp_multicast.channels._ledger import ChannelLedger
    from udp_multicast.channels._message import Address, Arrived, ChannelMessage
    from udp_multicast.channels._statistics import ChannelStatistics
    from udp_multicast.receiver import MulticastReceiver
    from wireframe.errors import FrameError

#: Datagrams that are still read after the deadline, if they are here already:
#: a message may be complete, but a flood must not hold the caller for ever.
GRACE: Final = 4096
#: Datagrams that an event loop has to wait for, as long as they make no message.
TURN: Final = 256

_log = logging.getLogger("udp_multicast.channels")

#: Those of this process; a forked child has their locks as they were, perhaps for ever.
_receptions: weakref.WeakSet[ChannelReception] = weakref.WeakSet()


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
        self._slots = open_slots(self.inlet, self, ipv6=receiver.family == socket.AF_INET6)
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
        #: Datagrams that were fetched last.
        self._arrived: list[Arrived] = []
        #: Those that are not judged yet. An iterator, so that an interrupt loses one at the most.
        self._left: Iterator[Arrived] = iter(self._arrived)
        #: Messages that were judged and not returned yet.
        self._ready: deque[ChannelMessage[Any]] = deque()
        #: What has to be told about when these are returned.
        self._refused: tuple[Datagram, FrameError] | None = None
        #: Messages before one that raised an error.
        self._collected: deque[ChannelMessage[Any]] = deque()
        # Guards the ledger: statistics may be asked for by other threads.
        self._lock = threading.Lock()
        _receptions.add(self)

    def receive(self, timeout: float | EllipsisType | None) -> ChannelMessage[Any]:
        """Wait for the next message; see `ChannelReceiver.receive`."""
        inlet = self.inlet
        if self._ready and self._from_bytes is None and not (self._collected or inlet.is_closing):
            try:
                return self._ready.popleft()
            except IndexError:  # another thread, which needs no turn for it, was quicker
                pass
        flags, deadline = self._waiting(timeout)
        if not inlet.turn.acquire(False):
            inlet.await_turn(inlet.deadline() if deadline is None else deadline)
        try:
            return self._take(flags, deadline, GRACE)
        finally:
            inlet.turn.release()

    def _waiting(self, timeout: float | EllipsisType | None) -> tuple[int, float | None]:
        """Return flags and deadline, as `_take` wants them."""
        inlet = self.inlet
        if timeout is ...:
            # The timeout of the socket; it begins to run when there is something to wait for.
            return inlet.wait_flags, None
        if timeout is None:
            return inlet.no_wait_flags, math.inf
        return inlet.no_wait_flags, time.monotonic() + timeout

    def receive_many(self, max_count: int, timeout: float | EllipsisType | None) -> list[ChannelMessage[Any]]:
        """Wait for a message, and return all that are here; see `ChannelReceiver.receive_many`."""
        inlet = self.inlet
        flags, deadline = self._waiting(timeout)
        if not inlet.turn.acquire(False):
            inlet.await_turn(inlet.deadline() if deadline is None else deadline)
        messages: list[ChannelMessage[Any]] = []
        try:
            inlet.enable_gro()
            messages.append(self._take(flags, deadline, GRACE))
            flags, take = inlet.no_wait_flags, self._take
            while (missing := max_count - len(messages)) > 0:
                if self._from_bytes is None and self._ready and not (self._collected or inlet.is_closing):
                    self._move(messages, missing)
                else:
                    messages.append(take(flags, -math.inf, TURN))
        except (TimeoutError, BlockingIOError, ReceiverClosed):
            if not messages:
                raise
        except BaseException:
            self._collected.extendleft(reversed(messages))
            raise
        finally:
            inlet.turn.release()
        return messages

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
        if self._collected and not inlet.is_closing:
            return self._collected.popleft()
        while True:
            while self._ready and not inlet.is_closing:
                message = self._pop()
                if message is not None and (
                    self._from_bytes is None or self._read(message, self._from_bytes)
                ):
                    return message
            if self._refused is not None and not inlet.is_closing:
                refused, self._refused = self._refused, None
                self._refuse(*refused)
            try:
                if not length_hint(self._left):
                    self._arrived = self._fetch(flags)
                    self._left = iter(self._arrived)
            except BlockingIOError:
                deadline = inlet.await_datagram(deadline)
                continue
            except OSError:
                if not inlet.is_closing:
                    raise
            if inlet.is_closing:
                inlet.raise_closed()
            now = time.monotonic()
            with self._lock:
                count, error = self._ledger.take(self._left, now, self._ready, self._told)
            if error is not None:
                data, sender = self._arrived[-1 - length_hint(self._left)]
                self._refused = Datagram(bytes(data), sender), error
            if self._ready:
                continue
            if deadline is None:
                deadline = inlet.deadline()
            if now >= deadline:
                grace -= max(1, count)
                if grace <= 0:
                    raise TimeoutError(errno.ETIMEDOUT, "no message in time")

    def _fetch(self, flags: int) -> list[Arrived]:
        """Return the next datagrams, but those of strangers."""
        arrived = self._slots.fetch(flags)
        # Who was woken by the end has a datagram of nobody.
        if not self._has_sources or self.inlet.is_closing:
            return arrived
        known = [each for each in arrived if not self._intake.is_stranger(each[1])]
        self._intake.strangers += len(arrived) - len(known)
        return known

    def _pop(self) -> ChannelMessage[Any] | None:
        """Return a message that is ready; None if another thread, which needs no turn for it, was quicker."""
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def _move(self, messages: list[ChannelMessage[Any]], most: int) -> None:
        """Add messages that are ready, as far as no other thread is quicker."""
        pop = self._ready.popleft
        with contextlib.suppress(IndexError):
            # Extended one by one: what came before is in the list.
            messages.extend(pop() for _ in range(min(most, len(self._ready))))

    def room(self, most: int) -> memoryview | None:
        """Return where the payloads of the next fragments belong."""
        with self._lock:
            return self._ledger.room(most)

    def enter(self, heads: Sequence[bytes], sender: Address) -> int:
        """Take those that are in `room`; return how many."""
        with self._lock:
            return self._ledger.enter(heads, sender, time.monotonic())

    def _read(self, message: ChannelMessage[Any], from_bytes: Callable[[bytes], Any]) -> bool:
        """Give a message its readout; return whether it has one."""
        sender = message.sender
        try:
            message.readout = from_bytes(message.readout)
        except Exception as error:  # noqa: BLE001 - the class is the user's; what it raises is its verdict
            with self._lock:
                self._ledger.unreadable += 1
            if (sender[0], type(error)) not in self._told:
                self._refuse(Datagram(message.readout, sender), error)
            return False
        return True

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
        below = self._receiver.statistics
        with self._lock:
            return self._ledger.statistics(
                time.monotonic(),
                ahead=list(self._ready),
                strangers=below.strangers,
                kernel_drops=below.kernel_drops,
                granted_buffer=below.granted_buffer,
            )


def _unlock_all() -> None:
    for reception in list(_receptions):
        reception._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)
