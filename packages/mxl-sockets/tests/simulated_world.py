"""A whole `SocketHub` without a network: drivers, connections and time in one thread.

The hub is the production class with everything behind it; only its event
source, its listener and its clock are replaced. Whenever the hub looks at its
sockets it enters `World.poll`, and there the schedule decides what happens
before the hub hears of it: which bytes arrive, who dies, who connects, and
whether the time passes. The drivers answer through the production
`DriverProtocol`.

What a driver does between two bytes on the wire nobody else can see, so a
driver runs as soon as it is sent something. It may die before any message it
was sent and after the last; its answers travel separately and later.

This module makes things happen and writes down what did. Whether that was
right is judged in ``test_simulation.py``, from the `History` alone.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import types
from collections import Counter

import numpy as np

from mxl_sockets import (
    SocketHub,
    StepTimeout,
    _accept,
    _coupling,
    _exchange,
    _lifecycle,
    _loop,
    _open_hub,
    _poll,
    _running,
)
from mxl_sockets._client import Phase
from mxl_sockets._listen import Listener
from wireframe import ipi

from .simulated_drivers import Door, History, Line, SilentWaker, SimulatedDriver

#: Seconds every call of the simulated solver waits.
PATIENCE = 1.0
#: Seconds that a read of a connection waits.
READ_WAIT = 0.004
#: Waits for nobody in a row, after which the hub has evidently lost something.
STUCK = 8
#: Field of a repeated call; it must never reach a driver.
JUNK = (-1.0, -1.0, -1.0)


class World:
    """Everything around one hub; also its event source.

    `judge` is called with the history after each step and at the end. What it
    approved is no longer part of the `key`.
    """

    def __init__(self, setup, schedule, judge):
        self.setup = setup
        self._judge = judge
        self.schedule = schedule
        self.now = 1000.0
        self.history = History()
        self.drivers = []
        self.door = Door()
        self.staged = {}
        self.position = ()
        self.hub = None
        self._watched = {}
        self._order = {}
        self._lines = {}
        self._budget = Counter(deaths=setup.deaths, delays=setup.delays, chatter=setup.chatter)
        self._opening = True
        self._closing = False
        self._in_vain = 0

    # -- the event source of the hub --

    def register(self, descriptor, mask):
        assert descriptor not in self._watched
        self._watched[descriptor] = mask
        if descriptor in self._lines:
            self._order[descriptor] = None  # something may have come before

    def modify(self, descriptor, mask):
        assert descriptor in self._watched
        self._watched[descriptor] = mask

    def unregister(self, descriptor):
        del self._watched[descriptor]
        self._order.pop(descriptor, None)

    def close(self):
        self._watched.clear()

    def poll(self, timeout):
        """Let the world go on until the schedule wakes the hub."""
        return self._go_on(self._ready, timeout)

    def wait_for(self, line):
        """Let the world go on until there is something to read, or the read is given up."""
        in_vain = self._in_vain
        self._go_on(lambda: [line] if line.events(_poll.READ) else [], READ_WAIT)
        self._in_vain = in_vain

    def _go_on(self, find, timeout):
        while True:
            for driver in self.drivers:
                if driver.life.alive and driver.line.closed:
                    driver.die()  # the hub has thrown it out
                elif driver.life.alive and not driver.hung and (driver.line.taken or driver.line.to_driver):
                    driver.serve()
                    self.mark(driver.line)  # there may be room again
            ready = find()
            options = self._options(ready, timeout)
            action, driver = options[0] if self._closing else self.schedule.choose(self, options, timeout)
            if action == "wake":
                if ready:
                    self._in_vain = 0
                return ready
            if action == "wait":
                self.now += timeout
                if options[0][0] != "wait" or len(options) > 1:
                    self._budget["delays"] -= 1
                elif timeout > 0:
                    self._in_vain += 1
                    if self._in_vain > STUCK and not any(one.hung for one in self.drivers):
                        raise AssertionError("the hub waits for nobody")
                return []
            self._do(action, driver)

    def mark(self, line):
        """Note the order in which connections become ready."""
        if line.descriptor in self._watched:
            self._order.setdefault(line.descriptor, None)

    def _ready(self):
        found = []
        for descriptor in [self.door.descriptor, *self._order]:
            mask = self._watched.get(descriptor)
            source = self.door if descriptor == self.door.descriptor else self._lines[descriptor]
            events = 0 if mask is None else source.events(mask)
            if events:
                found.append((descriptor, events))
            else:
                self._order.pop(descriptor, None)
        return found

    # -- what may happen --

    def _options(self, ready, timeout):
        """All that may happen now; the first brings the run to its end."""
        options = []
        for driver in self.drivers:
            if driver.unsent:
                options.append(("arrive", driver))
                if self.setup.pieces and len(driver.unsent) > 1:
                    options.append(("arrive partly", driver))
            elif not driver.life.alive and not driver.line.ended and not driver.line.closed:
                options.append(("end", driver))
        if self._is_wanted() and not self._closing:
            options.append(("connect", None))
        if ready or timeout <= 0:
            options.append(("wake", None))
        if self._opening or self._closing:
            return options[:1] or [("wait", None)]
        if not ready and timeout > 0 and (not options or self._budget["delays"] > 0):
            options.append(("wait", None))
        for driver in self.drivers:
            if driver.life.alive and driver.idle:
                if self._budget["deaths"] > 0:
                    options.append(("leave", driver))
                if self._budget["chatter"] > 0 and self._may_chatter(driver):
                    options.append(("chatter", driver))
        return options

    def _is_wanted(self):
        """Whether another driver may connect."""
        replacement = self.setup.replacement
        wanted = self.setup.molecules + (self._budget["deaths"] if replacement == "waits" else 0)
        if replacement == "later":
            return sum(not driver.line.closed for driver in self.drivers) < wanted
        return sum(driver.life.alive for driver in self.drivers) < wanted

    def _may_chatter(self, driver):
        """Whether a reply of this driver is unasked in every view.

        A reply that crosses with its request cannot be told from an answer by
        anybody, and neither can that of a driver that has staged.
        """
        for connection in self.hub._coupling.exchange.connections.values():
            if connection.sock is driver.line and connection.outgoing:
                return False
        return driver.protocol.state != ipi.HAVEDATA and not driver.line.closed

    def fate(self, driver):
        """Whether a driver dies (or hangs) at this point of its work."""
        if self._opening or self._closing or self._budget["deaths"] <= 0:
            return False
        options = [("live", driver), ("die", driver)]
        if self.setup.silence_timeout is not None:
            options.append(("hang", driver))
        action, _ = self.schedule.choose(self, options, -1.0)
        if action == "live":
            return False
        self._budget["deaths"] -= 1
        if action == "die":
            driver.die()
        else:
            driver.hung = True
        return True

    def _do(self, action, driver):
        if action == "arrive":
            driver.arrive(len(driver.unsent))
        elif action == "arrive partly":
            driver.arrive(self.schedule.number(1, len(driver.unsent) - 1))
        elif action == "end":
            driver.end_line()
        elif action == "leave":
            self._budget["deaths"] -= 1
            driver.die()
            driver.end_line()
        elif action == "chatter":
            self._budget["chatter"] -= 1
            driver.life.unasked += 1
            driver.unsent += ipi.encode_forceready((-7.0, -7.0, -7.0))
            driver.arrive(len(driver.unsent))
        else:
            assert action == "connect"
            self._connect()

    def _connect(self):
        # The lowest free number, as the system gives them out: they come again.
        used = {driver.line.descriptor for driver in self.drivers if not driver.line.closed}
        descriptor = 4
        while descriptor in used:
            descriptor += 1
        room = self.schedule.number(1, 400) if self.setup.pieces else 1 << 20
        line = Line(self, descriptor, room)
        self._lines[descriptor] = line
        self.history.lives.append(line.life)
        self.drivers.append(SimulatedDriver(self, line, room))
        self.door.queue.append(line)

    # -- the solver --

    def run(self):
        """Run the solver to its end and return the history."""
        setup = self.setup
        self.hub = SocketHub(
            timeout=PATIENCE,
            resume=setup.resume,
            two_phase=setup.two_phase,
            silence_timeout=setup.silence_timeout,
        )
        inits = {molecule: {} for molecule in range(setup.molecules)}
        bound = self.hub.wait_until_bound(inits)
        assert bound
        self._opening = False
        for step in range(setup.steps):
            fields = {molecule: (float(step), molecule + 0.5, 0.25) for molecule in range(setup.molecules)}
            solve = self._array_step if setup.arrays else self._dict_step
            self.history.results.append(solve(fields, inits))
            self._judge(self.history)
            for life in self.history.lives:
                life.judged = len(life.committed), len(life.delivered)
        self._closing = True
        self.schedule.meet(self)
        self.hub.stop()
        self.history.finished = self.hub.address is None
        self.history.open_lines = sum(not driver.line.closed for driver in self.drivers)
        self._judge(self.history)
        return self.history

    def _dict_step(self, fields, inits):
        requests = {molecule: {"efield_au": vector} for molecule, vector in fields.items()}
        while True:
            self.position = "step", self.now, not self.hub.paused
            reply = self.hub.step_barrier(requests)
            if reply:
                return {one: (tuple(found["amp"].tolist()), found["extra"]) for one, found in reply.items()}
            if self.hub.paused:
                self.position = "bind", self.now
                self.hub.wait_until_bound(inits)
            if self.hub._coupling.barrier.frozen:  # then it ignores what it is given
                requests = {molecule: {"efield_au": JUNK} for molecule in fields}

    def _array_step(self, fields, inits):
        block = np.array(list(fields.values()))
        while True:
            self.position = "step", self.now
            try:
                rows = self.hub.step(block)
            except StepTimeout:
                continue
            return {one: (tuple(row.tolist()), None) for one, row in zip(fields, rows, strict=True)}

    def key(self, timeout):
        """All that the future, and the verdict on the past, depend on."""
        stack = []
        frame = sys._getframe(1)
        while frame.f_code is not _RUN:
            stack.append(frame.f_lineno)
            if frame.f_code is _BIND:
                stack.append(tuple(frame.f_locals["ids"]))
            frame = frame.f_back
        exchange = self.hub._coupling.exchange
        barrier, roster = exchange.barrier, exchange.roster
        kind, since, *rest = self.position
        return (
            tuple(stack),
            round(timeout, 6),
            (kind, round(self.now - since, 6), *rest),
            tuple(self._budget.values()),
            min(self._in_vain, 1),
            tuple(filter(None, (driver.key() for driver in self.drivers))),
            tuple(self._order),
            len(self.door.queue),
            len(self.history.results),
            (barrier.ids, barrier.fields, barrier._fresh, tuple(barrier._stages)),
            (tuple(barrier._amplitudes), tuple(barrier._extras), barrier._amplitude_block),
            tuple(sorted((molecule, one.descriptor) for molecule, one in roster.bound.items())),
            tuple(one.descriptor for one in roster.waiting),
            tuple(sorted(roster._last_extras.items())),
            (exchange.paused, exchange.interrupted),
            exchange.lined_up,
            tuple((one.descriptor, one.phase is Phase.GONE) for one in exchange.lineup.drivers),
            tuple(
                size if size <= 0 else bytes(row[:size])
                for size, row in zip(exchange.lineup.sizes, exchange.lineup._reply_block.rows, strict=False)
            ),
            tuple(sorted(exchange.lineup.short_ways)),
            tuple(
                (number, one.phase, one.slot, one.partial, one.initialized, bytes(one.outgoing))
                for number, one in sorted(exchange.connections.items())
            ),
        )


_RUN = World.run.__code__
_BIND = _coupling.Coupling.bind.__code__


@contextlib.contextmanager
def simulation():
    """Replace the hub's event source and clock; gives ``run(setup, schedule, judge) -> History``."""
    current = []
    clock = types.SimpleNamespace(monotonic=lambda: current[-1].now)
    replaced = [(module, "time", clock) for module in (_coupling, _running, _loop, _open_hub)]
    replaced += [
        (_running, "make_poller", lambda: current[-1]),
        (_accept, "prepare_tcp", lambda line: None),
        (_lifecycle, "listen_tcp", lambda *_: Listener(current[-1].door)),
        (_poll, "Waker", SilentWaker),
        (_exchange, "READ_SIZE", 1 << 13),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    logger = logging.getLogger("mxl_sockets")
    level = logger.level

    def run(setup, schedule, judge):
        world = World(setup, schedule, judge)
        current[:] = [world]
        try:
            return world.run()
        finally:
            if world.hub is not None:
                world.hub._finalizer.detach()

    try:
        for module, name, value in replaced:
            setattr(module, name, value)
        logger.setLevel(logging.CRITICAL)
        yield run
    finally:
        logger.setLevel(level)
        for module, name, value in before:
            setattr(module, name, value)
