"""What a member does at its commands, and how its events look as lines."""

from __future__ import annotations

import json
import time

import pytest

from group_ports import (
    LeaderElected,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    Message,
    MessageFailed,
    MessageKind,
    VoteRequested,
    VoteResult,
)
from group_ports._commands._member_config import MemberConfig
from group_ports._commands._member_driver import MemberDriver
from wireframe.group import Subject, Vote, Voting

ID = bytes(range(1, 17))
LIMIT_S = 20.0


class Driven:
    """A member alone in its group, and the lines it has written."""

    def __init__(self):
        self.lines = []
        self.driver = MemberDriver(
            MemberConfig(["rack", "a"], spec={"kind": "leader", "message": "m", "timed": False}), self.write
        )

    def write(self, name, **fields):
        self.lines.append((name, fields))

    def tell(self, command, **fields):
        return self.driver.obey(json.dumps({"command": command, **fields}).encode())

    def ask(self, command, **fields):
        assert self.tell(command, **fields)
        name, result = self.lines[-1]
        assert (name, result["op"]) == ("result", command)
        return result["value"]


@pytest.fixture
def driven():
    member = Driven()
    yield member
    member.driver.leave()


def test_a_member_alone_answers_every_command(driven):
    """Without a leader nobody can be written to, and nobody polls."""
    assert driven.ask("status") == {
        "leader": None,
        "is_leader": False,
        "size": driven.driver.group.groupSize(),
        "id": driven.driver.group.getGroupId().hex(),
    }
    assert driven.ask("send", data="00ff") is True
    assert driven.ask("to_leader", data="00") is False
    assert driven.ask("to_member", data="00", id=ID.hex()) is False
    assert driven.ask("request_vote", topic="00", kind="consensus", timeout_ms=100) is None
    assert driven.ask("request_action", topic="00", when=1.5, kind="majority", timeout_ms=100) is None
    assert driven.ask("cast", rfv="ABCD1234", vote=True) is False


def test_commands_without_an_answer_are_obeyed_in_silence(driven):
    before = time.time()
    assert driven.tell("update", host="127.0.0.1", port=9)
    assert driven.tell("set_vote", vote="no")
    assert driven.tell("clock", by=3600.0)
    assert driven.driver._wall_time() >= before + 3600.0
    assert driven.driver.obey(b"\n")
    assert driven.lines == []


def test_what_cannot_be_done_is_logged_and_answered(driven, caplog):
    assert driven.ask("send", data="no hex") is False
    assert driven.ask("request_vote", topic="00", kind="plurality") is None
    for line in (b"no json", b"[]", b'{"command": "dance"}', b'{"command": "set_vote", "vote": "perhaps"}'):
        assert driven.driver.obey(line)
    assert len(caplog.records) == 6
    assert "there is no command 'dance'" in caplog.text
    assert "majority or consensus" in caplog.text


def test_stop_ends_and_leave_leaves(driven):
    assert driven.tell("leave")
    assert driven.ask("send", data="00") is False
    assert not driven.tell("stop")


def test_a_flood_says_how_many_it_sent(driven):
    driven.tell("flood", data="00", seconds=0.05, gap=0.001)
    deadline = time.monotonic() + LIMIT_S
    while not driven.lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    name, fields = driven.lines[-1]
    assert (name, fields["op"]) == ("result", "flood")
    assert 0 < fields["value"] <= 51


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Message(MessageKind.TO_LEADER, b"\x01", ID, None), ("to_leader", {"data": "01", "from": ID.hex()})),
        (Message(MessageKind.FROM_LEADER, b"\x02", None, None), ("from_leader", {"data": "02"})),
        (MemberJoined(ID), ("joined", {"id": ID.hex()})),
        (MemberLeft(ID), ("left", {"id": ID.hex()})),
        (LeaderElected(ID, 7), ("leader", {"id": ID.hex()})),
        (LeaderExited(ID), ("leader_exit", {"id": ID.hex()})),
        (
            VoteRequested("ABCD1234", b"\x03", Voting.CONSENSUS, Subject.ACTION, 2.5),
            ("vote_request", {"rfv": "ABCD1234", "topic": "03", "when": 2.5}),
        ),
        (VoteResult("ABCD1234", Vote.TIMEOUT), ("vote_result", {"rfv": "ABCD1234", "vote": "timeout"})),
    ],
    ids=repr,
)
def test_events_have_the_fields_of_their_lines(driven, event, line):
    assert driven.driver.line_of(event) == line


def test_a_message_that_failed_is_reported(driven):
    name, fields = driven.driver.line_of(MessageFailed("boom"))
    assert (name, fields) == ("handler_error", {"error": "boom"})


@pytest.mark.parametrize(
    "line",
    [
        b'{"command": []}',
        b'{"command": {}}',
        b'{"command": null}',
        b"{}",
        b"5",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"command": ' * 100_000,
        b'{"command": "clock", "by": ' + b"1" * 400 + b"}",
        b'{"command": "clock", "by": 1e999}',
        b'{"command": "clock", "by": NaN}',
        b'{"command": "clock", "by": true}',
        b'{"command": "clock"}',
        b'{"command": "flood", "data": "00", "seconds": "x"}',
        b'{"command": "flood", "data": "00", "seconds": 0.1, "gap": 1e300}',
        b'{"command": "flood", "data": "00", "seconds": NaN}',
        b'{"command": "update", "host": "a b", "port": 1}',
        b'{"command": "update", "host": "127.0.0.1", "port": 99999}',
        b'{"command": "update", "host": 5, "port": 9}',
        b'{"command": "set_vote", "vote": ["yes"]}',
    ],
    ids=lambda line: str(line[:60]),
)
def test_a_line_that_is_no_command_is_one_line_in_the_log_and_nothing_else(driven, caplog, line):
    assert driven.driver.obey(line)
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert driven.lines == []
    assert driven.driver._clock_offset == 0.0
    assert driven.ask("status")["id"] == driven.driver.group.getGroupId().hex()


@pytest.mark.parametrize(
    ("command", "fields", "answer"),
    [
        ("cast", {"rfv": "ABCD1234", "vote": "no"}, False),
        ("cast", {"rfv": "ABCD1234", "vote": 1}, False),
        ("cast", {"rfv": 5, "vote": True}, False),
        ("to_member", {"id": "", "data": "00"}, False),
        ("to_member", {"id": 5, "data": "00"}, False),
        ("request_vote", {"topic": "00", "timeout_ms": "x"}, None),
        ("request_vote", {"topic": "00", "timeout_ms": -5}, None),
        ("request_vote", {"topic": "00", "kind": 5}, None),
        ("request_action", {"topic": "00", "when": 10**400}, None),
        ("request_action", {"topic": "00", "when": "now"}, None),
    ],
)
def test_a_command_with_wrong_fields_is_logged_and_answered(driven, caplog, command, fields, answer):
    assert driven.ask(command, **fields) is answer
    assert len(driven.lines) == len(caplog.records) == 1


def test_the_clock_jumps_so_far_at_the_most(driven):
    """However often it is told to: times have to stay dates."""
    for _ in range(3):
        assert driven.tell("clock", by=1e10)
    assert driven.driver._wall_time() < 2e10
