"""What members of the original were recorded to say, played to ours: each message counts once."""

from __future__ import annotations

import pytest
import zmq

from group_ports import (
    Group,
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    LeaderElected,
    Message,
    MessageKind,
    PortSettings,
    VoteRequested,
    VoteResult,
)
from group_ports._election import Role
from wireframe.group import (
    LeaderNote,
    ReplyToCall,
    Request,
    RequestForVote,
    Tic,
    Vote,
    Voting,
    decode_body,
    encode_body,
)

from .conftest import LIMIT_S
from .test_port_vectors import CLOCK, of_path

ROUNDS = 30
ROOMY = PortSettings(clock=lambda: CLOCK, recv_timeout=LIMIT_S, send_hwm=10_000, recv_hwm=10_000)
#: The member that was recorded; and a candidate that it voted for, in term 7.
ANN = bytes.fromhex("7f000001000010e100007f5a4cfb3f90")
BOB = bytes.fromhex("7f000002000010e200007f5a4cfb3f91")
TERM = 7
#: A candidate waits that long for its votes, and nobody is missed while a test runs.
PATIENT = {
    "heartbeat": 100,
    "electionMin": 29_900,
    "electionMax": 30_000,
    "peerTimeout": 60_000,
    "consensusTimeout": 20_000,
}
OURS = PortSettings(member_id=BOB)


def recorded(vectors, name):
    (frames,) = (entry["frames"] for entry in vectors["frames"] if entry["name"] == name)
    return [bytes.fromhex(frame) for frame in frames]


def in_rounds(vectors, path, timed):
    return list(of_path(vectors["frames"], path, timed=timed)) * ROUNDS


def lossless(port, expected):
    """Whether this is all that a port has got, and it has dropped nothing."""
    counts = port.statistics
    return (counts.received, counts.dropped, counts.lost) == (expected, {}, 0) and port.take() is None


@pytest.mark.fault("C25", "group-ports", "LW")
@pytest.mark.parametrize("timed", [False, True])
def test_of_a_burst_of_recorded_messages_each_comes_once_and_in_order(
    vectors, make_port, peer, figure, timed
):
    """Both ends of both pairs of ports, with the original's end played by a bare socket."""
    published = in_rounds(vectors, "pub>sub", timed)
    asked, answered = in_rounds(vectors, "qry>ans", timed), in_rounds(vectors, "ans>qry", timed)

    sub = make_port(GroupSubPort, timed=timed, settings=ROOMY)
    their_pub, place = peer(zmq.XPUB, sndhwm=10_000)
    sub.update(*place)
    their_pub.recv()
    for frames in published:
        their_pub.send_multipart(frames)
    assert [sub.recvGroup() for _ in published] == published
    assert lossless(sub, len(published))

    pub = make_port(GroupPubPort, timed=timed, settings=ROOMY)
    their_sub = peer(zmq.SUB, connect=pub.address, rcvhwm=10_000)
    pub.wait_ready(1)
    for frames in published:
        pub.sendGroup(*frames[:2])
    assert [their_sub.recv_multipart() for _ in published] == published
    assert pub.statistics.sent == len(published)
    assert their_sub.poll(50) == 0

    qry = make_port(GroupQryPort, timed=timed, settings=ROOMY)
    their_ans, place = peer(zmq.ROUTER)
    qry.update(*place)
    for frames in asked:
        assert qry.sendToLeader(*frames[:2]) is True
    assert [their_ans.recv_multipart() for _ in asked] == [[qry.member_id, *frames] for frames in asked]
    for frames in answered:
        their_ans.send_multipart([qry.member_id, *frames])
    assert [qry.recvFromLeader() for _ in answered] == answered
    assert lossless(qry, len(answered))

    ans = make_port(GroupAnsPort, timed=timed, settings=ROOMY)
    (routed,) = of_path(vectors["frames"], "ans receives", timed=timed)
    their_qry = peer(zmq.DEALER, connect=ans.address, routing_id=routed[0])
    for frames in asked:
        their_qry.send_multipart(frames)
    assert [ans.recvFromMember() for _ in asked] == asked
    assert ans.get_identity() == routed[0]
    assert lossless(ans, len(asked))
    for frames in answered:
        assert ans.sendToMember(*frames[:2]) is True
    assert [their_qry.recv_multipart() for _ in answered] == answered
    assert their_qry.poll(50) == 0
    taken = sum(port.statistics.received for port in (sub, qry, ans))
    sent = sum(port.statistics.sent for port in (pub, qry, ans))
    stamped = "timed" if timed else "not timed"
    figure(f"{stamped}: {taken} recorded messages taken and {sent} sent, each once and in order")


class Original:
    """The publisher of the recorded member, and what ours publishes."""

    def __init__(self, group, peer):
        self._ours = peer(zmq.SUB, group.address)
        self._publisher, place = peer(zmq.XPUB)
        group.update(*place)
        self._publisher.recv()
        self._group = group

    def say(self, frames, times=1):
        for _ in range(times):
            self._publisher.send_multipart(frames)

    def until_heard(self):
        """Wait until ours has taken in all that was said."""
        self.say([b"msg", b"a fence"])
        while True:
            event = self._group.receive(LIMIT_S)
            assert event is not None
            if isinstance(event, Message) and event.data == b"a fence":
                return

    def heard(self, tag):
        """Return the body of the next message of a kind that ours publishes."""
        while (frames := self._ours.recv_multipart())[0] != tag:
            pass
        return decode_body(*frames[:2]), frames

    def heard_until(self, last):
        """Return the frames of all that ours publishes up to a message."""
        self._group.send(last)
        heard = []
        while (frames := self._ours.recv_multipart())[:2] != [b"msg", last]:
            heard.append(frames)
        return heard


def news(group, kind, count):
    """Wait for so many news of a kind; return them, and those that came meanwhile and wait behind."""
    found = []
    while len(found) < count:
        event = group.receive(LIMIT_S)
        assert event is not None, f"{len(found)} of {count} {kind.__name__}"
        if isinstance(event, kind):
            found.append(event)
    while (event := group.receive(0.0)) is not None:
        if isinstance(event, kind):
            found.append(event)
    return found


@pytest.fixture
def candidate(vectors, peer):
    """Ours, which stands in the term of the record, and the recorded member."""

    def stand(size, cleanup):
        group = cleanup.enter_context(
            Group.standalone("rack", "a", size=size, params=PATIENT, last_term=TERM - 1, settings=OURS)
        )
        original = Original(group, peer)
        # Others that are there, and do not vote; before the one that was recorded.
        for number in range(size - 2):
            original.say([b"tic", encode_body(Tic(bytes([0x7F, number]) * 8))])
        original.say(recorded(vectors, "tic"))
        original.until_heard()

        def stand_now():
            # On a busy machine its first chance was before it knew the others, and the next one is far.
            election = group._worker.member._election
            if election.role is Role.FOLLOWER:
                election._waits.deadline = 0.0

        group._call(stand_now)
        assert original.heard(b"req")[0] == Request(TERM, BOB)
        return group, original

    return stand


@pytest.mark.fault("C25", "group-ports", "LW")
def test_a_recorded_vote_that_comes_often_is_one_vote(vectors, candidate, cleanup):
    """Of four members three have to vote for ours: itself, the recorded one, and another."""
    group, original = candidate(4, cleanup)
    original.say(recorded(vectors, "vot-yes"), times=20)
    original.until_heard()
    assert (group.isLeader(), group.hasLeader()) == (False, False)


@pytest.mark.fault("C25", "group-ports", "LW")
def test_ours_leads_recorded_members_and_applies_what_they_say_once(vectors, candidate, peer, cleanup):
    """It is elected by a recorded vote, then asked, polled and written to as it was recorded."""
    group, original = candidate(2, cleanup)
    original.say(recorded(vectors, "vot-yes"), times=3)
    note, _ = original.heard(b"ldr")
    while not note.port:
        note, _ = original.heard(b"ldr")
    assert (note.term, note.leader) == (TERM, BOB)
    identity = recorded(vectors, "mtl-as-router-sees-it")[0]
    asker = peer(zmq.DEALER, (note.host, note.port), routing_id=identity)

    asker.send_multipart(recorded(vectors, "mtl"))
    asked = news(group, Message, 1)
    assert asked == [Message(MessageKind.TO_LEADER, b"question", identity)]
    assert group.sendToMember(b"answer", identity) is True
    assert asker.recv_multipart() == recorded(vectors, "mfl")

    # A question that is repeated is asked once, with the recorded bytes.
    for _ in range(3):
        asker.send_multipart(recorded(vectors, "rfv-value-majority-default"))
    asker.send_multipart(recorded(vectors, "mtl"))
    requests = []
    while not requests or not isinstance(requests[-1], Message):
        requests.append(group.receive(LIMIT_S))
    asked = [event for event in requests if isinstance(event, VoteRequested)]
    assert [event.rfv_id for event in asked] == ["XAJI0Y6D"]
    published = [frames[:2] for frames in original.heard_until(b"first") if frames[0] == b"rcm"]
    assert published == [recorded(vectors, "rcm")]

    # So is a ballot: a consensus of two needs that of ours, however often the other one's comes.
    poll = RequestForVote("ABCD1234", b"topic", Voting.CONSENSUS, timeout=20.0)
    asker.send_multipart([b"rfv", encode_body(poll)])
    for _ in range(3):
        asker.send_multipart(recorded(vectors, "rtc-yes"))
    asker.send_multipart(recorded(vectors, "mtl"))
    while not isinstance(group.receive(LIMIT_S), Message):
        pass
    heard = original.heard_until(b"second")
    assert [frames for frames in heard if frames[0] == b"ann"] == []
    assert group.sendVote("ABCD1234", True) is True
    asker.send_multipart(recorded(vectors, "rtc-yes"))
    assert original.heard(b"ann")[1][:2] == recorded(vectors, "ann-yes")
    assert news(group, VoteResult, 1) == [VoteResult("ABCD1234", Vote.YES)]
    assert [frames for frames in original.heard_until(b"third") if frames[0] == b"ann"] == []


@pytest.mark.fault("C25", "group-ports", "LW")
def test_ours_follows_a_recorded_leader_and_applies_what_it_says_once(vectors, peer, cleanup):
    """Its note is the recorded one but for the TCP port, which is free here."""
    leader, place = peer(zmq.ROUTER)
    group = cleanup.enter_context(
        Group.standalone("rack", "a", size=3, params=PATIENT, last_term=TERM - 1, settings=OURS)
    )
    original = Original(group, peer)
    tag, note = recorded(vectors, "ldr")
    here = encode_body(LeaderNote(TERM, ANN, *place))
    assert note[:-4] == here[:-4]
    original.say(recorded(vectors, "tic"))
    original.say([tag, here], times=3)
    assert news(group, LeaderElected, 1) == [LeaderElected(ANN, TERM)]

    question = recorded(vectors, "mtl")
    assert group.sendToLeader(question[1]) is True
    assert leader.recv_multipart() == [BOB, *question]
    for _ in range(3):
        leader.send_multipart([BOB, *recorded(vectors, "mfl")])
    answers = news(group, Message, 3)
    assert answers == [Message(MessageKind.FROM_LEADER, b"answer")] * 3

    original.say(recorded(vectors, "rcm"), times=3)
    original.say([b"msg", b"behind the question"])
    requests = []
    while not requests or not isinstance(requests[-1], Message):
        requests.append(group.receive(LIMIT_S))
    assert [event.rfv_id for event in requests[:-1]] == ["XAJI0Y6D"]
    assert group.sendVote("XAJI0Y6D", True) is True
    voter, tag, ballot = leader.recv_multipart()
    assert (voter, tag, decode_body(tag, ballot)) == (BOB, b"rtc", ReplyToCall("XAJI0Y6D", Vote.YES))

    original.say(recorded(vectors, "ann-no"), times=3)
    original.say(recorded(vectors, "mlt"))
    original.say([b"msg", b"the last"])
    results = []
    while not results or not isinstance(results[-1], Message):
        results.append(group.receive(LIMIT_S))
    assert [event for event in results if isinstance(event, VoteResult)] == [VoteResult("ABCD1234", Vote.NO)]
    assert group.wait_until(lambda status: status.leader_id is None and status.size == 1)
    assert not leader.poll(0)
