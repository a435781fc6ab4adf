"""The aggregated hub with bridges that the test plays; numbers are those of the list of flaws."""

from __future__ import annotations

import gc
import inspect
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mxl_sockets import (
    AggregatedSocketHub,
    ForeignProcessError,
    FrozenStepError,
    HubStopped,
    SocketHub,
    StepTimeout,
    _aggregate_links,
    _aggregate_roster,
    mpi,
)
from wireframe import aggregate

from .scripted_bridge import LIMIT_S, ScriptedBridge

INITS = {1: {"aggregate_group": "a"}, 2: {"aggregate_group": "b"}, 3: {"aggregate_group": "a"}}
FIELDS = np.arange(9.0).reshape(3, 3)
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its descriptors")


@pytest.fixture
def make_hub(cleanup):
    def make(**settings):
        settings.setdefault("timeout", LIMIT_S)
        hub = AggregatedSocketHub(port=0, **settings)
        cleanup.callback(hub.stop)
        return hub

    return make


@pytest.fixture
def play(cleanup):
    """Connect a bridge that the test plays."""

    def connect(hub, group=None):
        bridge = ScriptedBridge(hub.address, group)
        cleanup.callback(bridge.close)
        return bridge

    return connect


@pytest.fixture
def bound(make_hub, play):
    """A hub with molecules 1, 3 behind bridge a and 2 behind bridge b."""

    def make(**settings):
        hub = make_hub(**settings)
        bridges = [play(hub, group) for group in "ab"]
        assert not hub.wait_until_bound(INITS, timeout=0.05)
        for bridge in bridges:
            bridge.start()
        assert hub.wait_until_bound(INITS)
        return hub, *bridges

    return make


def requests(fields=FIELDS):
    return {one: {"efield_au": fields[row]} for row, one in enumerate(INITS)}


def stepping(background, hub, fields=FIELDS, **options):
    return background(hub.step, fields, **options)


def test_parameters_keep_their_names_order_and_defaults():
    """Those of the peer's hub first, by place; what is ours by keyword. Our default timeout is a minute."""
    found = {"places": {}, "keywords": {}}
    for name, one in inspect.signature(AggregatedSocketHub).parameters.items():
        found["keywords" if one.kind is one.KEYWORD_ONLY else "places"][name] = one.default
    assert list(found["places"].items()) == [
        ("host", None),
        ("port", 31415),
        ("timeout", 60.0),
        ("latency", 0.01),
    ]
    assert found["keywords"] == {
        "resume": False,
        "allow": None,
        "listener": None,
        "handshake_timeout": 10.0,
        "silence_timeout": None,
        "max_extras": 256 << 20,
        "max_waiting": 1024,
        "on_step": None,
        "status_socket": False,
    }
    for name in (
        "register_molecule",
        "register_molecule_return_id",
        "all_bound",
        "wait_until_bound",
        "step_barrier",
        "step",
        "graceful_shutdown",
        "stop",
    ):
        ours, plain = (inspect.signature(getattr(kind, name)) for kind in (AggregatedSocketHub, SocketHub))
        assert [(one.name, one.default) for one in ours.parameters.values()] == [
            (one.name, one.default) for one in plain.parameters.values()
        ]


# -- binding -----------------------------------------------------------------


def test_each_bridge_gets_the_parameters_of_its_molecules_byte_for_byte(make_hub, play):
    hub = make_hub()
    bridge = play(hub, "node-0")
    inits = {one: {"aggregate_group": " node-0 ", "dt_au": 0.25} for one in (1, 0)}
    assert not hub.wait_until_bound(inits, timeout=0.05)
    assert hub.all_bound(inits, require_init=False)
    assert not hub.all_bound(inits)
    want = aggregate.encode_init("node-0", {one: {**inits[one], "molecule_id": one} for one in (1, 0)})
    assert bridge.sock.recv(4096) == want
    bridge.ready()
    assert hub.wait_until_bound(inits)
    assert hub.all_bound(inits)
    assert set(hub.status().bound) == {0, 1}


def test_a_molecule_without_group_is_one_of_its_own(make_hub, play):
    hub = make_hub()
    bridge = play(hub, "molecule-5")
    assert not hub.wait_until_bound({5: {}}, timeout=0.05)
    assert bridge.start().payloads == {5: {"molecule_id": 5}}
    assert hub.wait_until_bound({5: {}})


def test_bad_parameters_are_refused_and_nothing_is_sent(make_hub, play):
    hub = make_hub()
    bridge = play(hub, "a")
    with pytest.raises(TypeError):
        hub.wait_until_bound({1: {"aggregate_group": "a", "x": object()}})
    with pytest.raises(ValueError, match="empty"):
        hub.wait_until_bound({1: {"aggregate_group": ""}})
    with pytest.raises(ValueError, match="number of seconds"):
        hub.wait_until_bound({}, timeout=float("nan"))
    assert hub.wait_until_bound({}, timeout=0)
    assert bridge.nothing_unread()


def test_ids_are_registered_as_in_a_plain_hub(make_hub):
    hub = make_hub()
    hub.register_molecule(1)
    assert [hub.register_molecule_return_id() for _ in range(2)] == [0, 2]
    assert hub.expected == {0, 1, 2}
    assert hub.status().missing == [0, 1, 2]
    with pytest.raises(ValueError, match="registered"):
        hub.register_molecule(2)


def test_a_bridge_of_an_unknown_group_waits_until_it_is_wanted(make_hub, play, eventually):
    hub = make_hub()
    bridge = play(hub, "later")
    eventually(lambda: hub.status().waiting, "the bridge is known")
    assert bridge.nothing_unread()
    assert not hub.wait_until_bound({1: {"aggregate_group": "later"}}, timeout=0)
    bridge.start()


def test_a_second_bridge_of_a_group_is_dropped_and_takes_over_when_the_first_is_gone(
    make_hub, play, eventually
):
    """Also when both are news of the same moment: the first one's end is looked at before."""
    hub = make_hub()
    first = play(hub, "a")
    eventually(lambda: hub.status().waiting)
    second = play(hub, "a")
    eventually(lambda: hub.status().dropped == 1)
    assert second.is_closed()
    assert "second bridge" in hub.status().last_error
    first.close()
    third = play(hub, "a")
    assert not hub.wait_until_bound({1: {"aggregate_group": "a"}}, timeout=0.05)
    third.start()
    assert hub.wait_until_bound({1: {"aggregate_group": "a"}})


def test_a_group_that_grows_gets_all_its_molecules_anew(make_hub, play):
    hub = make_hub()
    bridge = play(hub, "a")
    for count in (1, 2):
        inits = {one: {"aggregate_group": "a"} for one in range(count)}
        assert not hub.wait_until_bound(inits, timeout=0.05)
        assert list(bridge.start().payloads) == list(range(count))
        assert hub.wait_until_bound(inits)


@pytest.mark.fault("C1", "mxl-aggregated", "E")
def test_22_a_hello_is_read_in_pieces_and_a_bad_one_costs_its_sender_only(make_hub, play, eventually):
    """Bad JSON, bad UTF-8, a list, garbage: dropped with a reason; the real bridge is served meanwhile."""
    hub = make_hub()
    slow = play(hub)
    hello = aggregate.encode_hello("a")
    bad = [b'{"x"', b"\xff\xfe", b"[1]", b'{"group_id": 5}']
    strangers = [play(hub) for _ in range(len(bad) + 1)]
    for stranger, text in zip(strangers, bad, strict=False):
        stranger.send(aggregate.encode_header(aggregate.AGGHELLO) + struct.pack("<i", len(text)) + text)
    strangers[-1].send(b"GET / HTTP/1.1\r\n\r\n")
    for byte in hello:
        slow.send(bytes([byte]))
        hub.status()
    assert not hub.wait_until_bound({1: {"aggregate_group": "a"}}, timeout=0.05)
    slow.start()
    assert hub.wait_until_bound({1: {"aggregate_group": "a"}})
    eventually(lambda: hub.status().dropped == len(strangers))
    assert all(stranger.is_closed() for stranger in strangers)


def test_22_who_does_not_say_hello_is_dropped_after_its_own_time(make_hub, play):
    """A header without body too; it does not take the hub's timeout, and costs nobody else time."""
    hub = make_hub(handshake_timeout=0.1, timeout=60.0)
    silent, half = [play(hub) for _ in range(40)], play(hub)
    half.send(aggregate.encode_header(aggregate.AGGHELLO))
    start = time.monotonic()
    assert not hub.wait_until_bound(INITS, timeout=0.4)
    assert time.monotonic() - start < 30.0
    assert all(one.is_closed() for one in [*silent, half])
    assert "within 0.1 s" in hub.status().last_error


def test_no_more_than_so_many_may_wait(make_hub, play, eventually):
    hub = make_hub(max_waiting=2)
    kept, refused = [play(hub, group) for group in "xy"], play(hub, "z")
    eventually(lambda: (hub.status(), refused.is_closed())[1])
    assert not any(one.is_closed() for one in kept)
    assert len(hub.status().waiting) == 2


@pytest.mark.parametrize("networks", [["10.0.0.0/8"], []])
def test_networks_that_are_not_allowed_are_refused(make_hub, play, eventually, networks):
    hub = make_hub(allow=networks)
    stranger = play(hub)
    eventually(lambda: (hub.status(), stranger.is_closed())[1])


# -- stepping ----------------------------------------------------------------


def test_arrays_go_to_their_molecules_and_come_back_in_order(bound, background):
    hub, a, b = bound()
    step = stepping(background, hub)
    asked = a.answer(2.0)
    assert asked.requests() == {1: FIELDS[0].tobytes(), 3: FIELDS[2].tobytes()}
    assert b.answer(3.0).requests() == {2: FIELDS[1].tobytes()}
    assert step.result(LIMIT_S).tolist() == (FIELDS * [[2], [3], [2]]).tolist()
    assert hub.status().steps == 1
    assert hub.status().reply_times.count == 3


def test_dictionaries_tell_the_extras_too(bound, background):
    hub, a, b = bound()
    step = background(hub.step_barrier, requests())
    a.answer(extra=b"A")
    b.answer()
    result = step.result(LIMIT_S)
    assert {one: (reply["amp"].tolist(), reply["extra"]) for one, reply in result.items()} == {
        1: ([0, 1, 2], b"A"),
        2: ([3, 4, 5], b""),
        3: ([6, 7, 8], b"A"),
    }


def test_13_zeros_of_both_signs_reach_their_own_molecules(bound, background):
    """Dictionaries send equal fields once, and equal is equal bit for bit; so do arrays without looking."""
    hub, a, b = bound()
    fields = np.array([[0.0, 1, 1], [7, 7, 7], [-0.0, 1, 1]])
    for call in (lambda: hub.step(fields), lambda: hub.step_barrier(requests(fields))):
        step = background(call)
        asked = a.answer()
        assert asked.requests() == {1: fields[0].tobytes(), 3: fields[2].tobytes()}
        assert len(asked.fields) == 48
        b.answer()
        step.result(LIMIT_S)
    fields[2] = fields[0]
    step = background(hub.step_barrier, requests(fields))
    assert len(a.answer().fields) == 24
    b.answer()
    step.result(LIMIT_S)


def test_02_a_late_result_answers_its_own_step(bound, background):
    """D2, C9: one bridge is later than the timeout; its result belongs to the step that is still frozen."""
    hub, a, b = bound()
    assert hub.step_barrier(requests(), timeout=0) == {}
    step = a.answer(2.0)
    late = b.read()
    assert hub.step_barrier(requests(FIELDS + 100), timeout=0.05) == {}
    assert not hub.paused
    assert set(hub.status().late) == {2}
    b.send(b.result(late, 2.0))
    # New fields are ignored: the step is the old one, and nobody is asked twice for it.
    result = hub.step_barrier(requests(FIELDS + 100))
    assert [result[one]["amp"].tolist() for one in INITS] == (2 * FIELDS).tolist()
    assert a.nothing_unread()
    assert b.nothing_unread()
    following = background(hub.step, FIELDS + 1)
    assert a.answer().requests() != step.requests()
    b.answer()
    assert following.result(LIMIT_S).tolist() == (FIELDS + 1).tolist()


def test_02_an_answer_is_kept_when_another_bridge_dies(bound, play, background):
    """The healthy bridge makes each step once; the replacement gets AGGINIT and then the frozen fields."""
    hub, a, b = bound()
    assert hub.step_barrier(requests(), timeout=0) == {}
    first = b.read()
    a.answer(2.0)
    b.close()
    assert hub.step_barrier(requests()) == {}
    assert hub.paused
    assert hub.step_barrier(requests()) == {}
    new = play(hub, "b")
    wait = background(hub.wait_until_bound, INITS)
    assert list(new.start().payloads) == [2]
    assert wait.result(LIMIT_S)
    step = background(hub.step_barrier, requests(FIELDS + 100))
    assert new.answer(3.0).requests() == first.requests()
    result = step.result(LIMIT_S)
    assert [result[one]["amp"].tolist() for one in INITS] == (FIELDS * [[2], [3], [2]]).tolist()
    assert a.nothing_unread()


def test_02_a_repeated_result_ends_its_connection_and_answers_nothing(bound, play, background):
    """It has arrived before the next step is asked; the group is started anew for that."""
    hub, a, b = bound()
    step = stepping(background, hub)
    asked = a.read()
    a.send(a.result(asked, 2.0))
    b.answer()
    step.result(LIMIT_S)
    a.send(a.result(asked, 2.0))
    following = stepping(background, hub, FIELDS + 1)
    new = play(hub, "a")
    new.start()
    new.answer(5.0)
    b.answer(5.0)
    assert following.result(LIMIT_S).tolist() == (5 * (FIELDS + 1)).tolist()
    assert a.is_closed()
    assert "asked nothing" in hub.status().last_error


def test_two_results_at_once_answer_one_step(bound, background):
    hub, a, b = bound()
    step = stepping(background, hub)
    asked = a.read()
    a.send(a.result(asked) * 2)
    b.answer()
    assert step.result(LIMIT_S).tolist() == FIELDS.tolist()
    assert hub.paused or not hub.all_bound(INITS)
    assert a.is_closed()


def test_a_step_goes_on_within_the_call_when_a_bridge_is_replaced(bound, play, background):
    hub, a, b = bound()
    step = stepping(background, hub)
    b.read()
    b.close()
    a.answer()
    new = play(hub, "b")
    new.start()
    new.answer(4.0)
    assert step.result(LIMIT_S).tolist() == (FIELDS * [[1], [4], [1]]).tolist()
    assert not hub.paused


def test_a_bridge_that_leaves_between_two_steps_is_replaced_within_the_next_one(bound, play, background):
    hub, a, b = bound()
    b.close()
    step = stepping(background, hub)
    new = play(hub, "b")
    new.start()
    a.answer()
    new.answer()
    assert step.result(LIMIT_S).tolist() == FIELDS.tolist()


def test_a_bridge_that_leaves_at_the_last_moment_is_not_waited_for(bound, play, background, monkeypatch):
    """After the last look at the sockets, before its request is made: the call goes on with its successor."""
    hub, a, _ = bound()
    coupling = hub._coupling
    real = coupling.exchange.ask

    def ask(now):
        monkeypatch.setattr(coupling.exchange, "ask", real)
        for connection in list(coupling.exchange.connections.values()):
            if connection.group_id == "b":
                coupling.exchange.drop(connection, "left")
        real(now)

    monkeypatch.setattr(coupling.exchange, "ask", ask)
    step = stepping(background, hub)
    a.answer()
    new = play(hub, "b")
    new.start()
    new.answer()
    assert step.result(LIMIT_S / 2).tolist() == FIELDS.tolist()


def bad_results():
    one = struct.pack("<3d", 1, 1, 1)
    head = aggregate.encode_header(aggregate.AGGRESULT)

    def records(*given):
        return b"".join(struct.pack("<i", name) + one + struct.pack("<i", size) for name, size in given)

    return {
        "negative extra": head + struct.pack("<i", 2) + records((1, -5), (3, 10)) + b"abcde",
        "negative count": head + struct.pack("<i", -1),
        "huge count": head + struct.pack("<i", 2**31 - 1),
        "too many": head + struct.pack("<i", 3) + records((1, 0), (2, 0), (3, 0)),
        "too few": head + struct.pack("<i", 1) + records((1, 0)),
        "twice": head + struct.pack("<i", 2) + records((1, 0), (1, 0)),
        "strangers": head + struct.pack("<i", 2) + records((1, 0), (4, 0)),
        "huge extras": head + struct.pack("<i", 2) + records((1, 2**31 - 1), (3, 2**31 - 1)),
        "garbage": b"FORCEREADY  ",
    }


@pytest.mark.parametrize("name", bad_results())
def test_23_a_bad_result_costs_its_bridge_the_connection_and_the_step_nothing(name, bound, play, background):
    """No exception leaves the call, nothing is allocated for it, and a better bridge completes the step."""
    hub, a, b = bound()
    step = stepping(background, hub)
    a.read()
    b.answer()
    a.send(bad_results()[name])
    new = play(hub, "a")
    new.start()
    new.answer()
    assert step.result(LIMIT_S).tolist() == FIELDS.tolist()
    assert "broke the protocol" in hub.status().last_error
    assert "group 'a'" in hub.status().last_error
    assert a.is_closed()


def test_c4_a_bridge_that_dies_at_any_byte_of_its_result_is_replaced(bound, play, background):
    hub, a, b = bound()
    result = None
    for cut in (0, 1, 11, 12, 15, 16, 17, 44, 47, 48, 79):
        step = stepping(background, hub)
        asked = a.read()
        b.answer()
        result = a.result(asked)
        a.send(result[:cut])
        a.close()
        a = play(hub, "a")
        a.start()
        a.answer(3.0)
        assert step.result(LIMIT_S).tolist() == (FIELDS * [[3], [1], [3]]).tolist()
    assert len(result) == 80


MANY = 20_000


@pytest.fixture
def unread(make_hub, play, background):
    """A hub in a step that is larger than what the system keeps on the way to its only bridge."""
    hub = make_hub(timeout=60.0)
    bridge = play(hub, "a")
    # Room that is said is kept; what the system finds by itself may hold the whole step.
    bridge.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
    inits = {one: {"aggregate_group": "a"} for one in range(MANY)}
    starting = background(bridge.start)
    assert hub.wait_until_bound(inits, timeout=LIMIT_S)
    starting.result(LIMIT_S)
    (connection,) = hub._coupling.exchange.connections.values()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
    fields = np.ones((MANY, 3))
    with pytest.raises(StepTimeout):
        hub.step(fields, timeout=0)
    assert connection.outgoing
    return hub, bridge, fields


def test_c6_a_bridge_that_does_not_read_costs_the_call_its_own_time_only(unread, background):
    """The call returns although the step is not even sent, and the next one goes on with it."""
    hub, bridge, fields = unread
    # Of several calls, as anything may hold up one of them. The hub's own timeout is a minute.
    overruns = []
    for _ in range(5):
        start = time.monotonic()
        with pytest.raises(StepTimeout) as caught:
            hub.step(fields, timeout=0.05)
        overruns.append(time.monotonic() - start - 0.05)
        assert len(caught.value.late) == MANY
    assert min(overruns) < 0.5
    for sock in (bridge.sock, *(one.sock for one in hub._coupling.exchange.connections.values())):
        for room in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, room, 1 << 20)
    answering = background(bridge.answer, 2.0)
    assert (hub.step(fields) == 2 * fields).all()
    answering.result(LIMIT_S)


def test_an_answer_to_a_step_that_was_not_read_is_no_answer(unread, background, eventually):
    """Its sender has guessed: the rest of the step is still on its way to it."""
    hub, bridge, fields = unread
    guess = aggregate.encode_result_block(range(MANY), bytes(24 * MANY))
    sending = background(bridge.send, *guess)
    eventually(lambda: hub.status().dropped, "the guess is judged")
    assert "before it had read it" in hub.status().last_error
    with pytest.raises(StepTimeout) as caught:
        hub.step(fields, timeout=0)
    assert len(caught.value.missing) == MANY
    assert sending.exception(LIMIT_S) is None


def test_silent_bridges_are_dropped_after_the_limit_if_there_is_one(bound):
    hub, a, b = bound(silence_timeout=0.1)
    assert hub.step_barrier(requests(), timeout=0) == {}
    a.answer()
    assert hub.step_barrier(requests(), timeout=5) == {}
    assert hub.paused
    assert "did not answer within 0.1 s" in hub.status().last_error
    assert b.is_closed()
    assert not a.is_closed()


def test_wrong_fields_freeze_nothing(bound, background):
    hub, a, b = bound()
    for wrong in (np.zeros((2, 3)), np.zeros(9), [["a"] * 3] * 3):
        with pytest.raises(ValueError, match="fields"):
            hub.step(wrong)
    with pytest.raises(ValueError, match="molecule 2"):
        hub.step_barrier({**requests(), 2: {"efield_au": [1.0]}})
    assert hub.step_barrier({}) == {}
    step = stepping(background, hub)
    a.answer()
    b.answer()
    step.result(LIMIT_S)


def test_an_unfinished_step_has_to_be_repeated(bound):
    hub, a, b = bound()
    with pytest.raises(StepTimeout) as caught:
        hub.step(FIELDS, timeout=0.01)
    assert set(caught.value.late) == {1, 2, 3}
    with pytest.raises(FrozenStepError):
        hub.step(FIELDS + 1)
    a.answer()
    b.answer()
    assert hub.step(FIELDS).tolist() == FIELDS.tolist()


def test_a_step_before_binding_and_molecules_that_nobody_named(make_hub, play, background):
    hub = make_hub(latency=LIMIT_S)
    with pytest.raises(ValueError, match="wait_until_bound"):
        hub.step(FIELDS)
    bridge = play(hub, "a")
    step = background(
        hub.step_barrier, {4: {"efield_au": [1, 2, 3], "init": {"aggregate_group": "a", "dt_au": 2.0}}}
    )
    assert bridge.start().payloads[4]["dt_au"] == 2.0
    bridge.answer()
    assert step.result(LIMIT_S)[4]["amp"].tolist() == [1, 2, 3]


def test_resume_hands_the_last_state_to_the_next_bridge(bound, play, background):
    """Of an answered step also while that step is not complete: the group will not be asked for it again."""
    hub, a, b = bound(resume=True)
    assert hub.step_barrier(requests(), timeout=0) == {}
    a.answer(extra=b'{"state": [1.5]}')
    b.read()
    assert hub.step_barrier(requests(), timeout=0.05) == {}
    a.close()
    new = play(hub, "a")
    wait = background(hub.wait_until_bound, INITS)
    init = new.start()
    assert init.resume
    assert [payload["state"] for payload in init.payloads.values()] == [[1.5], [1.5]]
    assert wait.result(LIMIT_S)
    assert new.nothing_unread()


# -- life --------------------------------------------------------------------


def test_stop_tells_all_bridges_and_returns_when_they_have_answered(bound, background):
    hub, a, b = bound(latency=6.0)  # it would wait ten times as long for a bridge that is silent
    start = time.monotonic()
    stop = background(hub.stop)
    for bridge in (a, b):
        assert bridge.read() == aggregate.STOP
        bridge.send(aggregate.encode_header(aggregate.BYE))
    stop.result(LIMIT_S)
    assert time.monotonic() - start < LIMIT_S
    assert hub.address is None
    hub.stop()
    assert hub.step_barrier(requests()) == {}
    assert not hub.wait_until_bound(INITS)
    assert not hub.all_bound([])
    assert hub.status().bound == {}
    with pytest.raises(HubStopped):
        hub.step(FIELDS)
    with pytest.raises(HubStopped):
        hub.init_remote_bridges([{}], molecules_per_bridge=1)


def test_stop_ends_a_step_in_another_thread(bound, background):
    hub, a, b = bound()
    array = stepping(background, hub)
    a.read()
    b.read()
    a.close()
    b.close()
    hub.stop()
    with pytest.raises(HubStopped):
        array.result(LIMIT_S)


def test_a_graceful_shutdown_leaves_the_hub_open(bound, play):
    hub, a, b = bound()
    hub.graceful_shutdown(wait=0.05)
    assert a.read() == aggregate.STOP
    assert a.is_closed()
    assert b.is_closed()
    assert not hub.wait_until_bound(INITS, timeout=0)
    new = play(hub, "a")
    assert not hub.wait_until_bound(INITS, timeout=0.05)
    assert new.start().group_id == "a"


def test_c8_another_hub_may_open_the_same_port_at_once(bound):
    hub, *_ = bound()
    port = hub.address[1]
    exchange = hub._coupling.exchange
    exchange.drop_all(list(exchange.connections.values()))  # the hub closes first: TIME_WAIT is on its side
    hub.stop()
    with AggregatedSocketHub(port=port) as again:
        assert again.address == ("127.0.0.1", port)


@linux
def test_c7_floods_and_short_lives_leave_no_descriptor(make_hub, play, eventually, descriptors):
    hub = make_hub()
    hub.status()
    before = descriptors()
    for _ in range(200):
        socket.create_connection(hub.address).close()
    eventually(lambda: (hub.status(), descriptors())[1] == before, "all are closed")
    bridge = play(hub, "a")
    assert not hub.wait_until_bound({1: {"aggregate_group": "a"}}, timeout=0.05)
    bridge.start()


@linux
def test_c7_a_hub_without_descriptors_accepts_again_when_there_are_some(make_hub, play, eventually):
    """In a process of its own, whose limit is low."""
    program = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
from mxl_sockets import AggregatedSocketHub
with AggregatedSocketHub(port=0, handshake_timeout=0.3) as hub:
    clients = []
    try:
        while True:
            clients.append(socket.create_connection(hub.address))
            hub.status()
    except OSError:
        pass
    for one in clients:
        one.close()
    from wireframe import aggregate
    with socket.create_connection(hub.address) as bridge:
        bridge.sendall(aggregate.encode_hello("a") + aggregate.encode_header(aggregate.AGGREADY)[:0])
        print(hub.wait_until_bound({1: {"aggregate_group": "a"}}, require_init=False, timeout=10))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_c20_a_forked_child_has_no_hub_and_the_parent_goes_on(bound, background):
    hub, a, b = bound()
    child = os.fork()
    if child == 0:
        try:
            hub.status()
        except ForeignProcessError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    step = stepping(background, hub)
    a.answer()
    b.answer()
    step.result(LIMIT_S)


def test_c24_thousands_of_steps_leave_nothing_behind(make_hub, play):
    """Objects and memory of Python; that of the system is watched where bridges are killed."""
    import tracemalloc

    hub = make_hub()
    bridge = play(hub, "a")
    assert not hub.wait_until_bound({1: {"aggregate_group": "a"}}, timeout=0.05)
    bridge.start()
    assert hub.wait_until_bound({1: {"aggregate_group": "a"}})
    result = aggregate.encode_result({1: (bytes(24), b"x")})
    size = len(aggregate.encode_step({1: bytes(24)}))
    scratch = bytearray(size)

    def serve(count):
        for _ in range(count):
            bridge.sock.recv_into(scratch, size, socket.MSG_WAITALL)
            bridge.sock.sendall(result)

    def run(count):
        thread = threading.Thread(target=serve, args=(count,))
        thread.start()
        for _ in range(count):
            hub.step_barrier({1: {"efield_au": (0.0, 0.0, 1.0)}})
        thread.join(LIMIT_S)

    run(500)
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        run(2000)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 1 << 15


def test_on_other_ranks_nothing_is_opened(monkeypatch, tmp_path):
    monkeypatch.setattr(mpi, "am_master", lambda: False)
    with AggregatedSocketHub() as hub:
        assert hub.address is None
        assert not hub.wait_until_bound(INITS)
        assert not hub.all_bound([1])
        assert hub.step_barrier(requests()) == {}
        assert hub.status().steps == 0
        assert not hub.paused
        inits = [{}]
        assert hub.init_remote_bridges(inits, molecules_per_bridge=1, save_file=tmp_path / "x")[0].idx == 0
        assert inits == [{"aggregate_group": "bridge_0"}]
    assert not (tmp_path / "x").exists()


def test_a_listener_may_be_brought_along_and_is_closed_if_the_hub_cannot_be_made(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with AggregatedSocketHub(listener=listener.dup()) as hub:
            assert hub.address == address

    def broken(*_):
        raise OSError("no poller")

    monkeypatch.setattr("mxl_sockets._running.make_poller", broken)
    with pytest.raises(OSError, match="no poller"):
        AggregatedSocketHub(port=0)


def test_an_exception_of_a_signal_handler_costs_the_bridge_that_was_being_read(
    bound, play, background, monkeypatch
):
    """What was read of its answer may be lost; the replacement is asked again, and the step completes."""
    hub, a, b = bound()
    assert hub.step_barrier(requests(), timeout=0) == {}
    a.answer()
    real = _aggregate_links.BridgeLinks._answer

    def interrupted(self, connection, result):
        monkeypatch.setattr(_aggregate_links.BridgeLinks, "_answer", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(_aggregate_links.BridgeLinks, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub.step_barrier(requests(), timeout=1)
    assert hub.paused
    new = play(hub, "a")
    step = stepping(background, hub)
    new.start()
    new.answer()
    b.answer()
    assert step.result(LIMIT_S).tolist() == FIELDS.tolist()


def test_a_group_whose_new_bridge_waits_for_its_drivers_has_nobody(bound, play, background, eventually):
    """Nobody can be asked, so nobody is late: the step is held by the group."""
    hub, a, b = bound()
    step = stepping(background, hub)
    a.answer()
    b.read()
    eventually(lambda: hub.status().late.keys() == {2})
    b.close()
    new = play(hub, "b")
    new.read()
    eventually(lambda: hub.status().orphaned == [2])
    status = hub.status()
    assert (status.late, status.groups) == ({}, {1: "a", 2: "b", 3: "a"})
    new.ready()
    new.answer()
    assert step.result(LIMIT_S).tolist() == FIELDS.tolist()


def test_strangers_that_wait_make_room_for_bridges_that_are_wanted(make_hub, play, background, eventually):
    """Whoever waited longest goes first; a bridge of a group that the hub knows stays."""
    hub = make_hub(max_waiting=2)
    inits = {1: {"aggregate_group": "a"}, 2: {"aggregate_group": "b"}}
    assert not hub.wait_until_bound(inits, timeout=0)

    def waits(group):
        bridge = play(hub, group)
        eventually(lambda: (hub.status(), hub._groups.holder(group) is not None)[1])
        return bridge

    a, x = waits("a"), waits("x")
    y = waits("y")
    assert x.is_closed()
    assert "makes room" in hub.status().last_error
    b = waits("b")
    assert y.is_closed()
    late = play(hub, "z")
    eventually(lambda: (hub.status(), late.is_closed())[1])
    bound = background(hub.wait_until_bound, inits)
    a.start()
    b.start()
    assert bound.result(LIMIT_S)


def test_a_successor_that_is_seen_before_the_end_of_the_first_takes_over(bound, play, background):
    """The hub looks at whoever has the group before it sends a second bridge away."""
    hub, a, b = bound()
    new = play(hub)
    assert hub.all_bound(INITS)  # the newcomer is in, its hello is not sent
    new.send(aggregate.encode_hello("b"))
    b.close()
    step = stepping(background, hub)
    new.start()
    a.answer()
    new.answer()
    assert step.result(LIMIT_S).tolist() == FIELDS.tolist()


def test_what_a_bridge_says_between_ready_and_the_request_is_no_answer(bound, play, monkeypatch):
    """It is looked for after the bridges were bound, before they are asked."""
    hub, a, b = bound()
    coupling, real = hub._coupling, hub._coupling.bind
    b.close()
    new = play(hub, "b")
    assert not hub.wait_until_bound(INITS, timeout=0.05)
    assert isinstance(new.read(), aggregate.GroupInit)

    def bind(*given, **named):
        new.ready()
        done = real(*given, **named)
        new.send(aggregate.encode_result({2: ((9.0, 9.0, 9.0), b"")}))
        return done

    coupling.exchange.paused = False
    with monkeypatch.context() as patched:
        patched.setattr(coupling, "bind", bind)
        assert hub.step_barrier(requests(), timeout=LIMIT_S) == {}
    assert "broke the protocol" in hub.status().last_error
    a.read()
    assert coupling.barrier.answers == {}


def test_parameters_that_no_bridge_would_take_are_refused_before_they_are_sent(make_hub, play, monkeypatch):
    """A bridge would hang up, come again, and be sent them again."""
    monkeypatch.setattr(_aggregate_roster, "MAX_INIT", 300)
    hub = make_hub()
    a = play(hub, "a")
    with pytest.raises(ValueError, match=r"group 'a'.* 2 molecules.* bytes.* smaller groups"):
        hub.wait_until_bound({one: {"aggregate_group": "a", "note": "x" * 100} for one in range(2)})
    assert not hub.wait_until_bound({0: {"aggregate_group": "a", "note": "x" * 100}}, timeout=0)
    with pytest.raises(ValueError, match="smaller groups"):
        hub.wait_until_bound({1: {"aggregate_group": "a", "note": "x" * 100}})
    assert set(a.read().payloads) == {0}
    assert a.nothing_unread()
