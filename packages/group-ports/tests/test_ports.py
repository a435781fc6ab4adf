"""The ports as their users know them."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
import warnings
from types import SimpleNamespace

import pytest
import zmq

from group_ports import (
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    OperationError,
    PortError,
    PortInfo,
    PortScope,
    PortSettings,
    PortTimeout,
    StandaloneParent,
    _publish,
)
from group_ports._watch import Watch
from group_ports.errors import ObjectRefused, port_error
from wireframe.group import decode_frames

KINDS = [GroupPubPort, GroupSubPort, GroupQryPort, GroupAnsPort]
SPEC = {"message": "Measurement", "timed": False}
SOON = PortSettings(send_timeout=0.1, recv_timeout=0.1)
LONG = PortSettings(recv_timeout=60.0)


@pytest.fixture
def parent(cleanup):
    return cleanup.enter_context(StandaloneParent())


@pytest.fixture
def pair(make_port):
    """Make a publisher and a subscriber that follows it."""

    def make(pub=None, sub=None, **options):
        publisher = make_port(GroupPubPort, settings=pub, **options)
        subscriber = make_port(GroupSubPort, settings=sub or PortSettings(recv_timeout=10.0), **options)
        subscriber.update(*publisher.address)
        publisher.wait_ready(1)
        return publisher, subscriber

    return make


@pytest.fixture
def asked(make_port):
    """A query port, the answer port it points to, after one question."""
    qry = make_port(GroupQryPort, settings=PortSettings(recv_timeout=10.0))
    ans = make_port(GroupAnsPort, settings=PortSettings(recv_timeout=10.0))
    qry.update(*ans.address)
    assert qry.send(b"question") is True
    assert ans.recv() == b"question"
    return qry, ans


@pytest.mark.parametrize(
    ("kind", "name", "message", "number"),
    [
        (GroupPubPort, "gpub", "Measurement", int),
        (GroupSubPort, "gsub", "Measurement", -1),
        (GroupQryPort, "gqry", "group-mtl#group-mfl", -1),
        (GroupAnsPort, "gans", "group-mtl#group-mfl", None),
    ],
)
def test_port_says_what_it_is(parent, kind, name, message, number):
    """The same tuple as the original's; nothing before the socket is made and after it is closed."""
    port = kind(parent, "p", SPEC)
    assert port.getInfo() is port.getSocket() is None
    info = port.setupSocket(None)
    assert info == port.getInfo() == port.setupSocket(None)
    assert info[:5] == (name, PortScope.GLOBAL, "p", message, "127.0.0.1")
    assert isinstance(info, PortInfo)
    assert info.portNum > 1023 if number is int else info.portNum == number
    assert isinstance(port.getSocket(), zmq.Socket)
    assert port.inSocket() is (kind is not GroupPubPort)
    assert port.getIndex() is None
    assert port.getDeadline() == (None if kind is GroupSubPort else 0.0)
    assert (port.get_recvTime(), port.get_sendTime()) == (0.0, 0.0)
    for nothing in ("setup", "activate", "deactivate", "terminate"):
        assert getattr(port, nothing)() is None
    port.closeSocket()
    port.closeSocket()
    assert port.getInfo() is port.getSocket() is None


@pytest.mark.parametrize("kind", KINDS)
def test_missing_key_of_the_specification_is_named(parent, kind):
    with pytest.raises(KeyError, match="timed"):
        kind(parent, "p", {"message": "m"})


WRONG = {
    GroupPubPort: "update recv recv_pyobj recvGroup sendToLeader recvFromLeader sendToMember recvFromMember "
    "get_identity updatePoller send_capnp recv_capnp",
    GroupSubPort: "send send_pyobj sendGroup sendToLeader recvFromLeader sendToMember recvFromMember "
    "getPortNumber",
    GroupQryPort: "sendGroup recvGroup sendToMember recvFromMember set_identity",
    GroupAnsPort: "update sendGroup recvGroup sendToLeader recvFromLeader",
}
ARGUMENTS = {"send": 1, "send_pyobj": 1, "sendGroup": 2, "sendToLeader": 2, "sendToMember": 2,
             "set_identity": 1, "send_capnp": 1}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in WRONG for name in WRONG[kind].split()])
def test_wrong_direction_is_an_operation_error(parent, kind, name):
    port = kind(parent, "p", SPEC)
    with pytest.raises(OperationError, match=name):
        getattr(port, name)(*[b"msg"] * ARGUMENTS.get(name, 0))


def test_update_of_ports_that_bind_is_refused_with_arguments_too(parent):
    for kind in (GroupPubPort, GroupAnsPort):
        with pytest.raises(OperationError):
            kind(parent, "p", SPEC).update("127.0.0.1", 5555)


USES = [
    (GroupPubPort, lambda port: port.send(b"x")),
    (GroupPubPort, lambda port: port.wait_ready(1)),
    (GroupPubPort, lambda port: port.address),
    (GroupSubPort, lambda port: port.recv()),
    (GroupSubPort, lambda port: port.take()),
    (GroupSubPort, lambda port: port.reset()),
    (GroupSubPort, lambda port: port.update("127.0.0.1", 5555)),
    (GroupSubPort, lambda port: port.forget("127.0.0.1", 5555)),
    (GroupSubPort, lambda port: port.wait_connected()),
    (GroupQryPort, lambda port: port.send(b"x")),
    (GroupQryPort, lambda port: port.update()),
    (GroupQryPort, lambda port: port.recv()),
    (GroupAnsPort, lambda port: port.send(b"x")),
    (GroupAnsPort, lambda port: port.recv()),
    (GroupAnsPort, lambda port: port.updatePoller()),
    (GroupAnsPort, lambda port: port.address),
]


@pytest.mark.parametrize(("kind", "use"), USES)
def test_port_without_socket_says_so(parent, kind, use):
    """Before the set-up and after the close; not an AttributeError about None."""
    port = kind(parent, "p", SPEC)
    with pytest.raises(PortError, match="not set up") as caught:
        use(port)
    assert caught.value.errno == PortError.ECLOSED
    port.setupSocket(None)
    port.close()
    with pytest.raises(PortError, match="is closed"):
        use(port)


@pytest.mark.parametrize("kind", KINDS)
def test_timeouts_are_seconds_and_act_on_the_live_socket(parent, kind):
    port = kind(parent, "p", SPEC, settings=PortSettings(send_timeout=2, recv_timeout=None))
    assert (port.get_send_timeout(), port.get_recv_timeout()) == (2, None)
    port.setupSocket(None)
    socket = port.getSocket()
    assert (socket.sndtimeo, socket.rcvtimeo) == (2000, 10_000)
    port.set_send_timeout(None)
    port.set_recv_timeout(0.25)
    assert (socket.sndtimeo, socket.rcvtimeo) == (10_000, 250)
    assert (port.get_send_timeout(), port.get_recv_timeout()) == (None, 0.25)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds"):
            port.set_recv_timeout(wrong)
    with pytest.raises(TypeError):
        port.set_send_timeout("1")


@pytest.mark.parametrize("kind", KINDS)
def test_every_queue_frame_and_silence_has_an_end(parent, kind):
    """The options are set, and the two limits of queues the right way round."""
    port = kind(parent, "p", SPEC, settings=PortSettings(send_hwm=7, recv_hwm=9, max_size=1 << 20))
    port.setupSocket(None)
    socket = port.getSocket()
    assert (socket.sndhwm, socket.rcvhwm, port.get_hwm()) == (7, 9, 7)
    assert socket.maxmsgsize == 1 << 20
    # Nothing that a subscriber sends is worth waiting for at its end.
    assert socket.linger == (0 if kind is GroupSubPort else 1000)
    # Heartbeats of ZMTP would end the process when one is due on a line that broke behind a full queue.
    assert socket.heartbeat_ivl == 0
    assert (socket.tcp_keepalive, socket.tcp_keepalive_intvl) == (1, 1)
    assert (socket.tcp_keepalive_idle, socket.tcp_keepalive_cnt) == (1, 3)
    assert socket.tcp_maxrt == 4000
    assert 0 < socket.handshake_ivl <= 2000
    assert 0 < socket.connect_timeout <= 2000
    assert 0 < socket.reconnect_ivl < socket.reconnect_ivl_max <= 2000


@pytest.mark.parametrize(
    ("given", "idle", "interval", "count", "unsent_ms"),
    [
        ({"heartbeat_s": 0.2, "liveness_s": 1.5}, 1, 1, 2, 1700),
        ({"heartbeat_s": 2.0, "liveness_s": 600.0}, 2, 5, 120, 602_000),
        ({"heartbeat_s": 1e9, "liveness_s": 1e9}, 32767, 259, 127, 65_534_000),
        ({"back_pressure": True}, 1, 1, 3, 60_000),
        ({"back_pressure": True, "liveness_s": 99.0}, 1, 1, 99, 100_000),
    ],
)
def test_silence_is_measured_in_numbers_that_the_system_takes(
    make_port, given, idle, interval, count, unsent_ms
):
    """With back pressure, one that takes nothing is slow for a minute before it is dead."""
    socket = make_port(GroupPubPort, settings=PortSettings(**given)).getSocket()
    assert socket.tcp_keepalive_idle == idle
    assert (socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt) == (interval, count)
    assert socket.tcp_maxrt == unsent_ms
    # Those who wait for nobody have no such patience.
    if "back_pressure" in given:
        hears = make_port(GroupSubPort, settings=PortSettings(**given)).getSocket()
        assert hears.tcp_maxrt == 1000 + 1000 * given.get("liveness_s", 3.0)


@pytest.mark.parametrize("kind", [GroupSubPort, GroupQryPort])
def test_a_key_that_is_none_is_refused_before_anything_changes(make_port, peer, kind):
    _, place = peer(zmq.XPUB if kind is GroupSubPort else zmq.ROUTER)
    port = make_port(kind)
    port.update(*place)
    port.wait_connected(1)
    for wrong in (b"short", b"~" * 40, "a" * 40):
        with pytest.raises(ValueError, match="a key is 40 characters"):
            port.update(*place, server_key=wrong)
    assert port.connected() == 1


def test_a_key_that_is_none_is_refused_also_for_a_publisher_that_is_just_left(pair):
    """Its message waits; the connection would come back with that key when it has been read."""
    pub, sub = pair()
    pub.send(b"first")
    assert sub.getSocket().poll(10_000)
    sub.forget(*pub.address)
    with pytest.raises(ValueError, match="a key is 40 characters"):
        sub.update(*pub.address, server_key=b"short")
    assert sub.recv() == b"first"
    assert sub.connected() == 0


def test_the_reasons_of_errors_have_the_numbers_of_the_original():
    assert (PortError.EAGAIN, PortError.EPROTO, PortError.ETERM) == (zmq.EAGAIN, zmq.EFSM, zmq.ETERM)
    assert (PortError.EFAULT, PortError.EROUTE) == (zmq.EFAULT, zmq.EHOSTUNREACH)
    error = port_error("recv", zmq.ZMQError(zmq.EFSM))
    assert (type(error), error.errno) == (PortError, PortError.EPROTO)


def test_keys_of_a_parent_that_are_none_are_a_bad_address(context):
    actor = SimpleNamespace(public_key=b"short", private_key=b"x" * 40, getGlobalIface=lambda: "127.0.0.1")
    with pytest.raises(PortError, match="the keys of the parent") as caught:
        GroupSubPort(SimpleNamespace(appContext=context, parent=actor), "p", SPEC)
    assert caught.value.errno == PortError.EFAULT


def test_bytes_and_objects_go_from_publisher_to_subscriber(pair):
    pub, sub = pair()
    for payload in (b"hello", b"", bytearray(b"array"), memoryview(b"view")):
        assert pub.send(payload) is True
        assert sub.recv() == bytes(payload)
    assert pub.send_pyobj({"voltage": [229.8, 230.1]}) is True
    assert sub.recv_pyobj() == {"voltage": [229.8, 230.1]}
    for wrong in ("text", None, 5):
        with pytest.raises(TypeError):
            pub.send(wrong)
    with pytest.raises(TypeError):
        pub.sendGroup("msg", b"")
    with pytest.raises(ValueError, match="three ASCII"):
        pub.sendGroup(b"long", b"")
    assert pub.sendGroup(b"own", b"") is True


def test_bytes_and_objects_go_to_the_leader_and_back(asked):
    qry, ans = asked
    assert ans.get_identity() == qry.member_id
    assert ans.send(b"answer") is True
    assert qry.recv() == b"answer"
    assert qry.send_pyobj((1, 2)) is True
    assert ans.recv_pyobj() == (1, 2)
    assert ans.send_pyobj({3}) is True
    assert qry.recv_pyobj() == {3}
    assert qry.connected() == qry.reached() == 1


def test_hostile_object_is_refused_and_the_port_goes_on(pair, tmp_path):
    """The pickle of a member that would run a program does nothing but raise."""
    pub, sub = pair()
    target = tmp_path / "executed"
    pub.send(pickle.dumps(Hostile(str(target))))
    pub.send_pyobj("next")
    with pytest.raises(ObjectRefused, match="not allowed"):
        sub.recv_pyobj()
    assert sub.recv_pyobj() == "next"
    assert not target.exists()
    assert sub.statistics.dropped == {"object refused": 1}


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_recv_skips_what_is_not_of_the_application(pair):
    pub, sub = pair()
    pub.sendGroup(b"tic", bytes(16))
    pub.send(b"news")
    assert sub.recv() == b"news"
    assert sub.statistics.dropped == {"skipped": 1}


def test_take_reads_the_body_and_never_waits_longer(pair):
    pub, sub = pair(timed=True)
    assert sub.take() is None
    pub.sendGroup(b"tic", b"0123456789abcdef")
    arrival = sub.take(10.0)
    assert (arrival.tag, arrival.body.member, arrival.sender) == (b"tic", b"0123456789abcdef", None)
    assert abs(arrival.stamp - time.time()) < 100
    pub.send(b"x")
    assert sub.take(10.0).body == b"x"
    with pytest.raises(OperationError):
        pub.take()


def test_take_tells_who_asked(asked):
    qry, ans = asked
    qry.send(b"again")
    assert ans.take(10.0).sender == qry.member_id


def test_messages_for_others_do_not_prolong_the_wait(pair):
    """A flood of heartbeats starves nobody: the time of the call is the time of the call."""
    pub, sub = pair(sub=PortSettings(recv_timeout=0.3))
    stop = threading.Event()

    def flood():
        while not stop.wait(0.0005):
            pub.sendGroup(b"tic", bytes(16))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        begin = time.monotonic()
        with pytest.raises(PortTimeout):
            sub.recv()
        assert time.monotonic() - begin < 5.0
    finally:
        stop.set()
        thread.join()


def test_nothing_in_time_is_a_timeout_with_errno(make_port):
    sub = make_port(GroupSubPort, settings=SOON)
    with pytest.raises(PortError, match="recv error") as caught:
        sub.recvGroup()
    assert caught.value.errno == PortError.EAGAIN
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value.__cause__, zmq.ZMQError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.errno) == (PortTimeout, str(caught.value), PortError.EAGAIN)


def test_unknown_member_is_no_route(asked):
    """The original answers True and sends nothing."""
    qry, ans = asked
    ans.set_identity(b"stranger")
    with pytest.raises(PortError) as caught:
        ans.send(b"answer")
    assert caught.value.errno == PortError.EROUTE
    ans.set_identity(qry.member_id)
    assert ans.send(b"answer") is True
    for wrong in (b"", bytes(256)):
        with pytest.raises(ValueError, match="identity"):
            ans.set_identity(wrong)
    with pytest.raises(TypeError):
        ans.set_identity("x")


def test_member_that_left_is_no_route(asked, eventually):
    qry, ans = asked
    qry.close()

    def gone():
        try:
            ans.send(b"answer")
        except PortError as error:
            return error.errno == PortError.EROUTE
        return False

    eventually(gone, "the member's absence")


def test_answer_port_has_no_route_before_it_is_bound_and_heard(parent):
    ans = GroupAnsPort(parent, "a", SPEC)
    ans.setupSocket(None)
    for _ in range(2):
        with pytest.raises(PortError) as caught:
            ans.send(b"x")
        assert caught.value.errno == PortError.EROUTE
        if ans.getPortNumber() is None:
            with pytest.raises(PortError, match="not bound"):
                _ = ans.address
            ans.updatePoller()


def test_update_poller_binds_anew_every_time(parent, peer):
    """The second call fails in the original."""
    ans = GroupAnsPort(parent, "a", SPEC, settings=PortSettings(recv_timeout=10.0, send_timeout=3.0))
    ans.setupSocket(None)
    ans.set_send_timeout(4.0)
    poller = zmq.Poller()
    ports = set()
    for _ in range(3):
        ans.updatePoller(poller)
        assert ans.getInfo().portNum == ans.getPortNumber() == ans.address[1]
        ports.add(ans.getPortNumber())
        dealer = peer(zmq.DEALER, connect=ans.address)
        dealer.send_multipart([b"mtl", b"x"])
        assert poller.poll(10_000) == [(ans.getSocket(), zmq.POLLIN)]
        assert ans.recv() == b"x"
        assert len(poller.sockets) == 1
        assert ans.getSocket().sndtimeo == 4000
    assert len(ports) > 1


def test_without_leader_the_answer_is_false(make_port):
    qry = make_port(GroupQryPort, settings=SOON)
    assert qry.send(b"x") is False
    assert qry.sendToLeader(b"rtc", b"x") is False
    assert qry.connected() == 0


def test_dead_leader_is_a_timeout_and_not_a_queue(make_port):
    """The original answers True a thousand times and then blocks for ever."""
    qry, ans = make_port(GroupQryPort, settings=SOON), make_port(GroupAnsPort)
    address = ans.address
    ans.close()
    qry.update(*address)
    with pytest.raises(PortTimeout):
        qry.send(b"x")
    with pytest.raises(PortTimeout, match="0 of 1"):
        qry.wait_connected(timeout=0.05)


@pytest.mark.fault("C8", "group-ports", "L")
def test_new_leader_gets_new_messages_only(make_port, figure):
    """What was queued for the former leader reaches nobody, and back again works too."""
    first, second = (make_port(GroupAnsPort, settings=PortSettings(recv_timeout=10.0)) for _ in range(2))
    qry = make_port(GroupQryPort)
    leaders = (first, second, first, second)
    for leader in leaders:
        qry.update(*leader.address)
        qry.update(*leader.address)
        assert qry.send(str(leader.address).encode()) is True
        assert leader.recv() == str(leader.address).encode()
        assert len(qry._endpoints) == 1
    qry.update(None, None)
    assert qry.send(b"x") is False
    assert (first.take(0.05), second.take()) == (None, None)
    heard = [port.statistics.received for port in (first, second)]
    assert heard == [2, 2]
    figure(f"{len(leaders)} changes of leader: {sum(heard)} questions, each once at the leader of its time")


def test_member_that_reconnects_keeps_its_identity_and_is_heard(asked, peer):
    """A second connection of the same identity, as after a broken network, takes the place of the first."""
    qry, ans = asked
    again = peer(zmq.DEALER, connect=ans.address, routing_id=qry.member_id)
    again.send_multipart([b"mtl", b"I am back"])
    assert ans.recv() == b"I am back"
    ans.send(b"welcome")
    assert again.recv_multipart() == [b"mfl", b"welcome"]


@pytest.mark.fault("C16", "group-ports")
@pytest.mark.fault("D11", "group-ports")
def test_identities_are_random_and_begin_with_no_zero(parent):
    """Also of members that are built alike, such as forked ones."""
    ids = {GroupQryPort(parent, "q", SPEC).member_id for _ in range(300)}
    assert len(ids) == 300
    assert all(len(one) == 16 and one[0] for one in ids)
    own = bytes(range(1, 17))
    qry = GroupQryPort(parent, "q", SPEC, settings=PortSettings(member_id=own))
    qry.setupSocket(None)
    assert qry.getSocket().routing_id == own


def test_subscriber_counts_each_publisher_once_and_can_forget(make_port, peer, eventually):
    pub, sub = make_port(GroupPubPort), make_port(GroupSubPort)
    for _ in range(2):
        sub.update(*pub.address)
    assert sub.connected() == 1
    sub.wait_connected(1)
    pub.wait_ready(1)
    assert (sub.reached(), pub.subscribers()) == (1, 1)
    sub.forget(*pub.address)
    sub.forget(*pub.address)
    assert (sub.connected(), sub.reached()) == (0, 0)
    eventually(lambda: sub.take() is None and pub.subscribers() == 0, "the end of the subscription")


def test_a_publisher_is_forgotten_while_its_message_waits(pair, eventually):
    """libzmq ends the process if a connection goes whose first frame it has taken, as a poll makes it do."""
    pub, sub = pair()
    pub.send(b"first")
    assert sub.getSocket().poll(10_000)
    sub.forget(*pub.address)
    assert (sub.connected(), sub.reached()) == (0, 0)
    assert sub.recv() == b"first"
    eventually(lambda: sub.take() is None and pub.subscribers() == 0, "the end of the subscription")


def test_a_publisher_forgotten_while_its_message_waits_can_be_followed_again(pair, eventually):
    pub, sub = pair()
    pub.send(b"first")
    assert sub.getSocket().poll(10_000)
    sub.forget(*pub.address)
    sub.update(*pub.address)
    assert sub.connected() == 1
    assert sub.recv() == b"first"

    def again():
        pub.send(b"second")
        arrival = sub.take()
        return arrival is not None and arrival.payload == b"second"

    eventually(again, "a message of the new connection")
    assert (sub.connected(), sub.reached()) == (1, 1)


def test_wait_ready_tells_how_many_are_missing(pair):
    pub, _ = pair()
    with pytest.raises(PortTimeout, match="1 of 2 subscribers"):
        pub.wait_ready(2, timeout=0.05)


def test_wrong_addresses_are_refused_and_not_remembered(make_port):
    sub = make_port(GroupSubPort)
    for host, port in (("", 5), ("a b", 5), ("127.0.0.1", 0), ("127.0.0.1", 65536), (None, None)):
        with pytest.raises(ValueError, match=r"host|port"):
            sub.update(host, port)
    with pytest.raises(TypeError):
        sub.update("127.0.0.1", "5555")
    assert sub.connected() == 0


def test_address_in_use_is_a_port_error_and_leaves_nothing_open(make_port):
    pub = make_port(GroupPubPort)
    before = threading.active_count()
    with pytest.raises(PortError) as caught:
        GroupPubPort.standalone(settings=PortSettings(port=pub.address[1]))
    assert caught.value.errno == zmq.EADDRINUSE
    with pytest.raises(PortError):
        GroupAnsPort.standalone(settings=PortSettings(port=pub.address[1]))
    with pytest.raises(ValueError, match="host"):
        GroupPubPort.standalone(host="no host")
    assert threading.active_count() == before


def test_reset_makes_a_new_socket_that_follows_the_same_publishers(pair):
    pub, sub = pair()
    owner = SimpleNamespace(heard=[])
    owner.replaceSocket = lambda port, socket: owner.heard.append((port, socket))
    sub._owner = owner
    old = sub.getSocket()
    sub.reset()
    assert old.closed
    assert owner.heard == [(sub, sub.getSocket())]
    pub.wait_ready(1)
    pub.send(b"x")
    while (got := sub.take(0.5)) is None:
        pub.send(b"x")
    assert got.body == b"x"
    assert sub.connected() == 1


def test_reset_of_other_ports_does_nothing(asked):
    qry, _ = asked
    socket = qry.getSocket()
    assert qry.reset() is None
    assert qry.getSocket() is socket


@pytest.mark.fault("C8", "group-ports")
def test_port_lives_again_after_a_close(parent, peer):
    pub = GroupPubPort(parent, "p", SPEC)
    for _ in range(2):
        pub.setupSocket(None)
        sub = peer(zmq.SUB, connect=pub.address)
        pub.wait_ready(1)
        pub.send(b"x")
        assert sub.recv_multipart() == [b"msg", b"x"]
        pub.closeSocket()


def test_back_pressure_waits_and_then_says_so(make_port, peer):
    """On request a slow subscriber loses nothing: what was answered with True arrives."""
    settings = PortSettings(send_timeout=0.2, send_hwm=5, back_pressure=True)
    pub = make_port(GroupPubPort, settings=settings)
    sub = peer(zmq.SUB, connect=pub.address, rcvhwm=5)
    pub.wait_ready(1)
    payload = bytes(1 << 20)
    sent = 0

    def send_until_full():
        nonlocal sent
        for sent in range(1000):
            pub.send(sent.to_bytes(4, "big") + payload)

    with pytest.raises(PortTimeout, match="send error"):
        send_until_full()
    assert 0 < sent < 1000
    for number in range(sent):
        assert int.from_bytes(sub.recv_multipart()[1][:4], "big") == number


@pytest.mark.fault("C17", "group-ports", "L")
def test_losses_are_counted_to_the_message(make_port, eventually):
    """Without back-pressure a slow subscriber knows how many messages of whom it did not get."""
    numbered = PortSettings(send_hwm=1, recv_hwm=1, numbering=True, group="ctl.one", linger_s=0)
    pub = make_port(GroupPubPort, settings=numbered)
    sub = make_port(GroupSubPort, settings=PortSettings(recv_hwm=1, group="ctl.one"))
    sub.update(*pub.address)
    pub.wait_ready(1)
    payload = bytes(1 << 18)
    pub.send(b"first")
    assert sub.take(10.0).sender == pub.member_id
    for _ in range(300):
        pub.send(payload)
    received = 0
    while sub.take(0.3) is not None:
        received += 1
    assert received < 300
    pub.send(b"last")
    assert sub.take(10.0).body == b"last"
    assert sub.statistics.lost == 300 - received
    assert sub.statistics.lost_by_publisher == {pub.member_id: 300 - received}


def test_numbered_messages_of_another_group_are_dropped(make_port):
    """A port number that was used again feeds nothing into the group."""
    pub = make_port(GroupPubPort, settings=PortSettings(numbering=True, group="ctl.one"))
    sub = make_port(GroupSubPort, settings=PortSettings(group="ctl.two"))
    sub.update(*pub.address)
    pub.wait_ready(1)
    pub.send(b"x")
    assert sub.take(0.3) is None
    assert sub.statistics.dropped == {"other group": 1}


def test_numbered_message_is_a_message_to_old_members(make_port, peer):
    """Tag and payload stand where they did; stamp and number are behind them."""
    pub = make_port(GroupPubPort, settings=PortSettings(numbering=True, group="ctl.one", clock=lambda: 1.5))
    sub = peer(zmq.SUB, connect=pub.address)
    pub.wait_ready(1)
    pub.send(b"x")
    frames = sub.recv_multipart()
    assert frames[:2] == [b"msg", b"x"]
    assert (len(frames), len(frames[2]), frames[3][:4]) == (4, 8, b"WFx1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_s": 0.0}, {"linger_s": -1.0}, {"send_hwm": 0}, {"port": 70000}, {"member_id": bytes(16)},
        {"member_id": b"short"}, {"group": ""}, {"numbering": True}, {"send_timeout": -1.0},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r".+"):
        PortSettings(**wrong)


def test_ipv6(make_port, peer):
    pub = make_port(GroupPubPort, host="::1")
    sub = make_port(GroupSubPort)
    sub.update(*pub.address)
    pub.wait_ready(1)
    pub.send(b"six")
    assert sub.take(10.0).body == b"six"
    ans, qry = make_port(GroupAnsPort, host="::1"), make_port(GroupQryPort)
    qry.update(*ans.address)
    assert qry.send(b"six") is True
    assert ans.take(10.0).body == b"six"


def test_any_object_with_the_documented_parts_is_a_parent(context, cleanup):
    actor = SimpleNamespace(public_key=None, private_key=None, getGlobalIface=lambda: "127.0.0.1")
    parent = SimpleNamespace(appContext=context, parent=actor)
    port = GroupPubPort(parent, "p", SPEC)
    cleanup.callback(port.close)
    assert port.setupSocket(None).portHost == "127.0.0.1"


@pytest.mark.fault("C19", "group-ports", "M")
def test_parent_closes_what_is_left_open():
    before = threading.active_count()
    with StandaloneParent() as parent:
        ports = [kind(parent, "p", SPEC) for kind in KINDS]
        for port in ports:
            port.setupSocket(None)
    assert all(port.getSocket() is None for port in ports)
    assert threading.active_count() == before
    with pytest.raises(PortError, match="socket error"):
        ports[0].setupSocket(None)
    parent.close()


@pytest.mark.fault("C19", "group-ports", "T")
@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (GroupSubPort, lambda port: port.recv()),
        (GroupSubPort, lambda port: port.take(60.0)),
        (GroupPubPort, lambda port: port.wait_ready(1, 60.0)),
    ],
    ids=["recv", "take", "wait_ready"],
)
def test_context_that_ends_is_a_port_error_of_whoever_waits(context, kind, use):
    port = port_in(context, kind)
    thread = threading.Thread(target=context.term)
    thread.start()
    with pytest.raises(PortError) as caught:
        use(port)
    assert caught.value.errno == PortError.ETERM
    port.close()
    thread.join()


def port_in(context, kind):
    actor = SimpleNamespace(getGlobalIface=lambda: "127.0.0.1")
    port = kind(SimpleNamespace(appContext=context, parent=actor), "p", SPEC, settings=LONG)
    port.setupSocket(None)
    return port


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (GroupSubPort, lambda port: port.forget("127.0.0.1", 9)),
        (GroupSubPort, lambda port: port.reset()),
        (GroupQryPort, lambda port: port.update("127.0.0.1", 9)),
        (GroupPubPort, lambda port: port.send(b"x")),
        (GroupPubPort, lambda port: port.subscribers()),
    ],
    ids=["forget", "reset", "update", "send", "subscribers"],
)
def test_context_that_has_ended_is_a_port_error_of_whatever_is_called(context, kind, use, eventually):
    port = port_in(context, kind)
    if kind is GroupSubPort:
        port.update("127.0.0.1", 9)
    thread = threading.Thread(target=context.term)
    thread.start()

    def is_ending():
        try:
            context.socket(zmq.PAIR).close()
        except zmq.ZMQError as error:
            return error.errno == zmq.ETERM
        return False

    # Then it waits for the port, whose calls fail from now on.
    eventually(is_ending, "the end of the context")
    with pytest.raises(PortError) as caught:
        use(port)
    # A port that closes its socket first may have been the last that it waited for.
    assert caught.value.errno in (PortError.ETERM, PortError.EFAULT)
    port.close()
    thread.join()


@pytest.mark.fault("C20", "group-ports", "E")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_child_is_told_and_the_port_goes_on(pair):
    """The child gets a typed error, and does not disturb the sockets of its parent."""
    pub, sub = pair()
    with warnings.catch_warnings():
        # Python warns of what this test is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            pub.send(b"from the child")
        except PortError as error:
            code = 0 if "another process" in str(error) else 2
            pub.close()
            try:
                pub.setupSocket(None)
            except PortError:
                code += 0
            else:
                code = 3
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pub.send(b"from the parent")
    assert sub.recv() == b"from the parent"


def test_interrupt_between_frames_leaves_no_half_message(pair):
    """The rest of an interrupted message is not taken for the next one."""
    pub, sub = pair()
    pub.send(b"first")
    pub.send(b"second")
    receive, calls = sub._recv_frame, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return receive(*arguments)

    sub._wait_readable(10.0)
    sub._recv_frame = interrupted
    with pytest.raises(KeyboardInterrupt):
        sub.recv()
    assert sub.recv() == b"second"
    assert sub.statistics.dropped == {"interrupted": 1}


@pytest.fixture
def usual_interrupt():
    """Let SIGINT mean what it means in a terminal: a job in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_interrupt")
def test_blocked_receive_can_be_interrupted(make_port):
    """Ctrl-C is not held up until the timeout, and the port goes on."""
    sub = make_port(GroupSubPort, settings=PortSettings(recv_timeout=30.0))
    main = threading.main_thread().ident
    timer = threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sub.recv()
    assert time.monotonic() - begin < 10.0
    timer.join()
    assert sub.take() is None


def test_a_look_at_the_subscriptions_ends_however_many_there_are(make_port, peer, eventually, monkeypatch):
    """A peer that subscribes without end gets so many frames of one look, and no send waits for it."""
    monkeypatch.setattr(_publish, "_LOOK_AT_MOST", 10)
    port = make_port(GroupPubPort)
    read = []
    recv = port._recv_frame
    monkeypatch.setattr(port, "_recv_frame", lambda *flags: (read.append(1), recv(*flags))[1])
    flooder = peer(zmq.XSUB, connect=port.address)
    for _ in range(25):
        flooder.send(b"\x01flood")
    flooder.send(b"\x01last")

    def has_all():
        port.getSocket().send(b"last")
        return flooder.poll(0)

    eventually(has_all, "the last subscription")
    assert read == []
    counts = []
    for _ in range(4):
        before = len(read)
        port.send(b"x") if not counts else port.subscribers()
        counts.append(len(read) - before)
    assert counts == [10, 10, 6, 0]


def test_numbers_begin_with_one_and_leave_none_out(make_port):
    publisher = make_port(GroupPubPort, settings=PortSettings(numbering=True, group="a.b"))
    subscriber = make_port(GroupSubPort, settings=PortSettings(group="a.b", recv_timeout=10.0))
    subscriber.update(*publisher.address)
    publisher.wait_ready(1)
    numbers = []
    for _ in range(3):
        publisher.send(b"x")
        numbers.append(decode_frames(subscriber.recvGroup()).extension.sequence)
    assert numbers == [1, 2, 3]


def test_scopes_have_names():
    assert [scope.scope() for scope in PortScope] == ["global", "local", "internal"]


@pytest.mark.parametrize("kind", KINDS)
def test_both_interfaces_of_the_actor_are_told(parent, context, kind):
    """An actor need not have one for this machine only."""
    assert kind(parent, "p", SPEC).getLocalIface() == "127.0.0.1"
    actor = SimpleNamespace(getGlobalIface=lambda: "10.0.0.7", getLocalIface=lambda: "127.0.0.2")
    port = kind(SimpleNamespace(appContext=context, parent=actor), "p", SPEC)
    assert (port.getGlobalIface(), port.getLocalIface()) == ("10.0.0.7", "127.0.0.2")
    del actor.getLocalIface
    assert port.getLocalIface() == "10.0.0.7"


@pytest.mark.parametrize("half", [{"host": "127.0.0.1"}, {"port": 9}])
def test_half_an_address_is_no_leader(make_port, half):
    with pytest.raises(ValueError, match="host and a port"):
        make_port(GroupQryPort).update(**half)


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_that_is_dropped_open_is_said(parent, kind):
    port = kind(parent, "forgotten", SPEC)
    port.setupSocket(None)
    with pytest.warns(ResourceWarning, match="unclosed .* forgotten"):
        port.__del__()
    port.close()
    port.__del__()


def test_who_has_answered_is_reached_though_the_thread_that_watches_has_not_run(parent, cleanup, monkeypatch):
    may_run = threading.Event()
    watch = Watch._watch

    def late(self):
        may_run.wait()
        watch(self)

    monkeypatch.setattr(Watch, "_watch", late)
    asker, leader = (cleanup.enter_context(kind(parent, "p", SPEC)) for kind in (GroupQryPort, GroupAnsPort))
    # First of all when the port is closed, which waits for the thread.
    cleanup.callback(may_run.set)
    for port in (asker, leader):
        port.setupSocket(None)
    leader.updatePoller()
    asker.update(*leader.address)
    assert asker.send(b"question")
    assert leader.recv() == b"question"
    assert leader.send(b"answer")
    assert asker.recv() == b"answer"
    assert asker.connected() == asker.reached() == 1
    asker.wait_connected()
