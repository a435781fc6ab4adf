"""The hub's operations: bind, step, stop. What to wait for, and for how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mxl_sockets._exchange import Exchange
from mxl_sockets._lineup import BATCH
from mxl_sockets._running import Running
from mxl_sockets.errors import HubStopped, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mxl_sockets._access import Allowed
    from mxl_sockets._barrier import StepResult
    from mxl_sockets._connection import Connection
    from mxl_sockets._listen import Listener
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

#: Seconds; the least between two questions that nobody answered.
SHORTEST_WAIT: Final = 1e-3


#: Seconds after which replies are no longer read in order: other threads want the lock too.
LONGEST_READING: Final = 0.05

#: Seconds; what one batch of replies that are read in order may last at worst, with the
#: slowest clock of a system, if each driver answers just before it is given up.
LONGEST_BATCH: Final = BATCH * 0.03


class Coupling(Running[Exchange]):
    """A hub's sockets and rules behind its public face.

    Every method but `close_in_child` wants `lock` to be held.

    Parameters
    ----------
    roster : Roster
    settings : HubSettings
    allowed : tuple of networks or None
    latency : float
        Seconds; bounds waits for things that the sockets do not announce.
    exchange : type of Exchange, optional
        What holds the conversation, if it is not a plain one.
    """

    def __init__(
        self,
        roster: Roster[Connection],
        settings: HubSettings,
        allowed: Allowed,
        latency: float,
        exchange: type[Exchange] | None = None,
    ) -> None:
        super().__init__(lambda poller: (exchange or Exchange)(poller, roster, settings, allowed), latency)
        self.roster = roster
        self.barrier = self.exchange.barrier

    def listen(self, listener: Listener) -> None:
        """Own a listener."""
        super().listen(listener)
        if listener.endpoint is not None:
            self.roster.endpoints.add(listener.endpoint)

    def look(self) -> None:
        """Handle what has arrived, and judge replies; wait for nothing."""
        super().look()
        self.exchange.settle()

    def bind(self, ids: Sequence[int], deadline: float, *, require_init: bool = True) -> bool:
        """Bind drivers until all `ids` have one; False at the deadline or when stopping."""
        roster = self.roster
        seen = -1

        def done() -> bool:
            nonlocal seen
            if self.stopping:
                return True
            again = roster.asks_again
            # Somebody may turn out to be gone when given a molecule: then the next one's turn is now.
            while again or roster.arrivals != seen:
                again, seen = False, roster.arrivals
                if self.exchange.bind_missing(ids, time.monotonic()):
                    self.loop.wake()
            return not (roster.unready(ids) if require_init else roster.missing(ids))

        while not self.stopping:
            # A match function may change its mind without any news from a socket.
            patience = max(SHORTEST_WAIT, self._latency)
            slice_end = min(deadline, time.monotonic() + patience) if roster.asks_again else deadline
            if self.loop.run_until(done, slice_end) and not self.stopping:
                return True
            if time.monotonic() >= deadline:
                return False
        return False

    def attempt(self, deadline: float) -> StepResult | None:
        """Bring the frozen step as far as it goes before the deadline.

        The caller has looked at the sockets: what was sent before the request
        must not pass for its reply.

        Returns
        -------
        StepResult or None
            None at the deadline, when stopping, when a molecule has no driver,
            or as soon as a driver that owed an answer is lost.
        """
        barrier, exchange = self.barrier, self.exchange
        if not exchange.lined_up:
            unanswered = self._open_ids()
            if self.roster.unready(unanswered):
                soon = min(deadline, time.monotonic() + self._latency)
                if not self.bind(unanswered, soon):
                    return None
                self.loop.look()
                if self.roster.unready(unanswered):
                    return None
        exchange.interrupted = False
        exchange.ask(time.monotonic())
        self._read_in_order(deadline)
        # Replies are judged together; one that is not whole or not legal is no reply yet.
        while True:
            in_time = self._all_answered() or self.loop.run_until(self._all_answered, deadline)
            exchange.settle()
            if not barrier.open:
                break
            if exchange.interrupted or self.stopping or not in_time:
                return None
        result = barrier.take()
        self.steps += 1
        self.roster.remember_extras(result.ids, result.extras)
        return result

    def _all_answered(self) -> bool:
        """Whether everybody may have answered, or the attempt is over."""
        exchange = self.exchange
        return exchange.lineup.unsettled >= self.barrier.open or exchange.interrupted or self.stopping

    def _read_in_order(self, deadline: float) -> None:
        """Read the replies of a step in which everybody owes one, as far as nobody keeps us waiting.

        The lock is held throughout. This costs less than to be told by the
        poller who has answered; but who is late is left to it, and so is a
        step whose deadline is near.
        """
        exchange = self.exchange
        lineup = exchange.lineup
        if exchange.interrupted or not lineup.expects_all():
            return
        now = time.monotonic()
        latest = min(now + LONGEST_READING, deadline - LONGEST_BATCH)
        try:
            for batch in lineup.batches:
                if now > latest or not exchange.read_in_order(batch):
                    break
                now = time.monotonic()
        finally:
            lineup.recount()
        exchange.reply_times.add(now - exchange.barrier.latest_ask, lineup.unsettled)

    def freeze_fields(self, ids: tuple[int, ...], fields: bytes) -> None:
        """Begin a step of fields.

        Raises
        ------
        ValueError
            As `Barrier.freeze`; or a driver has served more atoms than one.
        """
        if not self.exchange.lineup.stands(ids, self.roster.generation):
            self.roster.check_atoms(dict.fromkeys(ids, 1))
        self.barrier.freeze(ids, fields)

    def pursue(self, deadline: float) -> StepResult | None:
        """Attempt the frozen step with waiting drivers in place of lost ones; None if that is not enough."""
        self.loop.look()
        while (result := self.attempt(deadline)) is None:
            if not self.bind(self._open_ids(), deadline) or time.monotonic() >= deadline:
                return None
            self.loop.look()
        return result

    def complete(self, deadline: float) -> StepResult:
        """Bring the frozen step to its end, as `pursue`.

        Raises
        ------
        StepTimeout
            Not before the deadline.
        HubStopped
            The hub is being stopped.
        """
        result = self.pursue(deadline)
        if result is None:
            if self.stopping:
                raise HubStopped("the hub was stopped during the step")
            late = self.barrier.late(time.monotonic())
            raise StepTimeout(late, self.roster.missing(self._open_ids()))
        return result

    def _open_ids(self) -> list[int]:
        """Return the molecules of the frozen step that have not answered."""
        return [self.barrier.ids[slot] for slot in self.barrier.unanswered()]
