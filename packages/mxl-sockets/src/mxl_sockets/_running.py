"""A hub's sockets while it runs: who waits for them, and how it all ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic

from mxl_sockets._lines import LinesT
from mxl_sockets._loop import Loop
from mxl_sockets._poll import make_poller

if TYPE_CHECKING:
    from collections.abc import Callable

    from mxl_sockets._listen import Listener
    from mxl_sockets._poll import Poller
    from mxl_sockets._step_watch import StepClock


class Running(Generic[LinesT]):
    """What `Coupling` and `GroupCoupling` have in common.

    Every method but `close_in_child` wants `lock` to be held.

    Parameters
    ----------
    connect : callable
        Makes the connections, given a poller.
    latency : float
        Seconds; bounds waits for things that the sockets do not announce.

    Attributes
    ----------
    exchange : Lines
        The connections.
    loop : Loop
        Runs them in the threads that call.
    lock : threading.Lock
        That of the loop.
    stopping : bool
        Whether the hub is being stopped, or was.
    steps : int
        Steps completed.
    step_clock : StepClock or None
        The books of a watched hub.
    """

    step_clock: StepClock | None = None

    def __init__(self, connect: Callable[[Poller], LinesT], latency: float) -> None:
        poller = make_poller()
        try:
            self.exchange = connect(poller)
        except BaseException:
            poller.close()
            raise
        self.loop = Loop(poller, self.exchange)
        self.lock = self.loop.lock
        self.stopping = False
        self.steps = 0
        self._latency = latency

    def listen(self, listener: Listener) -> None:
        """Own a listener."""
        self.exchange.acceptor.add(listener)
        self.loop.wake()

    def look(self) -> None:
        """Handle what has arrived; wait for nothing."""
        if not self.stopping:
            self.loop.look()

    def shut_down(self, wait: float) -> None:
        """Stop all peers; return when all have answered or after `wait` seconds.

        Who connects meanwhile was not asked and is not waited for. If the hub
        is stopped meanwhile, whoever stops it does the rest.
        """
        final = self.stopping
        start = time.monotonic()
        self.loop.look()  # peers in the kernel's queue are told too
        told = self.exchange.stop_all()

        def done() -> bool:
            return self.stopping is not final or all(one.gone for one in told)

        for share, last_word in self.exchange.last_words:
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
