"""Groups in one process: the object that the user has."""

# ruff: noqa: N802, N803 - handlers have the names of the original

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import pickle
import threading
import time
from types import SimpleNamespace

import pytest
import zmq

from group_ports import GroupPubPort, ObjectRefused, PortError, PortSettings, PortTimeout, StandaloneParent
from group_ports._actions import LeaderElected, MemberJoined, VoteRequested, VoteResult
from group_ports._events import Message, MessageKind
from group_ports._worker import Worker
from group_ports.discovery import StaticDiscovery
from group_ports.group import Group
from wireframe.group import (
    Ballot,
    LeaderNote,
    Request,
    RequestForVote,
    Subject,
    Tic,
    Vote,
    Voting,
    decode_body,
    decode_frames,
    encode_body,
)

from .conftest import LIMIT_S

FAST = {"heartbeat": 40, "electionMin": 80, "electionMax": 160, "peerTimeout": 400, "consensusTimeout": 150}


#: Those that stay do not miss each other on a busy machine.
STEADY = {**FAST, "peerTimeout": 3000}


def joined(stack, count, *, params=FAST, **more):
    """Join members of one group that follow each other."""
    # There was no term before, so none of them keeps its vote back.
    more = {"last_term": 0, **more}
    groups = [
        stack.enter_context(Group.standalone("rack", "a", size=count, params=params, **more))
        for _ in range(count)
    ]
    for group in groups:
        for other in groups:
            group.update(*other.address)
    return groups


def roles(groups):
    """Wait until all agree on a leader; return it, and the others."""
    for group in groups:
        assert group.wait_until(lambda status: status.leader_id is not None and status.size == len(groups))
    # On a busy machine the first leader may have been a short one: all have to name the same.
    deadline = time.monotonic() + LIMIT_S
    while len({(group.getLeaderId(), group.term) for group in groups}) > 1 or not groups[0].hasLeader():
        assert time.monotonic() < deadline, "the members do not agree"
        groups[0].wait_until(lambda status: False, 0.02)
    leader = next(group for group in groups if group.isLeader())
    return leader, [group for group in groups if group is not leader]


@pytest.fixture
def join(cleanup):
    """Join members, and wait for their leader."""
    return lambda count, **more: roles(joined(cleanup, count, **more))


@pytest.fixture(scope="module")
def couple():
    """Two members that stay."""
    with contextlib.ExitStack() as stack:
        yield joined(stack, 2, params=STEADY)


@pytest.fixture
def pair(couple):
    """A leader and a follower that stay, with nothing left to take from the test before."""
    leader, (follower,) = roles(couple)
    for sender in couple:
        last = os.urandom(8)
        sender.send(last)
        for group in couple:
            while next_event(group, Message).data != last:
                pass
    for group in couple:
        while group.receive(0.0) is not None:
            pass
    return leader, follower


def next_event(group, kind):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        event = group.receive(1.0)
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__}")


def drain(group):
    """Take all events there are, and those that come until the member has left."""
    while group.receive(LIMIT_S) is not None:
        pass


def handle_all(group):
    while group.handleMessage(LIMIT_S):
        pass


def test_members_agree_on_leader_term_and_size(join):
    leader, followers = join(3)
    for group in (leader, *followers):
        assert group.hasLeader()
        assert group.getLeaderId() == leader.getGroupId()
        assert group.groupSize() == 3
        assert group.term == leader.term >= 1
        assert group.getGroupName() == "rack.a"
    assert [group.isLeader() for group in followers] == [False, False]


def test_members_with_nothing_to_do_sleep(join, monkeypatch):
    """Between heartbeats nothing wakes a member, so the turns of its thread can be counted on fingers."""
    rounds = []
    turn = Worker._round
    monkeypatch.setattr(Worker, "_round", lambda self: (rounds.append(self), turn(self))[1])
    leader, (follower,) = join(2)
    for _ in range(5):  # each needs an answer of the thread, which is one turn
        leader.wait_until(lambda status: False, 0.1)
    beats = 2 * 0.5 * 1000 / FAST["heartbeat"]
    since = len(rounds)
    leader.wait_until(lambda status: False, 0.5)
    # Members of other tests may still be there.
    own = [worker for worker in rounds[since:] if worker in (leader._worker, follower._worker)]
    assert 0 < len(own) < 10 * beats


def test_answers_of_the_next_leader_are_heard(join):
    leader, followers = join(3)
    first = followers[0]
    assert first.sendToLeader(b"to the first")
    assert next_event(leader, Message).data == b"to the first"
    leader.sendToMember(b"from the first")
    assert next_event(first, Message).data == b"from the first"
    leader.leave()
    for group in followers:
        assert group.wait_until(lambda status: status.leader_id not in (None, leader.getGroupId()))
    successor, follower = sorted(followers, key=lambda group: not group.isLeader())
    for number in range(3):
        assert follower.sendToLeader(b"%d" % number)
        assert next_event(successor, Message).data == b"%d" % number
        successor.sendToMember(b"answer %d" % number)
        assert next_event(follower, Message).data == b"answer %d" % number


def test_messages_and_news_come_in_order_with_their_kind(join):
    leader, (follower,) = join(2)
    assert isinstance(next_event(follower, MemberJoined), MemberJoined)
    assert next_event(follower, LeaderElected) == LeaderElected(leader.getGroupId(), leader.term)
    assert follower.sendToLeader(b"up")
    assert next_event(leader, Message) == Message(MessageKind.TO_LEADER, b"up", follower.getGroupId())
    assert leader.sendToMember(b"down")
    assert next_event(follower, Message) == Message(MessageKind.FROM_LEADER, b"down")
    assert leader.send(bytearray(b"all"))
    message = next_event(follower, Message)
    assert (message.kind, message.data) == (MessageKind.GROUP, b"all")
    assert message.sender == leader.getGroupId()


def test_recv_takes_messages_and_leaves_news(join):
    leader, (follower,) = join(2)
    follower.send_pyobj({"a": [1, 2.5]})
    assert leader.recv_pyobj() == {"a": [1, 2.5]}
    follower.sendToLeader_pyobj("up")
    assert leader.recv_pyobj() == "up"
    assert follower.recv_pyobj() == {"a": [1, 2.5]}
    leader.sendToMember_pyobj("down")
    assert follower.recv_pyobj() == "down"
    # Another one may have led before, for a moment.
    while next_event(leader, LeaderElected).leader_id != leader.getGroupId():
        pass


def test_an_object_that_is_no_plain_data_is_refused(pair):
    leader, follower = pair
    follower.send(pickle.dumps(threading.Event))
    with pytest.raises(ObjectRefused):
        leader.recv_pyobj()


def test_waiting_ends(join):
    leader, _ = join(2, settings=PortSettings(recv_timeout=0.01))
    with pytest.raises(PortTimeout):
        leader.recv()
    while leader.receive(0.0) is not None:
        pass
    assert leader.receive(0.01) is None
    assert not leader.wait_until(lambda status: status.size == 9, timeout=0.01)


def test_a_vote_is_carried_and_heard_by_all(pair):
    leader, follower = pair
    rfv_id = follower.requestVote(b"topic", Voting.CONSENSUS, 5000.0)
    for group in (leader, follower):
        event = next_event(group, VoteRequested)
        assert (event.rfv_id, event.topic, event.release) == (rfv_id, b"topic", None)
        assert group.sendVote(rfv_id, True)
    for group in (leader, follower):
        assert next_event(group, VoteResult) == VoteResult(rfv_id, Vote.YES)


def test_handlers_of_a_component_are_called_in_the_thread_that_polls(join):
    calls = []

    class Component:
        def handleMemberJoined(self, group, memberId):
            calls.append(("joined", memberId))

        def handleLeaderElected(self, group, leaderId):
            calls.append(("elected", leaderId))

        def handleMessageToLeader(self, group):
            calls.append(("to leader", group.recv(), threading.get_ident()))
            group.sendToMember(b"answer")

        def handleMessageFromLeader(self, group):
            calls.append(("from leader", group.recv()))

        def handleGroupMessage(self, group):
            calls.append(("group", group.recv()))

        def handleVoteRequest(self, group, rfvId):
            calls.append(("vote", group.recv()))
            group.sendVote(rfvId, True)

        def handleActionVoteRequest(self, group, rfvId, when):
            calls.append(("action", group.recv(), when))
            group.sendVote(rfvId, False)

        def handleVoteResult(self, group, rfvId, vote):
            calls.append(("result", vote))

    leader, (follower,) = join(2, component=Component())
    poller = zmq.Poller()
    for group in (leader, follower):
        poller.register(group.getSocket(), zmq.POLLIN)
    follower.sendToLeader(b"question")
    follower.send(b"news")
    follower.requestVote(b"value", timeout=5000)
    follower.requestActionVote(b"deed", 7.5, timeout=5000)
    wanted = {
        ("joined", follower.getGroupId()),
        ("elected", leader.getGroupId()),
        ("to leader", b"question", threading.get_ident()),
        ("from leader", b"answer"),
        ("group", b"news"),
        ("vote", b"value"),
        ("action", b"deed", 7.5),
        ("result", Vote.YES),
        ("result", Vote.NO),
    }
    deadline = time.monotonic() + LIMIT_S
    while not wanted <= set(calls):
        assert time.monotonic() < deadline, wanted - set(calls)
        ready = dict(poller.poll(1000))
        for group in (leader, follower):
            if group.getSocket() in ready:
                group.handleMessage()


def test_objects_are_voted_on_and_a_member_that_left_is_told(join):
    heard = []

    class Component:
        def handleVoteRequest(self, group, rfvId):
            heard.append((group, rfvId, group.recv_pyobj(), None))

        def handleActionVoteRequest(self, group, rfvId, when):
            heard.append((group, rfvId, group.recv_pyobj(), when))

        def handleMemberLeft(self, group, memberId):
            heard.append((group, "left", memberId))

    leader, (follower,) = join(2, component=Component())
    value = follower.requestVote_pyobj({"valve": [1, 2]}, timeout=5000)
    deed = follower.requestActionVote_pyobj(("open", None), 7.5, timeout=5000)
    gone = follower.getGroupId()
    wanted = [
        (leader, value, {"valve": [1, 2]}, None),
        (leader, deed, ("open", None), 7.5),
        (leader, "left", gone),
    ]
    for one in wanted:
        if one[1] == "left":
            follower.leave()
        while one not in heard:
            assert leader.handleMessage(LIMIT_S)


@pytest.mark.parametrize("timeout", [math.nan, math.inf, -math.inf, -1, 2e9, 10**400])
def test_an_impossible_timeout_of_a_poll_is_refused_before_anybody_is_asked(pair, timeout):
    leader, follower = pair
    for group in (leader, follower):
        with pytest.raises(ValueError, match="out of range"):
            group.requestVote(b"topic", timeout=timeout)
        with pytest.raises(ValueError, match="out of range"):
            group.requestActionVote(b"deed", 1.0, timeout=timeout)
    for when in (math.nan, math.inf, 10**400):
        with pytest.raises(ValueError, match="out of range"):
            leader.requestActionVote(b"deed", when)
    for wrong in ("5", True, b"5"):
        with pytest.raises(TypeError, match="is a number"):
            leader.requestVote(b"topic", timeout=wrong)
    # The only poll that they hear of is the next one.
    rfv_id = follower.requestVote(b"topic", timeout=5000)
    for group in (leader, follower):
        assert next_event(group, VoteRequested).rfv_id == rfv_id
        assert group.sendVote(rfv_id, True)
    for group in (leader, follower):
        assert next_event(group, VoteResult) == VoteResult(rfv_id, Vote.YES)


def test_a_topic_that_no_poll_has_room_for_is_refused_at_every_member(join):
    for group in (lambda one, others: [one, *others])(*join(2, settings=PortSettings(max_size=1000))):
        with pytest.raises(ValueError, match="at most 1000"):
            group.requestVote(bytes(1000))
        assert group.requestVote(bytes(700), timeout=5000) is not None


def test_the_leader_forwards_a_question_byte_by_byte(peer):
    """With words behind the message, which a later version may use."""
    with Group.standalone("rack", "a", size=1, params=FAST) as group:
        listener = peer(zmq.SUB, group.address)
        note = None
        while note is None or not note.port:
            tag, payload, *_ = listener.recv_multipart()
            note = decode_body(tag, payload) if tag == b"ldr" else note
        question = RequestForVote("ABCD1234", b"topic", Voting.MAJORITY, Subject.VALUE, 0.0, 1.0, 5.0)
        asked = encode_body(question) + b"later..."
        member = b"\x7f" + bytes(15)
        asker = peer(zmq.DEALER, ("127.0.0.1", note.port), routing_id=member)
        heart, place = peer(zmq.PUB)
        group.update(*place)
        deadline = time.monotonic() + LIMIT_S
        # Members only may ask; it is asked again until this one is known as such.
        while (frames := listener.recv_multipart())[0] != b"rcm":
            assert time.monotonic() < deadline
            heart.send_multipart([b"tic", encode_body(Tic(member))])
            asker.send_multipart([b"rfv", asked])
        assert frames[1] == asked


def test_a_member_that_is_dropped_and_has_not_left_is_said(cleanup):
    with Group.standalone("rack", "a", params=FAST) as group, pytest.warns(ResourceWarning, match="not left"):
        group.__del__()
    # Once it has left there is nothing to say.
    group.__del__()


def test_a_component_may_have_no_handlers_and_its_errors_come_out(join):
    class Component:
        def handleGroupMessage(self, group):
            raise LookupError("of the component")

    leader, (follower,) = join(2, component=Component())
    follower.send(b"news")
    with pytest.raises(LookupError, match="of the component"):
        handle_all(leader)


def test_events_can_be_awaited(pair):
    leader, follower = pair

    async def first_message():
        while not isinstance(event := await leader.receive_async(LIMIT_S), Message):
            assert event is not None
        return event

    async def both():
        waiting = asyncio.create_task(first_message())
        await asyncio.to_thread(follower.send, b"hello")
        message = await waiting
        while await leader.receive_async(0.01) is not None:
            pass
        return message

    assert asyncio.run(both()).data == b"hello"


def test_an_awaited_event_wakes_up_when_the_member_leaves(join):
    leader, _ = join(2)

    async def take_all():
        while await leader.receive_async(LIMIT_S) is not None:
            pass

    async def until_closed():
        leaving = asyncio.create_task(asyncio.to_thread(leader.leave))
        with pytest.raises(PortError):
            await take_all()
        await leaving

    asyncio.run(until_closed())


def test_after_leaving_every_call_says_so(join):
    leader, (follower,) = join(2)
    leader.leave()
    leader.leave()
    for call in (
        lambda: leader.send(b""),
        lambda: leader.sendToLeader(b""),
        lambda: leader.sendToMember(b"", b"someone"),
        lambda: leader.requestVote(b""),
        lambda: leader.sendVote("ABCDEFGH", True),
        lambda: leader.update("127.0.0.1", 1),
    ):
        with pytest.raises(PortError) as caught:
            call()
        assert caught.value.errno == PortError.ECLOSED
    assert (leader.hasLeader(), leader.isLeader(), leader.groupSize(), leader.error) == (
        False,
        False,
        0,
        None,
    )
    assert leader.statistics.publisher.sent > 0
    with pytest.raises(PortError):
        drain(leader)
    assert follower.wait_until(lambda status: status.size == 1)


def test_what_no_member_gets_is_said(join):
    leader, (follower,) = join(2)
    for group, identity in (
        (follower, leader.getGroupId()),
        (follower, b""),
        (leader, b"nobody"),
        (leader, None),
    ):
        with pytest.raises(PortError) as caught:
            group.sendToMember(b"x", identity)
        assert caught.value.errno == PortError.EROUTE
    leader.leave()
    assert follower.wait_until(lambda status: status.leader_id is None)
    assert follower.sendToLeader(b"x") is False
    assert follower.requestVote(b"x") is None
    assert follower.sendVote("ABCDEFGH", True) is False


@pytest.mark.parametrize("payload", ["text", None, 7])
def test_only_bytes_are_sent(pair, payload):
    leader, _ = pair
    for call in (leader.send, leader.sendToLeader, leader.sendToMember, leader.requestVote):
        with pytest.raises(TypeError):
            call(payload)


def test_a_message_that_is_too_long_is_refused(join):
    leader, (follower,) = join(2, settings=PortSettings(max_size=100))
    for group in (leader, follower):
        for call in (group.send, group.sendToLeader):
            with pytest.raises(ValueError, match="at most 100"):
                call(bytes(101))


def test_a_user_who_does_not_read_costs_messages_that_are_counted_and_no_news(join):
    leader, (follower,) = join(2, settings=PortSettings(recv_hwm=5))
    for number in range(20):
        follower.send(bytes([number]))
        assert follower.recv() == bytes([number])
    deadline = time.monotonic() + LIMIT_S
    while leader.statistics.dropped_messages < 15:
        assert time.monotonic() < deadline
    follower.leave()
    assert leader.wait_until(lambda status: status.size == 1)
    kinds = [type(event).__name__ for event in iter(lambda: leader.receive(0.0), None)]
    assert kinds.count("Message") == 5
    assert "MemberLeft" in kinds


def test_the_term_is_stored_before_anything_is_said(cleanup):
    stored = []
    with Group.standalone("rack", "a", size=1, params=FAST, store_term=stored.append, last_term=7) as group:
        assert group.wait_until(lambda status: status.is_leader)
        assert group.term == stored[-1] > 7


def test_no_term_is_sent_that_was_not_stored_before(cleanup, monkeypatch):
    done = []
    send = GroupPubPort.sendGroup

    def record(port, tag, payload):
        body = decode_body(tag, payload)
        # Members of other tests may still be there.
        if port.name == "rack.b.pub" and isinstance(body, (Request, Ballot, LeaderNote)):
            done.append(("sent", body.term))
        return send(port, tag, payload)

    monkeypatch.setattr(GroupPubPort, "sendGroup", record)
    with Group.standalone(
        "rack", "b", size=1, params=FAST, store_term=lambda term: done.append(("stored", term)), last_term=7
    ) as group:
        assert group.wait_until(lambda status: status.is_leader)
    sent = [(place, term) for place, (what, term) in enumerate(done) if what == "sent"]
    assert sent
    for place, term in sent:
        assert ("stored", term) in done[:place]


def test_a_term_that_cannot_be_stored_ends_the_member(caplog):
    def fail(term):
        raise OSError("disk full")

    with Group.standalone("rack", "a", size=1, params=FAST, store_term=fail) as group:
        with pytest.raises(PortError, match="disk full"):
            drain(group)
        with pytest.raises(PortError, match="disk full"):
            group.send(b"x")
        assert isinstance(group.error, OSError)
        assert not group.isLeader()
    assert "has ended" in caplog.text


def test_members_find_each_other_at_known_addresses(cleanup):
    with zmq.Context() as context, context.socket(zmq.PUB) as one, context.socket(zmq.PUB) as other:
        ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (one, other)]
    discovery = StaticDiscovery([("127.0.0.1", port) for port in ports])
    groups = [
        cleanup.enter_context(
            Group.standalone("rack", "a", params=FAST, settings=PortSettings(port=port), discovery=discovery)
        )
        for port in ports
    ]
    for group in groups:
        assert group.wait_until(lambda status: status.size == 2 and status.leader_id is not None)


def test_a_discovery_that_fails_leaves_nothing_behind():
    class Broken:
        def register(self, *args, **more):
            raise ConnectionError("no discovery")

    before = threading.active_count()
    with pytest.raises(ConnectionError):
        Group.standalone("rack", "a", discovery=Broken())
    assert threading.active_count() == before


def test_a_discovery_hears_of_the_member_and_of_its_end():
    said = []

    class Book:
        def register(self, key, host, port, member_id, *, found, gone):
            said.append((key, host, port, member_id))
            found(host, port)
            gone(host, port)

        def unregister(self, key, host, port):
            said.append((key, host, port))

    with Group.standalone("rack", "a", message="m", discovery=Book()) as group:
        place = group.address
    assert said == [("m@rack.a", *place, group.getGroupId()), ("m@rack.a", *place)]


def test_the_arguments_of_the_original_are_taken(cleanup):
    parent = cleanup.enter_context(StandaloneParent())
    seen = []
    component = SimpleNamespace(handleLeaderElected=lambda group, leader_id: seen.append(leader_id))
    spec = {"message": "m", "timed": True, "kind": "leader", "params": FAST}
    thread = SimpleNamespace(component=component)
    group = cleanup.enter_context(Group(parent, thread, "rack", "a", 3, spec, 1))
    while not seen:
        assert group.handleMessage(LIMIT_S)
    assert seen == [group.getGroupId()]
    assert group.componentId == 3


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (("rack", "two words"), {}),
        (("rack", "a"), {"kind": "sometimes"}),
        (("rack", "a"), {"size": 0}),
        (("rack", "a"), {"params": {"heartbeat": 5000}}),
        (("rack", "a"), {"host": "localhost"}),
        (("rack", "a"), {"host": "0.0.0.0"}),
    ],
)
def test_what_cannot_be_joined_is_refused_and_leaves_nothing_behind(arguments, more):
    before = threading.active_count()
    with pytest.raises(ValueError, match=r"identifier|kind|members|hold|address|zero"):
        Group.standalone(*arguments, **more)
    assert threading.active_count() == before


def test_an_address_that_is_taken_is_an_error(peer):
    _, (_, port) = peer(zmq.PUB)
    with pytest.raises(PortError):
        Group.standalone("rack", "a", settings=PortSettings(port=port))


def test_all_that_a_member_publishes_carries_the_extension(peer):
    with Group.standalone("rack", "a", size=1, params=FAST) as group:
        subscriber = peer(zmq.SUB, group.address)
        sequences = []
        tags = set()
        while len(sequences) < 3 or not {b"msg", b"tic", b"ldr"} <= tags:
            group.send(b"x")
            message = decode_frames(subscriber.recv_multipart())
            tags.add(message.tag)
            assert message.extension.sender == group.getGroupId()
            sequences.append(message.extension.sequence)
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


def test_messages_tell_the_publisher(pair):
    leader, follower = pair
    follower.send(b"x")
    assert next_event(leader, Message).sender == follower.getGroupId()


def test_garbage_from_a_publisher_is_counted_and_kills_nothing(peer, vectors):
    with Group.standalone("rack", "a", size=1, params=FAST) as group:
        assert group.wait_until(lambda status: status.is_leader)
        publisher, place = peer(zmq.PUB)
        group.update(*place)
        tic = encode_body(Tic(b"\x7f" + bytes(15)))
        deadline = time.monotonic() + LIMIT_S
        # What is sent before the subscription has come is lost.
        while group.groupSize() < 2 or not group.statistics.subscriber.dropped:
            assert time.monotonic() < deadline
            publisher.send_multipart([b"ldr", b"short"])
            publisher.send_multipart([b"rcm", bytes(64)])
            publisher.send_multipart([b"tic", tic])
        assert group.statistics.failed == 0


@pytest.mark.fault("C20", "group-ports", "E")
def test_a_forked_child_is_told_to_join_itself(pair, figure):
    leader, _ = pair
    calls = [
        lambda: leader.send(b"x"),
        lambda: leader.sendToLeader(b"x"),
        lambda: leader.update("127.0.0.1", 1),
        lambda: leader.forget("127.0.0.1", 1),
        lambda: leader.requestVote(b"topic", Voting.MAJORITY),
        lambda: leader.sendVote("ABCD1234", True),
        lambda: leader.receive(0.0),
        lambda: leader.recv(),
        lambda: leader.handleMessage(),
    ]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = []
        try:
            leader.leave()
            for call in calls:
                try:
                    said.append(str(call()))
                except PortError as error:
                    said.append(str(error))
        finally:
            os.write(writing, json.dumps(said).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = json.loads(pipe.read())
    os.waitpid(child, 0)
    refused = sum("another process" in text for text in said)
    assert refused == len(calls), said
    assert leader.send(b"x")
    figure(f"{refused} of {len(calls)} calls refused in the child; the parent went on")


def test_members_of_a_timed_group_send_ask_and_vote(join):
    """In the original, the first message ends each of them. Each message says when it was sent."""
    before = time.time()
    leader, (follower,) = join(2, timed=True)
    stamps = []
    for send, data in ((follower.send, b"to all"), (follower.sendToLeader, b"question")):
        assert send(data)
        while (message := next_event(leader, Message)).data != data:
            pass
        stamps.append(message.stamp)
    assert leader.sendToMember(b"answer", message.sender)
    while (message := next_event(follower, Message)).data != b"answer":
        pass
    stamps.append(message.stamp)
    assert all(abs(stamp - before) < 600 for stamp in stamps)
    assert leader.statistics.subscriber.dropped == {}
    rfv_id = follower.requestVote(b"topic", Voting.CONSENSUS, 5000.0)
    for group in (leader, follower):
        assert next_event(group, VoteRequested).rfv_id == rfv_id
        assert group.sendVote(rfv_id, True)
    for group in (leader, follower):
        assert next_event(group, VoteResult) == VoteResult(rfv_id, Vote.YES)
