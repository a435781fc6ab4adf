"""The drivers of a hub: who comes, who becomes a molecule, who goes.

Everything here runs in whatever thread called the hub, under its lock. Which
driver becomes which molecule is decided in `Roster`, what is owed in `Client`
and `Barrier`.
"""

from __future__ import annotations

import abc
import logging
from typing import TYPE_CHECKING, Final

from mxl_sockets._barrier import Barrier
from mxl_sockets._client import Phase
from mxl_sockets._connection import Connection
from mxl_sockets._lines import INTERRUPTED, Lines
from mxl_sockets._lineup import LineUp
from mxl_sockets._patience import Patience
from wireframe import ipi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mxl_sockets._access import Allowed
    from mxl_sockets._poll import Poller
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

logger = logging.getLogger(__name__)

_STATUS: Final = ipi.encode_header(ipi.STATUS)
_STOP: Final = ipi.encode_header(ipi.STOP)
_EXIT: Final = ipi.encode_header(ipi.EXIT)

#: Share of the grace period after which drivers that did not answer STOP are
#: sent EXIT too: i-PI's and ASE's know no other end.
EXIT_AFTER: Final = 0.25


class Links(Lines[Connection]):
    """Drivers that come, are bound, and go.

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
        super().__init__(poller, allowed)
        self.roster = roster
        self.barrier = Barrier(two_phase=settings.two_phase)
        self._settings = settings
        self._patience = Patience(settings)
        self.lineup = LineUp(ipi.STATUS if settings.two_phase else ipi.GETFORCE)

    @abc.abstractmethod
    def settle(self) -> None:
        """Judge all replies that were read."""

    @abc.abstractmethod
    def settle_one(self, connection: Connection) -> None:
        """Judge what was read of a driver's reply, before anything else happens to it."""

    def welcome(self, listener: int, now: float) -> None:
        """Take newcomers in."""
        for sock, peer, endpoint in self.acceptor.accept(listener, now):
            if len(self.roster.waiting) >= self._settings.max_waiting:
                self.acceptor.refuse(peer, "waiting", f"{self._settings.max_waiting} drivers wait already")
                sock.close()
                continue
            connection = Connection(sock, peer, now, endpoint=endpoint, max_extra=self._settings.max_extra)
            if not self._enter(connection):
                continue
            self.roster.join(connection)
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
            self.fail(connection, error)
            return False
        if said is not None:
            self.drop(connection, "broke the protocol: it spoke before INIT" if said else "closed")
        return said is None

    def drop(self, connection: Connection, reason: str) -> None:
        self.settle_one(connection)
        if connection.phase is Phase.GONE:
            return
        # A driver that leaves after STOP, or before it was given anything, did nothing wrong.
        unremarkable = connection.phase is Phase.STOPPING or (
            connection.phase in (Phase.WAITING, Phase.CHECKING) and reason == "closed"
        )
        molecule_id = connection.molecule_id
        try:
            connection.phase = Phase.GONE
            self._forget(connection)
        except BaseException:
            self._forget(connection)  # who is forgotten by half would be awaited for ever
            raise
        if unremarkable:
            logger.debug("%s: %s", connection.peer, reason)
            return
        self.losses.note(connection.peer, molecule_id, reason)
        self.paused = self.paused or molecule_id is not None

    def _forget(self, connection: Connection) -> None:
        """Let all books go on without a connection; may be done again after an exception in between."""
        self._patience.forget(connection)
        self.lineup.leave(connection)
        # Before the roster, which tells no second time whose driver it was.
        molecule_id = connection.molecule_id
        slot = None if molecule_id is None else self.barrier.slot_of(molecule_id)
        if slot is not None and self.barrier.lose(slot):
            self.interrupted = True
        self.roster.leave(connection)
        self._let_go(connection)

    def unpause(self, ids: tuple[int, ...]) -> None:
        """Be paused only if one of these molecules has no driver now."""
        roster = self.roster
        self.paused = not self.lineup.stands(ids, roster.generation) and bool(roster.missing(ids))

    def fail(self, connection: Connection, error: OSError) -> None:
        """Drop a connection that cannot be read, unless there is merely nothing to read."""
        if not isinstance(error, BlockingIOError):
            self.drop(connection, f"connection broke: {error.strerror or error}")

    # -- ending ------------------------------------------------------------

    def stop_all(self) -> list[Connection]:
        self.settle()
        self.lineup.short_ways.clear()
        self.roster.generation += 1
        told = list(self.connections.values())
        for connection in told:
            self._patience.forget(connection)
            connection.expect_end()
            connection.initialized = False  # it is asked nothing more
            # A driver that was ready without INIT is ASE's: to its client STOP is a fatal error.
            self.send(connection, _STOP if connection.wants_init else _EXIT)
        return told

    @property
    def last_words(self) -> tuple[tuple[float, Callable[[Iterable[Connection]], None]], ...]:
        return ((EXIT_AFTER, self.exit_drivers), *super().last_words)

    def exit_drivers(self, told: Iterable[Connection]) -> None:
        """Tell the drivers that did not answer STOP to exit: those of i-PI and ASE."""
        for connection in told:
            if connection.phase is not Phase.GONE:
                self.send(connection, _EXIT)
