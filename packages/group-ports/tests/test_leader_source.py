"""Groups whose leader somebody else decides about: what they do with what they are told."""

# ruff: noqa: N802, N803 - handlers have the names of the original

from __future__ import annotations

import math
import random
import threading
import time

import pytest

from group_ports import Group, Leadership, Message, MessageKind, PortError
from group_ports._actions import (
    BindAnswer,
    ConnectQuery,
    DisconnectQuery,
    LeaderElected,
    LeaderExited,
    Publish,
    Report,
    UnbindAnswer,
)
from group_ports._member import GroupMember
from group_ports._settings import GroupSettings
from group_ports._sourced_election import Bulletin
from group_ports._status import GroupStatus, StatusBoard
from wireframe import group as wire

OWN, ANN, BOB = b"\x01" * 16, b"\x0a" * 16, b"\x0b" * 16
PLACE, ELSEWHERE = ("10.0.0.2", 5000), ("10.0.0.3", 6000)


class Told:
    """A member, its source, and what came of it."""

    def __init__(self, **more):
        self.bulletin = Bulletin()
        self.member = GroupMember(
            GroupSettings(3), OWN, random.Random(1), 0.0, bulletin=self.bulletin, **more
        )
        self.at(0.0)

    def at(self, now):
        """Let time pass; return what the member does beside its heartbeats."""
        actions = self.member.on_time(now)
        return [action for action in actions if action != Publish(wire.Tic(OWN))]

    def tell(self, now, *word):
        self.bulletin.post(Leadership(*word) if word else None)
        assert self.member.next_deadline() == -math.inf
        return self.at(now)


@pytest.fixture
def told():
    return Told()


def test_an_appointed_member_leads_until_its_time_is_over(told):
    assert told.tell(1.0, OWN, 7, 5.0) == [BindAnswer(), Report(LeaderElected(OWN, 7))]
    assert (told.member.is_leader, told.member.leader_id, told.member.term) == (True, OWN, 7)
    assert told.member.until == 5.0
    told.member.answer_bound(*PLACE, 1.0)
    assert told.at(4.999) == []
    assert told.member.next_deadline() <= 5.0
    assert told.at(5.0) == [UnbindAnswer(), Report(LeaderExited(OWN))]
    assert (told.member.is_leader, told.member.leader_id, told.member.term) == (False, None, 7)


def test_a_leadership_that_is_said_again_goes_on_without_news(told):
    told.tell(1.0, OWN, 7, 5.0)
    assert told.tell(4.0, OWN, 7, 8.0) == []
    assert told.at(7.9) == []
    assert told.at(8.0) == [UnbindAnswer(), Report(LeaderExited(OWN))]


def test_what_was_over_before_it_was_read_is_never_true(told):
    """A process that was stopped does not lead, not for one event."""
    assert told.tell(5.0, OWN, 7, 5.0) == []
    told.tell(5.0, OWN, 7, 6.0)
    assert told.tell(9.0, OWN, 7, 9.0) == [UnbindAnswer(), Report(LeaderExited(OWN))]


def test_only_the_latest_word_counts(told):
    told.bulletin.post(Leadership(OWN, 7, 9.0))
    told.bulletin.post(None)
    assert told.at(1.0) == []
    assert not told.bulletin.is_new


def test_another_leader_is_followed_to_where_it_answers(told):
    assert told.tell(1.0, ANN, 7, 9.0) == []
    assert told.tell(2.0, ANN, 7, 9.0, PLACE) == [ConnectQuery(*PLACE), Report(LeaderElected(ANN, 7))]
    assert told.tell(2.5, ANN, 7, 9.0, ELSEWHERE) == [ConnectQuery(*ELSEWHERE)]
    assert told.tell(3.0, ANN, 7, 12.0, ELSEWHERE) == []
    assert told.tell(4.0, BOB, 9, 12.0, PLACE) == [
        Report(LeaderExited(ANN)),
        ConnectQuery(*PLACE),
        Report(LeaderElected(BOB, 9)),
    ]
    assert told.at(12.0) == [DisconnectQuery(), Report(LeaderExited(BOB))]


def test_a_leader_that_cannot_be_asked_is_none(told):
    """Otherwise there would be a leader that `sendToLeader` does not find."""
    assert told.tell(1.0, ANN, 7, 9.0) == []
    assert told.member.leader_id is None
    told.tell(2.0, ANN, 7, 9.0, PLACE)
    assert told.tell(3.0, ANN, 7, 9.0) == [DisconnectQuery(), Report(LeaderExited(ANN))]


def test_the_leadership_goes_from_one_to_the_other_and_back(told):
    told.tell(1.0, ANN, 1, 9.0, PLACE)
    assert told.tell(2.0, OWN, 2, 9.0) == [
        DisconnectQuery(),
        Report(LeaderExited(ANN)),
        BindAnswer(),
        Report(LeaderElected(OWN, 2)),
    ]
    assert told.tell(3.0, OWN, 3, 9.0) == [
        UnbindAnswer(),
        Report(LeaderExited(OWN)),
        BindAnswer(),
        Report(LeaderElected(OWN, 3)),
    ]
    assert told.tell(4.0, ANN, 4, 9.0, PLACE) == [
        UnbindAnswer(),
        Report(LeaderExited(OWN)),
        ConnectQuery(*PLACE),
        Report(LeaderElected(ANN, 4)),
    ]
    assert told.tell(5.0) == [DisconnectQuery(), Report(LeaderExited(ANN))]
    assert told.tell(6.0) == []


def test_a_leader_that_was_out_of_reach_comes_back_with_its_term(told):
    told.tell(1.0, OWN, 7, 2.0)
    told.at(2.0)
    assert told.tell(3.0, OWN, 7, 4.0) == [BindAnswer(), Report(LeaderElected(OWN, 7))]


@pytest.mark.parametrize("word", [(ANN, 6), (BOB, 7), (OWN, 7), (OWN, 1)])
def test_terms_never_go_back_and_have_one_leader(told, word, caplog):
    told.tell(1.0, ANN, 7, 9.0, PLACE)
    assert told.tell(2.0, *word, 9.0) == [DisconnectQuery(), Report(LeaderExited(ANN))]
    assert told.member.term == 7
    assert told.tell(3.0, *word, 9.0, PLACE) == []
    assert told.tell(4.0, word[0], 8, 9.0, PLACE)[-1] == Report(LeaderElected(word[0], 8))


def test_the_term_of_a_former_life_is_kept():
    told = Told(last_term=2**40)
    assert told.member.term == told.member.last_term == 2**40
    assert told.tell(1.0, OWN, 2**40 - 1, 9.0) == []
    assert told.tell(1.0, ANN, 2**40, 9.0, PLACE) != []
    told.tell(2.0, OWN, 2**40 + 1, 9.0)
    assert told.member.last_term == 2**40 + 1


@pytest.mark.parametrize("term", [-1, 2**63])
def test_an_impossible_former_term_is_refused(term):
    with pytest.raises(ValueError, match="term"):
        Told(last_term=term)


def test_nobody_stands_and_election_messages_change_nothing(told):
    for other in (ANN, BOB):
        told.member.receive(wire.Tic(other), 0.1)
    told.at(0.3)
    told.tell(0.3, OWN, 7, math.inf)
    for now, body in (
        (0.35, wire.Request(9, ANN)),
        (0.4, wire.Ballot(9, ANN, True, BOB)),
        (0.5, wire.Ballot(9, OWN, False, BOB)),
        (0.6, wire.LeaderNote(9, ANN, *PLACE)),
        (0.7, wire.Leave(BOB)),
    ):
        actions = told.member.receive(body, now)
        assert not [action for action in actions if not isinstance(action, Report)]
    assert told.member.is_leader
    assert told.tell(1.0) == [UnbindAnswer(), Report(LeaderExited(OWN))]
    for tick in range(100):
        assert not [action for action in told.at(2.0 + tick) if isinstance(action, Publish)]


def test_polls_are_counted_by_the_appointed_leader_and_end_with_its_time(told):
    told.member.receive(wire.Tic(ANN), 0.1)
    told.tell(0.2, OWN, 7, 1.0)
    rfv_id, actions = told.member.request_vote(b"x", 0.3, timeout=9.0)
    assert Publish in [type(action) for action in actions]
    assert Publish(wire.Announcement(rfv_id, wire.Vote.TIMEOUT)) in told.at(1.0)
    assert told.member.request_vote(b"x", 1.1)[0] is None


def test_a_member_that_leaves_gives_the_leadership_up(told):
    told.tell(1.0, OWN, 7, 9.0)
    actions = told.member.leave(2.0)
    assert actions == [UnbindAnswer(), Report(LeaderExited(OWN)), Publish(wire.Leave(OWN))]


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ((b"short", 1, 1.0), ValueError),
        ((OWN, 0, 1.0), ValueError),
        ((OWN, 2**63, 1.0), ValueError),
        ((OWN, True, 1.0), TypeError),
        ((OWN, 1.0, 1.0), TypeError),
        ((OWN, 1, math.nan), ValueError),
        ((OWN, 1, 1.0, ("two words", 5000)), ValueError),
        ((OWN, 1, 1.0, ("10.0.0.1", 0)), ValueError),
        ((OWN, 1, 1.0, ("10.0.0.1", "5000")), TypeError),
    ],
)
def test_an_impossible_leadership_is_refused(word, error):
    with pytest.raises(error):
        Leadership(*word)


def test_a_status_does_not_outlive_the_leadership():
    """Whoever asks after a pause of the process hears the truth, even before the worker does."""
    long_ago = GroupStatus(OWN, True, 7, frozenset({OWN}), time.monotonic())
    board = StatusBoard(long_ago)
    assert board.status == GroupStatus(None, False, 7, frozenset({OWN}))
    board.show(GroupStatus(OWN, True, 7, frozenset({OWN}), time.monotonic() + 1000))
    assert board.status.is_leader


# -- Group ----------------------------------------------------------------------------------------------


class Desk:
    """Says who leads, as the test wants it, to all members; knows where leaders answer."""

    def __init__(self):
        self.lock = threading.Lock()
        self.places = {}
        self.members = []
        self.ended = []

    def source(self):
        return DeskSource(self)

    def appoint(self, group, term, until=math.inf):
        member_id = group.getGroupId()
        for member in self.members:
            member.tell(Leadership(member_id, term, until, self.places.get(member_id)))

    def nobody(self):
        for member in self.members:
            member.tell(None)


class DeskSource:
    def __init__(self, desk):
        self.desk = desk

    def start(self, key, member_id, tell):
        self.key, self.member_id, self.tell = key, member_id, tell
        self.desk.members.append(self)

    def answers_at(self, host, port):
        self.desk.places[self.member_id] = (host, port)

    def stop(self):
        self.desk.ended.append(self)


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def join(cleanup, desk):
    def join(count, **more):
        groups = [
            cleanup.enter_context(Group.standalone("rack", "a", size=9, leader_source=desk.source(), **more))
            for _ in range(count)
        ]
        for group in groups:
            for other in groups:
                group.update(*other.address)
        for group in groups:
            assert group.wait_until(lambda status: status.size == count)
        return groups

    return join


def test_a_group_follows_its_source_and_talks_to_its_leader(join, desk, eventually):
    """Two of nine members are no quorum; the source does not mind."""
    seen = []

    class Component:
        def handleLeaderElected(self, group, leaderId):
            seen.append(("elected", group.getGroupId(), leaderId))

        def handleLeaderExited(self, group, leaderId):
            seen.append(("exited", group.getGroupId(), leaderId))

    leader, follower = join(2, component=Component())
    assert [member.key for member in desk.members] == ["message@rack.a"] * 2
    assert not follower.hasLeader()
    assert follower.sendToLeader(b"x") is False
    desk.appoint(leader, 2**40)
    eventually(lambda: leader.getGroupId() in desk.places)
    desk.appoint(leader, 2**40)
    assert follower.wait_until(lambda status: status.leader_id == leader.getGroupId())
    assert leader.isLeader()
    assert not follower.isLeader()
    assert leader.term == follower.term == 2**40
    assert follower.sendToLeader(b"up")
    assert leader.recv() == b"up"
    assert leader.sendToMember(b"down")
    assert follower.recv() == b"down"
    desk.nobody()
    for group in (leader, follower):
        assert group.wait_until(lambda status: status.leader_id is None)
    assert follower.sendToLeader(b"x") is False
    with pytest.raises(PortError):
        leader.sendToMember(b"x", follower.getGroupId())
    for group in (leader, follower):
        while group.handleMessage(0.05):
            pass
        own, of = group.getGroupId(), leader.getGroupId()
        assert [event for event in seen if event[1] == own] == [("elected", own, of), ("exited", own, of)]


def test_a_leader_nobody_confirms_says_so_by_the_clock(join, desk):
    (leader,) = join(1)
    until = time.monotonic() + 0.3
    desk.appoint(leader, 1, until)
    leader.wait_until(lambda status: status.is_leader or time.monotonic() >= until, 1.0)
    while time.monotonic() < until:
        time.sleep(0.01)
    assert not leader.isLeader()
    assert not leader.hasLeader()
    assert leader.status().until == math.inf
    assert leader.wait_until(lambda status: status == leader._worker.board._status)


def test_the_leader_hears_itself(join, desk):
    (leader,) = join(1)
    desk.appoint(leader, 1)
    assert leader.wait_until(lambda status: status.is_leader)
    assert leader.sendToLeader(b"me")
    while (event := leader.receive(1.0)) is not None and not isinstance(event, Message):
        pass
    assert event == Message(MessageKind.TO_LEADER, b"me", b"")


def test_leaving_stops_the_source_and_a_late_word_is_harmless(join, desk):
    (group,) = join(1)
    (source,) = desk.members
    group.leave()
    assert desk.ended == [source]
    desk.appoint(group, 1)
    assert not group.isLeader()


def test_a_member_that_dies_gives_the_leadership_back(desk, caplog):
    """Else the source would keep a leader alive that does nothing any more."""

    def fail(term):
        raise OSError("disk full")

    with Group.standalone("rack", "a", leader_source=desk.source(), store_term=fail) as group:
        desk.appoint(group, 1)
        assert group._worker.join(10.0)
        assert desk.ended == desk.members
        assert not group.isLeader()


def test_a_source_that_cannot_start_leaves_nothing_behind(desk):
    class Broken(DeskSource):
        def start(self, key, member_id, tell):
            raise ConnectionError("no source")

    before = threading.active_count()
    source = Broken(desk)
    with pytest.raises(ConnectionError):
        Group.standalone("rack", "a", leader_source=source)
    assert desk.ended == [source]
    assert threading.active_count() == before


def test_a_source_that_cannot_stop_is_logged(desk, caplog):
    class Stubborn(DeskSource):
        def stop(self):
            raise LookupError("no end")

    with Group.standalone("rack", "a", leader_source=Stubborn(desk)):
        pass
    assert "could not be stopped" in caplog.text


def test_a_group_without_a_leader_takes_no_source(desk):
    with pytest.raises(ValueError, match="source"):
        Group.standalone("rack", "a", kind="default", leader_source=desk.source())
