"""Too many open files, no more threads: a member survives what fails once, or says so and leaves nothing."""

from __future__ import annotations

import errno
import itertools
import socket
import threading
import time

import pytest
import zmq

from group_ports import Group, PortError, PortSettings, StandaloneParent
from group_ports._duplex import GroupAnsPort, GroupQryPort
from group_ports._events import Message
from group_ports._member_ports import MemberPorts
from wireframe.group import LeaderNote, decode_body

from .conftest import LIMIT_S

FAST = {"heartbeat": 40, "electionMin": 80, "electionMax": 160, "peerTimeout": 400, "consensusTimeout": 150}
SPEC = {"message": "m", "timed": False}
NO_FILES = PortError("socket error (24): too many open files", errno.EMFILE)


class Scarcity:
    """Counts what takes a file or a thread; one of these calls fails."""

    def __init__(self, monkeypatch):
        self.begin(None)
        for owner, name, error in (
            (zmq.Context, "socket", zmq.ZMQError(errno.EMFILE)),
            (zmq.Socket, "bind", zmq.ZMQError(errno.EADDRINUSE)),
            (zmq.Socket, "connect", zmq.ZMQError(zmq.EMTHREAD)),
            (zmq.Socket, "monitor", zmq.ZMQError(errno.EMFILE)),
            (socket, "socketpair", OSError(errno.EMFILE, "too many open files")),
            (threading.Thread, "start", RuntimeError("can't start new thread")),
        ):
            monkeypatch.setattr(owner, name, self._scarce(getattr(owner, name), error))

    def begin(self, failing):
        self.count, self.failing, self.has_failed = 0, failing, False

    def end(self):
        """Nothing fails any more."""
        self.failing = None

    def _scarce(self, function, error):
        def call(*arguments, **more):
            # A connection within the process takes nothing, and neither does an end of watching.
            place = arguments[1] if len(arguments) > 1 else ""
            if place is not None and (not str(place).startswith("inproc:") or arguments[2:]):
                self.count += 1
                if self.count == self.failing:
                    self.has_failed = True
                    raise error
            return function(*arguments, **more)

        return call


@pytest.fixture
def scarcity(monkeypatch):
    return Scarcity(monkeypatch)


def failures(scarcity):
    """Let the first call fail, then the second, and so on until there are no more."""
    for number in itertools.count(1):
        before = threading.active_count()
        scarcity.begin(number)
        yield number
        scarcity.end()
        assert threading.active_count() == before, f"failure {number} left a thread"
        if not scarcity.has_failed:
            return


@pytest.mark.fault("C23", "group-ports")
def test_ports_of_a_member_survive_any_failure_or_are_not_made(scarcity, peer):
    """They point, bind and poll as they should once it is over."""
    _, former = peer(zmq.ROUTER)
    leader, place = peer(zmq.ROUTER)
    survived = 0
    for number in failures(scarcity):
        try:
            parent = StandaloneParent()
        except PortError:
            continue
        with parent:
            # Of its own: to the leader, one that is not known to be gone would still have the identity.
            settings = PortSettings(group="rack.a", member_id=b"m" + number.to_bytes(15, "big"))
            try:
                ports = MemberPorts(parent, "rack.a", SPEC, settings, is_coordinated=True)
            except PortError:
                continue
            ports.point_query(*former)
            ports.point_query(*place)
            ports.bind_answer()
            ports.close_answer()
            bound = ports.bind_answer()
            scarcity.end()
            ports.point_query_again()
            bound = bound or ports.bind_answer()
            assert bound == ports.answer.address
            ports.query.wait_connected()
            assert ports.send_to_leader(b"mtl", b"%d" % number)
            assert leader.recv_multipart()[1:] == [b"mtl", b"%d" % number]
            ends = (ports.publisher, ports.subscriber, ports.query, ports.answer)
            assert {polled for polled, _ in ports.poller.sockets} == {end.getSocket() for end in ends}
            ports.close()
            survived += scarcity.has_failed
    assert survived > 10


@pytest.mark.fault("C23", "group-ports")
def test_a_member_survives_any_failure_or_does_not_join(scarcity):
    survived = 0
    for _ in failures(scarcity):
        try:
            group = Group.standalone("rack", "a", size=1, params=FAST, last_term=0)
        except PortError:
            continue
        with group:
            assert group.wait_until(lambda status: status.is_leader)
            deadline = time.monotonic() + LIMIT_S
            while not group._worker.member._election.leader.address[1]:
                assert time.monotonic() < deadline, "the answer port is not bound"
                time.sleep(0.001)
            scarcity.end()
            survived += scarcity.has_failed
            assert group.error is None
    assert survived > 0


def test_a_leader_without_an_answer_port_tries_again_and_tells_the_group(peer, monkeypatch):
    attempts = []
    bind = GroupAnsPort.updatePoller

    def scarce(port, poller=None):
        attempts.append(1)
        if len(attempts) < 4:
            raise NO_FILES
        bind(port, poller)

    monkeypatch.setattr(GroupAnsPort, "updatePoller", scarce)
    with Group.standalone("rack", "a", size=1, params=FAST) as group:
        subscriber = peer(zmq.SUB, group.address)
        note = None
        while note is None or not note.port:
            tag, payload, *_ = subscriber.recv_multipart()
            note = decode_body(tag, payload) if tag == b"ldr" else note
        assert isinstance(note, LeaderNote)
        assert len(attempts) == 4
        with GroupQryPort.standalone() as asker:
            asker.update(note.host, note.port)
            assert asker.send(b"at last")
            while not isinstance(event := group.receive(LIMIT_S), Message):
                assert event is not None
            assert event.data == b"at last"


def test_a_member_without_a_query_port_gets_one_and_what_is_sent_waits_for_that(cleanup):
    """The socket for the next leader cannot be made, twice; the heartbeat tries again."""
    groups = [
        cleanup.enter_context(Group.standalone("rack", "a", size=3, params=FAST, last_term=0))
        for _ in range(3)
    ]
    for group in groups:
        for other in groups:
            group.update(*other.address)
    for group in groups:
        assert group.wait_until(lambda status: status.leader_id is not None and status.size == 3)
    leader = next(group for group in groups if group.isLeader())
    others = [group for group in groups if group is not leader]
    refused = []
    for group in others:
        query = group._worker.ports.query

        def scarce(query=query, really=query._open):
            if refused.count(query) < 2:
                refused.append(query)
                raise NO_FILES
            really()

        query._open = scarce
    leader.leave()
    for group in others:
        assert group.wait_until(lambda status: status.leader_id not in (None, leader.getGroupId()))
    successor, follower = sorted(others, key=lambda group: not group.isLeader())
    deadline = time.monotonic() + LIMIT_S
    while not follower.sendToLeader(b"to the second"):
        assert time.monotonic() < deadline
    while not isinstance(event := successor.receive(LIMIT_S), Message):
        assert event is not None
    assert event.data == b"to the second"
    assert refused.count(follower._worker.ports.query) == 2
    assert [group.error for group in others] == [None, None]


def test_subscriptions_are_read_while_a_member_has_nothing_to_send(peer, eventually):
    """So the queue of ZeroMQ, which has no end, does not wait for the next heartbeat."""
    slow = {name: 1000 * value for name, value in FAST.items()}
    with Group.standalone("rack", "a", params=slow) as group:
        publisher = group._worker.ports.publisher
        eventually(lambda: publisher.statistics.sent == 1, "the first heartbeat")
        before = publisher._subscribers
        peer(zmq.SUB, group.address)
        eventually(lambda: publisher._subscribers == before + 1, "the subscription")
        assert publisher.statistics.sent == 1
