"""The hub as its users see it: registering, binding, stepping, settings and the way it ends."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import math
import pickle
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mxl_sockets import (
    FrozenStepError,
    HubStopped,
    SocketHub,
    StepTimeout,
    _coupling,
    _listen,
    _open_hub,
    _poll,
    _running,
)
from mxl_sockets._quiet_log import MAX_CAUSES, QuietLogger
from mxl_sockets.status import HubStatus
from wireframe import ipi

FIELD = {"efield_au": [0.5, -1.0, 2.0]}
VECTORS = {
    vector["name"]: vector
    for vector in json.loads((Path(__file__).parent / "vectors" / "mxl-sockets.json").read_text())["vectors"]
}


def field(value):
    return {"efield_au": [value, 0.0, 0.0]}


def packed(value):
    return struct.pack("<3d", value, 0.0, 0.0)


# -- bytes -------------------------------------------------------------------


def test_the_session_is_byte_for_byte_that_of_the_established_hub(make_hub, scripted, background):
    """INIT, every recorded request and STOP equal the recorded bytes."""
    hub = make_hub()
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {"molecule_id": 0, "dt_au": 0.25}})
    assert driver.read_init() == bytes.fromhex(VECTORS["hub-session/init"]["bytes"])
    requests = [vector for name, vector in VECTORS.items() if name.startswith("request/")]
    assert len(requests) > 5
    for vector in requests:
        values = [struct.unpack("<d", bytes.fromhex(part["f64"]))[0] for part in vector["meaning"]["field"]]
        assert hub.step_barrier({0: {"efield_au": values}}, timeout=0) == {}
        assert driver.read(196) == bytes.fromhex(vector["bytes"])
        driver.reply()
        assert hub.step_barrier({0: FIELD})
    stop = background(hub.stop)
    assert driver.read(12) == bytes.fromhex(VECTORS["hub-session/stop"]["bytes"])
    driver.say(ipi.BYE)
    stop.result(5)


@pytest.mark.parametrize("name", [name for name in VECTORS if name.startswith("init/")])
def test_init_messages_are_those_of_the_established_hub(make_hub, scripted, name):
    """The id is overwritten in its place or appended; all else is Python's default JSON."""
    vector = VECTORS[name]
    molecule_id = vector["meaning"]["molecule_id"]
    payload = json.loads(vector["meaning"]["json_text"])
    expected = json.dumps({**payload, "molecule_id": molecule_id})
    if "molecule_id" in payload:
        assert expected == vector["meaning"]["json_text"]
    hub = make_hub()
    driver = scripted(hub)
    assert hub.wait_until_bound({molecule_id: payload})
    assert driver.read_init() == ipi.encode_init(molecule_id, expected.encode())


@pytest.mark.parametrize(
    "name", [name for name in VECTORS if name.startswith(("reply/", "driver/forceready"))]
)
def test_recorded_replies_are_read_bit_for_bit(bound, name):
    """Amplitude and extra of each recorded reply arrive unchanged; nat 3 is refused."""
    vector = VECTORS[name]
    data = bytes.fromhex(vector["bytes"])
    hub, (driver,) = bound()
    assert hub.step_barrier({0: FIELD}, timeout=0) == {}
    driver.send(data)
    result = hub.step_barrier({0: FIELD})
    if data[20:24] == b"\1\0\0\0":
        assert result[0]["amp"].tobytes() == data[24:48]
        assert result[0]["extra"] == data[124:]
    else:
        assert result == {}
        assert driver.is_closed()


@pytest.mark.fault("C1", "mxl-sockets", "LW")
@pytest.mark.parametrize("extra", [b"", b"{}", b"x" * 300])
def test_a_reply_may_be_split_anywhere(bound, extra):
    """Two writes with the hub reading in between, cut at every byte; then single bytes, then seven writes."""
    hub, (driver,) = bound()
    reply = ipi.encode_forceready((1.0, 2.0, 3.0), extra=extra)
    ends = (12, 20, 24, 48, 120, 124)
    seven = [reply[begin:end] for begin, end in zip((0, *ends), (*ends, len(reply)), strict=True)]
    ways = [[reply[:cut], reply[cut:]] for cut in range(1, len(reply))]
    ways += [[reply[at : at + 1] for at in range(len(reply))], [piece for piece in seven if piece]]
    for pieces in ways:
        assert hub.step_barrier({0: FIELD}, timeout=0) == {}
        for piece in pieces[:-1]:
            driver.send(piece)
            assert hub.step_barrier({0: FIELD}, timeout=0) == {}
        driver.send(pieces[-1])
        result = hub.step_barrier({0: FIELD})
        assert result[0]["amp"].tolist() == [1.0, 2.0, 3.0]
        assert result[0]["extra"] == extra


@pytest.mark.parametrize("garbage", [b"x", b"FORCEREADY  ", b"\0" * 300])
def test_garbage_behind_a_reply_leaves_the_reply_valid(bound, garbage):
    """The step completes with the answer that came; the driver is closed."""
    hub, (driver,) = bound()
    hub.step_barrier({0: FIELD}, timeout=0)
    driver.send(ipi.encode_forceready((1.0, 2.0, 3.0)) + garbage)
    assert hub.step_barrier({0: FIELD})[0]["amp"].tolist() == [1.0, 2.0, 3.0]
    assert driver.is_closed()
    assert hub.paused


@pytest.mark.parametrize("name", [ipi.READY, ipi.NEEDINIT, ipi.HAVEDATA, ipi.BYE])
@pytest.mark.parametrize("asked", [False, True])
def test_a_legal_message_at_the_wrong_time_ends_the_connection(bound, name, asked):
    """Headers that answer nothing the hub asked are a breach of the protocol."""
    hub, (driver,) = bound()
    if asked:
        assert hub.step_barrier({0: FIELD}, timeout=0) == {}
        driver.read_request()
    driver.say(name)
    assert hub.step_barrier({0: FIELD}, timeout=1) == {}
    assert driver.is_closed()
    assert f"driver sent {name.decode()} although it" in hub.status().last_error


def test_a_stranger_that_speaks_first_is_given_nothing(make_hub, scripted, background):
    """A browser is no driver: it is dropped before it becomes a molecule, also if the step itself binds."""
    hub = make_hub()
    browser = scripted(hub)
    browser.send(b"GET / HTTP/1.1\r\n\r\n")
    driver = scripted(hub)
    step = background(hub.step_barrier, {0: {**field(1.0), "init": {"dt_au": 0.5}}})
    driver.read_init()
    driver.read_request()
    driver.reply((1.0, 0.0, 0.0))
    assert step.result(5)[0]["amp"][0] == 1.0
    assert browser.unread() == b""
    assert browser.is_closed()


def test_a_reply_that_came_before_init_is_not_the_answer(make_hub, scripted):
    """A newcomer that greets with FORCEREADY is dropped, and its -999 is nobody's amplitude."""
    hub = make_hub()
    liar = scripted(hub)
    liar.reply((-999.0, 0.0, 0.0))
    assert hub.step_barrier({0: FIELD}, timeout=0.1) == {}
    assert hub.step_barrier({0: FIELD}, timeout=0.1) == {}
    assert liar.is_closed()


# -- registering and binding -------------------------------------------------


def test_ids_are_reserved_once_and_handed_out_in_order(make_hub):
    """Numbers reserved by hand are skipped; reserving twice is an error."""
    hub = make_hub()
    hub.register_molecule(1)
    assert [hub.register_molecule_return_id() for _ in range(3)] == [0, 2, 3]
    hub.register_molecule(np.int64(7))
    assert hub.expected == {0, 1, 2, 3, 7}
    hub.expected.clear()
    assert hub.expected == {0, 1, 2, 3, 7}
    for known in (1, 7, np.int32(7)):
        with pytest.raises(ValueError, match="already registered"):
            hub.register_molecule(known)


@pytest.mark.parametrize("bad", ["0", 1.5, None])
def test_an_id_is_an_integer(make_hub, bad):
    """Anything else is a TypeError where it is given, not somewhere later."""
    hub = make_hub()
    with pytest.raises(TypeError):
        hub.register_molecule(bad)
    with pytest.raises(TypeError):
        hub.add_endpoint(bad)
    with pytest.raises(TypeError):
        hub.wait_until_bound({bad: {}}, timeout=0)
    with pytest.raises(TypeError):
        hub.step_barrier({bad: FIELD}, timeout=0)
    assert hub.expected == set()


def test_drivers_are_paired_with_ids_in_both_orders_of_arrival(make_hub, scripted):
    """First come, first in the given dict; a connection keeps its id."""
    hub = make_hub()
    drivers = []
    for _ in range(3):
        drivers.append(scripted(hub))
        hub.status()
    assert hub.wait_until_bound({5: {}, -3: {}, np.int64(2**31 - 1): {}})
    assert [(driver.read_init(), driver.init[0])[1] for driver in drivers] == [5, -3, 2**31 - 1]
    assert hub.wait_until_bound({-3: {}, 5: {}}, timeout=0)
    assert all(driver.unread() == b"" for driver in drivers)


def test_waiting_is_false_at_the_deadline_and_true_as_soon_as_all_are_bound(make_hub, scripted, background):
    """`latency` is never slept: with ten seconds of it everything is as fast."""
    hub = make_hub(latency=10.0)
    start = time.monotonic()
    assert hub.wait_until_bound({0: {}}, timeout=0.1) is False
    assert 0.1 <= time.monotonic() - start < 5
    waiting = background(hub.wait_until_bound, {0: {}, 1: {}})
    drivers = [scripted(hub), scripted(hub)]
    assert waiting.result(2) is True
    for driver in drivers:
        driver.read_init()
    for _ in range(3):
        step = background(hub.step_barrier, {0: FIELD, 1: FIELD})
        for driver in drivers:
            driver.read_request()
            driver.reply()
        assert len(step.result(2)) == 2
    for driver in drivers:
        driver.close()
    start = time.monotonic()
    hub.stop()
    assert time.monotonic() - start < 5


def test_the_default_timeout_is_that_of_the_hub(make_hub):
    """None means `hub.timeout`, also after it was changed."""
    hub = make_hub(timeout=0.05)
    for expected in (0.05, 0.15):
        hub.timeout = expected
        start = time.monotonic()
        assert hub.wait_until_bound({0: {}}) is False
        assert expected <= time.monotonic() - start < expected + 5


@pytest.mark.parametrize("timeout", [0, -1, -math.inf, 0.0])
def test_a_timeout_of_nothing_looks_once(make_hub, scripted, timeout):
    """Zero and less never wait, but do what can be done at once."""
    hub = make_hub()
    start = time.monotonic()
    assert hub.wait_until_bound({0: {}}, timeout=timeout) is False
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}}, timeout=timeout) is True
    driver.read_init()
    assert hub.step_barrier({0: FIELD}, timeout=timeout) == {}
    driver.read_request()
    driver.reply((1.0, 0.0, 0.0))
    assert hub.step_barrier({0: FIELD}, timeout=timeout)[0]["amp"][0] == 1.0
    assert time.monotonic() - start < 5


def test_an_endless_timeout_is_a_timeout(bound, background):
    """Infinity waits for the answer and for nothing else."""
    hub, (driver,) = bound()
    step = background(hub.step_barrier, {0: FIELD}, math.inf)
    driver.read_request()
    driver.reply()
    assert step.result(2)
    assert hub.wait_until_bound({0: {}}, timeout=math.inf)


def test_a_timeout_that_is_no_number_is_refused_before_anything_is_sent(bound):
    """NaN compares with nothing; it is an error of the caller."""
    hub, (driver,) = bound()
    for call in (
        lambda: hub.step_barrier({0: FIELD}, timeout=math.nan),
        lambda: hub.step([[0, 0, 0]], timeout=math.nan),
        lambda: hub.wait_until_bound({0: {}}, timeout=math.nan),
    ):
        with pytest.raises(ValueError, match="nan"):
            call()
    assert driver.unread() == b""
    assert hub.step_barrier({0: field(2.0)}, timeout=0) == {}
    assert driver.read_request() == packed(2.0)


def test_all_bound_tells_who_lives_as_far_as_known(make_hub, scripted):
    """It looks at the sockets, so a death is known at once."""
    hub = make_hub()
    assert hub.all_bound([]) is True
    assert hub.all_bound([0]) is False
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    assert hub.all_bound([0]) is True
    assert hub.all_bound(iter([0]), require_init=False) is True
    assert hub.all_bound([0, 1]) is False
    driver.close()
    assert hub.all_bound([0]) is False
    assert hub.paused


def test_require_init_waits_for_the_driver_to_confirm(make_hub, scripted, background):
    """With "init+status" a driver counts when it said READY; without `require_init` when it has its id."""
    hub = make_hub(handshake="init+status")
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}}, require_init=False)
    assert hub.all_bound([0], require_init=False)
    assert not hub.all_bound([0])
    assert not hub.wait_until_bound({0: {}}, timeout=0)
    assert hub.step_barrier({0: field(1.0)}, timeout=0) == {}
    driver.read_init()
    assert driver.read_header() == ipi.STATUS
    assert driver.unread() == b"", "a driver that has not confirmed was sent a request"
    driver.say(ipi.READY)
    assert hub.wait_until_bound({0: {}})
    step = background(hub.step_barrier, {0: field(1.0)})
    driver.read_request()
    driver.reply()
    assert step.result(2)


def test_a_driver_that_is_ready_without_init_is_sent_none(make_hub, scripted, background):
    """ASE's client dies of an unasked INIT; with handshake "status" it gets none."""
    hub = make_hub(handshake="status")
    driver = scripted(hub)
    waiting = background(hub.wait_until_bound, {0: {"dt_au": 1.0}})
    assert driver.read_header() == ipi.STATUS
    driver.say(ipi.READY)
    assert waiting.result(5)
    step = background(hub.step_barrier, {0: FIELD})
    driver.read_request()
    driver.reply()
    assert step.result(2)


@pytest.mark.parametrize(
    "answer",
    [ipi.encode_header(ipi.HAVEDATA), ipi.encode_forceready((1, 2, 3)), b"HTTP/1.1 400"],
    ids=["HAVEDATA", "FORCEREADY", "http"],
)
def test_a_wrong_answer_to_the_handshake_ends_the_connection(make_hub, scripted, answer):
    """Only READY and NEEDINIT answer the first STATUS."""
    hub = make_hub(handshake="status")
    driver = scripted(hub)
    hub.status()
    driver.read_header()
    driver.send(answer)
    assert not hub.wait_until_bound({0: {}}, timeout=0)
    assert driver.is_closed()
    assert hub.status().waiting == []


def test_a_lost_newcomer_does_not_hold_up_the_next(make_hub, scripted):
    """A reset connection at the head of the queue is passed over at once."""
    hub = make_hub()
    for _ in range(5):
        scripted(hub).reset()
    driver = scripted(hub)
    start = time.monotonic()
    assert hub.wait_until_bound({0: {}}, timeout=30)
    assert time.monotonic() - start < 10
    driver.read_init()


@pytest.mark.parametrize("huge", [2**31, -(2**31) - 1, 10**30])
def test_an_id_beyond_32_bits_freezes_nothing(make_hub, scripted, huge):
    """The wire has no room for it; the error comes first, and the hub stays usable."""
    hub = make_hub()
    driver = scripted(hub)
    with pytest.raises(ValueError, match="32"):
        hub.wait_until_bound({huge: {}}, timeout=0)
    with pytest.raises(ValueError, match="32"):
        hub.step_barrier({huge: FIELD}, timeout=0)
    assert hub.wait_until_bound({0: {}})
    driver.read_init()
    assert hub.step_barrier({0: field(3.0)}, timeout=0) == {}
    assert driver.read_request() == packed(3.0)


def test_parameters_of_a_living_molecule_are_checked_too(bound):
    """What JSON cannot carry is refused now, not when a replacement needs it."""
    hub, _ = bound()
    with pytest.raises(TypeError, match="molecule 0"):
        hub.wait_until_bound({0: {"x": object()}})


def test_a_match_that_chooses_what_was_not_offered_is_an_error(make_hub, scripted):
    """The error names the driver; nobody is bound, and the hub goes on."""
    answers = [99, None, 0]
    hub = make_hub(match=lambda driver, free: answers.pop(0), latency=0.0)
    driver = scripted(hub)
    with pytest.raises(ValueError, match="match chose molecule 99"):
        hub.wait_until_bound({0: {}})
    assert hub.wait_until_bound({0: {}})
    driver.read_init()


def test_a_match_that_never_chooses_costs_no_processor(make_hub, scripted):
    """The function is asked again, but not in a spin, also with a latency of zero."""
    calls = []
    hub = make_hub(
        match=lambda driver, free: calls.append((driver.peer, driver.since, list(free))), latency=0.0
    )
    scripted(hub)
    assert not hub.wait_until_bound({4: {}, 5: {}}, timeout=0.1)
    assert 2 <= len(calls) <= 400
    assert calls[0][2] == [4, 5]
    assert 0 <= calls[0][1] <= calls[-1][1] < 1


# -- stepping ----------------------------------------------------------------


def test_a_step_brings_fields_out_and_amplitudes_in(bound, background):
    """The result is a dict of fresh float64 arrays and bytes, in the order of the request."""
    hub, (first, second) = bound(2)
    step = background(hub.step_barrier, {1: {**field(2.0), "meta": object()}, 0: field(1.0)})
    assert (first.read_request(), second.read_request()) == (packed(1.0), packed(2.0))
    second.reply((4.0, 5.0, 6.0), b"two")
    first.reply((1.0, 2.0, 3.0))
    result = step.result(2)
    assert list(result) == [1, 0]
    assert set(result[0]) == {"amp", "extra"}
    assert (result[0]["amp"].tolist(), result[0]["extra"]) == ([1.0, 2.0, 3.0], b"")
    assert (result[1]["amp"].tolist(), result[1]["extra"]) == ([4.0, 5.0, 6.0], b"two")
    assert result[0]["amp"].dtype == np.float64
    assert result[0]["amp"].shape == (3,)
    result[0]["amp"][:] = 0.0  # it is the caller's own


@pytest.mark.parametrize(
    "value",
    [
        (1, 2, 3),
        [1.0, 2.0, 3.0],
        np.float32([1, 2, 3]),
        np.array([1, 2, 3]),
        np.array([3.0, 2.0, 1.0])[::-1],
        np.array([1, 2, 3], ">f8"),
    ],
    ids=["tuple", "list", "float32", "int", "reversed view", "big-endian"],
)
def test_any_three_numbers_are_a_field(bound, value):
    """Whatever numpy takes for three real numbers is sent as such."""
    hub, (driver,) = bound()
    hub.step_barrier({0: {"efield_au": value}}, timeout=0)
    assert driver.read_request() == struct.pack("<3d", 1, 2, 3)


def test_a_frozen_step_keeps_its_fields_although_the_caller_changes_them(bound):
    """Fields are copied when the step is frozen."""
    hub, (driver,) = bound()
    driver.close()
    array = np.array([1.0, 0.0, 0.0])
    assert hub.step_barrier({0: {"efield_au": array}}, timeout=0) == {}
    array[:] = 9.0
    assert hub.status().late == {}


def test_an_empty_request_is_an_empty_step(bound):
    """It freezes nothing, sends nothing, waits for nothing."""
    hub, (driver,) = bound()
    assert hub.step_barrier({}) == {}
    assert hub.step_barrier({0: field(1.0)}, timeout=0) == {}
    assert hub.step_barrier({}) == {}
    assert driver.read_request() == packed(1.0)
    driver.reply()
    assert hub.step_barrier({0: FIELD})


def test_a_step_binds_who_waits_and_is_empty_if_nobody_does(make_hub, scripted, background):
    """Ids need no registration; INIT parameters may come with the request."""
    hub = make_hub()
    start = time.monotonic()
    assert hub.step_barrier({3: {**field(1.0), "init": {"dt_au": 0.5}}}) == {}
    assert time.monotonic() - start < 5
    assert not hub.paused
    driver = scripted(hub)
    step = background(hub.step_barrier, {3: field(9.0)})
    driver.read_init()
    assert driver.init == (3, {"dt_au": 0.5, "molecule_id": 3})
    # The first call froze the field.
    assert driver.read_request() == packed(1.0)
    driver.reply((2.0, 0.0, 0.0))
    assert step.result(2)[3]["amp"][0] == 2.0


def test_a_death_between_two_steps_pauses_the_hub_before_anything_is_sent(bound, scripted):
    """Although a replacement waits: it belongs to `wait_until_bound` to choose its parameters."""
    hub, (first, second) = bound(2)
    second.close()
    spare = scripted(hub)
    assert hub.step_barrier({0: field(1.0), 1: field(1.0)}) == {}
    assert hub.paused
    assert first.unread() + spare.unread() == b""
    assert hub.step_barrier({0: field(2.0), 1: field(2.0)}) == {}
    assert hub.wait_until_bound({0: {}, 1: {"again": True}})
    assert not hub.paused
    spare.read_init()
    assert spare.init == (1, {"again": True, "molecule_id": 1})
    # The first call found the death, after it had frozen its step; the second found the hub paused.
    assert hub.step_barrier({0: field(3.0), 1: field(3.0)}, timeout=0) == {}
    assert (first.read_request(), spare.read_request()) == (packed(1.0), packed(1.0))


def test_a_death_that_the_step_itself_finds_leaves_the_step_frozen(bound, scripted):
    """Whether the end of a connection came before or after the call began makes no difference."""
    hub, (driver,) = bound()
    driver.close()
    assert hub.step_barrier({0: field(1.0)}) == {}
    assert hub.paused
    second = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    second.read_init()
    assert hub.step_barrier({0: field(99.0)}, timeout=0) == {}
    assert second.read_request() == packed(1.0)


def test_a_step_is_empty_at_once_when_a_driver_dies_that_owes_an_answer(bound, background):
    """The others need not have answered; the hub is paused and says why."""
    hub, (first, second) = bound(2)
    step = background(hub.step_barrier, {0: field(1.0), 1: field(1.0)}, 30.0)
    second.read_request()
    second.reset()
    assert step.result(2) == {}
    assert hub.paused
    assert "(molecule 1): " in hub.status().last_error
    first.read_request()


def test_a_death_after_the_answer_does_not_end_the_step(bound, background, scripted):
    """The answer is kept and the call waits on for the others."""
    hub, (first, second) = bound(2)
    step = background(hub.step_barrier, {0: field(1.0), 1: field(1.0)}, 30.0)
    second.read_request()
    second.reply((2.0, 0.0, 0.0))
    second.close()
    first.read_request()
    while not hub.paused:
        time.sleep(0.001)
    first.reply((1.0, 0.0, 0.0))
    result = step.result(2)
    assert [result[one]["amp"][0] for one in (0, 1)] == [1.0, 2.0]
    assert hub.paused
    assert hub.step_barrier({0: FIELD}) == {}
    assert hub.wait_until_bound({0: {}}, timeout=0)
    assert hub.step_barrier({0: FIELD}, timeout=0) == {}
    first.read_request()


def test_a_frozen_step_finds_its_driver_although_later_calls_name_others(bound, scripted):
    """The molecules are those of the first call until it is complete."""
    hub, (first, second) = bound(2)
    hub.step_barrier({0: field(1.0), 1: field(2.0)}, timeout=0)
    first.read_request()
    first.reply((1.0, 0.0, 0.0))
    second.close()
    assert hub.step_barrier({0: FIELD, 1: FIELD}) == {}
    assert hub.wait_until_bound({0: {}})
    assert not hub.paused
    third = scripted(hub)
    while hub.status().late == {}:
        assert hub.step_barrier({0: field(8.0)}, timeout=0) == {}
    third.read_init()
    assert third.init == (1, {"dt_au": 0.25, "molecule_id": 1})
    assert third.read_request() == packed(2.0)
    third.reply((2.0, 0.0, 0.0))
    result = hub.step_barrier({0: field(8.0)})
    assert {one: answer["amp"][0] for one, answer in result.items()} == {0: 1.0, 1: 2.0}
    hub.step_barrier({0: field(9.0)}, timeout=0)
    assert first.read_request() == packed(9.0)


def test_a_late_reply_belongs_to_its_own_step_and_nobody_is_asked_twice(bound):
    """After many timeouts one request is on the wire, and its answer ends the step."""
    hub, (driver,) = bound()
    for number in range(5):
        assert hub.step_barrier({0: field(float(number))}, timeout=0) == {}
    assert driver.read_request() == packed(0.0)
    assert driver.unread() == b""
    driver.reply((5.0, 0.0, 0.0))
    assert hub.step_barrier({0: field(6.0)})[0]["amp"][0] == 5.0
    assert hub.step_barrier({0: field(7.0)}, timeout=0) == {}
    assert driver.read_request() == packed(7.0)


def test_two_phases_commit_only_when_everybody_has_staged(bound, background, scripted):
    """A death before that leaves the others staged; they commit once, with the replacement."""
    hub, (first, second) = bound(2, two_phase=True)
    requests = {0: field(1.0), 1: field(2.0)}
    assert hub.step_barrier(requests, timeout=0) == {}
    assert first.read_request(ipi.STATUS) == packed(1.0)
    assert second.read_request(ipi.STATUS) == packed(2.0)
    first.say(ipi.HAVEDATA)
    assert hub.step_barrier(requests, timeout=0.05) == {}
    assert first.unread() == b""
    second.close()
    assert hub.step_barrier(requests) == {}
    third = scripted(hub)
    assert hub.wait_until_bound({0: {}, 1: {}})
    third.read_init()
    assert hub.step_barrier(requests, timeout=0) == {}
    assert third.read_request(ipi.STATUS) == packed(2.0)
    assert first.unread() == b""
    third.say(ipi.HAVEDATA)
    step = background(hub.step_barrier, requests)
    assert first.read_header() == third.read_header() == ipi.GETFORCE
    first.reply((1.0, 0.0, 0.0))
    third.reply((2.0, 0.0, 0.0))
    assert [answer["amp"][0] for answer in step.result(2).values()] == [1.0, 2.0]


def test_a_reply_instead_of_havedata_breaks_the_protocol(bound):
    """In two phases FORCEREADY is not due before GETFORCE."""
    hub, (driver,) = bound(two_phase=True)
    hub.step_barrier({0: FIELD}, timeout=0)
    driver.reply()
    assert hub.step_barrier({0: FIELD}) == {}
    assert driver.is_closed()


def test_a_reply_that_came_with_the_last_havedata_is_not_the_commit(bound):
    """Read in one go with what completes the staging, it was still sent before it was asked for."""
    hub, (first, second) = bound(2, two_phase=True)
    requests = {0: FIELD, 1: FIELD}
    assert hub.step_barrier(requests, timeout=0) == {}
    first.say(ipi.HAVEDATA)
    assert hub.step_barrier(requests, timeout=0.05) == {}
    second.read_request(ipi.STATUS)
    second.say(ipi.HAVEDATA)
    first.reply((-999.0, 0.0, 0.0))
    assert hub.step_barrier(requests, timeout=0.05) == {}
    assert list(hub.status().bound) == [1]
    assert "although it has staged a step" in hub.status().last_error
    assert second.unread() == b""


def test_a_look_sees_what_stands_behind_a_full_batch(bound, scripted, monkeypatch):
    """However many others have events: what came before the request is no reply to it."""
    monkeypatch.setattr(_poll, "BATCH", 2)
    hub, (driver,) = bound()
    poller = hub._coupling.loop._poller

    class Narrow:
        def poll(self, timeout):
            return poller.poll(timeout, 2)

    strangers = [scripted(hub) for _ in range(5)]
    hub.status()
    for stranger in strangers:
        stranger.send(b"x")
    driver.reply((666.0, 0.0, 0.0))
    monkeypatch.setattr(hub._coupling.loop, "_poller", Narrow())
    assert hub.step_barrier({0: FIELD}, timeout=0) == {}
    assert "although it is bound and was asked nothing" in hub.status().last_error


def test_resume_hands_the_last_state_to_the_replacement(bound, scripted, background):
    """The newest state that arrived: of the step under way if its driver had answered, else of the last."""
    hub, (first, second) = bound(2, resume=True)
    requests = {0: FIELD, 1: FIELD}

    def answer(driver, state):
        driver.read_request()
        driver.reply(extra=json.dumps({"state": state}).encode())

    step = background(hub.step_barrier, requests)
    answer(first, [1.5])
    answer(second, "old")
    assert step.result(2)
    hub.step_barrier(requests, timeout=0)
    answer(first, [2.5])
    first.close()
    second.read_request()
    second.close()
    assert hub.step_barrier(requests) == {}
    replacements = [scripted(hub), scripted(hub)]
    assert hub.wait_until_bound({0: {"dt_au": 0.25}, 1: {"state": "mine"}})
    for driver in replacements:
        driver.read_init()
    assert replacements[0].init == (0, {"dt_au": 0.25, "state": [2.5], "molecule_id": 0})
    assert replacements[1].init == (1, {"state": "old", "molecule_id": 1})
    step = background(hub.step_barrier, requests)
    answer(replacements[1], "new")
    assert json.loads(step.result(2)[0]["extra"]) == {"state": [2.5]}
    assert replacements[0].unread() == b""


@pytest.mark.parametrize("extra", [b"", b"[1]", b"\xff", b"[" * 100_000, b'{"state": null}', b"7"])
def test_resume_takes_any_extra(bound, scripted, background, extra):
    """What holds no state hands none on."""
    hub, (first,) = bound(resume=True)
    step = background(hub.step_barrier, {0: FIELD})
    first.read_request()
    first.reply(extra=extra)
    assert step.result(2)[0]["extra"] == extra
    first.close()
    second = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    second.read_init()
    assert second.init == (0, {"molecule_id": 0})


# -- arrays ------------------------------------------------------------------


def test_an_array_step_uses_the_lineup_of_the_last_wait(bound, background):
    """Rows are the molecules in the order in which they were waited for."""
    hub, (zero, one) = bound(2)
    assert hub.wait_until_bound({1: {}, 0: {}})
    step = background(hub.step, np.array([[1.0, 0, 0], [2.0, 0, 0]]))
    assert (one.read_request(), zero.read_request()) == (packed(1.0), packed(2.0))
    zero.reply((20.0, 0.0, 0.0))
    one.reply((10.0, 0.0, 0.0))
    result = step.result(2)
    assert result.tolist() == [[10.0, 0, 0], [20.0, 0, 0]]
    assert result.dtype == np.float64
    assert result.flags.writeable
    assert hub.status().steps == 1


def test_an_array_step_replaces_lost_drivers_itself(bound, scripted, background):
    """One call survives a death: the replacement is asked, the survivor is not asked again."""
    hub, (first, second) = bound(2)
    step = background(hub.step, [[1.0, 0, 0], [2.0, 0, 0]], 20.0)
    first.read_request()
    first.reply((1.0, 0.0, 0.0))
    second.read_request()
    second.reset()
    third = scripted(hub)
    third.read_init()
    assert third.init == (1, {"dt_au": 0.25, "molecule_id": 1})
    assert third.read_request() == packed(2.0)
    third.reply((2.0, 0.0, 0.0))
    assert step.result(2).tolist() == [[1.0, 0, 0], [2.0, 0, 0]]
    assert not hub.paused
    assert first.unread() == b""


def test_a_driver_that_died_after_its_answer_is_missed_in_the_next_array_step(bound, scripted, background):
    """The step under way completes without it; the next one waits for a replacement."""
    hub, (first, second) = bound(2)
    fields = [[1.0, 0, 0], [2.0, 0, 0]]
    with pytest.raises(StepTimeout):
        hub.step(fields, timeout=0)
    first.read_request()
    first.reply((1.0, 0.0, 0.0))
    first.close()
    for _ in range(3):  # the last time with one driver in the line-up
        with pytest.raises(StepTimeout):
            hub.step(fields, timeout=0.01)
    second.read_request()
    second.reply((2.0, 0.0, 0.0))
    assert hub.step(fields).tolist() == [[1.0, 0, 0], [2.0, 0, 0]]
    with pytest.raises(StepTimeout) as caught:
        hub.step([[3.0, 0, 0], [4.0, 0, 0]], timeout=0.02)
    assert caught.value.missing == [0]
    assert second.unread() == b""
    third = scripted(hub)
    step = background(hub.step, [[3.0, 0, 0], [4.0, 0, 0]], 20.0)
    third.read_init()
    assert (third.read_request(), second.read_request()) == (packed(3.0), packed(4.0))
    third.reply()
    second.reply()
    assert len(step.result(2)) == 2


def test_an_array_step_that_runs_out_of_time_says_who_is_late_and_goes_on_later(bound):
    """The error carries the late and the missing; the same fields continue, others are refused."""
    hub, (first, second) = bound(2)
    fields = [[1.0, 0, 0], [2.0, 0, 0]]
    with pytest.raises(StepTimeout, match="2 have not answered") as caught:
        hub.step(fields, timeout=0.05)
    assert set(caught.value.late) == {0, 1}
    assert all(0 < age < 60 for age in caught.value.late.values())
    assert caught.value.missing == []
    second.close()
    with pytest.raises(StepTimeout, match="1 have no driver") as caught:
        hub.step(fields, timeout=0.05)
    assert caught.value.missing == [1]
    with pytest.raises(FrozenStepError):
        hub.step([[1.0, 0, 0], [-2.0, 0, 0]], timeout=0)
    with pytest.raises(ValueError, match="shape"):
        hub.step([[1.0, 0, 0]], timeout=0)
    assert hub.step_barrier({0: FIELD}, timeout=0) == {}
    assert hub.wait_until_bound({0: {}})
    with pytest.raises(FrozenStepError):
        hub.step([[1.0, 0, 0]], timeout=0)
    first.read_request()


@pytest.mark.parametrize("bad", [[], [1, 2, 3], [[1, 2]], [[1, 2, 3]] * 3, "abc", [["a", "b", "c"]] * 2])
def test_an_array_of_wrong_shape_freezes_nothing(bound, bad):
    """The next good call is sent its own fields."""
    hub, (first, second) = bound(2)
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's words, or ours
        hub.step(bad, timeout=0)
    with pytest.raises(StepTimeout):
        hub.step([[4.0, 0, 0], [5.0, 0, 0]], timeout=0)
    assert (first.read_request(), second.read_request()) == (packed(4.0), packed(5.0))


def test_an_array_step_needs_a_lineup(make_hub):
    """Before the first successful wait there are no rows to speak of."""
    hub = make_hub()
    with pytest.raises(ValueError, match="wait_until_bound"):
        hub.step([])
    assert hub.wait_until_bound({}) is True
    with pytest.raises(ValueError, match="wait_until_bound"):
        hub.step([])


def test_an_array_step_on_a_busy_hub_runs_out_of_time(bound, background, eventually):
    """Another thread's step is not a stopped hub."""
    hub, (driver,) = bound()
    step = background(hub.step_barrier, {0: FIELD}, 20.0)
    eventually(lambda: hub._coupling.loop._leading)
    with pytest.raises(StepTimeout):
        hub.step([[0.0, 0, 0]], timeout=0.05)
    driver.read_request()
    driver.reply()
    assert step.result(2)


def test_an_array_step_on_a_stopped_hub_says_so(bound):
    """Also if it was never started."""
    hub, (driver,) = bound()
    driver.close()
    hub.stop()
    with pytest.raises(HubStopped):
        hub.step([[0.0, 0, 0]])


def test_an_answer_that_waited_unread_is_not_silence(bound):
    """A solver that looks late finds the answer, and does not evict who gave it."""
    hub, (driver,) = bound(silence_timeout=0.05)
    assert hub.step_barrier({0: FIELD}, timeout=0) == {}
    driver.read_request()
    driver.reply((1.0, 0.0, 0.0))
    time.sleep(0.06)  # longer than the limit
    assert hub.step_barrier({0: FIELD})[0]["amp"][0] == 1.0
    assert not hub.paused


def test_a_trickle_of_bytes_is_not_an_answer(bound, background):
    """One byte every few milliseconds does not put off the limit, nor the others' work."""
    hub, (trickling, busy) = bound(2, silence_timeout=0.15)
    step = background(hub.step_barrier, {0: FIELD, 1: FIELD})
    busy.read_request()
    busy.reply((1.0, 0.0, 0.0))
    start = time.monotonic()
    reply = ipi.encode_forceready((1.0, 2.0, 3.0))
    for at in range(len(reply)):
        if step.done():
            break
        trickling.send(reply[at : at + 1])
        time.sleep(0.005)
    assert step.result(1) == {}
    assert time.monotonic() - start < 0.15 + 5
    assert "did not answer within 0.15 s" in hub.status().last_error
    assert list(hub.status().bound) == [1]


# -- every order of deaths ---------------------------------------------------


def test_every_combination_of_deaths_gives_the_undisturbed_trajectory(make_hub, pumped):
    """Three drivers die at any of five moments of a step, in all combinations: same bits, no commit twice.

    With `resume` the replacement goes on from the last state that arrived, so
    a commit that nobody heard of is repeated by it, and one that arrived is not.
    """
    moments = ("lives", "before the request", "after the request", "inside the reply", "after the reply")
    fields = [[1.0 / (3 + step), 0.5**step, -step / 7.0] for step in range(4)]

    def total(upto):
        sums = [0.0, 0.0, 0.0]
        for one in fields[:upto]:
            sums = [a + b for a, b in zip(sums, one, strict=True)]
        return sums

    for code in range(len(moments) ** 3):
        fates = [moments[code // len(moments) ** one % len(moments)] for one in range(3)]
        hub = make_hub(resume=True)
        endpoints = [hub.add_endpoint(one) for one in range(3)]
        drivers = [pumped(endpoint) for endpoint in endpoints]
        everybody = list(drivers)
        for step, value in enumerate(fields):
            requests = {one: {"efield_au": value} for one in range(3)}
            doomed = dict(zip(drivers, fates, strict=True)) if step == 1 else {}
            result, rounds = {}, 0
            while not result:
                rounds += 1
                assert rounds < 100, fates
                for one, driver in enumerate(drivers):
                    if doomed.get(driver) == "before the request":
                        driver.close()
                    if not driver.alive:
                        drivers[one] = pumped(endpoints[one])
                        everybody.append(drivers[one])
                hub.wait_until_bound({one: {} for one in range(3)}, timeout=0)
                result = hub.step_barrier(requests, timeout=0)
                for driver in drivers:
                    fate = doomed.get(driver, "lives")
                    if fate == "after the request" and driver.is_asked():
                        driver.close()
                    elif fate == "inside the reply" and driver.is_asked():
                        driver.sock.recv(ipi.REQUEST_LENGTH)
                        driver.staged = struct.pack("<3d", *value)
                        driver.sock.sendall(driver.commit()[: 1 + code])
                        driver.close()
                    elif fate == "after the reply" and driver.is_asked():
                        driver.pump()
                        driver.close()
                    elif fate == "lives":
                        driver.pump()
            assert {one: answer["amp"].tolist() for one, answer in result.items()} == {
                one: [(1 + one) * part for part in total(step + 1)] for one in range(3)
            }, fates
        assert len(everybody) == 3 + sum(fate != "lives" for fate in fates)
        for driver in everybody:
            assert len(set(driver.commits)) == len(driver.commits), "a driver committed a step twice"
            driver.close()
        hub.stop()


# -- settings and addresses --------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"handshake": "hello"},
        {"handshake_timeout": 0},
        {"handshake_timeout": math.nan},
        {"silence_timeout": -1.0},
        {"silence_timeout": math.nan},
        {"max_extra": -1},
        {"max_waiting": 0},
        {"timeout": math.nan},
        {"latency": math.nan},
        {"latency": math.inf},
        {"latency": -1.0},
        {"allow": ["example.org"]},
        {"port": 65536},
        {"port": -1},
        {"unixsocket": "a\0b"},
        {"unixsocket": "/" + "x" * 107},
    ],
    ids=repr,
)
def test_settings_out_of_range_are_refused_before_anything_is_opened(settings):
    """The error comes from the constructor, and no socket is left."""
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        SocketHub(**{"port": 0, **settings})
    gc.collect()


def test_none_is_the_default_port(make_hub):
    """`port=None` means 31415; nobody else may have it, and the error says who wanted it."""
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # somebody has it: just as well
            other.bind(("127.0.0.1", 31415))
        with pytest.raises(OSError, match="port 31415"):
            make_hub(port=None)


def test_an_address_in_use_is_named(make_hub):
    """The error says what could not be had."""
    hub = make_hub()
    with pytest.raises(OSError, match=f"127.0.0.1 port {hub.address[1]}"):
        SocketHub(port=hub.address[1])


def test_a_host_that_does_not_exist_is_named():
    """The resolver's words alone would not say which name."""
    with pytest.raises(OSError, match=r"no\.such\.host\.invalid"):
        SocketHub("no.such.host.invalid", 0)


def test_a_port_can_be_had_again_at_once(make_hub, scripted):
    """Connections that linger in TIME_WAIT do not block the next hub."""
    hub = make_hub()
    port = hub.address[1]
    drivers = [scripted(hub) for _ in range(3)]
    assert hub.wait_until_bound({one: {} for one in range(3)})
    hub._coupling.exchange.drop_all(
        hub._roster.bound.copy().values()
    )  # the hub closes first: TIME_WAIT is on its side
    for driver in drivers:
        driver.close()
    hub.stop()
    again = make_hub(port=port)
    scripted(again)
    assert len(again.status().waiting) == 1


def test_a_listener_that_was_bound_early_is_adopted(make_hub, scripted):
    """No moment at which somebody else could take the port; the hub closes it in the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    driver = scripted(address)
    hub = make_hub(listener=listener)
    assert hub.address == address
    assert hub.wait_until_bound({0: {}})
    driver.read_init()
    driver.close()
    hub.stop()
    assert listener.fileno() == -1


def test_only_a_listening_tcp_socket_is_adopted(tmp_path):
    """Anything else would be accepted from for ever, in vain."""
    with socket.socket() as idle, pytest.raises(ValueError, match="listen"):
        SocketHub(listener=idle)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "hub"))
        unix.listen()
        with pytest.raises(ValueError, match="TCP"):
            SocketHub(listener=unix)


def test_a_unix_name_is_appended_to_the_well_known_prefix(make_hub, monkeypatch, tmp_path):
    """Absolute paths stay; names get the prefix that drivers know."""
    assert _listen.unix_path("hub") == "/tmp/socketmxl_hub"
    assert make_hub(unixsocket=str(tmp_path / "hub")).unixsocket_path == str(tmp_path / "hub")
    assert make_hub().unixsocket_path is None
    monkeypatch.setattr(_listen, "UNIX_PREFIX", str(tmp_path / "prefix_"))
    hub = make_hub(unixsocket="hub")
    assert hub.address == hub.unixsocket_path == str(tmp_path / "prefix_hub")
    assert Path(hub.address).is_socket()
    hub.stop()
    assert not Path(hub.address or hub.unixsocket_path).exists()


def test_a_unix_path_that_cannot_be_bound_is_named(tmp_path):
    """The error says which path."""
    with pytest.raises(OSError, match="no/such/folder"):
        SocketHub(unixsocket=str(tmp_path / "no/such/folder"))


def test_a_unix_path_that_cannot_be_probed_may_be_in_use(tmp_path, monkeypatch):
    """Without an answer the path is left alone."""
    path = tmp_path / "hub"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(RuntimeError, match="may be in use"):
            SocketHub(unixsocket=str(path))
    assert path.exists()


def test_a_step_goes_over_a_unix_socket(make_hub, scripted, tmp_path, background):
    """Nothing but the address differs."""
    hub = make_hub(unixsocket=str(tmp_path / "hub"))
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    driver.read_init()
    step = background(hub.step_barrier, {0: FIELD})
    driver.read_request()
    driver.reply()
    assert step.result(2)
    assert hub.status().bound == {0: f"{tmp_path / 'hub'}#1"}


def test_a_v4_peer_of_a_v6_listener_is_found_in_the_allow_list(make_hub, scripted):
    """A dual-stack listener sees ::ffff:127.0.0.1."""
    hub = make_hub(host="::", allow=["127.0.0.1"])
    driver = scripted(("127.0.0.1", hub.address[1]))
    assert hub.wait_until_bound({0: {}})
    driver.read_init()
    stranger = scripted(("::1", hub.address[1]))
    assert len(hub.status().waiting) == 0
    assert stranger.is_closed()


def test_an_event_source_of_another_system_serves_as_well(monkeypatch, make_hub, scripted, background):
    """Where there is no epoll, `selectors` does the same."""
    monkeypatch.setattr(_running, "make_poller", _poll.SelectorPoller)
    hub = make_hub()
    deaf, driver = scripted(hub), scripted(hub)
    assert hub.wait_until_bound({0: {"blob": "x" * (8 << 20)}, 1: {}})
    driver.read_init()
    step = background(hub.step_barrier, {0: FIELD, 1: FIELD})
    for one in (deaf, driver):
        if one is deaf:
            one.read_init()
        one.read_request()
        one.reply()
    assert len(step.result(5)) == 2
    driver.close()
    assert hub.step_barrier({0: FIELD, 1: FIELD}) == {}
    monkeypatch.undo()
    monkeypatch.delattr("select.epoll", raising=False)
    poller = _poll.make_poller()
    assert isinstance(poller, _poll.SelectorPoller)
    poller.close()


# -- telling -----------------------------------------------------------------


def test_status_tells_who_is_where(make_hub, scripted):
    """Bound, missing, waiting, late, what went wrong last, and how long replies took."""
    hub = make_hub()
    hub.register_molecule(0)
    hub.register_molecule(5)
    first, second = scripted(hub), scripted(hub)
    assert hub.wait_until_bound({0: {}})
    name = {driver: "{}:{}".format(*driver.sock.getsockname()) for driver in (first, second)}
    status = hub.status()
    assert isinstance(status, HubStatus)
    assert status.address == hub.address
    assert (status.bound, status.missing, status.waiting) == ({0: name[first]}, [5], [name[second]])
    assert (status.late, status.paused, status.steps, status.dropped) == ({}, False, 0, 0)
    assert status.last_error is None
    assert (status.reply_times.count, status.reply_times.mean_s, status.reply_times.maximum_s) == (
        0,
        0.0,
        0.0,
    )
    hub.step_barrier({0: FIELD}, timeout=0.05)
    late = hub.status().late[0]
    assert late > 0.0
    first.read_init()
    first.read_request()
    first.reply()
    assert hub.step_barrier({0: FIELD})
    status = hub.status()
    assert (status.steps, status.late) == (1, {})
    assert status.reply_times.count == sum(status.reply_times.histogram.values()) == 1
    assert late <= status.reply_times.mean_s <= status.reply_times.maximum_s < 10
    assert min(status.reply_times.histogram) >= 0.05
    first.close()
    status = hub.status()
    assert (status.paused, status.dropped, status.bound) == (True, 1, {})
    assert status.last_error == f"{name[first]} (molecule 0): closed"
    second.close()
    hub.stop()
    status = hub.status()
    assert (status.address, status.waiting, status.steps) == (None, [], 1)
    assert hub.all_bound([0]) is False
    assert hub.wait_until_bound({0: {}}) is False
    assert hub.step_barrier({0: FIELD}) == {}
    assert hub.add_endpoint(3) is None
    assert hub.graceful_shutdown() is None


def test_a_flood_of_bad_peers_is_not_a_flood_of_warnings(make_hub, scripted, caplog):
    """However many strangers send however different garbage from one host: a handful of warnings."""
    caplog.set_level(logging.WARNING)
    hub = make_hub()
    for number in range(50):
        scripted(hub).send(b"garbage %d\r\n\r\n" % number)
        scripted(hub).send(b"FORCEREADY  " + bytes(number))
        hub.status()
    for _ in range(5):
        assert not hub.wait_until_bound({0: {}}, timeout=0)
    assert hub.status().waiting == []
    assert hub.status().dropped == 100
    assert 1 <= len(caplog.records) <= 4


def test_the_memory_of_causes_is_bounded(caplog):
    """After so many different causes it starts anew instead of growing."""
    quiet = QuietLogger(logging.getLogger("test"))
    for number in range(2 * MAX_CAUSES + 1):
        quiet.warn("host", str(number), "%d", number)
        quiet.warn("host", str(number), "%d", number)
    assert len(quiet._seen) == 1
    assert len(caplog.records) == 2 * MAX_CAUSES + 1


def test_peer_text_is_escaped_in_the_log(bound, caplog):
    """What a peer sends cannot forge log lines."""
    hub, (driver,) = bound()
    hub.step_barrier({0: FIELD}, timeout=0)
    driver.send(b"\r\nINFO: ok \x1b[2J")
    assert hub.step_barrier({0: FIELD}) == {}
    assert caplog.records
    assert not any(set("\r\n\x1b") & set(record.getMessage()) for record in caplog.records)


# -- the end -----------------------------------------------------------------


def test_a_graceful_shutdown_leaves_the_hub_usable(make_hub, scripted, background, caplog):
    """It says the reason, stops drivers that wait too, and goes on listening."""
    caplog.set_level(logging.INFO)
    hub = make_hub()
    drivers = [scripted(hub) for _ in range(3)]
    hub.status()
    assert hub.wait_until_bound({0: {}})
    drivers[0].read_init()
    shutdown = background(hub.graceful_shutdown, "the laser is off", 20.0)
    for driver in drivers:
        assert driver.read_header() == ipi.STOP
    drivers[0].say(ipi.BYE)
    drivers[1].close()
    drivers[2].send(
        ipi.encode_forceready((1, 2, 3)) + ipi.encode_header(ipi.READY) + ipi.encode_header(ipi.BYE)
    )
    shutdown.result(2)
    assert "the laser is off" in caplog.text
    status = hub.status()
    assert (status.bound, status.paused, status.dropped) == ({}, False, 0)
    again = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    again.read_init()


def test_a_newcomer_does_not_hold_up_the_shutdown(bound, scripted, background):
    """Who connects meanwhile was not asked to stop, and is not waited for."""
    hub, (driver,) = bound()
    shutdown = background(hub.graceful_shutdown, None, 20.0)
    assert driver.read_header() == ipi.STOP
    newcomer = scripted(hub)
    driver.say(ipi.BYE)
    shutdown.result(2)
    assert hub.wait_until_bound({0: {}})
    newcomer.read_init()


def test_who_waits_unaccepted_is_stopped_too(make_hub, scripted, background):
    """A driver in the kernel's queue hears STOP, not only the end of the stream."""
    hub = make_hub()
    driver = scripted(hub)
    stop = background(hub.stop)
    assert driver.read_header() == ipi.STOP
    driver.say(ipi.BYE)
    stop.result(2)


def test_a_step_after_stop_was_said_is_not_sent(bound, background, eventually):
    """While drivers are being stopped they are not asked anything."""
    hub, (driver,) = bound()
    shutdown = background(hub.graceful_shutdown, None, 20.0)
    assert driver.read_header() == ipi.STOP
    assert not hub.all_bound([0])
    assert hub.step_barrier({0: FIELD}, timeout=0.05) == {}
    assert driver.unread() == b""
    driver.say(ipi.BYE)
    shutdown.result(2)
    assert hub.status().dropped == 0


def test_stop_is_done_once_and_takes_the_path_with_it(make_hub, tmp_path, scripted):
    """Nothing is left: path, address, connections. A second stop does nothing."""
    path = tmp_path / "hub"
    hub = make_hub(unixsocket=str(path))
    endpoint = hub.add_endpoint(3, unixsocket=str(tmp_path / "three"))
    driver = scripted(endpoint)
    driver.close()
    hub.stop()
    assert (hub.address, path.exists(), (tmp_path / "three").exists()) == (None, False, False)
    hub.stop()
    hub.register_molecule(1)
    assert hub.register_molecule_return_id() == 0


def test_the_context_stops_the_hub(tmp_path):
    """Also when its body raises."""
    with pytest.raises(KeyError), SocketHub(unixsocket=str(tmp_path / "hub")) as hub:
        raise KeyError
    assert hub.address is None
    assert not (tmp_path / "hub").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_forgotten_hub_gives_up_what_it_holds(tmp_path, scripted, descriptors):
    """Without stop, the garbage collector closes sockets and unlinks the path, without a warning."""
    before = descriptors()
    hub = SocketHub(unixsocket=str(tmp_path / "hub"))
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    driver.read_init()
    del hub
    gc.collect()
    assert driver.sock.recv(1) == b""
    driver.close()
    assert not (tmp_path / "hub").exists()
    assert descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize(("module", "part"), [(_running, "make_poller"), (_coupling, "Exchange")])
def test_a_constructor_that_fails_late_leaves_nothing(tmp_path, monkeypatch, descriptors, module, part):
    """Out of descriptors after binding: the path and all sockets are released."""
    before = descriptors()

    def fail(*arguments):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, part, fail)
    with pytest.raises(OSError, match="Too many"):
        SocketHub(unixsocket=str(tmp_path / "hub"))
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def test_a_hub_cannot_be_pickled(make_hub):
    """Its sockets belong to this process."""
    with pytest.raises(TypeError):
        pickle.dumps(make_hub())


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_forked_child_lets_go_of_every_descriptor(tmp_path, scripted, descriptors):
    """What the child runs after a fork, run here: all closed, the path left to the parent."""
    before = descriptors()
    hub = SocketHub(unixsocket=str(tmp_path / "hub"))
    hub.add_endpoint(1)
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    _open_hub._close_in_child()
    driver.close()
    assert descriptors() == before
    assert (tmp_path / "hub").exists()
    hub._owner = -1
    with hub:
        pass  # the child leaves the block that the parent entered: nothing to do


# -- what is shared with other processes ---------------------------------------


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")
def test_of_hubs_that_find_the_same_dead_path_one_gets_it(tmp_path):
    """Started at once by several processes, never two of them own the path."""
    path = str(tmp_path / "hub")
    script = """
import sys
from mxl_sockets import SocketHub
sys.stdin.readline()
try:
    hub = SocketHub(unixsocket=sys.argv[1])
except RuntimeError as error:
    print("refused", flush=True)
else:
    print("owner", flush=True)
sys.stdin.readline()
"""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    command = [sys.executable, "-c", script, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    programs = [subprocess.Popen(command, **pipes) for _ in range(4)]
    try:
        for program in programs:
            program.stdin.write("go\n")
            program.stdin.flush()
        said = sorted(program.stdout.readline().strip() for program in programs)
        assert said == ["owner", "refused", "refused", "refused"]
    finally:
        for program in programs:
            program.communicate("\n", timeout=10)


def test_waiting_strangers_leave_descriptors_to_the_solver(make_hub, scripted, monkeypatch):
    """Near the limit newcomers stay in the system's queue; they are taken in when there is room."""
    hub = make_hub()
    acceptor = hub._coupling.exchange.acceptor
    monkeypatch.setattr(acceptor, "_last_descriptor", 0)
    strangers = [scripted(hub) for _ in range(3)]
    assert len(hub.status().waiting) == 1
    assert acceptor.paused_until is not None
    monkeypatch.setattr(acceptor, "_last_descriptor", sys.maxsize)
    deadline = time.monotonic() + 5
    while len(hub.status().waiting) < len(strangers):
        assert time.monotonic() < deadline
