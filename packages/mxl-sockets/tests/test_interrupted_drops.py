"""An exception of a signal handler that comes while a lost driver is being forgotten."""

from __future__ import annotations

import itertools
import sys

import pytest

from mxl_sockets import AggregatedSocketHub
from mxl_sockets._aggregate_links import BridgeLinks
from mxl_sockets._links import Links

from .scripted_bridge import ScriptedBridge


class Interrupted(BaseException):
    """What a handler of a signal raises."""


def field(value):
    """Return a request of `step_barrier`."""
    return {"efield_au": [value, 0.0, 0.0]}


def interrupted(which, inside, step):
    """Step, and raise at one of the calls inside of a drop; whether there were as many."""
    left = [which]

    def interrupt(frame, event, argument):
        if inside[0] and event in ("call", "c_return") and "mxl_sockets" in frame.f_code.co_filename:
            left[0] -= 1
            if left[0] == -1:
                sys.setprofile(None)
                raise Interrupted

    sys.setprofile(interrupt)
    try:
        step()
    except Interrupted:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.fault("C21", "mxl-sockets", "L")
@pytest.mark.parametrize("two_phase", [False, True])
def test_an_interrupt_anywhere_in_a_drop_leaves_nobody_awaited_in_vain(
    make_hub, pumped, monkeypatch, two_phase
):
    """A driver dies in a step; wherever its drop is interrupted, the next one gets the molecule."""
    inside = [False]
    real = Links.drop

    def drop(links, connection, reason):
        inside[0] = connection.molecule_id is not None
        try:
            real(links, connection, reason)
        finally:
            inside[0] = False

    monkeypatch.setattr(Links, "drop", drop)
    for which in itertools.count():
        hub = make_hub(two_phase=two_phase)
        dying = pumped(hub.address)
        assert hub.wait_until_bound({0: {}}, timeout=5)
        assert hub.step_barrier({0: field(1.0)}, timeout=0) == {}
        dying.sock.close()
        raised = interrupted(which, inside, lambda hub=hub: hub.step_barrier({0: field(1.0)}, timeout=1))
        heir = pumped(hub.address)
        result = {}
        for _ in range(20):
            heir.pump()
            hub.wait_until_bound({0: {}}, timeout=0)
            if result := hub.step_barrier({0: field(1.0)}, timeout=0):
                break
        assert result, f"stuck after an interrupt at point {which}"
        heir.sock.close()
        hub.stop()
        if not raised:
            break
    assert which > 10


def test_an_interrupt_anywhere_in_the_drop_of_a_bridge_leaves_no_group_awaited_in_vain(
    cleanup, background, monkeypatch
):
    """The same with bridges: a successor gets the group, and the step is answered."""
    inits = {1: {"aggregate_group": "a"}, 2: {"aggregate_group": "b"}}
    requests = {one: field(float(one)) for one in inits}
    inside = [False]
    real = BridgeLinks.drop

    def drop(links, connection, reason):
        inside[0] = connection.group_id is not None
        try:
            real(links, connection, reason)
        finally:
            inside[0] = False

    monkeypatch.setattr(BridgeLinks, "drop", drop)
    for which in itertools.count():
        hub = AggregatedSocketHub(port=0, timeout=20)
        cleanup.callback(hub.stop)
        first, other = ScriptedBridge(hub.address, "a"), ScriptedBridge(hub.address, "b")
        waiting = background(hub.wait_until_bound, inits)
        first.start()
        other.start()
        assert waiting.result(20)
        assert hub.step_barrier(requests, timeout=0) == {}
        first.close()
        raised = interrupted(which, inside, lambda hub=hub: hub.step_barrier(requests, timeout=1))
        heir = ScriptedBridge(hub.address, "a")
        waiting = background(hub.wait_until_bound, inits)
        heir.start()
        assert waiting.result(20), f"stuck after an interrupt at point {which}"
        step = background(hub.step_barrier, requests)
        heir.answer()
        other.answer()
        assert sorted(step.result(20)) == [1, 2], f"stuck after an interrupt at point {which}"
        heir.close()
        other.close()
        hub.stop()
        if not raised:
            break
    assert which > 10
