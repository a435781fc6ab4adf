"""Who gets in, who does not, and whether it is told."""

from __future__ import annotations

import socket as plain_socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from group_ports import (
    AllowList,
    CurveKeys,
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    PortError,
    PortSettings,
    StandaloneParent,
)
from group_ports.__main__ import main


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
def test_attacker_without_keys_gets_nothing_in_or_out(members, make_port, eventually):
    """Another process tries no security, a password, a pair of its own and a wrong server key."""
    pub, ans = converse(*members, make_port)
    bob = make_port(GroupSubPort, settings=settings(members[1]))
    bob.update(*pub.address)
    pub.wait_ready(2)
    arguments = [str(pub.address[1]), str(ans.address[1]), members[0].server_public.decode()]
    program = [sys.executable, str(Path(__file__).with_name("attacker.py")), *arguments]
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
def test_flood_of_failed_handshakes_stalls_nobody(make_port):
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
    qry = make_port(GroupQryPort)
    qry.update(*ans.address)
    assert qry.send(b"still here?") is True
    assert ans.recv() == b"still here?"
    assert ans.statistics.handshake_failures == {"protocol": failed}
    ans.closeSocket()
    assert ans.statistics.handshake_failures == {"protocol": failed}


@pytest.mark.fault("C18", "group-ports", "T")
def test_stranger_that_stalls_is_cut_off(members, make_port, eventually):
    """Half a greeting and then silence holds a connection as long as the settings say."""
    keys = settings(members[0], handshake_s=0.2)
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
        assert time.monotonic() - begin < 4.0
    eventually(lambda: pub.statistics.handshake_failures, "the count")


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
    assert "group_ports:" in capsys.readouterr().err
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
