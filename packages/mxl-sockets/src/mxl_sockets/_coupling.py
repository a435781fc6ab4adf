"""The hub's operations: bind, step, stop. What to wait for, and for how long."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from mxl_sockets._client import Phase
from mxl_sockets._exchange import Exchange
from mxl_sockets._loop import Loop
from mxl_sockets._poll import make_poller
from mxl_sockets.errors import HubStopped, StepTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mxl_sockets._access import Allowed
    from mxl_sockets._barrier import StepResult
    from mxl_sockets._connection import Connection
    from mxl_sockets._listen import Listener
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

logger = logging.getLogger(__name__)

#: Share of the grace period after which drivers that did not answer STOP are
#: sent EXIT too: i-PI's and ASE's know no other end.
EXIT_AFTER: Final = 0.25

#: Seconds; the least between two questions that nobody answered.
SHORTEST_WAIT: Final = 1e-3


class Coupling:
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
        poller = make_poller()
        try:
            self.exchange = (exchange or Exchange)(poller, roster, settings, allowed)
        except BaseException:
            poller.close()
            raise
        self.loop = Loop(poller, self.exchange)
        self.lock = self.loop.lock
        self.roster = roster
        self.barrier = self.exchange.barrier
        self.stopping = False
        self.steps = 0
        self._latency = latency

    def listen(self, listener: Listener) -> None:
        """Own a listener."""
        self.exchange.acceptor.add(listener)
        if listener.endpoint is not None:
            self.roster.endpoints.add(listener.endpoint)
        self.loop.wake()

    def look(self) -> None:
        """Handle what has arrived, and judge replies; wait for nothing."""
        if not self.stopping:
            self.loop.look()
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
        self.loop.read_in_order(deadline)

        def done() -> bool:
            return exchange.lineup.unsettled >= barrier.open or exchange.interrupted or self.stopping

        # Replies are judged together; one that is not whole or not legal is no reply yet.
        while True:
            in_time = done() or self.loop.run_until(done, deadline)
            exchange.settle()
            if barrier.complete or exchange.interrupted or self.stopping or not in_time:
                break
        if not barrier.complete:
            return None
        result = barrier.take()
        self.steps += 1
        self.roster.remember_extras(result.ids, result.extras)
        return result

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

    def shut_down(self, wait: float) -> None:
        """Stop all drivers; return when all have answered or after `wait` seconds.

        Who connects meanwhile was not asked and is not waited for. If the hub
        is stopped meanwhile, whoever stops it does the rest.
        """
        exchange, final = self.exchange, self.stopping
        start = time.monotonic()
        self.loop.look()  # drivers in the kernel's queue are told too
        told = exchange.stop_drivers()

        def done() -> bool:
            return self.stopping is not final or all(one.phase is Phase.GONE for one in told)

        for share, last_word in ((EXIT_AFTER, exchange.exit_drivers), (1.0, exchange.drop_all)):
            self.loop.run_until(done, start + share * max(0.0, wait))
            if self.stopping is not final:
                return
            last_word(told)

    def interrupt(self, deadline: float) -> None:
        """Make every waiting call return; wait until none holds the sockets."""
        self.stopping = True
        self.loop.wake()
        self.loop.wait_until_free(deadline)

    def close(self) -> None:
        """Close everything; afterwards only reading attributes makes sense."""
        self.stopping = True
        self.exchange.close()

    def close_in_child(self) -> None:
        """Let go of the descriptors in a forked child, without the lock: its holder may be gone."""
        self.stopping = True
        self.exchange.close_in_child()
