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


@pytest.mark.parametrize("handshake", ["status", "init+status"])
@pytest.mark.parametrize("cut", [1, 11])
def test_a_status_that_ends_in_the_middle_of_its_answer_is_no_status(
    make_hub, scripted, background, handshake, cut
):
    """It counts as disconnected, as for i-PI's server, and another driver becomes the molecule."""
    hub = make_hub(handshake=handshake)
    bound = background(hub.wait_until_bound, {0: {}})
    for whole in (False, True):
        driver = scripted(hub)
        if handshake == "init+status":
            driver.read_init()
        assert driver.read_header() == ipi.STATUS
        if not whole:
            driver.send(ipi.encode_header(ipi.READY)[:cut])
            driver.close()
    driver.say(ipi.NEEDINIT if handshake == "status" else ipi.READY)
    assert bound.result(LIMIT_S)
    (loss,) = hub.status().losses
    assert f"closed in the middle of a message, after {cut} bytes" in loss.text
    assert list(hub.status().bound) == [0]


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 1_000_000])
def test_parameters_are_sent_whole_however_long(make_hub, scripted, background, size):
    """Only i-PI's Fortran driver has a limit, 65536 bytes; who starts such drivers has to keep it."""
    hub = make_hub()
    driver = scripted(hub)
    rest = len('{"note": "", "molecule_id": 0}')
    bound = background(hub.wait_until_bound, {0: {"note": "x" * (size - rest)}})
    assert len(driver.read_init()) == 20 + size
    assert bound.result(LIMIT_S)
    assert driver.init[1]["note"] == "x" * (size - rest)
    assert driver.unread() == b""
