"""Which driver becomes which molecule, and with what INIT."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxl_sockets import WaitingDriver
from mxl_sockets._client import Client, Phase
from mxl_sockets._roster import Roster, checked_id, encode_molecule_init
from wireframe import NEED_DATA, ipi


def client(name="192.0.2.1:1", since=0.0, endpoint=None, phase=Phase.WAITING):
    one = Client(name, since, endpoint=endpoint, max_extra=100)
    one.phase = phase
    return one


def waiting(roster, *clients):
    for one in clients:
        roster.join(one)
    return clients


def read_init(message):
    decoder = ipi.Decoder(accept={ipi.INIT})
    decoder.feed(message)
    event = decoder.next_event()
    assert event is not NEED_DATA
    assert decoder.buffered == 0
    return event.bead, json.loads(event.text)


# -- ids ---------------------------------------------------------------------


def test_ids_are_handed_out_from_zero_and_skip_the_reserved_ones():
    roster = Roster()
    roster.register(1)
    assert [roster.register_next() for _ in range(3)] == [0, 2, 3]
    assert roster.expected == {0, 1, 2, 3}


def test_an_id_is_reserved_once():
    roster = Roster()
    roster.register(4)
    with pytest.raises(ValueError, match="molecule 4 is already registered"):
        roster.register(4)
    roster.register_next()
    with pytest.raises(ValueError, match="already registered"):
        roster.register(0)


@pytest.mark.parametrize("wrong", [2**31, -(2**31) - 1])
def test_an_id_has_32_bits(wrong):
    with pytest.raises(ValueError, match="not a signed 32-bit number"):
        Roster().register(wrong)
    with pytest.raises(ValueError, match="not a signed 32-bit number"):
        Roster().remember_init(wrong, None)
    with pytest.raises(ValueError, match="not a signed 32-bit number"):
        encode_molecule_init(wrong, {})


@pytest.mark.parametrize("wrong", ["1", 1.0, None])
def test_an_id_is_an_integer(wrong):
    with pytest.raises(TypeError):
        checked_id(wrong)


def test_an_id_becomes_a_plain_number():
    assert type(checked_id(True)) is int
    assert checked_id(2**31 - 1) == 2**31 - 1
    assert checked_id(-(2**31)) == -(2**31)


# -- INIT --------------------------------------------------------------------


def test_the_init_text_is_what_the_established_hub_sends():
    message = encode_molecule_init(4, {"molecule_id": 9, "dt_au": 0.5, "name": "é"})
    text = b'{"molecule_id": 4, "dt_au": 0.5, "name": "\\u00e9"}'
    assert message == ipi.encode_init(4, text)
    assert encode_molecule_init(0, {}) == ipi.encode_init(0, b'{"molecule_id": 0}')


def test_parameters_that_json_cannot_carry_name_the_molecule():
    with pytest.raises(TypeError, match="INIT parameters of molecule 4"):
        encode_molecule_init(4, {"model": object()})
    with pytest.raises(TypeError, match="INIT parameters of molecule 4"):
        encode_molecule_init(4, None)
    endless = {}
    endless["self"] = endless
    with pytest.raises(ValueError, match="Circular"):
        encode_molecule_init(4, endless)


def test_bad_parameters_leave_the_old_ones():
    roster = Roster()
    roster.remember({1: {"a": 1}, 2: {"a": 2}})
    with pytest.raises(TypeError):
        roster.remember({1: {"a": 3}, 2: {"a": {4}}})
    assert read_init(roster.init_message(1, None)) == (1, {"a": 1, "molecule_id": 1})


def test_bad_parameters_of_a_living_molecule_are_refused_too():
    """They would come to light when it has died, which is too late."""
    roster = Roster()
    (one,) = waiting(roster, client())
    roster.bind(one, 1)
    with pytest.raises(TypeError):
        roster.remember({1: {"a": object()}})


def test_parameters_are_those_of_the_moment_they_were_given():
    roster = Roster()
    payload = {"a": 1}
    roster.remember({1: payload})
    payload["a"] = 2
    assert read_init(roster.init_message(1, None)) == (1, {"a": 1, "molecule_id": 1})


def test_parameters_of_a_request_are_kept_if_there_are_any():
    roster = Roster()
    roster.remember_init(1, {"a": 1})
    roster.remember_init(1, None)
    roster.remember_init(1, {})
    assert read_init(roster.init_message(1, None))[1]["a"] == 1
    with pytest.raises(TypeError, match="molecule 1"):
        roster.remember_init(1, {"a": object()})


# -- resuming ----------------------------------------------------------------


def test_the_last_received_state_goes_to_the_next_driver():
    roster = Roster(resume=True)
    roster.remember({1: {"dt_au": 0.5}})
    roster.remember_extras((1, 2), [b'{"state": [1, 2.5], "time": 3}', b'{"state": 7}'])
    assert read_init(roster.init_message(1, None))[1] == {"dt_au": 0.5, "molecule_id": 1, "state": [1, 2.5]}
    roster.remember_extras((1,), [b'{"state": [4]}'])
    assert read_init(roster.init_message(1, None))[1]["state"] == [4]
    assert read_init(roster.init_message(2, None))[1] == {"molecule_id": 2, "state": 7}


def test_the_state_of_the_step_under_way_is_newer():
    roster = Roster(resume=True)
    roster.remember_extras((1,), [b'{"state": "old"}'])
    assert read_init(roster.init_message(1, b'{"state": "new"}'))[1]["state"] == "new"
    assert "state" not in read_init(roster.init_message(1, b"no state this time"))[1]


def test_states_are_not_handed_on_unasked():
    roster = Roster()
    roster.remember_extras((1,), [b'{"state": 1}'])
    assert read_init(roster.init_message(1, b'{"state": 2}'))[1] == {"molecule_id": 1}


def test_a_given_state_is_the_first_one():
    """The solver may start a molecule from a state; what was received since replaces it."""
    roster = Roster(resume=True)
    roster.remember({1: {"state": "given"}})
    assert read_init(roster.init_message(1, None))[1]["state"] == "given"
    roster.remember_extras((1,), [b'{"state": "received"}'])
    assert read_init(roster.init_message(1, None))[1]["state"] == "received"


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        b"\0",
        b"{",
        b"[1]",
        b'"state"',
        b"{}",
        b'{"state": null}',
        b"\xff",
        b'{"time": 1}',
        b"[" * 100_000,
    ],
)
def test_an_extra_may_be_anything(extra):
    roster = Roster(resume=True)
    roster.remember_extras((1,), [extra])
    assert read_init(roster.init_message(1, None))[1] == {"molecule_id": 1}


def test_a_state_that_is_nested_too_deeply_is_no_state():
    """There is a depth that can be read but not written; it must not end the hub's step."""
    roster = Roster(resume=True)
    kept = set()
    for depth in (*range(1, 30), *range(880, 1100), 5_000, 1_000_000):
        extra = b'{"state": ' + b"[" * depth + b"]" * depth + b"}"
        kept.add("state" in read_shallow(roster.init_message(1, extra)))
    assert kept == {True, False}


def read_shallow(message):
    decoder = ipi.Decoder(accept={ipi.INIT})
    decoder.feed(message)
    return decoder.next_event().text.decode()


numbers = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
states = st.recursive(numbers | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(state=states)
@settings(derandomize=True, deadline=None, database=None, max_examples=60)
def test_a_state_comes_back_to_the_last_bit(state):
    roster = Roster(resume=True)
    roster.remember_extras((1,), [json.dumps({"state": state}).encode()])
    found = read_init(roster.init_message(1, None))[1]["state"]
    assert found == state
    if isinstance(state, float):
        assert math.copysign(1, found) == math.copysign(1, state)


# -- waiting and binding -----------------------------------------------------


def test_drivers_are_paired_in_order_of_arrival_with_molecules_in_the_given_order():
    roster = Roster()
    a, b, c = waiting(roster, client(), client(), client())
    assert roster.pair((5, 3), 0.0) == [(a, 5), (b, 3)]
    roster.bind(a, 5)
    assert roster.pair((5, 3), 0.0) == [(b, 3)]
    assert roster.pair((5, 3, 9, 8), 0.0) == [(b, 3), (c, 9)]
    assert roster.pair((), 0.0) == []


def test_binding_is_to_be_seen():
    roster = Roster()
    (a,) = waiting(roster, client())
    generation, arrivals = roster.generation, roster.arrivals
    assert roster.missing((5, 3)) == [5, 3]
    roster.bind(a, 5)
    assert roster.bound == {5: a}
    assert a.molecule_id == 5
    assert list(roster.waiting) == []
    assert roster.generation != generation
    assert roster.arrivals == arrivals
    assert roster.missing((5, 3)) == [3]
    assert roster.unready((5, 3)) == [5, 3]
    a.initialized = True
    assert roster.unready((5, 3)) == [3]


def test_a_molecule_loses_its_driver_and_nothing_else():
    roster = Roster()
    a, b, c = waiting(roster, client(), client(), client())
    roster.bind(a, 5)
    roster.bind(b, 3)
    generation, arrivals = roster.generation, roster.arrivals
    assert roster.leave(c) is None
    assert roster.generation == generation
    assert roster.arrivals != arrivals
    assert roster.leave(a) == 5
    assert a.molecule_id is None
    assert roster.generation != generation
    assert roster.bound == {3: b}
    assert roster.leave(a) is None


def test_only_drivers_that_are_ready_for_it_are_bound():
    roster = Roster()
    _, b = waiting(roster, client(phase=Phase.CHECKING), client())
    assert roster.pair((0, 1), 0.0) == [(b, 0)]


def test_a_driver_at_an_endpoint_becomes_that_molecule_or_none():
    roster = Roster()
    roster.endpoints.add(3)
    a, b, c, d = waiting(roster, client(endpoint=3), client(), client(endpoint=3), client())
    assert roster.pair((3, 5, 6), 0.0) == [(a, 3), (b, 5), (d, 6)]
    roster.bind(a, 3)
    assert roster.pair((3, 5), 0.0) == [(b, 5)]
    roster.leave(a)
    assert roster.pair((5, 3), 0.0) == [(b, 5), (c, 3)]
    assert roster.pair((3,), 0.0) == [(c, 3)]


def test_an_endpoint_of_a_molecule_nobody_asked_for_lets_its_driver_wait():
    roster = Roster()
    roster.endpoints.add(3)
    waiting(roster, client(endpoint=3))
    assert roster.pair((5,), 0.0) == []


def test_a_match_function_chooses_among_the_molecules_without_a_driver():
    offers = []

    def match(driver, ids):
        offers.append((driver, list(ids)))
        return 5 if 5 in ids else None

    roster = Roster(match=match)
    assert not roster.asks_again
    a, b, _ = waiting(roster, client("lammps", 1.0), client("ase", 2.0), client("own", 3.0))
    roster.bind(a, 3)
    assert roster.asks_again
    assert roster.pair((3, 5, 6), 10.0) == [(b, 5)]
    # The second is not offered what the first has just got.
    assert offers == [(WaitingDriver("ase", 8.0), [5, 6]), (WaitingDriver("own", 7.0), [6])]


def test_a_match_function_may_let_a_driver_wait():
    roster = Roster(match=lambda driver, ids: None)
    waiting(roster, client(), client())
    assert roster.pair((0, 1), 0.0) == []
    assert roster.asks_again
    assert not Roster().asks_again


def test_a_match_function_is_not_asked_without_anything_to_offer():
    def match(driver, ids):
        raise AssertionError("asked")

    roster = Roster(match=match)
    roster.endpoints.add(3)
    waiting(roster, client(), client(endpoint=3))
    assert [molecule for _, molecule in roster.pair((3,), 0.0)] == [3]


def test_a_match_function_must_choose_what_it_was_offered():
    roster = Roster(match=lambda driver, ids: 99)
    waiting(roster, client("192.0.2.7:80"))
    with pytest.raises(ValueError, match=r"match chose molecule 99 for 192.0.2.7:80, offered were \[0, 1\]"):
        roster.pair((0, 1), 0.0)
    assert len(roster.waiting) == 1


@given(
    arrivals=st.lists(st.sampled_from([None, 0, 1, 2]), max_size=7),
    wanted=st.lists(st.integers(0, 5), unique=True),
    bound=st.sets(st.integers(0, 5)),
    endpoints=st.sets(st.integers(0, 2)),
)
@settings(derandomize=True, deadline=None, database=None, max_examples=150)
def test_no_pairing_gives_anything_twice(arrivals, wanted, bound, endpoints):
    roster = Roster()
    roster.endpoints |= endpoints
    for molecule in bound:
        (one,) = waiting(roster, client())
        roster.bind(one, molecule)
    clients = waiting(roster, *(client(str(number), endpoint=one) for number, one in enumerate(arrivals)))
    pairs = roster.pair(wanted, 0.0)
    chosen = [molecule for _, molecule in pairs]
    assert len(set(chosen)) == len(chosen)
    assert len({id(one) for one, _ in pairs}) == len(pairs)
    assert set(chosen) <= set(wanted) - bound
    assert [one for one, _ in pairs] == [one for one in clients if any(one is other for other, _ in pairs)]
    for one, molecule in pairs:
        assert one.endpoint == molecule if one.endpoint is not None else molecule not in endpoints
    # Nobody waits while a molecule waits for somebody like him.
    for one in set(clients) - {one for one, _ in pairs}:
        fits = {one.endpoint} if one.endpoint is not None else set(range(6)) - endpoints
        assert not fits & (set(wanted) - bound - set(chosen))


@pytest.mark.parametrize(
    "before", [{"old_dt_au": 7}, {"note": "dt_au: 7"}, {"a": {"dt_au": 7}}, {"x_dt_au_y": 7, "dt_au2": 7}]
)
def test_the_first_time_step_in_the_text_is_the_time_step(before):
    """LAMMPS' `fix mxl` takes the number behind the first letters dt_au, in whatever key or text."""
    text = encode_molecule_init(3, {**before, "dt_au": 0.5})[20:].decode()
    assert re.search(r"dt_au[^:]*:\s*([0-9.]+)", text)[1] == "0.5"
    assert json.loads(text) == {**before, "dt_au": 0.5, "molecule_id": 3}


def test_parameters_without_a_rival_of_the_time_step_stay_in_their_order():
    text = encode_molecule_init(3, {"b": 1, "dt_au": 0.5, "a": "x"})[20:]
    assert text == b'{"b": 1, "dt_au": 0.5, "a": "x", "molecule_id": 3}'
