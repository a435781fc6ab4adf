"""What real programs of other projects found out about the hub, with scripted drivers in their place."""

from __future__ import annotations

import pytest

from wireframe import ipi

LIMIT_S = 10.0


def test_drivers_that_were_ready_without_init_are_ended_by_exit_alone(make_hub, scripted, background):
    """ASE's client takes STOP, like an INIT it did not ask for, as a fatal error; bound or waiting."""
    hub = make_hub(handshake="status")
    drivers = [scripted(hub), scripted(hub)]
    bound = background(hub.wait_until_bound, {0: {}, 1: {}}, timeout=0.2)
    for driver in drivers:
        assert driver.read_header() == ipi.STATUS
    drivers[0].say(ipi.READY)
    assert not bound.result(LIMIT_S)
    drivers[1].say(ipi.READY)
    assert hub.wait_until_bound({0: {}})
    stopped = background(hub.stop)
    for driver in drivers:
        assert driver.read_header() == ipi.EXIT
        driver.close()
    stopped.result(LIMIT_S)
    assert hub.address is None


def test_drivers_that_needed_init_are_ended_by_stop(make_hub, scripted, background):
    """Asked for their status first, MaxwellLink's drivers still expect STOP, and EXIT would be an error."""
    hub = make_hub(handshake="status")
    driver = scripted(hub)
    bound = background(hub.wait_until_bound, {0: {}})
    assert driver.read_header() == ipi.STATUS
    driver.say(ipi.NEEDINIT)
    assert bound.result(LIMIT_S)
    driver.read_init()
    stopped = background(hub.stop)
    assert driver.read_header() == ipi.STOP
    driver.say(ipi.BYE)
    stopped.result(LIMIT_S)
    assert driver.is_closed()


@pytest.mark.parametrize("count", [1, 2])
def test_two_phases_ask_for_the_status_before_the_amplitude(bound, background, count):
    """With any number of molecules, one included, nobody commits unasked."""
    hub, drivers = bound(count, two_phase=True)
    step = background(hub.step_barrier, {one: {"efield_au": [0.5, -1.0, 2.0]} for one in range(count)})
    for driver in drivers:
        driver.read_request(ipi.STATUS)
        driver.say(ipi.HAVEDATA)
    for driver in drivers:
        assert driver.read_header() == ipi.GETFORCE
        driver.reply()
    assert len(step.result(LIMIT_S)) == count
