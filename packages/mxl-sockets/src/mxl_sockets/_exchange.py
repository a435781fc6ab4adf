"""The conversation with the drivers: reading and judging what they answer.

Everything here runs in whatever thread called the hub, under its lock; `_loop`
decides which thread waits for the sockets. What may come next is decided in
`Barrier` and `Client`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

from mxl_sockets import _poll
from mxl_sockets._asking import Asking
from mxl_sockets._barrier import Stage
from mxl_sockets._client import Phase
from mxl_sockets._connection import NO_WAIT
from mxl_sockets._force_wire import pack_answer
from mxl_sockets._lines import INTERRUPTED
from wireframe import FrameError, ipi

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mxl_sockets._access import Allowed
    from mxl_sockets._connection import Connection
    from mxl_sockets._lineup import Batch
    from mxl_sockets._poll import Poller
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

#: Bytes taken from one driver at a time: a chatty one must not starve the others.
READ_SIZE: Final = 1 << 18


class Exchange(Asking):
    """The connections of a hub, and what is said over them.

    Parameters
    ----------
    poller : Poller
    roster : Roster
    settings : HubSettings
    allowed : tuple of networks or None
    """

    def __init__(
        self, poller: Poller, roster: Roster[Connection], settings: HubSettings, allowed: Allowed
    ) -> None:
        super().__init__(poller, roster, settings, allowed)
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._now = 0.0

    # -- receiving ---------------------------------------------------------

    def dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        self._now = now
        lineup = self.lineup
        short_ways, sizes = lineup.short_ways, lineup.sizes
        read, whole = _poll.READ, ipi.REPLY_LENGTH
        received = 0
        descriptor = -1
        try:
            for descriptor, mask in events:
                short_way = short_ways.get(descriptor)
                if short_way is None or mask != read or sizes[short_way[2]]:
                    self._attend(descriptor, mask)
                    continue
                # Nearly every event is one whole reply: straight into its row, judged later.
                receive, row, slot = short_way
                try:
                    size = receive(row, 0, NO_WAIT)
                except OSError as error:
                    self.fail(self.connections[descriptor], error)
                    continue
                if size >= whole:
                    sizes[slot] = size
                    received += 1
                else:
                    self._take(self.connections[descriptor], row[:size])
        except BaseException:
            self._lose_track(descriptor)
            raise
        finally:
            if received:
                lineup.unsettled += received
                self.reply_times.add(now - self.barrier.latest_ask, received)
        self._commit_staged()

    def read_in_order(self, batch: Batch) -> bool:
        """Receive the replies of some slots in their order, each into its row, waiting for it if need be.

        The loop runs in C and notes each size before the next read. What is no
        whole reply is found out when the replies are settled; the end of a
        stream, whose size is that of nothing read, by the poller.

        Returns
        -------
        bool
            Whether it may go on: False if somebody is late or lost.
        """
        first, receives, rows = batch
        sizes = self.lineup.sizes
        read: list[int] = []
        try:
            try:
                read.extend(map(operator.call, receives, rows))
            finally:
                sizes[first : first + len(read)] = read
        except OSError as error:
            self.fail(self.lineup.drivers[first + len(read)], error)
            return False
        except BaseException:
            sizes[first : first + len(read)] = read  # it may have come just before
            for slot in range(first, first + len(rows)):
                if not sizes[slot] and self.lineup.is_written(slot):
                    self.drop(self.lineup.drivers[slot], INTERRUPTED)
            raise
        return True

    def _lose_track(self, descriptor: int) -> None:
        """Drop a driver whose answer may have been read and forgotten.

        The exception of a signal handler can come between a system call and
        our note of it. An answer that is lost like that never comes again.
        """
        connection = self.connections.get(descriptor)
        if connection is None:
            return
        if connection.owes_answer or (self._owes_reply(connection) and not self.lineup.has_read(connection)):
            self.drop(connection, INTERRUPTED)

    def settle(self) -> None:
        """Hand the replies that were read to the barrier."""
        if self.lineup.unsettled:
            for connection in self.lineup.settle(self.barrier, self._settings.max_extra):
                self.settle_one(connection)

    def settle_one(self, connection: Connection) -> None:
        """Hand what was read of one reply to the barrier, before anything else happens to its driver."""
        if self.lineup.holds(connection):
            try:
                data = self.lineup.settle_one(connection, self.barrier, self._settings.max_extra)
                if data is not None:
                    self._receive(connection, data)
            except BaseException:
                self._lose_track(connection.descriptor)
                raise

    def _attend(self, descriptor: int, mask: int) -> None:
        """Handle an event that is not simply a reply."""
        connection = self.connections.get(descriptor)
        if connection is None:
            self._notice(descriptor)
            return
        if mask & _poll.WRITE:
            self.flush(connection)
            if mask == _poll.WRITE or connection.phase is Phase.GONE:
                return
        try:
            size = connection.receive_into(self._scratch, 0, NO_WAIT)
        except OSError as error:
            self.fail(connection, error)
            return
        self._take(connection, self._scratch[:size])

    def _take(self, connection: Connection, data: memoryview) -> None:
        """Handle bytes, or the end of the stream."""
        self.settle_one(connection)
        if data:
            self._receive(connection, data)
        else:
            held = connection.decoder.buffered
            reason = f"closed in the middle of a message, after {held} bytes" if held else "closed"
            self.drop(connection, reason)

    def _notice(self, descriptor: int) -> None:
        """Handle an event that is not a driver's."""
        if descriptor in self.acceptor.listeners:
            self.welcome(descriptor, self._now)
        elif descriptor == self.waker.descriptor:
            self.waker.clear()

    def _receive(self, connection: Connection, data: Buffer) -> None:
        """Let the decoder see bytes that are not simply one reply."""
        if connection.phase is Phase.IDLE and self._owes_reply(connection):
            connection.phase = Phase.ASKED
            self.lineup.sizes[connection.slot] = -1  # from now on in pieces
        try:
            for event in connection.receive(data):
                self._handle(connection, event)
        except FrameError as error:
            self.drop(connection, f"broke the protocol: {error}")
            return
        if connection.partial and connection.acknowledge is not None:
            connection.acknowledge()

    def _owes_reply(self, connection: Connection) -> bool:
        """Whether a driver that is idle for all we noted was in fact sent a request."""
        barrier, slot = self.barrier, connection.slot
        return barrier.frozen and self.lineup.holds(connection) and barrier.stage_of(slot) is Stage.ASKED

    def _handle(self, connection: Connection, event: ipi.Event) -> None:
        """Act on a message that was due."""
        phase = connection.phase
        if isinstance(event, ipi.ForceReady):
            if phase is Phase.ASKED:
                connection.phase = Phase.IDLE
                answer = pack_answer(event) if self.barrier.requests else event.forces
                self.barrier.answer(connection.slot, answer, event.extra)
                self.reply_times.add(self._now - self.barrier.latest_ask, 1)
        elif phase is Phase.STAGING:
            connection.phase = Phase.STAGED
            self._somebody_staged = True
        elif phase is Phase.CHECKING:
            self._patience.forget(connection)
            connection.wants_init = event == ipi.NEEDINIT
            connection.phase = Phase.WAITING
            self.roster.arrivals += 1
        elif phase is Phase.CONFIRMING:
            self._patience.forget(connection)
            connection.phase = Phase.IDLE
            connection.initialized = True
            self.roster.arrivals += 1
            self.roster.generation += 1
        elif event == ipi.BYE:
            self.drop(connection, "said BYE")

    # -- time --------------------------------------------------------------

    @property
    def has_timers(self) -> bool:
        patience = self._patience
        return bool(patience.handshakes) or patience.limited or self.acceptor.paused_until is not None

    def next_due(self, now: float) -> float:
        wait = self._patience.next_due(self.barrier, now)
        if self.acceptor.paused_until is not None:
            wait = min(wait, max(0.0, self.acceptor.paused_until - now))
        return wait

    def expire(self, now: float) -> None:
        self.acceptor.resume(now)
        if self._patience.limited:
            self.settle()  # who has just been read is not silent
        for connection, reason in self._patience.overdue(self.barrier, self.roster, now):
            self.drop(connection, reason)
