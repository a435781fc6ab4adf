"""The frames of the original, bit for bit, over real sockets, and what must not be accepted."""

from __future__ import annotations

import time

import pytest
import zmq

from group_ports import GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort, PortSettings

from .conftest import LIMIT_S

CLOCK = 1700000000.25
SETTINGS = PortSettings(clock=lambda: CLOCK, recv_timeout=10.0)


def of_path(entries, *paths, timed=None):
    for entry in entries:
        frames = [bytes.fromhex(frame) for frame in entry["frames"]]
        if entry["path"] in paths and (timed is None or entry["name"].endswith("-timed") == timed):
            yield frames


@pytest.mark.parametrize("timed", [False, True])
def test_published_frames_are_those_of_the_original(vectors, make_port, peer, timed):
    """A bare subscriber gets exactly the recorded frames from our publisher."""
    pub = make_port(GroupPubPort, timed=timed, settings=SETTINGS)
    sub = peer(zmq.SUB, connect=pub.address)
    pub.wait_ready(1)
    golden = list(of_path(vectors["frames"], "pub>sub", timed=timed))
    for frames in golden:
        assert pub.sendGroup(frames[0], frames[1]) is True
        assert sub.recv_multipart() == frames
    assert len(golden) == 14
    assert pub.statistics.sent == len(golden)


@pytest.mark.fault("C25", "group-ports", "W")
@pytest.mark.parametrize("timed", [False, True])
def test_published_frames_of_the_original_are_understood(vectors, make_port, peer, timed):
    """Our subscriber hands out exactly what a bare publisher sent."""
    pub, address = peer(zmq.XPUB)
    sub = make_port(GroupSubPort, timed=timed, settings=SETTINGS)
    sub.update(*address)
    assert pub.recv() == b"\x01"
    for frames in of_path(vectors["frames"], "pub>sub", timed=timed):
        pub.send_multipart(frames)
        assert sub.recvGroup() == frames
        assert sub.get_sendTime() == (CLOCK if timed else 0.0)
        assert sub.get_recvTime() == (CLOCK if timed else 0.0)


@pytest.mark.fault("C25", "group-ports", "W")
@pytest.mark.parametrize("timed", [False, True])
def test_queries_are_those_of_the_original(vectors, make_port, peer, timed):
    """A bare ROUTER gets the recorded frames behind our identity; we get its answers."""
    router, address = peer(zmq.ROUTER)
    qry = make_port(GroupQryPort, timed=timed, settings=SETTINGS)
    qry.update(*address)
    for frames in of_path(vectors["frames"], "qry>ans", timed=timed):
        assert qry.sendToLeader(frames[0], frames[1]) is True
        assert router.recv_multipart() == [qry.member_id, *frames]
    for frames in of_path(vectors["frames"], "ans>qry", timed=timed):
        router.send_multipart([qry.member_id, *frames])
        assert qry.recvFromLeader() == frames


@pytest.mark.parametrize("timed", [False, True])
def test_answers_are_those_of_the_original(vectors, make_port, peer, timed):
    """Our answer port understands a bare DEALER with the original's identity, and answers it."""
    ans = make_port(GroupAnsPort, timed=timed, settings=SETTINGS)
    (routed,) = of_path(vectors["frames"], "ans receives", timed=timed)
    dealer = peer(zmq.DEALER, connect=ans.address, routing_id=routed[0])
    for frames in [routed[1:], *of_path(vectors["frames"], "qry>ans", timed=timed)]:
        dealer.send_multipart(frames)
        assert ans.recvFromMember() == frames
        assert ans.get_identity() == routed[0]
    for frames in of_path(vectors["frames"], "ans>qry", timed=timed):
        assert ans.sendToMember(frames[0], frames[1]) is True
        assert dealer.recv_multipart() == frames


def rejects_through(port, send, receive, good, rejects):
    """Send what must be rejected, and one good message behind it."""
    rejects = list(rejects)
    for frames in [*rejects, good]:
        send(frames)
    assert receive() == good
    assert port.statistics.received == 1
    assert sum(port.statistics.dropped.values()) == len(rejects)
    return len(rejects)


@pytest.mark.fault("C2", "group-ports", "E")
@pytest.mark.fault("D12", "group-ports")
def test_all_rejects_are_dropped_and_counted(vectors, make_port, peer, figure):
    """Of the 28 messages that end a member of the original, none comes out and none is forgotten."""
    sub = make_port(GroupSubPort, settings=SETTINGS)
    pub, address = peer(zmq.XPUB)
    sub.update(*address)
    pub.recv()
    rejects = vectors["rejects"]
    count = rejects_through(
        sub, pub.send_multipart, sub.recvGroup, [b"msg", b"good"], of_path(rejects, "pub>sub")
    )
    ans = make_port(GroupAnsPort, settings=SETTINGS)
    dealer = peer(zmq.DEALER, connect=ans.address)
    count += rejects_through(
        ans, dealer.send_multipart, ans.recvFromMember, [b"mtl", b"good"], of_path(rejects, "qry>ans")
    )
    qry = make_port(GroupQryPort, settings=SETTINGS)
    router, address = peer(zmq.ROUTER)
    qry.update(*address)
    qry.send(b"who")
    router.recv_multipart()
    count += rejects_through(
        qry,
        lambda frames: router.send_multipart([qry.member_id, *frames]),
        qry.recvFromLeader,
        [b"mfl", b"good"],
        of_path(rejects, "ans>qry"),
    )
    assert count == 28
    reasons = sub.statistics.dropped.keys() | ans.statistics.dropped.keys() | qry.statistics.dropped.keys()
    figure(f"{count} of {len(rejects)} bad messages dropped and counted, by {len(reasons)} reasons")


def test_a_flood_of_frames_in_one_message_is_one_dropped_message(make_port, peer):
    sub = make_port(GroupSubPort, settings=SETTINGS)
    pub, address = peer(zmq.XPUB)
    sub.update(*address)
    pub.recv()
    pub.send_multipart([b"msg"] * 1000)
    pub.send_multipart([b"msg", b"good"])
    assert sub.recv() == b"good"
    assert sub.statistics.dropped == {"BadHeader": 1}


@pytest.mark.fault("C3", "group-ports", "T")
@pytest.mark.parametrize("kind", [GroupSubPort, GroupAnsPort])
def test_a_message_of_very_many_frames_holds_nobody_up(make_port, peer, kind):
    """A look reads some of them and no more, so whoever looks has time for other things in between."""
    port = make_port(kind, settings=SETTINGS)
    if kind is GroupSubPort:
        tag, (socket, address) = b"msg", peer(zmq.XPUB)
        port.update(*address)
        socket.recv()
    else:
        tag, socket = b"mtl", peer(zmq.DEALER, port.address)
    socket.send_multipart([tag] * 20_000)
    socket.send_multipart([tag, b"good"])
    receive, reads = port._recv_frame, []
    port._recv_frame = lambda *arguments: (reads.append(1), receive(*arguments))[1]
    deadline = time.monotonic() + LIMIT_S
    arrival = None
    while arrival is None:
        assert time.monotonic() < deadline
        reads.clear()
        arrival = port.take()
        assert len(reads) < 1100
    assert arrival.payload == b"good"
    assert port.statistics.dropped == {"BadHeader": 1}


def test_a_message_of_one_frame_takes_nothing_from_the_next(make_port, peer):
    """Its only frame looks like the tag of what follows, which may be another member's."""
    publisher, address = peer(zmq.XPUB)
    sub = make_port(GroupSubPort, settings=PortSettings(recv_timeout=10.0))
    sub.update(*address)
    assert publisher.recv() == b"\x01"
    for frames in ([b"msg"], [b"msg", b"honest"], [b"msg"], [b"msg"], [b"msg", b"too"]):
        publisher.send_multipart(frames)
    assert (sub.recv(), sub.recv()) == (b"honest", b"too")
    assert sub.statistics.dropped == {"BadHeader": 3}


@pytest.mark.fault("C3", "group-ports", "E")
def test_a_frame_longer_than_allowed_ends_the_connection_and_nothing_else(make_port, peer, eventually):
    """The sender is cut off; others are heard."""
    ans = make_port(GroupAnsPort, settings=PortSettings(max_size=1000, recv_timeout=10.0))
    big, small = (peer(zmq.DEALER, connect=ans.address, reconnect_ivl=-1) for _ in range(2))
    big.send_multipart([b"mtl", bytes(1001)])
    small.send_multipart([b"mtl", bytes(1000)])
    assert len(ans.recv()) == 1000
    assert ans.take(0.05) is None
    with pytest.raises(ValueError, match="at most 1000"):
        ans.send(bytes(1001))
