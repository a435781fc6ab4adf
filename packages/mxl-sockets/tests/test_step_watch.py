"""The callback after each step: what it is told, when, and that nothing it does breaks a step."""

from __future__ import annotations

import numpy as np
import pytest

from mxl_sockets import AggregatedSocketHub, StepRecord, StepTimeout, _coupling, _exchange
from wireframe import aggregate, ipi

from .scripted_bridge import LIMIT_S, ScriptedBridge

FIELDS = np.arange(6.0).reshape(2, 3)
REQUESTS = {row: {"efield_au": fields} for row, fields in enumerate(FIELDS)}


@pytest.fixture
def records():
    return []


def answer_last(background, eventually, hub, drivers, last, call):
    """Make a step in which a driver answers after the other; the result of the call."""
    future = background(call)
    for driver in drivers:
        driver.read_request()
    first = drivers[1 - last]
    first.reply((1.0, 0.0, 0.0))
    eventually(lambda: hub._coupling.exchange.lineup.unsettled == 1, "the first answer is read")
    drivers[last].reply((2.0, 0.0, 0.0))
    return future.result(LIMIT_S)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("method", ["step", "step_barrier"])
def test_a_record_names_who_answered_last(bound, background, eventually, records, method, last):
    hub, drivers = bound(2, on_step=records.append)
    call = {
        "step": lambda: hub.step(FIELDS),
        "step_barrier": lambda: hub.step_barrier(REQUESTS),
    }[method]
    for number in (1, 2):
        result = answer_last(background, eventually, hub, drivers, last, call)
        assert len(result) == 2
        assert len(records) == number
        record = records[-1]
        assert (record.step, record.slowest) == (number, last)
        assert record.peer == hub.status().bound[last]
        assert 0 < record.duration_s < LIMIT_S


def test_of_two_phases_the_longer_one_tells_who_is_slow(bound, background, eventually, records):
    """The last to stage kept all waiting, although another one is the last to commit."""
    hub, drivers = bound(2, two_phase=True, on_step=records.append)
    step = background(hub.step, FIELDS)
    for driver in drivers:
        driver.read_request(ipi.STATUS)
    drivers[1].say(ipi.HAVEDATA)
    eventually(lambda: hub._coupling.exchange.step_clock._staged[1] == 1)
    began = hub._coupling.exchange.step_clock._began
    hub._coupling.exchange.step_clock._began = began - 1.0  # as if that had taken a second
    drivers[0].say(ipi.HAVEDATA)
    for driver in drivers:
        assert driver.read_header() == ipi.GETFORCE
    drivers[0].reply()
    eventually(lambda: hub._coupling.exchange.step_clock._answered[1] == 0)
    drivers[1].reply()
    step.result(LIMIT_S)
    (record,) = records
    assert record.slowest == 0
    assert record.duration_s > 1.0


def test_a_step_is_told_once_when_it_is_complete_with_all_its_time(bound, background, records):
    """Calls that give up tell nothing; the time counts from the first of them."""
    hub, (driver,) = bound(1, on_step=records.append)
    with pytest.raises(StepTimeout):
        hub.step(FIELDS[:1], timeout=0.05)
    assert hub.step_barrier({0: REQUESTS[0]}, timeout=0.05) == {}
    assert records == []
    driver.read_request()
    driver.reply()
    hub.step(FIELDS[:1])
    (record,) = records
    assert (record.step, record.slowest) == (1, 0)
    assert record.duration_s >= 0.1


def test_what_the_callback_raises_is_logged_and_breaks_no_step(bound, background, caplog):
    def fail(record):
        raise ArithmeticError(f"watching {record.step}")

    hub, (driver,) = bound(1, on_step=fail)
    for number in (1, 2):
        step = background(hub.step, FIELDS[:1])
        driver.read_request()
        driver.reply((float(number), 0.0, 0.0))
        assert step.result(LIMIT_S)[0, 0] == number
    assert caplog.text.count("on_step failed after step") == 2
    assert "watching 2" in caplog.text


def test_what_ends_a_program_is_not_held_back(bound, background):
    """An interrupt that comes in the callback goes on; the step after it is told too."""
    told = []

    def interrupt(record):
        told.append(record.step)
        if record.step == 1:
            raise KeyboardInterrupt

    hub, (driver,) = bound(1, on_step=interrupt)
    for number in (1, 2):
        step = background(hub.step, FIELDS[:1])
        driver.read_request()
        driver.reply()
        if number == 1:
            with pytest.raises(KeyboardInterrupt):
                step.result(LIMIT_S)
        else:
            step.result(LIMIT_S)
    assert told == [1, 2]


def test_the_callback_may_call_the_hub(bound, background):
    """It holds no lock."""
    seen = []
    hub, (driver,) = bound(1, on_step=lambda record: seen.append((record.step, hub.status().steps)))
    step = background(hub.step, FIELDS[:1])
    driver.read_request()
    driver.reply()
    step.result(LIMIT_S)
    assert seen == [(1, 1)]


def test_a_replaced_driver_is_not_who_held_the_step(bound, scripted, background, records):
    """Named is who answered, not who was lost; the time is that of both."""
    hub, (driver,) = bound(1, on_step=records.append)
    step = background(hub.step, FIELDS[:1])
    driver.read_request()
    driver.close()
    successor = scripted(hub)
    successor.read_init()
    successor.read_request()
    successor.reply()
    step.result(LIMIT_S)
    (record,) = records
    assert record.peer == hub.status().bound[0] == "{}:{}".format(*successor.sock.getsockname())


def test_an_unwatched_hub_has_nothing_of_this_on_its_way(make_hub):
    """The classes that watch are not even made."""
    hub = make_hub()
    assert type(hub._coupling) is _coupling.Coupling
    assert type(hub._coupling.exchange) is _exchange.Exchange


def test_a_record_is_data():
    record = StepRecord(3, 0.5, None, None)
    assert record == StepRecord(step=3, duration_s=0.5, slowest=None, peer=None)
    with pytest.raises(AttributeError):
        record.step = 4


def test_of_groups_the_last_bridge_is_named(cleanup, background, eventually, records):
    with AggregatedSocketHub(port=0, timeout=LIMIT_S, on_step=records.append) as hub:
        inits = {7: {"aggregate_group": "a"}, 8: {"aggregate_group": "b"}}
        bridges = []
        for group in "ab":
            bridges.append(ScriptedBridge(hub.address, group))
            cleanup.callback(bridges[-1].close)
        assert not hub.wait_until_bound(inits, timeout=0.05)
        for bridge in bridges:
            bridge.start()
        assert hub.wait_until_bound(inits)
        for last in (0, 1):
            step = background(hub.step, FIELDS)
            asked = [bridge.read() for bridge in bridges]
            assert all(isinstance(one, aggregate.Step) for one in asked)
            bridges[1 - last].send(bridges[1 - last].result(asked[1 - last]))
            eventually(lambda: len(hub._coupling.barrier.answers) == 1)
            bridges[last].send(bridges[last].result(asked[last]))
            step.result(LIMIT_S)
            assert records[-1].slowest == (7, 8)[last]
            assert records[-1].peer == "{}:{}".format(*bridges[last].sock.getsockname())
        step = background(hub.step_barrier, {7: REQUESTS[0], 8: REQUESTS[1]})
        for bridge in bridges:
            bridge.answer()
        assert set(step.result(LIMIT_S)) == {7, 8}
        for bridge in bridges:
            bridge.close()
    assert [record.step for record in records] == [1, 2, 3]
