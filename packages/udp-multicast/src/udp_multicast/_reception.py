"""Receiving: one readout, one datagram, as many as there are, by `for` and by `async for`."""

from __future__ import annotations

import errno
import math
import time
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from udp_multicast import _batch
from udp_multicast._intake import REFUSED, Datagram
from udp_multicast.errors import ReceiverClosed
from udp_multicast.multicast_socket import MulticastSocketBase

if TYPE_CHECKING:
    from collections import deque
    from types import EllipsisType

    from udp_multicast._inlet import Inlet
    from udp_multicast._intake import Intake

#: Bytes. No datagram is longer.
DEFAULT_MAX_PACKET_SIZE: Final = 65535
#: Readouts that `receive_many` returns at the most, or a few more.
MANY: Final = 1024
#: Broken datagrams after which a wait looks at the clock, or lets the event loop
#: run: a flood of them must not keep anybody for ever. Not after each, which
#: would make them dearer than readouts.
PATIENCE: Final = 16

R = TypeVar("R")


class Reception(MulticastSocketBase, Generic[R]):
    """The receiving methods of `MulticastReceiver`, which sets up what they use."""

    #: Bytes. No datagram is longer.
    DEFAULT_MAX_PACKET_SIZE: Final = DEFAULT_MAX_PACKET_SIZE

    _inlet: Inlet
    _intake: Intake[R]
    _pending: deque[Datagram]
    #: Readouts of a call of `receive_many` that ended with an error.
    _collected: list[R]

    def receive(self, max_size: int = DEFAULT_MAX_PACKET_SIZE) -> R:
        """Wait for the next readout.

        Parameters
        ----------
        max_size : int
            Bytes. Longer datagrams count as broken; they are never cut.

        Returns
        -------
        readout
            What `from_bytes` of the readout class made of the datagram.

        Raises
        ------
        TimeoutError
            None came within the timeout.
        BlockingIOError
            The timeout is 0, and none is there; or there are some dozen broken
            datagrams or more, and the next call goes on behind them.
        ReceiverClosed
            The receiver was closed, before or meanwhile.
        ForeignProcessError
            The receiver was made before this process was forked.
        Exception
            `strict`, and the readout class refused a datagram: its own error.
        """
        inlet = self._inlet
        if not inlet.turn.acquire(False):
            inlet.await_turn(inlet.deadline())
        try:
            if inlet.has_gro:
                return self._receive_next(max_size)
            intake = self._intake
            deadline: float | None = None
            while True:
                try:
                    size, sender = inlet.take(inlet.buffer, 0, inlet.wait_flags)
                except BlockingIOError:
                    deadline = inlet.await_datagram(deadline)
                    continue
                except OSError:
                    if not inlet.is_closing:
                        raise
                if inlet.is_closing:
                    inlet.raise_closed()
                intake.received += 1
                intake.bytes += size
                data = bytes(inlet.buffer[:size])
                if intake.has_sources or size > max_size:
                    verdict = intake.take(data, sender, max_size)
                    if verdict is not REFUSED:
                        return verdict
                else:
                    # What `take` does, in place: a call costs as much as all the rest.
                    try:
                        readout = intake.from_bytes(data)
                        if intake.has_ids:
                            intake.count(sender, readout)
                        return readout  # noqa: TRY300 - the usual way is the shortest
                    except Exception as error:  # noqa: BLE001 - the class is the user's
                        if (sender[0], type(error)) in intake.told:
                            intake.broken += 1
                        else:
                            intake.refuse(data, sender, error)
                if not intake.received % PATIENCE:
                    deadline = inlet.check(deadline)
        finally:
            inlet.turn.release()

    def _receive_next(self, max_size: int) -> R:
        """Do what `receive` does, when datagrams come in batches."""
        deadline = self._inlet.deadline()
        while True:
            datagram = self._next_datagram(deadline)
            readout = self._intake.take(datagram.data, datagram.sender, max_size)
            if readout is not REFUSED:
                return readout
            self._inlet.check(deadline)

    def receive_datagram(self, timeout: float | EllipsisType | None = ...) -> Datagram:
        """Wait for the next datagram, and return it as it is, with its sender.

        It counts as received; nobody asks whether it is a readout.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds; None for ever, 0 for what is there already. That of the
            socket unless given.

        Returns
        -------
        Datagram
            Data and sender.

        Raises
        ------
        TimeoutError
            None came in time, or is there if `timeout` is 0.
        BlockingIOError
            The same, if the timeout of the socket is 0.
        ReceiverClosed, ForeignProcessError
            As `receive`.
        ValueError
            `timeout` is less than 0.
        """
        inlet = self._inlet
        if timeout is ...:
            timeout = self.gettimeout()
        elif timeout is not None and not timeout >= 0:
            raise ValueError(f"a timeout is at least 0 s, not {timeout}")
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        inlet.await_turn(deadline)
        try:
            return self._next_datagram(deadline)
        finally:
            inlet.turn.release()

    def _next_datagram(self, deadline: float) -> Datagram:
        while not self._pending:
            parts, sender = self._next_parts(deadline)
            self._pending.extend([Datagram(part, sender) for part in parts])
        return self._pending.popleft()

    def _next_parts(self, deadline: float) -> tuple[list[bytes], tuple[Any, ...]]:
        """Wait for a datagram, or for several that come together; count them."""
        inlet = self._inlet
        while True:
            try:
                # A deadline need not be that of the socket, so the kernel must not wait.
                data, size, sender = inlet.take_batch(inlet.no_wait_flags)
            except BlockingIOError:
                inlet.await_datagram(deadline)
                continue
            except OSError:
                if not inlet.is_closing:
                    raise
                inlet.raise_closed()
            if inlet.is_closing:
                inlet.raise_closed()
            parts = _batch.cut(data, size)
            self._intake.received += len(parts)
            self._intake.bytes += len(data)
            return parts, sender

    def receive_many(self, max_count: int = MANY, max_size: int = DEFAULT_MAX_PACKET_SIZE) -> list[R]:
        """Wait for a readout, and return all that are there.

        From the first call on the kernel is asked to hand over datagrams that
        arrive together in one piece (UDP_GRO, Linux 5.0), which is many times
        faster when the sender uses `send_readouts`, and somewhat slower for
        datagrams that come one by one.

        Parameters
        ----------
        max_count : int
            Stop when so many were collected, at least 1; a batch is never split,
            so there may be up to 127 more.
        max_size : int
            As for `receive`.

        Returns
        -------
        list of readouts
            In order of arrival, at least one.

        Raises
        ------
        TimeoutError, BlockingIOError, ReceiverClosed, ForeignProcessError
            As `receive`: there was not one.
        ValueError
            `max_count` is less than 1.
        Exception
            `strict`, and the readout class refused a datagram: its own error.
            The readouts before it come with the next call.
        """
        if max_count < 1:
            raise ValueError(f"max_count is at least 1, not {max_count}")
        inlet, intake = self._inlet, self._intake
        deadline = inlet.deadline()
        inlet.await_turn(deadline)
        readouts, self._collected = self._collected, []
        try:
            inlet.enable_gro()
            while len(readouts) < max_count:
                if self._pending:
                    datagram = self._pending.popleft()
                    parts, sender = [datagram.data], datagram.sender
                else:
                    try:
                        parts, sender = self._next_parts(-math.inf if readouts else deadline)
                    except (TimeoutError, BlockingIOError, ReceiverClosed):
                        if not readouts:
                            raise
                        break
                if intake.is_stranger(sender):
                    intake.strangers += len(parts)
                else:
                    intake.take_all(parts, sender, max_size, readouts)
                if not readouts:
                    inlet.check(deadline)
        except BaseException:
            self._collected = readouts
            raise
        finally:
            inlet.turn.release()
        return readouts

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        try:
            return self.receive()
        except ReceiverClosed:
            raise StopIteration from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        # Imported where it is needed: it takes longer than all the rest of the package.
        from udp_multicast import _asynchronous

        try:
            return await _asynchronous.receive(self._inlet, self._receive_now)
        except ReceiverClosed:
            raise StopAsyncIteration from None

    def _receive_now(self, deadline: float) -> R:
        """Return a readout that is there, with the turn."""
        refused = 0
        # What is pending makes no socket readable, so nobody would come back for it.
        while self._pending or refused < PATIENCE:
            datagram = self._next_datagram(-math.inf)
            readout = self._intake.take(datagram.data, datagram.sender, DEFAULT_MAX_PACKET_SIZE)
            if readout is not REFUSED:
                return readout
            refused += 1
            self._inlet.check(deadline)
        raise BlockingIOError(errno.EAGAIN, "none among so many datagrams")
