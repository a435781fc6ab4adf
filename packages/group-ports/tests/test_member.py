"""A member as a whole: heartbeats, joining and leaving, polls from question to result."""

from __future__ import annotations

import math
import random

import pytest

from group_ports._actions import (
    BindAnswer,
    ConnectQuery,
    DisconnectQuery,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    Publish,
    UnbindAnswer,
    VoteRequested,
    VoteResult,
)
from group_ports._member import GroupMember
from group_ports._settings import GroupSettings
from group_ports._voting import VotingBooth
from wireframe.group import (
    Announcement,
    Ballot,
    Leave,
    ReplyToCall,
    Request,
    RequestForVote,
    Subject,
    Tic,
    Vote,
    Voting,
    encode_body,
)

from .scripted_member import OWN, A, B, C, D, Scripted, note
from .simulated_network import FAST


def test_an_id_is_sixteen_bytes():
    """Nothing else fits the wire."""
    with pytest.raises(ValueError, match="16"):
        GroupMember(GroupSettings(), b"short", random.Random(1), 0.0)


def test_heartbeats():
    """At once, and then one each."""
    one = Scripted()
    one.pass_time(2.95)
    assert one.published(Tic) == [Tic(OWN)] * 10


def test_joining_and_leaving_are_reported():
    """Goodbye or silence; sizes include the member itself."""
    one = Scripted()
    one.hear(Tic(A), Tic(B), Tic(A))
    assert one.events() == [MemberJoined(A), MemberJoined(B)]
    assert one.member.member_ids == {OWN, A, B}
    one.hear(Leave(A), Leave(A))
    assert one.events() == [MemberLeft(A)]
    one.pass_time(FAST.peer_timeout)
    assert one.events() == [MemberLeft(B)]
    assert one.member.size == 1


def test_a_new_member_hears_of_us_soon():
    """But invented members do not make us shout."""
    one = Scripted()
    one.pass_time(0.01)
    one.taken()
    for i in range(50):
        one.now += 0.001
        one.hear(Tic(bytes([i]) * 16))
    one.pass_time(FAST.heartbeat / 4)
    assert one.published(Tic) == [Tic(OWN)]


def test_always_a_deadline():
    """Until the member has left."""
    one = Scripted(A, B)
    for _ in range(100):
        assert one.member.next_deadline() <= one.now + FAST.heartbeat
        one.pass_time(0.1)
    one.do(one.member.leave(one.now))
    assert one.member.next_deadline() == math.inf


def test_a_member_that_left_is_silent():
    """It says goodbye once and is deaf to everything."""
    one = Scripted(A, B)
    one.hear(note(1, A))
    one.taken()
    one.do(one.member.leave(one.now))
    assert [type(action) for action in one.actions[:1]] == [DisconnectQuery]
    assert one.published() == [Leave(OWN)]
    one.do(one.member.leave(one.now))
    one.hear(Tic(C), Request(5, A))
    one.do(one.member.on_time(one.now + 50.0))
    assert one.member.request_vote(b"", one.now) == (None, [])
    assert one.member.cast("P", True, one.now) == (False, [])
    assert one.taken() == []


def test_a_leader_that_leaves_closes_its_polls_and_its_port():
    """Before it says goodbye."""
    one = Scripted(A, B)
    one.win()
    rfv_id, actions = one.member.request_vote(b"topic", one.now)
    one.do(actions)
    one.taken()
    one.do(one.member.leave(one.now))
    assert one.actions[0] == UnbindAnswer()
    assert one.actions[-1] == Publish(Leave(OWN))
    assert Publish(Announcement(rfv_id, Vote.TIMEOUT)) in one.actions
    assert LeaderExited(OWN) in one.events()


def test_application_messages_are_no_business_of_the_core():
    """It takes no notice."""
    one = Scripted(A, B)
    one.hear(b"application")
    assert one.taken() == []


def test_nothing_that_arrives_breaks_a_member():
    """Any messages in any order: no exception, timers on time, and all it says fits the wire."""
    dice = random.Random(5)
    ids = [OWN, A, B, C, D]
    terms = [0, 1, 2, 3, 5, 2**24, 2**25, 2**32 - 1]
    one = Scripted(A, B)
    for _ in range(20_000):
        some, other, term = dice.choice(ids), dice.choice(ids), dice.choice(terms)
        name, vote = dice.choice("PQRS"), dice.choice(list(Vote))
        body = dice.choice(
            [
                Tic(some),
                Leave(some),
                Request(term, some),
                Ballot(term, some, dice.random() < 0.5, other),
                note(term, some, port=dice.choice((0, 5000))),
                RequestForVote(name, b"", dice.choice(list(Voting)), timeout=dice.choice((-1.0, 0.0, 1e300))),
                ReplyToCall(name, vote),
                Announcement(name, vote),
            ]
        )
        one.now += dice.choice((0.0, 0.001, 0.1, 2.0))
        one.hear(body, source=dice.choice((None, A, b"1401")), is_ours=dice.random() < 0.5)
        one.do(one.member.on_time(one.now))
        if BindAnswer() in one.actions:
            one.do(one.member.answer_bound("127.0.0.1", 4000, one.now))
        for body in one.published():
            assert encode_body(body)
        assert one.now < one.member.next_deadline() <= one.now + FAST.heartbeat


# -- polls: a member


def follower():
    one = Scripted(A, B)
    one.hear(note(1, A))
    assert ConnectQuery("127.0.0.1", 5000) in one.taken()
    return one


def test_a_question_goes_to_the_leader():
    """With the time in seconds, and what the asker's clock says."""
    one = follower()
    rfv_id, actions = one.member.request_vote(
        b"topic", one.now, kind=Voting.CONSENSUS, timeout=0.25, wall_time=1.7e9, release=1.7e9 + 5
    )
    one.do(actions)
    (question,) = one.to_leader()
    assert question == RequestForVote(
        rfv_id, b"topic", Voting.CONSENSUS, Subject.ACTION, 1.7e9 + 5, 1.7e9, 0.25
    )
    assert len(rfv_id) == 8
    assert rfv_id.isalnum()


def test_no_leader_no_question():
    """The caller hears of it at once."""
    one = Scripted(A, B)
    assert one.member.request_vote(b"topic", one.now) == (None, [])
    assert one.member.cast("P", True, one.now) == (False, [])


def test_too_many_questions(monkeypatch):
    """Open questions are bounded."""
    monkeypatch.setattr("group_ports._poll_memory.MAX_POLLS", 1)
    one = follower()
    assert one.member.request_vote(b"topic", one.now)[0] is not None
    assert one.member.request_vote(b"topic", one.now)[0] is None


def test_a_question_without_an_answer_ends():
    """The leader died with it: over, after its time and a peer timeout."""
    one = follower()
    rfv_id, _ = one.member.request_vote(b"topic", one.now, timeout=0.2)
    one.pass_time(0.2 + FAST.peer_timeout - 0.01, note=note(1, A))
    assert VoteResult(rfv_id, Vote.TIMEOUT) not in one.events()
    one.pass_time(0.02)
    assert VoteResult(rfv_id, Vote.TIMEOUT) in one.events()
    one.hear(Announcement(rfv_id, Vote.YES))
    assert one.events() == []


def test_a_poll_is_reported_and_answered():
    """Once, however often the request arrives."""
    one = follower()
    poll = RequestForVote("P", b"topic", Voting.MAJORITY)
    action = RequestForVote("Q", b"topic", Voting.CONSENSUS, Subject.ACTION, release=12.5)
    one.hear(poll, poll, action)
    assert one.events() == [
        VoteRequested("P", b"topic", Voting.MAJORITY, Subject.VALUE, None),
        VoteRequested("Q", b"topic", Voting.CONSENSUS, Subject.ACTION, 12.5),
    ]
    assert one.member.cast("P", True, one.now)[0]
    is_sent, actions = one.member.cast("Q", False, one.now)
    one.do(actions)
    assert is_sent
    assert one.to_leader() == [ReplyToCall("Q", Vote.NO)]
    one.hear(Announcement("P", Vote.YES), Announcement("P", Vote.NO))
    assert one.events() == [VoteResult("P", Vote.YES)]


def test_who_does_not_lead_counts_nothing():
    """Questions and ballots that come to it are of another time."""
    one = follower()
    one.hear(RequestForVote("P", b"topic"), ReplyToCall("P", Vote.YES), source=B)
    assert one.taken() == []
    one.hear(ReplyToCall("P", Vote.YES))
    assert one.taken() == []


def test_results_do_not_keep_a_dead_leader_alive():
    """Only its notes do."""
    one = follower()
    for i in range(20):
        one.hear(Announcement(str(i), Vote.YES), RequestForVote(f"P{i}", b""))
        one.pass_time(0.05)
    assert one.published(Request)


# -- polls: the leader


def leader(*peers, size=3):
    one = Scripted(*(peers or (A, B)), size=size)
    one.win()
    return one


def test_a_poll_from_question_to_result():
    """Forwarded as it came, reported, counted, announced and reported."""
    one = leader()
    poll = RequestForVote("P", b"topic", started=-1e9, timeout=0.3)
    one.hear(poll, poll, source=A)
    assert one.actions[0] == Publish(poll)
    assert one.events() == [VoteRequested("P", b"topic", Voting.MAJORITY, Subject.VALUE, None)]
    one.hear(poll)  # its own publication comes back
    one.hear(ReplyToCall("P", Vote.YES), ReplyToCall("P", Vote.YES), source=A)
    assert one.taken() == []
    one.hear(ReplyToCall("P", Vote.YES), source=B)
    assert one.actions[0] == Publish(Announcement("P", Vote.YES))
    assert one.events() == [VoteResult("P", Vote.YES)]
    one.hear(Announcement("P", Vote.YES), ReplyToCall("P", Vote.NO))
    one.hear(poll, source=A)
    assert one.taken() == [], "a poll that is over is not opened again"


def test_the_leader_asks_and_votes_itself():
    """Without a way over the wire."""
    one = leader()
    rfv_id, actions = one.member.request_vote(b"topic", one.now)
    one.do(actions)
    assert [type(body) for body in one.published()] == [RequestForVote]
    one.do(one.member.cast(rfv_id, True, one.now)[1])
    one.hear(ReplyToCall(rfv_id, Vote.YES), source=B)
    assert one.events() == [VoteResult(rfv_id, Vote.YES)]


def test_milliseconds_mean_milliseconds():
    """A poll is over when its time is, on the leader's clock, wherever the asker's clock stands."""
    one = leader()
    one.hear(RequestForVote("P", b"", started=1.7e9, timeout=0.05), source=A)
    one.hear(RequestForVote("Q", b"", started=0.0), source=A)
    one.taken()
    one.pass_time(0.049)
    assert one.published(Announcement) == []
    one.pass_time(0.001)
    assert one.published(Announcement) == [Announcement("P", Vote.TIMEOUT)]
    one.pass_time(FAST.consensus_timeout - 0.05)
    assert one.published(Announcement) == [Announcement("Q", Vote.TIMEOUT)]


def test_a_timeout_is_no_ballot():
    """The wire can say it; it counts for nothing."""
    one = leader()
    one.hear(RequestForVote("P", b"", Voting.CONSENSUS), source=A)
    one.hear(ReplyToCall("P", Vote.TIMEOUT), source=A)
    assert one.published(Announcement) == []


def test_strangers_open_no_polls():
    """A member id that is none, or digits where all members are known."""
    one = leader()
    one.hear(RequestForVote("P", b""), source=D)
    one.hear(RequestForVote("P", b""), source=b"1401")
    assert one.taken() == []


def test_reference_members_ask_and_vote():
    """Their identities are digits."""
    one = Scripted()
    one.hear(Tic(A), Tic(B), is_ours=False)
    one.peers = ()
    request = one.stand()
    one.hear(Tic(A), Tic(B), is_ours=False)
    one.hear(Ballot(request.term, OWN, True, A))
    one.hear(RequestForVote("P", b""), source=b"1401")
    one.taken()
    one.hear(ReplyToCall("P", Vote.YES), source=b"1401")
    one.hear(ReplyToCall("P", Vote.YES), source=b"1402")
    assert one.published(Announcement) == [Announcement("P", Vote.YES)]


def test_polls_of_a_leader_that_steps_down_are_over():
    """Nobody waits for a result that nobody counts."""
    one = leader()
    one.hear(RequestForVote("P", b"", timeout=30.0), source=A)
    one.hear(note(2, B))
    assert Publish(Announcement("P", Vote.TIMEOUT)) in one.actions
    assert VoteResult("P", Vote.TIMEOUT) in one.events()


def test_a_member_that_left_does_not_make_room_for_strangers():
    """It stays in the electorate, and known."""
    one = leader(A, B, C, D, size=5)
    one.hear(RequestForVote("P", b"", timeout=5.0), source=A)
    one.hear(Leave(C), Tic(b"new" + bytes(13)))
    for digits in (b"1401", b"1402", b"1403"):
        one.hear(ReplyToCall("P", Vote.YES), source=digits)
    assert one.published(Announcement) == []


def test_known_members_are_bounded(monkeypatch):
    """Those that left are forgotten when there are too many."""
    monkeypatch.setattr("group_ports._voting.MAX_MEMBERS", 2)
    one = Scripted()
    for i in range(20):
        member_id = bytes([i + 1]) * 16
        one.hear(Tic(member_id), Leave(member_id), is_ours=True)
    booth = one.member._booth
    assert isinstance(booth, VotingBooth)
    assert len(booth._ours) <= 4
