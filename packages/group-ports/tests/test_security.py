"""Who gets in, who does not, and whether it is told."""

from __future__ import annotations

import ast
import json
import logging
import os
import pickle
import socket as plain_socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

import group_ports
from group_ports import (
    AllowList,
    CurveKeys,
    Group,
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    ObjectRefused,
    PortError,
    PortSettings,
    StandaloneParent,
)
from group_ports.__main__ import main
from group_ports._commands._member_config import MemberConfig
from wireframe.group import MAX_SIZE

KINDS = [GroupPubPort, GroupSubPort, GroupQryPort, GroupAnsPort]


def settings(keys, **more):
    return PortSettings(keys=keys, **{"recv_timeout": 10.0} | more)


@pytest.fixture
def group(tmp_path, capsys):
    """Keys of two members, as the command line makes them."""
    assert main(["keygen", str(tmp_path), "ann", "bob"]) == 0
    assert "group.key_secret" in capsys.readouterr().out
    return tmp_path


@pytest.fixture
def members(group):
    return CurveKeys.load(group, "ann"), CurveKeys.load(group, "bob")


def converse(ann, bob, make_port):
    """Publish, ask and answer between two sets of keys."""
    pub = make_port(GroupPubPort, settings=settings(ann))
    sub = make_port(GroupSubPort, settings=settings(bob))
    ans = make_port(GroupAnsPort, settings=settings(ann))
    qry = make_port(GroupQryPort, settings=settings(bob))
    sub.update(*pub.address)
    pub.wait_ready(1)
    pub.send(b"secret")
    assert sub.recv() == b"secret"
    qry.update(*ans.address)
    assert qry.send(b"question") is True
    assert ans.recv() == b"question"
    ans.send(b"answer")
    assert qry.recv() == b"answer"
    return pub, ans


def test_members_with_keys_of_their_own_converse(members, make_port):
    pub, _ = converse(*members, make_port)
    assert pub.parent.allow_list.admitted == 1


def test_shared_pair_of_the_original_still_works(make_port, cleanup):
    """One pair for all, found at the parent as in the original; also with a bare peer that has it."""
    shared = CurveKeys.generate()
    converse(shared, shared, make_port)
    parent = cleanup.enter_context(StandaloneParent(keys=None))
    parent.public_key, parent.private_key = shared.public, shared.secret
    pub = GroupPubPort(parent, "p", {"message": "m", "timed": False})
    pub.setupSocket(None)
    sub = make_port(GroupSubPort, settings=settings(shared))
    sub.update(*pub.address)
    pub.wait_ready(1)


def test_key_of_a_known_publisher_can_be_asked_for(make_port):
    """Without a group pair, each publisher shows its own, and the subscriber says which it expects."""
    ann, bob = CurveKeys.generate(), CurveKeys.generate()
    pub = make_port(GroupPubPort, settings=settings(ann))
    sub = make_port(GroupSubPort, settings=settings(bob))
    sub.update(*pub.address, server_key=ann.public)
    pub.wait_ready(1)
    sub.reset()
    pub.wait_ready(1)


@pytest.mark.fault("C18", "group-ports", "E")
def test_attacker_without_keys_gets_nothing_in_or_out(members, make_port, eventually, figure):
    """CURVE and the list, on request: who has none of the right keys gets nothing in or out.

    Another process tries no security, a password, a pair of its own and a wrong server key.
    """
    pub, ans = converse(*members, make_port)
    bob = make_port(GroupSubPort, settings=settings(members[1]))
    bob.update(*pub.address)
    pub.wait_ready(2)
    arguments = [str(pub.address[1]), str(ans.address[1]), members[0].server_public.decode()]
    program = [sys.executable, str(Path(__file__).with_name("attacker.py")), *arguments]
    received = ans.statistics.received
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout.readline() == b"ready\n"
        # Each of the four ways fails at each of the two ports, and is counted.
        for port in (pub, ans):
            eventually(
                lambda port=port: {"refused", "protocol"} <= port.statistics.handshake_failures.keys(),
                f"failures at {port.name}",
            )
        for number in range(50):
            pub.send(b"%d" % number)
            assert bob.recv() == b"%d" % number
        assert pub.subscribers() == 2
        assert ans.take(0.2) is None
        output, _ = attacker.communicate(timeout=20)
    assert output == b"0\n"
    assert attacker.returncode == 0
    assert pub.parent.allow_list.refused > 0
    taken = ans.statistics.received - received
    assert taken == 0
    failures = sum(sum(port.statistics.handshake_failures.values()) for port in (pub, ans))
    figure(f"4 ways at 2 ports: {int(output)} messages out, {taken} in, {failures} failed handshakes counted")


def test_rogue_publisher_is_not_heard(members, make_port, peer, eventually):
    """Whoever binds without the group's secret gets no subscription, whatever it shows."""
    sub = make_port(GroupSubPort, settings=settings(members[0]))
    public, secret = zmq.curve_keypair()
    curve, address = peer(zmq.XPUB, curve_server=True, curve_publickey=public, curve_secretkey=secret)
    bare, bare_address = peer(zmq.XPUB)
    sub.update(*address)
    sub.update(*bare_address)
    eventually(lambda: "protocol" in sub.statistics.handshake_failures, "a failed handshake")
    for socket in (curve, bare):
        socket.send_multipart([b"msg", b"forged"])
        assert socket.poll(50) == 0
    assert sub.take(0.1) is None
    assert sub.reached() == 0


def test_revoked_member_does_not_come_in_again(members, make_port, eventually):
    ann, bob = members
    pub = make_port(GroupPubPort, settings=settings(ann))
    allowed = pub.parent.allow_list
    allowed.revoke(bob.public)
    sub = make_port(GroupSubPort, settings=settings(bob))
    sub.update(*pub.address)
    eventually(lambda: pub.statistics.handshake_failures.get("refused"), "the refusal")
    assert pub.subscribers() == 0
    allowed.allow(bob.public)
    # A refused peer does not try again by itself.
    sub.reset()
    pub.wait_ready(1)
    # A connection that stands stays; the next one is refused.
    allowed.revoke(bob.public)
    refused = pub.statistics.handshake_failures["refused"]
    pub.send(b"still heard")
    assert sub.recv() == b"still heard"
    sub.reset()
    eventually(lambda: pub.statistics.handshake_failures["refused"] > refused, "the next refusal")


def test_nobody_gets_in_while_the_list_does_not_run(members, make_port, cleanup, eventually):
    """A parent that forgot to start the list, or whose list ended, leaves no door open."""
    ann, bob = members
    parent = cleanup.enter_context(StandaloneParent())
    pub = GroupPubPort(parent, "p", {"message": "m", "timed": False}, settings=settings(ann))
    pub.setupSocket(None)
    sub = make_port(GroupSubPort, settings=settings(bob))
    sub.update(*pub.address)
    eventually(lambda: pub.statistics.handshake_failures, "the refusal")
    assert pub.subscribers() == 0


def test_other_sockets_of_the_context_are_left_alone(members, cleanup):
    """A CURVE server that is not a port of ours works as if there were no list."""
    with StandaloneParent(keys=members[0]) as parent:
        public, secret = zmq.curve_keypair()
        server = cleanup.enter_context(parent.appContext.socket(zmq.PULL))
        server.curve_server, server.curve_publickey, server.curve_secretkey = True, public, secret
        port = server.bind_to_random_port("tcp://127.0.0.1")
        client = cleanup.enter_context(parent.appContext.socket(zmq.PUSH))
        client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
        client.curve_serverkey = public
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(b"x")
        assert server.poll(10_000)
        assert parent.allow_list.admitted == 0


def test_second_list_in_a_context_is_an_error(context):
    with AllowList(context) as first:
        with pytest.raises(PortError) as caught:
            AllowList(context)
        assert caught.value.errno == zmq.EADDRINUSE
        first.close()
    context.destroy(0)
    with pytest.raises(PortError, match="allow list"):
        AllowList(context)


def test_questions_that_libzmq_would_not_ask_get_an_answer(context):
    with AllowList(context):
        asking = context.socket(zmq.REQ)
        asking.connect("inproc://zeromq.zap.01")
        for frames, status in (
            ([b"nonsense"], b"500"),
            ([b"2.0", b"1", b"group-ports", b"::1", b"", b"CURVE", b"x"], b"500"),
            ([b"1.0", b"1", b"group-ports", b"::1", b"", b"NULL", b""], b"400"),
        ):
            asking.send_multipart(frames)
            assert asking.recv_multipart()[2] == status
        asking.close()


@pytest.mark.fault("C23", "group-ports")
def test_a_list_for_which_there_is_no_thread_is_an_error_and_its_context_ends(monkeypatch):
    keys = CurveKeys.generate()
    keys = replace(keys, allowed=frozenset([keys.public]))
    start = threading.Thread.start

    def scarce(thread):
        if "allow list" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    before = threading.active_count()
    with pytest.raises(PortError, match="allow list error") as caught:
        StandaloneParent(keys=keys)
    assert caught.value.errno == PortError.EAGAIN
    assert threading.active_count() == before


def test_list_ends_with_its_context(context):
    allowed = AllowList(context)
    context.term()
    allowed.close()
    assert not allowed._thread.is_alive()


@pytest.mark.fault("C18", "group-ports", "T")
def test_flood_of_failed_handshakes_stalls_nobody(make_port, figure):
    """libzmq would stop delivering after some thousand events that nobody reads."""
    ans = make_port(GroupAnsPort, settings=PortSettings(recv_timeout=10.0))
    greeting = bytes([0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 0]) + b"PLAIN" + bytes(47)
    failed = 1500
    for _ in range(failed):
        with plain_socket.create_connection(ans.address, 5) as stranger:
            stranger.sendall(greeting)
            stranger.settimeout(5)
            try:
                while stranger.recv(1000):
                    pass
            except ConnectionResetError:
                pass
    begin = time.monotonic()
    qry = make_port(GroupQryPort)
    qry.update(*ans.address)
    assert qry.send(b"still here?") is True
    assert ans.recv() == b"still here?"
    seconds = time.monotonic() - begin
    assert ans.statistics.handshake_failures == {"protocol": failed}
    ans.closeSocket()
    assert ans.statistics.handshake_failures == {"protocol": failed}
    figure(f"{failed} failed handshakes, all counted; the next member was heard after {seconds:.3f} s")


@pytest.mark.fault("C18", "group-ports", "T")
def test_stranger_that_stalls_is_cut_off(members, make_port, eventually, figure):
    """HANDSHAKE_IVL: half a greeting and then silence holds a connection as long as the settings say."""
    keys = settings(members[0], handshake_timeout=0.2)
    pub = make_port(GroupPubPort, settings=keys)
    with plain_socket.create_connection(pub.address, 5) as stranger:
        stranger.sendall(bytes([0xFF, 0, 0, 0]))
        stranger.settimeout(5)
        begin = time.monotonic()
        try:
            while stranger.recv(1000):
                pass
        except ConnectionResetError:
            pass
        seconds = time.monotonic() - begin
        assert seconds < 4.0
    eventually(lambda: pub.statistics.handshake_failures, "the count")
    figure(f"cut off after {seconds:.2f} s of {keys.handshake_timeout} s")


# -- on by default --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_on_by_default(make_port, kind):
    """MAXMSGSIZE 64 MiB, HWM 1000, HANDSHAKE_IVL 2 s, keepalive by TCP, not by ZMTP; loopback; no keys."""
    with kind.standalone() as port:
        socket = port.getSocket()
        assert socket.maxmsgsize == MAX_SIZE == 64 << 20
        assert (socket.sndhwm, socket.rcvhwm) == (1000, 1000)
        assert socket.handshake_ivl == 2000
        assert socket.tcp_keepalive == 1
        assert socket.heartbeat_ivl == 0
        assert socket.mechanism == zmq.NULL
        binds = kind in (GroupPubPort, GroupAnsPort)
        assert not binds or socket.last_endpoint.startswith(b"tcp://127.0.0.1:")
    keys = CurveKeys.generate()
    if binds:
        with kind.standalone(settings=settings(keys)) as port:
            assert port.getSocket().mechanism == zmq.CURVE


def test_a_frame_longer_than_allowed_is_not_taken_and_its_sender_is_cut_off(make_port, peer):
    """MAXMSGSIZE: an announcement of more ends the connection; that of others goes on."""
    ans = make_port(GroupAnsPort, settings=PortSettings(max_size=1000, recv_timeout=10.0))
    honest = peer(zmq.DEALER, connect=ans.address)
    attacker = peer(zmq.DEALER, connect=ans.address, reconnect_ivl=-1)
    monitor = attacker.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    attacker.send_multipart([b"mtl", bytes(1001)])
    assert monitor.poll(10_000)
    attacker.disable_monitor()
    monitor.close()
    honest.send_multipart([b"mtl", bytes(1000)])
    assert len(ans.recv()) == 1000
    assert ans.statistics.received == 1


def test_a_flood_waits_in_queues_that_have_an_end(make_port, peer):
    """HWM: what nobody reads fills the queues of port, peer and system, and then the peer has to wait."""
    ans = make_port(GroupAnsPort, settings=PortSettings(recv_hwm=5, recv_timeout=10.0))
    flooder = peer(zmq.DEALER, connect=ans.address, sndhwm=5, sndtimeo=500)
    payload = bytes(1 << 20)
    sent = 0
    with pytest.raises(zmq.Again):  # noqa: PT012 - which of them is refused depends on the system
        while sent < 1000:
            flooder.send_multipart([b"mtl", payload])
            sent += 1
    assert 0 < sent < 100
    for _ in range(sent):
        assert len(ans.recv()) == 1 << 20


def test_identities_are_sixteen_random_bytes(make_port):
    """The identity on the wire is random: it tells nothing, and no two members have the same."""
    ids = set()
    for _ in range(20):
        with GroupQryPort.standalone() as port:
            ids.add(port.getSocket().routing_id)
    assert len(ids) == 20
    assert all(len(one) == 16 and one[0] for one in ids)
    # Each byte but the first takes many values, so nothing of an address or a clock is in it.
    assert all(len({one[place] for one in ids}) > 5 for place in range(16))


def test_messages_of_another_shape_are_dropped_and_counted(make_port, peer):
    """Frame-shape checks: too few or too many frames, unknown tags, stamps that are none."""
    sub = make_port(GroupSubPort, settings=PortSettings(recv_timeout=10.0))
    pub, address = peer(zmq.XPUB)
    sub.update(*address)
    pub.recv()
    shapes = (
        [b"msg"],
        [b""],
        [b"msg", b"x", b"1234"],
        [b"msg", b"x", bytes(8), b"x" * 40, b"more"],
        [b"zzz", b"x"],
        [b"\xff\xfe\xfd", b"x"],
        [b"msg", b"x", b"\x00\x00\x00\x00\x00\x00\xf8\x7f"],
    )
    for frames in shapes:
        pub.send_multipart(frames)
    pub.send_multipart([b"msg", b"good"])
    assert sub.recv() == b"good"
    assert sum(sub.statistics.dropped.values()) == len(shapes)


def test_nothing_but_bytes_is_sent(make_port):
    """Bytes only: no text, number or object becomes a message by itself."""
    pub = make_port(GroupPubPort)
    for thing in ("text", 5, None, [b"x"], {"a": 1}):
        with pytest.raises(TypeError):
            pub.send(thing)
    assert pub.statistics.sent == 0


class Attack:
    """Its pickle would make a directory when it is read."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_pickles_of_others_are_read_by_the_loader_alone(make_port, tmp_path):
    """What comes from the network builds plain data and classes allowed by name, and runs nothing.

    No module of the package has another way to read a pickle.
    """
    pub, sub = make_port(GroupPubPort), make_port(GroupSubPort, settings=PortSettings(recv_timeout=10.0))
    sub.update(*pub.address)
    pub.wait_ready(1)
    for thing in (Attack(str(tmp_path / "made")), PortError, Path("x")):
        pub.send(pickle.dumps(thing))
        with pytest.raises(ObjectRefused):
            sub.recv_pyobj()
    pub.send_pyobj({"plain": [1, 2.5, None]})
    assert sub.recv_pyobj() == {"plain": [1, 2.5, None]}
    assert not (tmp_path / "made").exists()
    forbidden = {"load", "loads", "Unpickler", "eval", "exec", "__import__"}
    for file in Path(group_ports.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("pickle", name) for name in forbidden}, file
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "__import__"}, file
            if isinstance(node, ast.ImportFrom) and node.module == "pickle":
                assert not forbidden & {alias.name for alias in node.names}, file


def test_secret_keys_are_in_no_log_no_representation_and_no_error(
    group, members, make_port, capsys, caplog, eventually
):
    """Secrets: everything that a user may see is searched, with all that is logged down to DEBUG."""
    caplog.set_level(logging.DEBUG)
    ann, bob = members
    stranger = CurveKeys.generate()
    secrets = {
        key.decode()
        for keys in (ann, bob, stranger)
        for key in (keys.secret, keys.group_secret)
        if key is not None
    }
    assert len(secrets) == 4
    seen = []

    # What is right, and what is refused.
    pub, ans = converse(ann, bob, make_port)
    sub = make_port(GroupSubPort, settings=settings(stranger))
    sub.update(*pub.address, server_key=ann.server_public)
    eventually(lambda: pub.statistics.handshake_failures.get("refused"), "the refusal")
    with Group.standalone("rack", "a", size=1, settings=settings(ann)) as joined:
        seen += [joined, joined.status(), joined.statistics, joined._settings, vars(joined)]
    seen += [ann, bob, stranger, settings(ann), pub, pub.statistics, ans, pub.parent, pub.parent.allow_list]
    seen += [MemberConfig(["rack", "a"], keys=[ann.public.decode(), ann.secret.decode()])]

    # What is wrong.
    for wrong in (
        lambda: CurveKeys(bob.public, ann.secret),
        lambda: CurveKeys(ann.public, ann.secret, bob.public, ann.group_secret),
        lambda: CurveKeys(ann.public, ann.secret[:-1]),
        lambda: CurveKeys(ann.public, ann.secret, None, ann.group_secret),
        lambda: CurveKeys(ann.secret.decode(), ann.secret),
        lambda: PortSettings(keys=ann, send_hwm=0),
        lambda: sub.update(*pub.address, server_key=ann.secret + b"x"),
        lambda: CurveKeys.load(group, "nobody"),
    ):
        with pytest.raises((ValueError, TypeError, OSError)) as caught:
            wrong()
        seen += [caught.value, caught.value.args]
    pair = [bob.public.decode(), ann.secret.decode()]
    for config in (
        {"group": ["rack", "a"], "keys": pair},
        {"group": ["rack", "a"], "keys": pair, "host": 5},
        {"group": ["rack", "a"], "keys": {"public": pair[0], "secret": pair[1]}},
        {"group": ["rack", "a"], "keys": [*pair, pair[1]]},
        {"group": "rack", "keyring": pair},
        [{"group": ["rack", "a"], "keys": pair}],
        json.dumps({"group": ["rack", "a"], "keys": pair}),
    ):
        assert main(["member", json.dumps(config)]) == 2
    text = "\n".join([caplog.text, *capsys.readouterr(), *map(repr, seen), *map(str, seen)])
    assert ann.public.decode() in text
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.fault("C19", "group-ports", "M")
def test_closed_ports_leave_no_thread(members, make_port):
    before = threading.active_count()
    for kind in (GroupPubPort, GroupSubPort, GroupQryPort, GroupAnsPort):
        with kind.standalone(settings=settings(members[0])) as port:
            assert threading.active_count() > before
        port.close()
    assert threading.active_count() == before


def test_keygen_writes_secrets_for_their_owner_only_and_keeps_what_is_there(group, capsys):
    secrets = sorted(group.rglob("*.key_secret"))
    assert [path.name for path in secrets] == ["group.key_secret", "ann.key_secret", "bob.key_secret"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)
    before = [path.read_bytes() for path in secrets]
    assert main(["keygen", str(group), "ann", "eve"]) == 0
    assert "kept" in capsys.readouterr().out
    assert [path.read_bytes() for path in secrets] == before
    assert len(CurveKeys.load(group, "eve").allowed) == 3


def test_keygen_refuses_names_that_are_paths(tmp_path, capsys):
    for name in ("../eve", "", ".hidden"):
        with pytest.raises(SystemExit) as caught:
            main(["keygen", str(tmp_path), name])
        assert caught.value.code == 2
    (tmp_path / "file").write_text("")
    assert main(["keygen", str(tmp_path / "file"), "ann"]) == 1
    assert "group-ports:" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_wrong_keys_are_refused(group):
    one, two = CurveKeys.generate(), CurveKeys.generate()
    for arguments in (
        (b"short", one.secret),
        (b"\x00" * 40, one.secret),
        ("text" * 10, one.secret),
        (one.public, two.secret),
        (one.public, one.secret, two.public),
        (one.public, one.secret, None, None, frozenset({b"x"})),
    ):
        with pytest.raises(ValueError, match=r"key|pair"):
            CurveKeys(*arguments)
    with pytest.raises(OSError, match=r"nobody|certificate"):
        CurveKeys.load(group, "nobody")
    (group / "members" / "bob.key_secret").write_text((group / "members" / "bob.key").read_text())
    with pytest.raises(ValueError, match="no secret key"):
        CurveKeys.load(group, "bob")
    with StandaloneParent() as parent:
        parent.public_key, parent.private_key = one.public, two.secret
        with pytest.raises(PortError, match="keys of the parent"):
            GroupPubPort(parent, "p", {"message": "m", "timed": False})
    assert one.secret.decode() not in repr(one)
