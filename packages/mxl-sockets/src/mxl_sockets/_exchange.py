"""Moving bytes between a hub's sockets and its pure parts.

Everything here runs in whatever thread called the hub, under the hub's lock;
`_wait` decides which thread waits for the sockets. What the bytes mean is
decided in `Barrier`, `Roster` and `Client`; this module sends, receives,
binds and drops.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mxl_sockets import _poll
from mxl_sockets._accept import Acceptor
from mxl_sockets._arrays import RequestBlock
from mxl_sockets._barrier import Barrier
from mxl_sockets._client import Phase
from mxl_sockets._connection import Connection
from mxl_sockets._quiet_log import QuietLogger
from mxl_sockets._replies import ReplyBlock
from mxl_sockets.status import ReplyTimer
from wireframe import FrameError, ipi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mxl_sockets._access import Network
    from mxl_sockets._poll import Poller
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

logger = logging.getLogger(__name__)

_STATUS: Final = ipi.encode_header(ipi.STATUS)
_GETFORCE: Final = ipi.encode_header(ipi.GETFORCE)
_STOP: Final = ipi.encode_header(ipi.STOP)
_EXIT: Final = ipi.encode_header(ipi.EXIT)

#: Bytes taken from one driver at a time: a chatty one must not starve the others.
READ_SIZE: Final = 1 << 18


class Exchange:
    """The connections of a hub.

    Parameters
    ----------
    poller : Poller
    roster : Roster
    settings : HubSettings
    allowed : tuple of networks
    """

    def __init__(
        self, poller: Poller, roster: Roster[Connection], settings: HubSettings, allowed: tuple[Network, ...]
    ) -> None:
        self.roster = roster
        self.barrier = Barrier(two_phase=settings.two_phase)
        self.connections: dict[int, Connection] = {}
        self.reply_times = ReplyTimer()
        self.paused = False
        #: A driver that owed an answer was lost since this was last cleared.
        self.interrupted = False
        self.dropped = 0
        self.last_error: str | None = None
        self._poller = poller
        self._settings = settings
        self._quiet = QuietLogger(logger)
        self.acceptor = Acceptor(poller, allowed, self._quiet)
        self.waker = _poll.Waker()
        poller.register(self.waker.descriptor, _poll.READ)
        #: Drivers whose answer to STATUS is due, with the time until which.
        self._handshakes: dict[Connection, float] = {}
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._requests = RequestBlock(1, ipi.GETFORCE)
        self._replies = ReplyBlock(1)
        #: Replies that were read and not yet handed to the barrier.
        self.unsettled = 0
        self._plan: list[Connection] = []
        self._plan_ids: tuple[int, ...] = ()
        self._plan_generation = -1
        self._now = 0.0
        self._impatient = settings.silence_limit is not None

    # -- receiving ---------------------------------------------------------

    def dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        """Handle what the poller reported."""
        self._now = now
        connections, replies = self.connections, self._replies
        rows, sizes = replies.rows, replies.sizes
        asked, whole = Phase.ASKED, ipi.REPLY_LENGTH
        received = 0
        for descriptor, mask in events:
            connection = connections.get(descriptor)
            if connection is None:
                self._notice(descriptor, now)
                continue
            if mask & _poll.WRITE:
                self._flush(connection)
                if mask == _poll.WRITE or connection.phase is Phase.GONE:
                    continue
            # Nearly every read is one whole reply: straight into its row, judged later.
            short_way = connection.phase is asked and not connection.partial
            room = rows[connection.slot] if short_way else self._scratch
            try:
                size = connection.receive_into(room)
            except BlockingIOError:
                continue
            except OSError as error:
                self.drop(connection, f"connection broke: {error.strerror or error}")
                continue
            if short_way and size >= whole:
                connection.phase = Phase.IDLE
                sizes[connection.slot] = size
                received += 1
            elif size:
                self._receive(connection, room[:size])
            else:
                held = connection.decoder.buffered
                reason = f"closed in the middle of a message, after {held} bytes" if held else "closed"
                self.drop(connection, reason)
        if received:
            self.unsettled += received
            self.reply_times.add(now - self.barrier.latest_ask, received)

    def settle(self) -> None:
        """Hand the replies that were read to the barrier."""
        if not self.unsettled:
            return
        if self.unsettled == len(self.barrier.ids):
            replies = self._replies.read_all(self._settings.max_extra)
            if replies is not None:
                self.barrier.answer_all(*replies)
                self._replies.clear()
                self.unsettled = 0
                return
        for connection in list(self._plan):
            self._settle_one(connection)

    def _settle_one(self, connection: Connection) -> None:
        """Judge what was read of one reply, if anything was."""
        slot = connection.slot
        size = self._replies.sizes[slot] if self._is_planned(connection) else 0
        if not size:
            return
        self._replies.sizes[slot] = 0
        self.unsettled -= 1
        row = self._replies.rows[slot]
        reply = ipi.split_reply(row, size, max_extra=self._settings.max_extra)
        if reply is not None:
            self.barrier.answer(slot, *reply)
        else:
            # More or less than one reply: the decoder has the last word.
            connection.phase = Phase.ASKED
            self._receive(connection, row[:size])

    def _is_planned(self, connection: Connection) -> bool:
        """Whether the connection's slot is its own in the step under way."""
        slot = connection.slot
        return self.barrier.frozen and 0 <= slot < len(self._plan) and self._plan[slot] is connection

    def _notice(self, descriptor: int, now: float) -> None:
        """Handle an event that is not a driver's."""
        if descriptor in self.acceptor.listeners:
            self._welcome(descriptor, now)
        elif descriptor == self.waker.descriptor:
            self.waker.clear()

    def _receive(self, connection: Connection, data: memoryview) -> None:
        """Handle bytes that are not simply one reply."""
        self._settle_one(connection)  # what came before them comes first
        try:
            for event in connection.receive(data):
                self._handle(connection, event)
        except FrameError as error:
            self.drop(connection, f"broke the protocol: {error}")

    def _handle(self, connection: Connection, event: ipi.Event) -> None:
        """Act on a message that was due."""
        phase = connection.phase
        if isinstance(event, ipi.ForceReady):
            if phase is Phase.ASKED:
                connection.phase = Phase.IDLE
                self.barrier.answer(connection.slot, event.forces, event.extra)
                self.reply_times.add(self._now - self.barrier.latest_ask, 1)
        elif phase is Phase.STAGING:
            connection.phase = Phase.STAGED
            for slot in self.barrier.stage(connection.slot):
                staged = self._plan[slot]
                staged.phase = Phase.ASKED
                self.send(staged, _GETFORCE)
        elif phase is Phase.CHECKING:
            self._handshakes.pop(connection, None)
            connection.wants_init = event == ipi.NEEDINIT
            connection.phase = Phase.WAITING
            self.roster.arrivals += 1
        elif phase is Phase.CONFIRMING:
            self._handshakes.pop(connection, None)
            connection.phase = Phase.IDLE
            connection.initialized = True
            self.roster.arrivals += 1
            self.roster.generation += 1
        elif event == ipi.BYE:
            self.drop(connection, "said BYE")

    # -- arriving and leaving ----------------------------------------------

    def _welcome(self, listener: int, now: float) -> None:
        """Take newcomers in."""
        for sock, peer, endpoint in self.acceptor.accept(listener, now):
            if len(self.roster.waiting) >= self._settings.max_waiting:
                self.acceptor.refuse(peer, "waiting", f"{self._settings.max_waiting} drivers wait already")
                sock.close()
                continue
            connection = Connection(sock, peer, now, endpoint=endpoint, max_extra=self._settings.max_extra)
            self.connections[connection.descriptor] = connection
            self._poller.register(connection.descriptor, _poll.READ)
            self.roster.join(connection)
            logger.debug("%s connected", peer)
            if self._settings.handshake == "status":
                connection.phase = Phase.CHECKING
                self._handshakes[connection] = now + self._settings.handshake_timeout
                self.send(connection, _STATUS)

    def bind_missing(self, ids: Sequence[int], now: float) -> None:
        """Give waiting drivers to the molecules among `ids` that have none."""
        for connection, molecule_id in self.roster.pair(ids, now):
            message = self.roster.init_message(molecule_id, self.barrier.extra_of(molecule_id))
            self.roster.bind(connection, molecule_id)
            connection.phase = Phase.IDLE
            logger.debug("%s is molecule %d", connection.peer, molecule_id)
            if not connection.wants_init:
                connection.initialized = True
            elif self._settings.handshake == "init+status":
                connection.phase = Phase.CONFIRMING
                self._handshakes[connection] = now + self._settings.handshake_timeout
                self.send(connection, message + _STATUS)
            else:
                connection.initialized = True
                self.send(connection, message)

    def drop(self, connection: Connection, reason: str) -> None:
        """Close a connection, whoever it was, and tell the pure parts."""
        self._settle_one(connection)
        if connection.phase is Phase.GONE:
            return
        # A driver that leaves after STOP, or before it was given anything, did nothing wrong.
        unremarkable = connection.phase is Phase.STOPPING or (
            connection.phase in (Phase.WAITING, Phase.CHECKING) and reason == "closed"
        )
        connection.phase = Phase.GONE
        self._handshakes.pop(connection, None)
        del self.connections[connection.descriptor]
        self._poller.unregister(connection.descriptor)
        connection.sock.close()
        molecule_id = self.roster.leave(connection)
        if molecule_id is not None:
            slot = self.barrier.slot_of(molecule_id)
            if slot is not None and self.barrier.lose(slot):
                self.interrupted = True
        if unremarkable:
            logger.debug("%s: %s", connection.peer, reason)
            return
        self.dropped += 1
        who = connection.peer if molecule_id is None else f"{connection.peer} (molecule {molecule_id})"
        self.last_error = f"{who}: {reason}"
        if molecule_id is None:
            host = connection.peer.rpartition(":")[0]
            self._quiet.warn(host, reason, "dropped %s: %s", who, reason)
        else:
            self.paused = True
            logger.warning("lost %s: %s", who, reason)

    # -- sending -----------------------------------------------------------

    def send(self, connection: Connection, data: bytes | memoryview) -> None:
        """Send or queue; a broken connection is dropped."""
        try:
            connection.send(data)
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        self._watch_output(connection)

    def _watch_output(self, connection: Connection) -> None:
        """Have the poller say when a peer takes more, if something waits."""
        wanted = bool(connection.outgoing)
        if wanted is not connection.watches_write:
            connection.watches_write = wanted
            mask = _poll.READ | _poll.WRITE if wanted else _poll.READ
            self._poller.modify(connection.descriptor, mask)

    def _flush(self, connection: Connection) -> None:
        try:
            connection.flush()
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        self._watch_output(connection)

    @property
    def planned(self) -> bool:
        """Whether the frozen molecules have the same drivers as in the last `ask`, so that none is missing."""
        return self._plan_ids is self.barrier.ids and self._plan_generation == self.roster.generation

    def ask(self, now: float) -> None:
        """Send the frozen step to every molecule that was not asked yet; all are bound."""
        barrier = self.barrier
        if not self.planned:
            self._make_plan()
        slots = barrier.ask(now)
        if not slots:
            return
        requests = self._requests
        requests.fill(barrier.fields)
        phase = Phase.STAGING if barrier.two_phase else Phase.ASKED
        plan, rows, whole = self._plan, requests.rows, ipi.REQUEST_LENGTH
        for slot in slots:
            connection, row = plan[slot], rows[slot]
            connection.phase = phase
            sent = 0
            if not connection.outgoing:
                try:
                    sent = connection.send_now(row)
                except BlockingIOError:
                    pass
                except OSError as error:
                    self.drop(connection, f"cannot send: {error.strerror or error}")
                    continue
                if sent == whole:
                    continue
            connection.outgoing += row[sent:]
            self._watch_output(connection)

    def _make_plan(self) -> None:
        """Line up the drivers of the frozen step, and room for their requests and replies."""
        barrier, bound, before = self.barrier, self.roster.bound, self._plan
        count = len(barrier.ids)
        if len(self._replies.rows) != count:
            self._requests = RequestBlock(count, ipi.STATUS if barrier.two_phase else ipi.GETFORCE)
            self._replies = ReplyBlock(count)
        # A molecule that has answered may have lost its driver since: then its place is never used.
        self._plan = [bound.get(one) or before[slot] for slot, one in enumerate(barrier.ids)]
        for slot, connection in enumerate(self._plan):
            connection.slot = slot
        self._plan_ids, self._plan_generation = barrier.ids, self.roster.generation

    def stop_drivers(self) -> None:
        """Tell every driver to stop; each is forgotten when it says BYE or closes."""
        self.settle()
        for connection in list(self.connections.values()):
            self._handshakes.pop(connection, None)
            connection.phase = Phase.STOPPING
            self.send(connection, _STOP)

    def drop_all(self) -> None:
        """Close all connections as if they had been told to stop."""
        for connection in list(self.connections.values()):
            connection.phase = Phase.STOPPING
            self.drop(connection, "closed by the hub")

    def close(self) -> None:
        """Close everything."""
        self.drop_all()
        self.acceptor.close()
        self._poller.unregister(self.waker.descriptor)
        self.waker.close()
        self._poller.close()

    def close_in_child(self) -> None:
        """Let go of all descriptors in a forked child; the parent goes on with its own.

        Nothing is unregistered: the parent shares the kernel's event source.
        """
        for connection in self.connections.values():
            connection.sock.close()
        for listener in self.acceptor.listeners.values():
            listener.close_in_child()
        self.waker.close()
        self._poller.close()

    def exit_drivers(self) -> None:
        """Tell the drivers that did not answer STOP to exit: those of i-PI and ASE."""
        for connection in list(self.connections.values()):
            self.send(connection, _EXIT)

    # -- time --------------------------------------------------------------

    @property
    def has_timers(self) -> bool:
        """Whether anything may come due without an event."""
        return self._impatient or bool(self._handshakes) or self.acceptor.paused_until is not None

    def next_due(self, now: float) -> float:
        """Return seconds until `expire` has something to do, at most an hour."""
        wait = 3600.0
        if self.acceptor.paused_until is not None:
            wait = min(wait, self.acceptor.paused_until - now)
        for due in self._handshakes.values():
            wait = min(wait, due - now)
            break  # all have the same patience: the first is the oldest
        if self._settings.silence_limit is not None and self.barrier.frozen:
            wait = min(wait, self._settings.silence_limit / 4)
        return max(0.0, wait)

    def expire(self, now: float) -> None:
        """Do what has come due: listen again, give up on the silent."""
        self.acceptor.resume(now)
        while self._handshakes:
            connection, due = next(iter(self._handshakes.items()))
            if due > now:
                break
            self.drop(connection, f"did not answer STATUS within {self._settings.handshake_timeout:g} s")
        limit = self._settings.silence_limit
        if limit is not None:
            for molecule_id, age in self.barrier.late(now).items():
                connection_or_none = self.roster.bound.get(molecule_id)
                if age >= limit and connection_or_none is not None:
                    self.drop(connection_or_none, f"did not answer within {limit:g} s")
