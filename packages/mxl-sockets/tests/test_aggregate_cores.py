"""The parts of aggregation that touch no socket: barrier, roster, link, shares, and the bridge's protocol."""

from __future__ import annotations

import itertools
import json
import struct

import numpy as np
import pytest

from mxl_sockets._aggregate_barrier import GroupBarrier, GroupStage
from mxl_sockets._aggregate_link import BridgeLink, LinkPhase, take_column
from mxl_sockets._aggregate_roster import GroupRoster, group_name
from mxl_sockets._aggregate_settings import AggregateSettings
from mxl_sockets._aggregate_shares import GroupShare, divide, join_amplitudes, join_extras
from mxl_sockets._bridge_protocol import BridgeProtocol, Work
from mxl_sockets.errors import UnexpectedMessage
from wireframe import NEED_DATA, BadHeader, BadPayload, FrameTooLarge, aggregate

READY = aggregate.encode_header(aggregate.AGGREADY)


class Share:
    def __init__(self, *ids):
        self.ids = ids


# -- barrier -----------------------------------------------------------------


def frozen():
    barrier = GroupBarrier()
    barrier.freeze((1, 2, 3), b"fields", {"a": Share(1, 3), "b": Share(2)})
    return barrier


def test_a_group_is_asked_once_and_its_answer_is_kept():
    barrier = frozen()
    assert barrier.unasked() == ["a", "b"]
    assert barrier.ask("a", 5.0).ids == (1, 3)
    assert (barrier.unasked(), barrier.stage_of("a")) == (["b"], GroupStage.ASKED)
    assert barrier.late(7.0) == {1: 2.0, 3: 2.0}
    assert barrier.waited_for(7.0) == {"a": 2.0}
    barrier.answer("a", "A")
    assert not barrier.lose("a")  # its bridge dies afterwards
    assert barrier.unanswered() == ["b"]
    barrier.ask("b", 6.0)
    assert barrier.lose("b")
    assert barrier.stage_of("b") is GroupStage.UNASKED
    barrier.ask("b", 7.0)
    assert not barrier.complete
    barrier.answer("b", "B")
    assert barrier.stage_of("b") is GroupStage.ANSWERED
    assert barrier.take() == {"a": "A", "b": "B"}
    assert not barrier.frozen
    assert barrier.stage_of("a") is None


@pytest.mark.parametrize(
    "call",
    [
        lambda barrier: barrier.freeze((9,), b"", {"c": Share(9)}),
        lambda barrier: barrier.answer("a", "A"),
        lambda barrier: barrier.answer("c", "C"),
        lambda barrier: barrier.ask("c", 0.0),
        lambda barrier: (barrier.ask("a", 0.0), barrier.ask("a", 0.0)),
        lambda barrier: (barrier.ask("a", 0.0), barrier.answer("a", 1), barrier.answer("a", 2)),
        lambda barrier: (barrier.ask("a", 0.0), barrier.answer("a", 1), barrier.ask("a", 2)),
        lambda barrier: barrier.take(),
        lambda barrier: GroupBarrier().freeze((), b"", {}),
    ],
)
def test_what_would_ask_twice_or_take_a_foreign_answer_is_refused(call):
    barrier = frozen()
    with pytest.raises(ValueError, match=r"."):
        call(barrier)
    assert barrier.ids == (1, 2, 3)


# -- roster ------------------------------------------------------------------


def link(phase=LinkPhase.NEW):
    made = BridgeLink("peer", max_extras=100)
    made.phase = phase
    return made


def test_groups_have_the_names_that_the_parameters_say():
    assert group_name(3, {"aggregate_group": "\tnode "}) == "node"
    assert group_name(-3, {}) == group_name(-3, {"aggregate_group": None}) == "molecule--3"
    for empty in ("", "  "):
        with pytest.raises(ValueError, match="empty"):
            group_name(3, {"aggregate_group": empty})


def test_a_molecule_never_changes_its_group_and_nothing_is_kept_of_a_bad_call():
    roster = GroupRoster()
    roster.remember({1: {"aggregate_group": "a"}})
    for bad, error in (
        ({2: {}, 1: {"aggregate_group": "b"}}, ValueError),
        ({2: {}, 3: {"x": object()}}, TypeError),
        ({2: {}, 1 << 31: {}}, ValueError),
        ({2: {}, "3": {}}, TypeError),
    ):
        with pytest.raises(error):
            roster.remember(bad)
    assert roster.group_of == {1: "a"}
    assert roster.unknown([1, 2]) == [2]


def test_a_bridge_is_bound_when_its_group_is_wanted_and_serves_when_it_is_ready():
    roster, bridge = GroupRoster(), link()
    roster.park(bridge, "a")
    assert (bridge.phase, roster.holder("a")) == (LinkPhase.PARKED, bridge)
    roster.remember({1: {"aggregate_group": "a"}, 2: {}})
    a, other = roster.groups_of([1, 2, 9])
    assert roster.wants_start(a)
    assert not roster.wants_start(other)
    assert json.loads(roster.init_message(a)[16:])["molecule_ids"] == [1]
    assert roster.start(a) is bridge
    assert roster.missing([1, 2, 9]) == [2, 9]
    assert roster.unready([1, 2, 9]) == [1, 2, 9]
    bridge.phase = LinkPhase.READY
    assert roster.unready([1, 2, 9]) == [2, 9]
    with pytest.raises(ValueError, match="has a bridge"):
        roster.park(link(), "a")
    assert roster.leave(bridge) is a
    assert roster.missing([1]) == [1]


def test_a_bridge_that_leaves_while_it_waits_is_forgotten():
    roster, bridge = GroupRoster(), link()
    roster.park(bridge, "a")
    assert roster.leave(bridge) is None
    assert roster.holder("a") is None
    assert roster.leave(link()) is None


def test_a_group_that_grows_is_started_again_once_its_bridge_owes_nothing():
    roster, bridge = GroupRoster(), link()
    roster.park(bridge, "a")
    roster.remember({1: {"aggregate_group": "a"}})
    (a,) = roster.groups_of([1])
    roster.start(a)
    bridge.expect_answers(1)
    roster.remember({1: {"aggregate_group": "a", "dt_au": 2}})
    assert not a.outdated  # the same molecules
    roster.remember({2: {"aggregate_group": "a"}})
    assert not roster.wants_start(a)
    assert not a.serves
    bridge.phase = LinkPhase.READY
    assert roster.wants_start(a)
    roster.start(a)
    bridge.phase = LinkPhase.READY
    assert a.serves
    assert list(a.payloads) == [1, 2]
    assert a.payloads[1] == {"aggregate_group": "a", "dt_au": 2, "molecule_id": 1}


def test_the_last_state_is_handed_on_and_only_if_asked_for():
    for resume in (False, True):
        roster = GroupRoster(resume=resume)
        roster.remember({1: {"aggregate_group": "a"}, 2: {"aggregate_group": "a", "state": 7}})
        roster.remember_extras([1, 2], [b'{"state": [0.1]}', b"no JSON"])
        roster.remember_extras([1], [b'{"state": [0.2]}'])
        said = json.loads(roster.init_message(roster.groups["a"])[16:])
        states = [payload.get("state") for payload in said["init_payloads"].values()]
        assert states == ([[0.2], 7] if resume else [None, 7])
        assert said.get("resume") is (True if resume else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": -1.0},
        {"latency": float("inf")},
        {"handshake_timeout": 0.0},
        {"silence_timeout": 0.0},
        {"max_extras": -1},
        {"max_waiting": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    good = {
        "timeout": 1.0, "latency": 0.0, "handshake_timeout": 1.0,
        "silence_timeout": None, "max_extras": 0, "max_waiting": 1,
    }  # fmt: skip
    AggregateSettings(**good)
    with pytest.raises(ValueError, match=r"are times|positive|at least"):
        AggregateSettings(**{**good, **wrong})


# -- link --------------------------------------------------------------------


@pytest.mark.parametrize("phase", [LinkPhase.PARKED, LinkPhase.READY])
@pytest.mark.parametrize("size", [1, 12, 50])
def test_bytes_that_nobody_asked_for_are_an_error_from_the_first_one(phase, size):
    """A late or repeated result too."""
    result = aggregate.encode_result({1: (bytes(24), b"ab")})
    with pytest.raises(UnexpectedMessage, match=phase.value):
        list(link(phase).receive(result[:size]))


def test_a_bridge_may_say_only_what_is_due():
    bridge = link()
    with pytest.raises(BadHeader):
        list(bridge.receive(READY))
    bridge = link(LinkPhase.STARTING)
    assert list(bridge.receive(READY)) == [aggregate.AGGREADY]
    bridge.expect_answers(1)
    with pytest.raises(FrameTooLarge):
        list(bridge.receive(aggregate.encode_result({1: (bytes(24), b""), 2: (bytes(24), b"")})))


def test_a_second_result_behind_the_first_is_an_error():
    """The caller has handled the first by then."""
    bridge = link()
    bridge.expect_answers(1)
    result = aggregate.encode_result({1: (bytes(24), b"")})
    events = bridge.receive(result * 2)
    assert isinstance(next(events), aggregate.Result)
    bridge.phase = LinkPhase.READY
    with pytest.raises(UnexpectedMessage):
        next(events)


def test_columns_are_taken_as_the_decoder_wants_them():
    """Both takers, on the same records."""
    records = b"".join(aggregate.RESULT_RECORD.pack(one, bytes(24), -one) for one in (5, -6, 7))
    assert take_column(records, 0, 32, 3) == struct.pack("<3i", 5, -6, 7)
    assert take_column(records, 28, 32, 3) == struct.pack("<3i", -5, 6, -7)
    assert take_column(b"", 0, 32, 0) == b""


# -- shares ------------------------------------------------------------------

FIELDS = np.arange(12.0).reshape(4, 3)


def read(share, frame):
    decoder = aggregate.Decoder()
    decoder.feed(frame)
    step = decoder.next_event()
    assert step is not NEED_DATA
    assert decoder.buffered == 0
    return step.requests()


def test_shares_divide_the_molecules_and_their_answers_join_again_in_order():
    """Rows in one piece and rows in between others; answers in any order, with extras and without."""
    ids = (4, 2, 9, 7)
    shares = divide(ids, {4: "a", 2: "b", 9: "a", 7: "c"})
    assert {name: share.ids for name, share in shares.items()} == {"a": (4, 9), "b": (2,), "c": (7,)}
    answers = {}
    for name, share in shares.items():
        share.fill(FIELDS)
        fields = read(share, share.frame)
        assert fields == {one: FIELDS[ids.index(one)].tobytes() for one in share.ids}
        extra = {one: b"" if name == "b" else bytes([one]) for one in fields}
        frame = aggregate.encode_result({one: (fields[one], extra[one]) for one in reversed(fields)})
        decoder = aggregate.Decoder()
        decoder.feed(frame)
        answers[name] = share.read(decoder.next_event())
    joined = join_amplitudes(4, shares, answers)
    assert joined.tobytes() == FIELDS.tobytes()
    joined[0] = 1.0  # the caller's own
    assert join_extras(4, shares, answers) == [b"\x04", b"", b"\x09", b"\x07"]


def test_frames_are_those_of_the_scalar_encoder_with_equal_fields_once():
    """13: 0.0 and -0.0 stay apart, in either form; the block form repeats equal fields."""
    fields = np.array([[0.0, 1, 2], [-0.0, 1, 2], [0.0, 1, 2], [np.nan, 0, 0]])
    share = GroupShare((1, 2, 3, 4), slice(0, 4))
    share.fill_once(fields)
    scalar = aggregate.encode_step({one + 1: fields[one].tobytes() for one in range(4)})
    assert bytes(share.frame) == scalar
    assert aggregate.STEP_HEAD.unpack_from(scalar)[1:] == (4, 3)
    share.fill(fields)
    block = b"".join(aggregate.encode_step_block((1, 2, 3, 4), fields))
    assert bytes(share.frame) == block
    fields[2, 0] = 5.0
    share.fill_once(fields)
    assert bytes(share.frame) == b"".join(aggregate.encode_step_block((1, 2, 3, 4), fields))


@pytest.mark.parametrize("others", [(1,), (1, 3), (1, 2, 3)])
def test_a_result_for_other_molecules_is_refused(others):
    share = GroupShare((1, 2), slice(0, 2))
    decoder = aggregate.Decoder()
    decoder.feed(aggregate.encode_result({one: (bytes(24), b"") for one in others}))
    with pytest.raises(BadPayload, match="answered for"):
        share.read(decoder.next_event())


def test_a_step_has_each_molecule_once():
    with pytest.raises(ValueError, match="different molecules"):
        divide((1, 1), {1: "a"})


# -- the bridge's side -------------------------------------------------------

INIT = aggregate.GroupInit("a", {1: {}, 2: {}})


def step_of(*ids, field=bytes(24)):
    decoder = aggregate.Decoder()
    decoder.feed(aggregate.encode_step(dict.fromkeys(ids, field)))
    return decoder.next_event()


def ready(protocol):
    assert protocol.begin() == aggregate.encode_hello("a")
    protocol.receive(INIT)
    assert protocol.work is Work.START
    protocol.started()
    assert protocol.work is Work.BIND
    assert protocol.bound() == READY
    assert protocol.work is Work.NOTHING


def results(parts):
    decoder = aggregate.Decoder()
    decoder.feed(b"".join(parts))
    event = decoder.next_event()
    return None if event is NEED_DATA else event.answers()


def test_a_step_is_made_and_answered_in_the_order_it_was_asked():
    protocol = BridgeProtocol("a")
    ready(protocol)
    protocol.receive(step_of(2, 1))
    assert (protocol.work, protocol.ids, protocol.fields) == (Work.STEP, (2, 1), bytes(48))
    assert results(protocol.stepped(b"x" * 24 + b"y" * 24, [b"", b"e"])) == {
        2: (b"x" * 24, b""),
        1: (b"y" * 24, b"e"),
    }
    assert (protocol.work, protocol.steps) == (Work.NOTHING, 1)


def test_a_step_that_comes_too_early_waits_and_only_one():
    """The established hub asks again after a timeout; each is made once, one after the other."""
    protocol = BridgeProtocol("a")
    ready(protocol)
    protocol.receive(step_of(1))
    assert protocol.can_receive
    protocol.receive(step_of(2))
    assert not protocol.can_receive
    assert list(results(protocol.stepped(bytes(24), [b""]))) == [1]
    assert (protocol.work, protocol.ids, protocol.can_receive) == (Work.STEP, (2,), True)


@pytest.mark.parametrize("how", ["lost", "started again"])
def test_the_result_of_a_step_whose_hub_is_gone_is_thrown_away(how):
    """The step is brought to its end first, then all drivers get an INIT that undoes it."""
    protocol = BridgeProtocol("a")
    ready(protocol)
    protocol.receive(step_of(1, 2))
    protocol.receive(step_of(1, 2))
    if how == "lost":
        protocol.begin()
        assert protocol.wanted is None
    protocol.receive(INIT)
    assert protocol.work is Work.STEP
    assert protocol.stepped(bytes(48), [b"", b""]) == []
    assert (protocol.work, protocol.steps) == (Work.START, 0)
    protocol.started()
    protocol.bound()
    protocol.receive(step_of(1, 2))
    assert results(protocol.stepped(bytes(48), [b"", b""])).keys() == {1, 2}


def test_a_step_that_waited_dies_with_its_connection():
    """The next hub gets no result of what the last one had asked too early."""
    protocol = BridgeProtocol("a")
    ready(protocol)
    protocol.receive(step_of(1, 2))
    protocol.receive(step_of(1, 2))
    protocol.begin()
    assert protocol.is_stale
    assert protocol.stepped(bytes(48), [b"", b""]) == []
    assert (protocol.work, protocol.steps) == (Work.NOTHING, 0)


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([step_of(1)], UnexpectedMessage),
        ([INIT, step_of(1)], UnexpectedMessage),
        ([aggregate.GroupInit("b", {1: {}})], BadPayload),
    ],
)
def test_what_the_hub_must_not_say_is_an_error(events, error):
    protocol = BridgeProtocol("a")
    protocol.begin()
    *before, last = events
    for event in before:
        protocol.receive(event)
    with pytest.raises(error):
        protocol.receive(last)


def test_molecules_that_were_not_named_are_an_error_also_after_a_new_init():
    protocol = BridgeProtocol("a")
    ready(protocol)
    with pytest.raises(BadPayload, match=r"\[3\]"):
        protocol.receive(step_of(1, 3))
    protocol = BridgeProtocol("a")
    ready(protocol)
    protocol.receive(step_of(1, 2))
    protocol.stepped(bytes(48), [b"", b""])
    protocol.receive(aggregate.GroupInit("a", {1: {}}))
    protocol.started()
    protocol.bound()
    with pytest.raises(BadPayload, match=r"\[2\]"):
        protocol.receive(step_of(1, 2))


def test_stop_ends_it_whatever_it_does():
    protocol = BridgeProtocol("a")
    ready(protocol)
    protocol.receive(step_of(1))
    protocol.receive(aggregate.STOP)
    assert protocol.work is Work.END
    with pytest.raises(ValueError, match="no name of a group"):
        BridgeProtocol(" ")


@pytest.mark.parametrize("order", list(itertools.permutations((9, -3, 4))))
def test_answers_of_three_in_any_order_reach_their_own_molecules(order):
    """Two molecules cannot tell an order from its inverse, three can."""
    ids = (9, -3, 4)
    share = GroupShare(ids, slice(0, 3))
    frame = aggregate.encode_result({one: (np.full(3, float(one)).tobytes(), b"%d" % one) for one in order})
    decoder = aggregate.Decoder()
    decoder.feed(frame)
    answer = share.read(decoder.next_event())
    assert answer.amplitudes[:, 0].tolist() == [9.0, -3.0, 4.0]
    assert answer.extras == [b"9", b"-3", b"4"]
