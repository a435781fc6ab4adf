"""Members in processes of their own: election, messages, votes, and the loss of the leader."""

from __future__ import annotations

import contextlib
import json
import signal
import time

import pytest

from .member_processes import LIMIT_S, TIMES, MemberProcess, agreed_leader, introduce

#: Twice as slow as `TIMES`: those that stay do not miss each other, however busy the machine is.
STEADY = {name: 2 * value for name, value in TIMES.items()}


def begin(stack, count, **config):
    """Start members that know of each other."""
    members = []
    for _ in range(count):
        members.append(MemberProcess(size=count, **config))
        stack.callback(members[-1].close)
    introduce(members)
    return members


@pytest.fixture
def start(cleanup):
    return lambda count, **config: begin(cleanup, count, **config)


@pytest.fixture(scope="module")
def three():
    """Members that stay; as leaders they answer."""
    spec = {"kind": "leader", "message": "m", "timed": False, "params": STEADY}
    with contextlib.ExitStack() as stack:
        yield begin(stack, 3, spec=spec, reply=True)


@pytest.fixture
def members(three):
    """Those that stay, with a leader, and without a vote of their own."""
    set_votes(three, "abstain")
    agreed_leader(three)
    return three


def set_votes(members, vote):
    for member in members:
        member.say("set_vote", vote=vote)
        # Commands are carried out one after the other.
        member.ask("status")


def followers_of(leader, members):
    return [member for member in members if member is not leader]


def test_members_elect_one_leader_and_know_each_other(members):
    leader, _ = agreed_leader(members)
    for member in members:
        for other in followers_of(member, members):
            member.wait_event("joined", id=other.id)
        assert member.ask("status") == {
            "leader": leader.id,
            "is_leader": member is leader,
            "size": 3,
            "id": member.id,
        }


def test_a_message_reaches_all_members_and_its_sender(members):
    assert members[0].ask("send", data=b"hello".hex()) is True
    for member in members:
        member.wait_event("msg", data=b"hello".hex())


def test_the_leader_answers_the_member_that_wrote(members):
    leader, _ = agreed_leader(members)
    one, other = followers_of(leader, members)
    assert one.ask("to_leader", data="0102") is True
    leader.wait_event("to_leader", data="0102", **{"from": one.id})
    one.wait_event("from_leader", data="0201")
    assert leader.ask("to_member", id=other.id, data="0a") is True
    other.wait_event("from_leader", data="0a")
    assert not [event for event in one.events if event.get("data") == "0a"]


def test_the_leader_writes_to_itself(members):
    leader, _ = agreed_leader(members)
    assert leader.ask("to_leader", data="0304") is True
    leader.wait_event("to_leader", data="0304", **{"from": ""})
    leader.wait_event("from_leader", data="0403")


def test_what_cannot_be_sent_is_said(members):
    leader, _ = agreed_leader(members)
    follower = followers_of(leader, members)[0]
    assert leader.ask("to_member", id="ff" * 16, data="00") is False
    assert follower.ask("to_member", id=leader.id, data="00") is False


@pytest.mark.parametrize("vote", ["yes", "no"])
def test_a_vote_ends_with_what_the_members_say(members, vote):
    set_votes(members, vote)
    asker = followers_of(agreed_leader(members)[0], members)[0]
    rfv = asker.ask("request_vote", topic="74", kind="majority", timeout_ms=5000)
    for member in members:
        member.wait_event("vote_request", rfv=rfv, topic="74", when=None)
        member.wait_event("vote_result", rfv=rfv, vote=vote)


def test_an_action_vote_without_consensus_is_lost(members):
    set_votes(members, "yes")
    set_votes(members[:1], "no")
    leader, _ = agreed_leader(members)
    when = time.time() + 5
    rfv = leader.ask("request_action", topic="61", when=when, kind="consensus", timeout_ms=5000)
    for member in members:
        member.wait_event("vote_request", rfv=rfv, when=when)
        member.wait_event("vote_result", rfv=rfv, vote="no")


def test_votes_can_be_cast_by_hand_and_silence_is_a_timeout(members):
    by_hand = members[0].ask("request_vote", topic="74", kind="consensus", timeout_ms=5000)
    for member in members:
        member.wait_event("vote_request", rfv=by_hand)
        assert member.ask("cast", rfv=by_hand, vote=True) is True
    silent = members[0].ask("request_vote", topic="74", kind="majority", timeout_ms=300)
    for member in members:
        member.wait_event("vote_result", rfv=by_hand, vote="yes")
        member.wait_event("vote_result", rfv=silent, vote="timeout")


@pytest.mark.fault("C8", "group-ports", "T")
def test_a_killed_leader_is_succeeded_and_the_last_member_does_not_lead_alone(start, figure):
    members = start(3)
    leader, _ = agreed_leader(members)
    others = followers_of(leader, members)
    killed = time.monotonic()
    leader.signal(signal.SIGKILL)
    successor, _ = agreed_leader(others, other_than=leader.id)
    seconds = time.monotonic() - killed
    assert successor in others
    for member in others:
        member.wait_event("leader_exit", id=leader.id)
        member.wait_event("left", id=leader.id)
    assert others[0].ask("to_leader", data="01") is True
    successor.wait_event("to_leader", data="01")
    (rest,) = followers_of(successor, others)
    mark = len(rest.events)
    successor.signal(signal.SIGKILL)
    rest.wait_event("left", id=successor.id)
    rest.wait_event("leader_exit", since=mark)
    assert rest.ask("status") == {"leader": None, "is_leader": False, "size": 1, "id": rest.id}
    assert rest.ask("to_leader", data="00") is False
    assert rest.ask("request_vote", topic="00", kind="majority", timeout_ms=None) is None
    figure(f"both others named the successor within {seconds:.2f} s of the kill")


@pytest.mark.fault("C19", "group-ports")
def test_a_leader_that_leaves_is_succeeded_and_whoever_stops_exits_with_0(start):
    members = start(3)
    leader, _ = agreed_leader(members)
    others = followers_of(leader, members)
    leader.say("leave")
    successor, _ = agreed_leader(others, other_than=leader.id)
    for member in others:
        member.wait_event("left", id=leader.id)
    assert leader.ask("status")["leader"] is None
    assert leader.end_input() == 0
    (rest,) = followers_of(successor, others)
    successor.say("stop")
    rest.wait_event("left", id=successor.id)
    assert successor.process.wait(LIMIT_S) == 0


def test_a_stopped_leader_comes_back_as_a_follower(members):
    leader, _ = agreed_leader(members)
    others = followers_of(leader, members)
    mark = len(leader.events)
    leader.signal(signal.SIGSTOP)
    successor, _ = agreed_leader(others, other_than=leader.id)
    leader.signal(signal.SIGCONT)
    leader.wait_event("leader", since=mark, id=successor.id)
    assert agreed_leader(members)[0] is successor


def test_a_flood_delays_no_timer(members):
    """It lasts longer than a member may be silent."""
    leader, _ = agreed_leader(members)
    flooder, other = followers_of(leader, members)
    marks = {member: len(member.events) for member in (leader, other)}
    seconds = 1.2 * STEADY["peerTimeout"] / 1000
    flooder.say("flood", data="00" * 64, seconds=seconds, gap=0)
    assert flooder.wait_event("result", op="flood")["value"] > 0
    for member, mark in marks.items():
        changes = {event["event"] for event in member.events[mark:]} - {"msg", "result"}
        assert changes == set(), f"the group did not stay as it was: {changes}"


@pytest.mark.fault("C15", "group-ports", "T")
def test_a_wall_clock_that_jumps_changes_nothing(members):
    set_votes(members, "yes")
    marks = [len(member.events) for member in members]
    for member, hours in zip(members, (1, -1), strict=False):
        member.say("clock", by=3600 * hours)
    rfv = members[0].ask("request_vote", topic="74", kind="majority", timeout_ms=1200)
    for member, mark in zip(members, marks, strict=True):
        member.wait_event("vote_result", rfv=rfv, vote="yes")
        assert not {"left", "leader_exit"} & {event["event"] for event in member.events[mark:]}


def test_bad_commands_are_said_on_standard_error_and_change_nothing(members):
    member = members[0]
    for line in (
        b"{",
        b"[]",
        b'{"command": "fly"}',
        b'{"command": "update", "host": 1, "port": 2}',
        b"\xff",
        b"",
    ):
        member.process.stdin.write(line + b"\n")
    assert member.ask("status")["id"] == member.id
    deadline = time.monotonic() + LIMIT_S
    while b"fly" not in member.errors:
        assert time.monotonic() < deadline, member.errors
        time.sleep(0.01)


def test_a_group_with_keys_works_alike(start):
    from group_ports import CurveKeys

    keys = CurveKeys.generate()
    members = start(2, keys=[keys.public.decode(), keys.secret.decode()])
    agreed_leader(members)
    assert members[0].ask("send", data="01") is True
    members[1].wait_event("msg", data="01")


def test_a_group_of_the_default_kind_has_members_and_no_leader(start):
    spec = {"kind": "default", "message": "m", "timed": False, "params": {"heartbeat": 100}}
    one, other = start(2, spec=spec)
    one.wait_event("joined", id=other.id)
    other.wait_event("joined", id=one.id)
    assert one.ask("send", data="01") is True
    other.wait_event("msg", data="01")
    assert one.ask("to_leader", data="01") is False
    assert one.ask("status")["leader"] is None


SPEC = {"message": "m", "timed": False}


@pytest.mark.parametrize(
    "config",
    [
        {"group": ["rack"]},
        {"group": ["rack", "not an identifier"]},
        {"group": ["rack", "a"], "spec": {}},
        {"group": ["rack", "a"], "vote": "perhaps"},
        {"group": ["rack", "a"], "unknown": 1},
        {"group": ["rack", "a"], "host": "localhost"},
        {"group": ["rack", "a"], "keys": ["short", "short"]},
        {"group": ["rack", "a"], "keys": ["\u00e9" * 40, "\u00e9" * 40]},
        {"group": ["rack", "a"], "keys": ["short"]},
        {"group": ["rack", "a"], "keys": [1, 2]},
        {"group": ["rack", "a"], "keys": 5},
        {"group": ["rack", "a"], "spec": 5},
        {"group": ["rack", "a"], "spec": {**SPEC, "params": 5}},
        {"group": ["rack", "a"], "spec": {**SPEC, "params": {"heartbeat": "x"}}},
        {"group": ["rack", "a"], "spec": {**SPEC, "params": {"heartbeat": 10**400}}},
        {"group": ["rack", "a"], "spec": {**SPEC, "timed": "no"}},
        {"group": ["rack", "a"], "spec": {**SPEC, "kind": []}},
        {"group": ["rack", "a"], "host": 5},
        {"group": ["rack", "a"], "name": 5},
        {"group": ["rack", "a"], "min_size": True},
        {"group": ["rack", "a"], "min_size": 0},
        {"group": ["rack", "a"], "vote": ["yes"]},
        {"group": ["rack", "a"], "reply": "false"},
        {"group": 5},
        {},
        '{"group": ' + "[" * 100_000,
        '{"group": ["rack"',
    ],
    ids=lambda config: str(config)[:60],
)
def test_a_bad_configuration_ends_with_a_line_and_exit_code_2(config, capfd):
    from group_ports.__main__ import main

    assert main(["member", config if isinstance(config, str) else json.dumps(config)]) == 2
    said = capfd.readouterr()
    assert said.err.startswith("group-ports: ")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_configuration_that_is_not_there_is_exit_code_1(tmp_path, capfd):
    from group_ports.__main__ import main

    assert main(["member", str(tmp_path / "none.json")]) == 1
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["member"], ["keygen"]])
def test_help_lists_the_exit_codes(capsys, command):
    from group_ports.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "exit codes: 0 done; 1 " in capsys.readouterr().out
