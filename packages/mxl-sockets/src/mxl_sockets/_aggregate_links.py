"""The bridges of an aggregated hub: they come, are given a group, answer, and go.

Everything here runs in whatever thread called the hub, under its lock; `_loop`
decides which thread waits for the sockets. Which bridge becomes which group is
decided in `GroupRoster`, what is owed in `BridgeLink` and `GroupBarrier`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mxl_sockets import _poll
from mxl_sockets._aggregate_barrier import GroupBarrier
from mxl_sockets._aggregate_connection import BridgeConnection
from mxl_sockets._aggregate_link import LinkPhase
from mxl_sockets._lines import INTERRUPTED, Lines
from mxl_sockets._patience import LONG, LOOKS
from wireframe import FrameError, aggregate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mxl_sockets._access import Allowed
    from mxl_sockets._aggregate_roster import Group, GroupRoster
    from mxl_sockets._aggregate_settings import AggregateSettings
    from mxl_sockets._aggregate_shares import Answer, GroupShare
    from mxl_sockets._poll import Poller

logger = logging.getLogger(__name__)

_STOP: Final = aggregate.encode_header(aggregate.STOP)

#: Bytes of one read.
READ_SIZE: Final = 1 << 20
#: Reads from one bridge in a row: a chatty one must not starve the others.
MOST_READS: Final = 8


class BridgeLinks(Lines[BridgeConnection]):
    """The conversation of an aggregated hub with its bridges.

    Parameters
    ----------
    poller : Poller
    roster : GroupRoster
    settings : AggregateSettings
    allowed : tuple of networks or None
    """

    def __init__(
        self,
        poller: Poller,
        roster: GroupRoster[BridgeConnection],
        settings: AggregateSettings,
        allowed: Allowed,
    ) -> None:
        super().__init__(poller, allowed)
        self.roster = roster
        self.barrier: GroupBarrier[GroupShare, Answer] = GroupBarrier()
        self._settings = settings
        self._scratch = memoryview(bytearray(READ_SIZE))
        self._now = 0.0
        #: When newcomers must have said hello; in that order, as all have the same time.
        self._hellos: dict[BridgeConnection, float] = {}

    # -- receiving ---------------------------------------------------------

    def dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        self._now = now
        for descriptor, mask in events:
            connection = self.connections.get(descriptor)
            if connection is not None:
                self._attend(connection, mask)
            elif descriptor in self.acceptor.listeners:
                self._welcome(descriptor, now)
            elif descriptor == self.waker.descriptor:
                self.waker.clear()

    def _attend(self, connection: BridgeConnection, mask: int) -> None:
        """Handle an event of a bridge."""
        try:
            if mask & _poll.WRITE:
                self.flush(connection)
            if mask != _poll.WRITE:
                self._read(connection)
        except BaseException:
            # A signal handler raised: what was read may be lost, so is the connection.
            if connection.phase is not LinkPhase.GONE:
                self.drop(connection, INTERRUPTED)
            raise

    def _read(self, connection: BridgeConnection) -> None:
        for _ in range(MOST_READS):
            if connection.phase is LinkPhase.GONE:
                return
            try:
                size = connection.sock.recv_into(self._scratch)
            except BlockingIOError:
                return
            except OSError as error:
                self.drop(connection, f"connection broke: {error.strerror or error}")
                return
            if not size:
                held = connection.decoder.buffered
                self.drop(
                    connection, f"closed in the middle of a message, after {held} bytes" if held else "closed"
                )
                return
            try:
                for event in connection.receive(self._scratch[:size]):
                    self._handle(connection, event)
            except FrameError as error:
                self.drop(connection, f"broke the protocol: {error}")

    def _handle(self, connection: BridgeConnection, event: aggregate.Event) -> None:
        """Act on a message that was due."""
        if isinstance(event, aggregate.Result):
            if connection.phase is LinkPhase.ASKED:
                self._answer(connection, event)
        elif isinstance(event, aggregate.Hello):
            if connection.phase is LinkPhase.NEW:
                self._greet(connection, event.group_id)
        elif event == aggregate.BYE:
            self.drop(connection, "said BYE")
        elif connection.phase is LinkPhase.STARTING:
            connection.phase = LinkPhase.READY
            self.roster.generation += 1
            logger.info("%s has the drivers of group %r", connection.peer, connection.group_id)

    def _greet(self, connection: BridgeConnection, group_id: str) -> None:
        """Let a bridge wait for its group, unless the group has one."""
        del self._hellos[connection]
        holder = self.roster.holder(group_id)
        if holder is not None:
            self._read(holder)  # it may be gone, and this is its successor
            holder = self.roster.holder(group_id)
        if holder is not None:
            self.drop(connection, f"a second bridge, group {group_id!r} has {holder.peer}")
            return
        self.roster.park(connection, group_id)
        logger.info("%s is the bridge of group %r", connection.peer, group_id)

    def _answer(self, connection: BridgeConnection, result: aggregate.Result) -> None:
        """Keep what a bridge answered."""
        group_id = connection.group_id or ""
        share = self.barrier.shares[group_id]
        answer = share.read(result)
        if connection.outgoing:
            self.drop(connection, "answered a step before it had read it")
            return
        connection.phase = LinkPhase.READY
        self.barrier.answer(group_id, answer)
        if self.roster.groups[group_id].outdated:
            self.roster.generation += 1  # who waits for the group can have it started again now
        if self.roster.resume:
            self.roster.remember_extras(share.ids, answer.extras or [b""] * len(share.ids))
        self.reply_times.add(self._now - self.barrier.latest_ask, len(share.ids))

    # -- coming ------------------------------------------------------------

    def _welcome(self, listener: int, now: float) -> None:
        """Take newcomers in."""
        for sock, peer, _ in self.acceptor.accept(listener, now):
            waiting = len(self._hellos) + len(self.roster.parked)
            if waiting >= self._settings.max_waiting and not self._make_room():
                self.acceptor.refuse(peer, "waiting", f"{waiting} bridges wait already")
                sock.close()
                continue
            connection = BridgeConnection(sock, peer, max_extras=self._settings.max_extras)
            if self._enter(connection):
                self._hellos[connection] = now + self._settings.handshake_timeout

    def _make_room(self) -> bool:
        """Drop the bridge that has waited longest for a group nobody has named; whether there was one."""
        wanted = self.roster.groups
        unwanted = next((link for name, link in self.roster.parked.items() if name not in wanted), None)
        if unwanted is not None:
            self.drop(unwanted, "makes room: its group is not known, and too many wait")
        return unwanted is not None

    def start_groups(self, groups: Iterable[Group[BridgeConnection]]) -> None:
        """Send AGGINIT to the bridges of these groups that need it."""
        for group in groups:
            if self.roster.wants_start(group):
                message = self.roster.init_message(group)
                self.send(self.roster.start(group), message)

    # -- going -------------------------------------------------------------

    def drop(self, connection: BridgeConnection, reason: str) -> None:
        stranger = connection.group_id is None
        expected = connection.phase is LinkPhase.STOPPING
        group = self.roster.led_by(connection)
        try:
            connection.phase = LinkPhase.GONE
            self._forget(connection)
        except BaseException:
            self._forget(connection)  # who is forgotten by half would be awaited for ever
            raise
        if expected or (stranger and reason == "closed"):
            logger.debug("%s: %s", connection.peer, reason)
            return
        if group is None:
            self.losses.note(connection.peer, None, reason)
            return
        self.paused = True
        self.losses.remember(f"{connection.peer} (group {group.group_id!r}): {reason}")
        logger.warning("lost %s", self.losses.last)

    def _forget(self, connection: BridgeConnection) -> None:
        """Let all books go on without a bridge; may be done again after an exception in between."""
        self._hellos.pop(connection, None)
        # Before the roster, which tells no second time whose bridge it was.
        group = self.roster.led_by(connection)
        if group is not None and self.barrier.lose(group.group_id):
            self.interrupted = True
        self.roster.leave(connection)
        self._let_go(connection)
        connection.outgoing.clear()

    def stop_all(self) -> list[BridgeConnection]:
        told = list(self.connections.values())
        for connection in told:
            self._hellos.pop(connection, None)
            connection.expect_end()
            self.send(connection, _STOP)
        return told

    # -- asking ------------------------------------------------------------

    def ask(self, now: float) -> None:
        """Send the frozen step to every group that was not asked yet and whose bridge is ready."""
        for group_id in self.barrier.unasked():
            group = self.roster.groups[group_id]
            link = group.link
            if link is None or link.phase is not LinkPhase.READY or group.outdated:
                continue
            try:
                share = self.barrier.ask(group_id, now)
                link.expect_answers(len(share.ids))
            except BaseException:
                self.drop(link, INTERRUPTED)
                raise
            self.send(link, share.frame)

    # -- time --------------------------------------------------------------

    @property
    def has_timers(self) -> bool:
        limited = self._settings.silence_timeout is not None
        return bool(self._hellos) or limited or self.acceptor.paused_until is not None

    def next_due(self, now: float) -> float:
        wait = next(iter(self._hellos.values()), now + LONG) - now
        if self._settings.silence_timeout is not None and self.barrier.frozen:
            wait = min(wait, self._settings.silence_timeout / LOOKS)
        if self.acceptor.paused_until is not None:
            wait = min(wait, self.acceptor.paused_until - now)
        return max(0.0, wait)

    def expire(self, now: float) -> None:
        self.acceptor.resume(now)
        while self._hellos and next(iter(self._hellos.values())) <= now:
            limit = self._settings.handshake_timeout
            self.drop(next(iter(self._hellos)), f"did not say its group within {limit:g} s")
        limit_s = self._settings.silence_timeout
        if limit_s is None:
            return
        for group_id, age in self.barrier.waited_for(now).items():
            link = self.roster.groups[group_id].link
            if age >= limit_s and link is not None:
                self.drop(link, f"did not answer within {limit_s:g} s")
