"""Who is no member, or no longer one, though it is connected or said to be gone."""

from __future__ import annotations

import contextlib
import socket
import threading

import zmq

from group_ports import Group, PortError, PortSettings, _member_ports
from group_ports._events import Message
from wireframe.group import (
    Announcement,
    Ballot,
    Extension,
    LeaderNote,
    Leave,
    Request,
    RequestForVote,
    Tic,
    Vote,
    encode_body,
    encode_frames,
)

from .conftest import LIMIT_S

FAST = {"heartbeat": 40, "electionMin": 80, "electionMax": 160, "peerTimeout": 400, "consensusTimeout": 150}
#: Nothing is due while a test runs.
SLOW = {name: 500 * value for name, value in FAST.items()}
ANN, BOB = (b"\x7f" + letter * 15 for letter in (b"a", b"b"))


def test_what_another_group_publishes_is_dropped_be_it_an_election(peer, eventually):
    """All kinds of messages, as from a publisher that got the TCP port of a member that left."""
    query = RequestForVote("poll", b"topic", timeout=5.0)
    bodies = {
        b"msg": b"of another group",
        b"tic": Tic(BOB),
        b"req": Request(70, BOB),
        b"vot": Ballot(70, BOB, True, ANN),
        b"ldr": LeaderNote(70, BOB, "127.0.0.1", 9),
        b"rcm": query,
        b"ann": Announcement("poll", Vote.YES),
        b"mlt": Leave(ANN),
    }
    with Group.standalone("rack", "a", size=3, params=SLOW, last_term=0) as group:
        publisher, place = peer(zmq.XPUB)
        group.update(*place)
        publisher.recv()
        publisher.send_multipart([b"tic", encode_body(Tic(ANN))])
        assert group.wait_until(lambda status: status.size == 2, LIMIT_S)
        for number, (tag, body) in enumerate(bodies.items(), 1):
            extension = Extension(number, BOB, b"another group!!!")
            payload = body if isinstance(body, bytes) else encode_body(body)
            publisher.send_multipart(encode_frames(tag, payload, stamp=0.0, extension=extension))
        publisher.send_multipart([b"msg", b"the last"])
        while not isinstance(event := group.receive(LIMIT_S), Message):
            assert event is not None
        assert event.data == b"the last"
        assert group.statistics.subscriber.dropped == {"other group": len(bodies)}
        status = group.status()
        assert (status.term, status.leader_id) == (0, None)
        assert status.member_ids == {group.getGroupId(), ANN}


def test_a_group_on_the_port_of_a_member_that_left_takes_over_nothing(peer, cleanup, eventually):
    one = cleanup.enter_context(Group.standalone("rack", "a", size=3, params=SLOW, last_term=0))
    gone, place = peer(zmq.XPUB)
    one.update(*place)
    gone.recv()
    gone.send_multipart([b"tic", encode_body(Tic(ANN))])
    assert one.wait_until(lambda status: status.size == 2, LIMIT_S)
    gone.send_multipart([b"mlt", encode_body(Leave(ANN))])
    assert one.wait_until(lambda status: status.size == 1, LIMIT_S)
    gone.close()
    settings = PortSettings(port=place[1])
    others = []

    def moves_in():
        # A closed socket gives its port back a moment later.
        with contextlib.suppress(PortError):
            others.append(
                Group.standalone("office", "b", size=1, params=FAST, last_term=50, settings=settings)
            )
        return bool(others)

    eventually(moves_in, "a group on the port")
    other = cleanup.enter_context(others[0])
    assert other.wait_until(lambda status: status.is_leader, LIMIT_S)

    def has_heard():
        other.send(b"of the office")
        other.requestVote(b"question of the office", timeout=100)
        return one.statistics.subscriber.dropped.get("other group", 0) > 50

    eventually(has_heard, "messages of the other group")
    assert (one.term, one.hasLeader(), one.groupSize()) == (0, False, 1)
    one.update(*one.address)
    heard = []

    def has_heard_itself():
        one.send(b"of this group")
        event = one.receive(0)
        if isinstance(event, Message):
            heard.append(event.data)
        return len(heard) > 5

    eventually(has_heard_itself, "messages of its own")
    assert set(heard) == {b"of this group"}


class Book:
    """A discovery that says what a test wants."""

    def register(self, key, host, port, member_id, *, found, gone):
        self.found, self.gone = found, gone

    def unregister(self, key, host, port):
        pass


def followed(group):
    return group._call(lambda: group._worker.ports.subscriber.connected())


def test_a_member_that_is_said_to_be_gone_is_heard_until_its_connection_ends(cleanup, eventually):
    """Anybody on the network can say that; a member that has left has ended its connections."""
    book = Book()
    one = cleanup.enter_context(Group.standalone("rack", "a", params=FAST, discovery=book))
    other = Group.standalone("rack", "a", params=FAST, discovery=Book())
    cleanup.callback(other.leave)
    book.found(*one.address)
    book.found(*other.address)
    assert one.wait_until(lambda status: status.size == 2, LIMIT_S)
    book.gone(*other.address)
    before = one.statistics.publisher.sent
    eventually(lambda: one.statistics.publisher.sent > before + 5, "some heartbeats")
    assert followed(one) == 2
    other.send(b"still here")
    while not isinstance(event := one.receive(LIMIT_S), Message):
        assert event is not None
    assert event.data == b"still here"
    other.leave()
    eventually(lambda: followed(one) == 1, "the end of the connection")


def test_one_that_is_found_again_stays(cleanup, eventually):
    book = Book()
    one = cleanup.enter_context(Group.standalone("rack", "a", params=FAST, discovery=book))
    other = Group.standalone("rack", "a", params=FAST)
    cleanup.callback(other.leave)
    book.found(*other.address)
    assert one.wait_until(lambda status: status.size == 2, LIMIT_S)
    place = other.address
    book.gone(*place)
    book.found(*place)
    other.leave()
    before = one.statistics.publisher.sent
    eventually(lambda: one.statistics.publisher.sent > before + 5, "some heartbeats")
    assert followed(one) == 1


def test_one_that_is_not_connected_is_forgotten_at_once_and_of_the_others_so_many(cleanup, monkeypatch):
    monkeypatch.setattr(_member_ports, "_MAX_UNWANTED", 2)
    book = Book()
    one = cleanup.enter_context(Group.standalone("rack", "a", params=FAST, discovery=book))
    others = [cleanup.enter_context(Group.standalone("rack", "a", params=FAST)) for _ in range(3)]
    for other in others:
        book.found(*other.address)
    assert one.wait_until(lambda status: status.size == 4, LIMIT_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        book.found(*silent.getsockname())
        assert followed(one) == 4
        book.gone(*silent.getsockname())
        assert followed(one) == 3
    for other, count in zip(others, (3, 3, 2), strict=True):
        book.gone(*other.address)
        assert followed(one) == count


def test_what_waits_for_one_leader_does_not_go_to_the_next(peer, cleanup, eventually):
    """The first one names a port at which nobody shakes hands; then there is a leader of a higher term."""
    silent = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    successor, place = peer(zmq.ROUTER)
    publisher, published_at = peer(zmq.XPUB)
    group = cleanup.enter_context(Group.standalone("rack", "a", size=3, params=SLOW, last_term=0))
    group.update(*published_at)
    publisher.recv()

    def publish(tag, body):
        publisher.send_multipart([tag, encode_body(body)])

    publish(b"tic", Tic(ANN))
    publish(b"tic", Tic(BOB))
    publish(b"ldr", LeaderNote(1, ANN, *silent.getsockname()))
    assert group.wait_until(lambda status: status.leader_id == ANN, LIMIT_S)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(group.sendToLeader(b"for the first")))
    thread.start()
    cleanup.callback(thread.join)
    eventually(lambda: len(group._worker.letters) == 1, "the message that waits")
    publish(b"ldr", LeaderNote(2, BOB, *place))
    thread.join(LIMIT_S)
    assert answers == [False]
    assert (group.getLeaderId(), group.term) == (BOB, 2)
    assert group.sendToLeader(b"for the second")
    assert successor.recv_multipart()[1:] == [b"mtl", b"for the second"]
    assert not successor.poll(0)
