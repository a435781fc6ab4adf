"""C23 for aggregated hubs: every system call may fail; the k-th one does, for every k, and the steps go on.

Hub, bridges and molecules run in one thread. After each fault the results are those of an undisturbed run, no
call has raised, and nothing is left open.
"""

from __future__ import annotations

import errno
import os
import sys

import pytest

from mxl_sockets import AggregatedSocketHub, _accept, _aggregate_links, _running
from mxl_sockets._aggregate_connection import BridgeConnection
from mxl_sockets._poll import SelectorPoller

from .scripted_bridge import PumpedBridge

FAULTS = ["EINTR", "EAGAIN", "ECONNRESET", "ENOBUFS", "EMFILE", "EPIPE"]
INITS = {1: {"aggregate_group": "a"}, 2: {"aggregate_group": "b"}, 3: {"aggregate_group": "a"}}
STEPS = 3
MOST_TICKS = 400
WANTED = [[[step, sum(range(1, step + 1)) * 10.0] for _ in INITS] for step in range(1, STEPS + 1)]


class Schedule:
    """Lets one call fail: the k-th."""

    def __init__(self, which, name):
        self.left = which
        code = getattr(errno, name)
        self.error = OSError(code, os.strerror(code))

    def check(self):
        if self.left == 0:
            self.left = -1
            raise self.error
        self.left -= self.left > 0


class Failing:
    """Something whose calls of these names follow the schedule."""

    def __init__(self, thing, schedule, *names):
        self._thing = thing
        for name in names:
            setattr(self, name, self._guarded(getattr(thing, name), schedule))

    @staticmethod
    def _guarded(call, schedule):
        def guarded(*arguments):
            schedule.check()
            return call(*arguments)

        return guarded

    def __getattr__(self, name):
        return getattr(self._thing, name)


@pytest.fixture
def failing(monkeypatch):
    """Make the k-th call of the hub's sockets fail; the schedule."""

    def arm(which, name):
        schedule = Schedule(which, name)
        monkeypatch.setattr(_accept, "PAUSE", 0.0)

        class Connection(BridgeConnection):
            def __init__(self, sock, peer, *, max_extras):
                super().__init__(sock, peer, max_extras=max_extras)
                self.sock = Failing(sock, schedule, "recv_into", "send")

        monkeypatch.setattr(_aggregate_links, "BridgeConnection", Connection)
        monkeypatch.setattr(
            _running,
            "make_poller",
            lambda: Failing(SelectorPoller(), schedule, "register"),
        )
        return schedule

    return arm


def run(schedule):
    """Three steps, however many attempts they take; what the hub got for them."""
    left, schedule.left = schedule.left, -1
    hub = AggregatedSocketHub(port=0, timeout=0, latency=0, resume=True)
    listener = next(iter(hub._coupling.exchange.acceptor.listeners.values()))
    listener.sock = Failing(listener.sock, schedule, "accept")
    schedule.left = left
    bridges = [PumpedBridge(hub.address, group, []) for group in "ab"]
    results = []
    try:
        for _ in range(MOST_TICKS):
            for bridge in bridges:
                bridge.pump()
            step = len(results) + 1
            if hub.wait_until_bound(INITS, timeout=0):
                result = hub.step_barrier({one: {"efield_au": (step, 10.0 * step, 0)} for one in INITS})
                if result:
                    results.append([result[one]["amp"][:2].tolist() for one in INITS])
                    if len(results) == STEPS:
                        return results
        raise AssertionError(f"{len(results)} steps, {hub.status()}")
    finally:
        for bridge in bridges:
            bridge.close()
        hub.stop()


@pytest.mark.fault("C23", "mxl-sockets", "LW")
@pytest.mark.skipif(sys.platform == "win32", reason="other numbers of errors")
@pytest.mark.parametrize("name", FAULTS)
def test_every_call_of_the_hub_may_fail_once(name, failing, descriptors):
    """Also right after the other: the last k is one that no call reaches any more."""
    before = descriptors()
    for which in range(1000):
        schedule = failing(which, name)
        assert run(schedule) == WANTED, f"call {which}"
        assert descriptors() == before
        if schedule.left >= 0:
            break
    assert 20 < which < 999
