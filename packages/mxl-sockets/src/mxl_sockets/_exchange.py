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
from mxl_sockets._barrier import Barrier, Stage
from mxl_sockets._client import Phase
from mxl_sockets._connection import Connection
from mxl_sockets._lineup import LineUp
from mxl_sockets._losses import Losses
from mxl_sockets._patience import Patience
from mxl_sockets._quiet_log import QuietLogger
from mxl_sockets.status import ReplyTimer
from wireframe import FrameError, ipi

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Buffer

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

#: Why a driver is dropped that was being served when a signal handler raised.
INTERRUPTED: Final = "interrupted by an exception while it was served"


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
        self._poller = poller
        self._settings = settings
        quiet = QuietLogger(logger)
        self.losses = Losses(quiet)
        self.acceptor = Acceptor(poller, allowed, quiet)
        self._patience = Patience(settings)
        self.waker = _poll.Waker()
        poller.register(self.waker.descriptor, _poll.READ)
        self._scratch = memoryview(bytearray(READ_SIZE))
        self.lineup = LineUp(ipi.STATUS if settings.two_phase else ipi.GETFORCE)
        #: Connections with output that their peer has not taken.
        self._backlogged: set[Connection] = set()
        self._now = 0.0

    # -- receiving ---------------------------------------------------------

    def dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        """Handle what the poller reported."""
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
                    size = receive(row)
                except OSError as error:
                    self._fail(self.connections[descriptor], error)
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
            for connection, data in self.lineup.settle(self.barrier, self._settings.max_extra):
                self._receive(connection, data)

    def _settle_one(self, connection: Connection) -> None:
        """Hand what was read of one reply to the barrier, before anything else happens to its driver."""
        if self.lineup.holds(connection):
            data = self.lineup.settle_one(connection, self.barrier, self._settings.max_extra)
            if data is not None:
                self._receive(connection, data)

    def _attend(self, descriptor: int, mask: int) -> None:
        """Handle an event that is not simply a reply."""
        connection = self.connections.get(descriptor)
        if connection is None:
            self._notice(descriptor)
            return
        if mask & _poll.WRITE:
            self._flush(connection)
            if mask == _poll.WRITE or connection.phase is Phase.GONE:
                return
        try:
            size = connection.receive_into(self._scratch)
        except OSError as error:
            self._fail(connection, error)
            return
        self._take(connection, self._scratch[:size])

    def _fail(self, connection: Connection, error: OSError) -> None:
        """Drop a connection that cannot be read, unless there is merely nothing to read."""
        if not isinstance(error, BlockingIOError):
            self.drop(connection, f"connection broke: {error.strerror or error}")

    def _take(self, connection: Connection, data: memoryview) -> None:
        """Handle bytes, or the end of the stream."""
        self._settle_one(connection)
        if data:
            self._receive(connection, data)
        else:
            held = connection.decoder.buffered
            reason = f"closed in the middle of a message, after {held} bytes" if held else "closed"
            self.drop(connection, reason)

    def _notice(self, descriptor: int) -> None:
        """Handle an event that is not a driver's."""
        if descriptor in self.acceptor.listeners:
            self._welcome(descriptor, self._now)
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
                self.barrier.answer(connection.slot, event.forces, event.extra)
                self.reply_times.add(self._now - self.barrier.latest_ask, 1)
        elif phase is Phase.STAGING:
            connection.phase = Phase.STAGED
            due = self.barrier.stage(connection.slot)
            self.lineup.expect(due)
            slot = -1
            try:
                for slot in due:
                    staged = self.lineup.drivers[slot]
                    staged.phase = Phase.IDLE  # its reply may take the short way
                    self.send(staged, _GETFORCE)
            except BaseException:
                self._take_back(due, slot)
                raise
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

    # -- arriving and leaving ----------------------------------------------

    def _welcome(self, listener: int, now: float) -> None:
        """Take newcomers in."""
        for sock, peer, endpoint in self.acceptor.accept(listener, now):
            if len(self.roster.waiting) >= self._settings.max_waiting:
                self.acceptor.refuse(peer, "waiting", f"{self._settings.max_waiting} drivers wait already")
                sock.close()
                continue
            connection = Connection(sock, peer, now, endpoint=endpoint, max_extra=self._settings.max_extra)
            try:
                self._poller.register(connection.descriptor, _poll.READ)
            except OSError as error:
                self.acceptor.refuse(peer, "watch", f"it cannot be watched: {error.strerror or error}")
                sock.close()
                continue
            self.connections[connection.descriptor] = connection
            self.roster.join(connection)
            logger.debug("%s connected", peer)
            if self._settings.handshake == "status":
                connection.phase = Phase.CHECKING
                self._patience.expect_status(connection, now)
                self.send(connection, _STATUS)

    def bind_missing(self, ids: Sequence[int], now: float) -> bool:
        """Give waiting drivers to the molecules among `ids` that have none; whether any was chosen."""
        pairs = self.roster.pair(ids, now)
        for connection, molecule_id in pairs:
            if not self._is_silent(connection):
                continue
            message = self.roster.init_message(molecule_id, self.barrier.extra_of(molecule_id))
            try:
                self._bind(connection, molecule_id, message, now)
            except BaseException:
                self.drop(connection, INTERRUPTED)
                raise
        return bool(pairs)

    def _bind(self, connection: Connection, molecule_id: int, message: bytes, now: float) -> None:
        """Make a driver a molecule."""
        self.roster.bind(connection, molecule_id)
        connection.phase = Phase.IDLE
        logger.debug("%s is molecule %d", connection.peer, molecule_id)
        if not connection.wants_init:
            connection.initialized = True
        elif self._settings.handshake == "init+status":
            connection.phase = Phase.CONFIRMING
            self._patience.expect_status(connection, now)
            self.send(connection, message + _STATUS)
        else:
            connection.initialized = True
            self.send(connection, message)

    def _is_silent(self, connection: Connection) -> bool:
        """Whether a newcomer lives and has said nothing; else it is dropped.

        Probes leave at once, and strangers speak first. Neither may become a
        molecule only because we have not yet read what they did.
        """
        try:
            said = connection.peek()
        except OSError as error:
            self._fail(connection, error)
            return False
        if said is not None:
            self.drop(connection, "broke the protocol: it spoke before INIT" if said else "closed")
        return said is None

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
        self._patience.forget(connection)
        self._backlogged.discard(connection)
        self.lineup.leave(connection)
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
        self.losses.note(connection.peer, molecule_id, reason)
        self.paused = self.paused or molecule_id is not None

    # -- sending -----------------------------------------------------------

    def send(self, connection: Connection, data: bytes | memoryview) -> None:
        """Send or queue; a broken connection is dropped."""
        try:
            connection.send(data)
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        except BaseException:
            self.drop(connection, INTERRUPTED)
            raise
        self._watch_output(connection)

    def _watch_output(self, connection: Connection) -> None:
        """Have the poller say when a peer takes more, if something waits."""
        waits = bool(connection.outgoing)
        if waits is (connection in self._backlogged):
            return
        if waits:
            self._backlogged.add(connection)
            self._poller.modify(connection.descriptor, _poll.READ | _poll.WRITE)
        else:
            self._backlogged.discard(connection)
            self._poller.modify(connection.descriptor, _poll.READ)

    def _flush(self, connection: Connection) -> None:
        try:
            connection.flush()
        except OSError as error:
            self.drop(connection, f"cannot send: {error.strerror or error}")
            return
        self._watch_output(connection)

    @property
    def lined_up(self) -> bool:
        """Whether the same drivers as in the last `ask` serve the frozen step, so that none is missing."""
        return self.lineup.stands(self.barrier.ids, self.roster.generation)

    def ask(self, now: float) -> None:
        """Send the frozen step to every molecule that was not asked yet; all are bound."""
        barrier, lineup = self.barrier, self.lineup
        if not self.lined_up:
            lineup.form(barrier.ids, self.roster.bound, self.roster.generation)
        slots = barrier.ask(now)
        if not slots:
            return
        lineup.fill(barrier.fields)
        if barrier.two_phase:
            for slot in slots:
                lineup.drivers[slot].phase = Phase.STAGING
        else:
            lineup.expect(slots)
        sends, requests, whole = lineup.sends, lineup.requests, ipi.REQUEST_LENGTH
        slot = -1
        try:
            for slot in slots:
                request = requests[slot]
                sent = 0
                if not self._backlogged:
                    try:
                        sent = sends[slot](request)
                    except BlockingIOError:
                        pass
                    except OSError as error:
                        self.drop(lineup.drivers[slot], f"cannot send: {error.strerror or error}")
                        continue
                    if sent == whole:
                        continue
                self.send(lineup.drivers[slot], request[sent:])
        except BaseException:
            self._take_back(slots, slot)
            raise

    def _take_back(self, slots: Sequence[int], latest: int) -> None:
        """Note that the slots after `latest` were not asked; whether `latest` was nobody knows."""
        for slot in slots:
            if slot > latest:
                self.barrier.lose(slot)
                self.lineup.sizes[slot] = -1
                self.lineup.drivers[slot].phase = Phase.IDLE
        if latest >= 0:
            self.drop(self.lineup.drivers[latest], INTERRUPTED)

    def stop_drivers(self) -> list[Connection]:
        """Tell every driver to end, and return them; each is forgotten when it says BYE or closes."""
        self.settle()
        self.lineup.short_ways.clear()
        self.roster.generation += 1
        told = list(self.connections.values())
        for connection in told:
            self._patience.forget(connection)
            connection.phase = Phase.STOPPING
            connection.initialized = False  # it is asked nothing more
            # A driver that was ready without INIT is ASE's: to its client STOP is a fatal error.
            self.send(connection, _STOP if connection.wants_init else _EXIT)
        return told

    def drop_all(self, connections: Iterable[Connection]) -> None:
        """Close connections as if they had been told to stop."""
        for connection in connections:
            if connection.phase is not Phase.GONE:
                connection.phase = Phase.STOPPING
                self.drop(connection, "closed by the hub")

    def close(self) -> None:
        """Close everything."""
        self.drop_all(list(self.connections.values()))
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

    def exit_drivers(self, told: Iterable[Connection]) -> None:
        """Tell the drivers that did not answer STOP to exit: those of i-PI and ASE."""
        for connection in told:
            if connection.phase is not Phase.GONE:
                self.send(connection, _EXIT)

    # -- time --------------------------------------------------------------

    @property
    def has_timers(self) -> bool:
        """Whether anything may come due without an event."""
        return bool(self._patience) or self.acceptor.paused_until is not None

    def next_due(self, now: float) -> float:
        """Return seconds until `expire` has something to do."""
        wait = self._patience.next_due(self.barrier, now)
        if self.acceptor.paused_until is not None:
            wait = min(wait, max(0.0, self.acceptor.paused_until - now))
        return wait

    def expire(self, now: float) -> None:
        """Do what has come due: listen again, give up on the silent."""
        self.acceptor.resume(now)
        if self._patience:
            self.settle()  # who has just been read is not silent
        for connection, reason in self._patience.overdue(self.barrier, self.roster, now):
            self.drop(connection, reason)
