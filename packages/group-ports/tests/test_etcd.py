"""A leader source on etcd: with the real server, and with one that does what it should not."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from itertools import repeat
from pathlib import Path

import pytest

from group_ports import Group, LeaderElected, PortError, etcd
from group_ports.etcd import EtcdLeaderSource

from .etcd_server import EtcdServer
from .member_processes import _import_path
from .scripted_etcd import ScriptedEtcd, answer, chunk

LIMIT_S = 30.0
FAST = {"heartbeat": 40, "electionMin": 80, "electionMax": 160, "peerTimeout": 400, "consensusTimeout": 150}
PATHS = ["/v3/lease/grant", "/v3/lease/keepalive", "/v3/election/leader"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One that stays up."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd"))
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def prefix(request):
    """Of the keys of this test alone."""
    return f"{request.node.name}/"


@pytest.fixture
def quick_questions(monkeypatch):
    """Questions without a lease end sooner too, so a server that hangs costs less time."""
    monkeypatch.setattr(etcd, "_LONGEST_QUESTION_S", 0.3)


@pytest.fixture
def scripted(cleanup):
    server = ScriptedEtcd()
    cleanup.callback(server.close)
    return server


@pytest.fixture
def join(cleanup, prefix):
    """Join a member that asks these servers."""

    def join(*urls, lifetime_s=3, **more):
        source = EtcdLeaderSource(urls, lifetime_s=lifetime_s, **{"prefix": prefix, **more})
        group = cleanup.enter_context(
            Group.standalone("rack", "a", size=3, params=FAST, leader_source=source)
        )
        group.source = source
        return group

    return join


def introduce(groups):
    for group in groups:
        for other in groups:
            group.update(*other.address)


def agreed(groups):
    """Wait until all name the same leader, and it knows; return it, and the others."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        states = [group.status() for group in groups]
        leaders = [group for group, status in zip(groups, states, strict=True) if status.is_leader]
        known = {(status.leader_id, status.term) for status in states}
        if known == {(leader.getGroupId(), leader.term) for leader in leaders}:
            (leader,) = leaders
            return leader, [group for group in groups if group is not leader]
        time.sleep(0.005)
    raise AssertionError(f"no leader: {states}, {[group.source.failures for group in groups]}")


# -- the real one ---------------------------------------------------------------------------------------


def test_members_elect_one_leader_and_talk_to_it(server, join):
    groups = [join(server.url) for _ in range(3)]
    introduce(groups)
    leader, (follower, other) = agreed(groups)
    assert leader.term == follower.term == other.term >= 1
    assert follower.sendToLeader(b"up")
    assert leader.recv() == b"up"
    assert leader.sendToMember(b"down")
    assert follower.recv() == b"down"
    with pytest.raises(PortError):
        other.sendToMember(b"x", follower.getGroupId())


def test_a_leader_that_leaves_resigns_and_each_successor_has_a_higher_term(server, join):
    groups = [join(server.url, lifetime_s=30) for _ in range(4)]
    terms = []
    while groups:
        leader, groups = agreed(groups)
        terms.append(leader.term)
        # The lease of 30 s would outlast this test.
        leader.leave()
    assert terms == sorted(set(terms))
    assert len(terms) == 4


def test_groups_of_other_names_and_prefixes_have_their_own_leaders(server, join):
    one, other = join(server.url), join(server.url, prefix="elsewhere/")
    assert one.wait_until(lambda status: status.is_leader, LIMIT_S)
    assert other.wait_until(lambda status: status.is_leader, LIMIT_S)


def test_a_key_that_is_taken_from_the_leader_costs_it_the_leadership(server, join):
    """Somebody with the tools of etcd deletes it; the lease is alive all the while."""
    group = join(server.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    before = group.term
    source = group.source
    key = source._leading.key
    source._new_gateway().ask("/v3/kv/deleterange", {"key": key}, LIMIT_S)
    events = [group.receive(LIMIT_S) for _ in range(3)]
    assert [type(event).__name__ for event in events] == ["LeaderElected", "LeaderExited", "LeaderElected"]
    assert events[2].term > before


def test_while_etcd_is_down_nobody_leads_and_then_they_agree_again(tmp_path, cleanup, join):
    server = EtcdServer(tmp_path)
    cleanup.callback(server.kill)
    server.start()
    groups = [join(server.url, lifetime_s=2) for _ in range(3)]
    leader, _ = agreed(groups)
    term = leader.term
    server.kill()
    for group in groups:
        assert group.wait_until(lambda status: status.leader_id is None, LIMIT_S)
    server.start()
    leader, _ = agreed(groups)
    # Its key may have lived on.
    assert leader.term >= term
    for group in groups:
        events = list(iter(lambda group=group: group.receive(0.0), None))
        terms = [event.term for event in events if isinstance(event, LeaderElected)]
        assert terms == sorted(terms)


def test_etcd_may_come_later_than_the_members(tmp_path, cleanup, join):
    server = EtcdServer(tmp_path)
    cleanup.callback(server.kill)
    server.keep_ports()
    group = join(server.url)
    deadline = time.monotonic() + LIMIT_S
    while not group.source.failures["ConnectionRefusedError"]:
        assert time.monotonic() < deadline
    server.start()
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)


def test_it_speaks_tls(tmp_path, cleanup, join, caplog):
    server = EtcdServer(tmp_path, is_secure=True)
    cleanup.callback(server.kill)
    server.start()
    certificates = tmp_path / "data" / "fixtures" / "client" / "cert.pem"
    context = ssl.create_default_context(cafile=certificates)
    assert join(server.url, ssl_context=context).wait_until(lambda status: status.is_leader, LIMIT_S)
    stranger = join(server.url)
    deadline = time.monotonic() + LIMIT_S
    while not stranger.source.failures["SSLCertVerificationError"]:
        assert time.monotonic() < deadline
    assert not stranger.hasLeader()


class MemberProgram:
    """A member in a process of its own."""

    def __init__(self, url, lifetime_s, prefix):
        program = Path(__file__).with_name("etcd_member.py")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", program, url, str(lifetime_s), prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
        )

    def ask(self):
        self.begin_to_ask()
        return json.loads(self.process.stdout.readline())

    def begin_to_ask(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait_until_it_leads(self):
        deadline = time.monotonic() + LIMIT_S
        while not (state := self.ask())["leads"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return state

    def close(self):
        self.process.kill()
        self.process.wait(LIMIT_S)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def program(server, prefix, cleanup):
    def program(lifetime_s=2):
        made = MemberProgram(server.url, lifetime_s, prefix)
        cleanup.callback(made.close)
        return made

    return program


def test_a_leader_that_is_killed_is_succeeded_when_its_lease_is_over(program, server, join):
    leader = program()
    first = leader.wait_until_it_leads()
    group = join(server.url, lifetime_s=2)
    assert group.wait_until(lambda status: status.leader_id == bytes.fromhex(first["id"]), LIMIT_S)
    leader.process.kill()
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    assert group.term > first["term"]


def test_a_leader_that_was_stopped_does_not_lead_when_it_goes_on(program, server, join):
    """Its first answer after the pause is true already, before it has spoken to etcd again."""
    leader = program()
    first = leader.wait_until_it_leads()
    group = join(server.url, lifetime_s=2)
    leader.process.send_signal(signal.SIGSTOP)
    try:
        leader.begin_to_ask()
        assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
        second = group.term
    finally:
        leader.process.send_signal(signal.SIGCONT)
    assert json.loads(leader.process.stdout.readline())["leads"] is False
    assert first["term"] < second
    group.leave()
    assert leader.wait_until_it_leads()["term"] > second


# -- one that does what it should not -------------------------------------------------------------------


def test_the_scripted_server_is_good_enough_to_lead(scripted, join):
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    assert group.term == scripted.revision
    group.sendToLeader(b"me")
    assert group.recv() == b"me"
    group.leave()
    assert scripted.times("/v3/election/resign")
    assert scripted.times("/v3/lease/revoke")


def test_the_others_learn_where_the_leader_answers(scripted, join, eventually):
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    eventually(lambda: b"port" in base64.b64decode(scripted.value))
    value = json.loads(base64.b64decode(scripted.value))
    assert (value["id"], value["host"]) == (group.getGroupId().hex(), "127.0.0.1")


def test_a_leader_that_cannot_reach_etcd_stops_before_its_lease_is_over(scripted, join):
    """The server counts the lease from when it heard of it, the member from before it asked."""
    group = join(scripted.url, lifetime_s=1)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    for path in PATHS:
        scripted.behaviour[path] = lambda _: None
    # From now on nothing is answered, but what was asked before may have been.
    heard = scripted.times("/v3/lease/keepalive") or scripted.times("/v3/lease/grant")
    while time.monotonic() < heard[-1] + 1.0:
        time.sleep(0.01)
    assert not group.isLeader()
    assert group.wait_until(lambda status: not status.is_leader, LIMIT_S)
    scripted.behaviour.clear()
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)


def test_a_lease_counts_from_the_question_not_from_a_late_answer(scripted, join):
    def late(_):
        time.sleep(0.3)
        return answer({"ID": str(scripted.lease), "TTL": "3"})

    scripted.behaviour["/v3/lease/grant"] = late
    seen = []

    def leads(status):
        # What was asked for the lease until now, at the latest when the server heard of it.
        seen.append((status, scripted.times("/v3/lease/grant") + scripted.times("/v3/lease/keepalive")))
        return status.is_leader

    assert join(scripted.url).wait_until(leads, LIMIT_S)
    status, heard = seen[-1]
    assert status.until <= max(heard) + 0.9 * 3.0


def test_a_lease_that_is_over_is_replaced_and_the_leadership_with_it(scripted, join):
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    scripted.value = None
    scripted.lease, scripted.revision = 8, 6
    scripted.behaviour["/v3/lease/keepalive"] = lambda asked: answer(
        {"result": {"ID": asked["ID"], "TTL": "2" if asked["ID"] == "8" else "0"}}
    )
    assert group.wait_until(lambda status: status.is_leader and status.term == 6, LIMIT_S)


def test_a_longer_lease_than_asked_for_is_not_relied_upon(scripted, join):
    scripted.behaviour["/v3/lease/grant"] = lambda _: answer({"ID": "7", "TTL": "4000000000"})
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    assert group.status().until < time.monotonic() + 3.0


def test_another_leader_is_known_by_what_it_says(scripted, join):
    value = json.dumps({"id": "0a" * 16, "host": "127.0.0.1", "port": 9}).encode()
    scripted.behaviour["/v3/election/leader"] = lambda _: scripted.leader(
        lease="9", value=base64.b64encode(value).decode()
    )
    scripted.value = ""
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.leader_id == b"\x0a" * 16, LIMIT_S)
    assert (group.isLeader(), group.term) == (False, scripted.revision)


def test_a_former_lease_of_ours_leads_nobody(scripted, join, eventually):
    scripted.behaviour["/v3/election/leader"] = lambda _: scripted.leader(lease="6")
    group = join(scripted.url, lifetime_s=1)
    eventually(lambda: len(scripted.times("/v3/election/leader")) > 2)
    assert scripted.value is not None
    assert not group.hasLeader()
    assert not group.source.failures


def test_a_store_that_goes_back_has_no_leader(scripted, join, caplog):
    """Its data were lost; old terms would fence nothing."""
    caplog.set_level(logging.DEBUG)  # a warning only once in a process
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    scripted.revision -= 1
    assert group.wait_until(lambda status: not status.is_leader, LIMIT_S)
    assert group.term == scripted.revision + 1
    assert "went back" in caplog.text
    scripted.revision += 2
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)


def leader_saying(value):
    return lambda _: answer({"kv": {"key": "a2V5", "create_revision": "5", "lease": "9", "value": value}})


def b64(value):
    return base64.b64encode(value).decode()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def endless_body(_):
    yield CHUNKED
    yield from repeat(chunk(b" " * 4096))


def endless_head(_):
    yield b"HTTP/1.1 200 OK\r\n"
    yield from repeat(b"X: y\r\n")


def endless_line(_):
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from repeat(b"y" * 4096)


def dripping(_):
    """Each byte comes in time, the answer never."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(1000):
        yield b" "
        time.sleep(0.05)


HOSTILE = {
    "hanging": lambda _: None,
    "closed": lambda _: b"",
    "no HTTP": lambda _: b"\x00\xff" * 50,
    "endless body": endless_body,
    "endless head": endless_head,
    "endless line": endless_line,
    "dripping": dripping,
    "negative chunk": lambda _: CHUNKED + b"-1\r\n" + b"x" * 100_000,
    "cut short": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "bad length": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{",
    "not JSON": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff{]",
    "deep JSON": lambda _: b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000,
    "long number": lambda _: b"HTTP/1.1 200 OK\r\n\r\n" + b"9" * 60_000,
    "no object": lambda _: answer([]),
    "empty": lambda _: answer({}),
    "refused": lambda _: answer({"error": "etcdserver: request timed out"}, "503 Service Unavailable"),
    "refused without words": lambda _: answer({"error": 7}, "503 Service Unavailable"),
    "refused in no JSON": lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n<html>",
    "strange types": lambda _: answer({"ID": [], "TTL": {}, "kv": 7, "result": "x"}),
    "strange numbers": lambda _: answer({
        "ID": "seven", "TTL": "-1", "kv": {"key": "", "lease": True}, "result": {"TTL": "1.5"}
    }),
    "huge numbers": lambda _: answer({
        "ID": str(2**63),
        "TTL": "1",
        "kv": {"key": "", "create_revision": 2**63},
        "result": {"TTL": "9" * 5000},
    }),
    "no lease": lambda _: answer({"ID": "0", "TTL": "0", "kv": {"key": 1}, "result": {"TTL": None}}),
}  # fmt: skip


@pytest.mark.usefixtures("quick_questions")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", HOSTILE)
def test_nonsense_makes_no_leader_and_passes(scripted, join, name, path):
    """Whatever etcd answers: the member lives, nobody leads by it, and it recovers."""
    scripted.behaviour[path] = HOSTILE[name]
    group = join(scripted.url, lifetime_s=1)
    deadline = time.monotonic() + LIMIT_S
    while not group.source.failures:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if path != "/v3/lease/keepalive":  # which it has kept for a while
        assert not group.hasLeader()
    scripted.behaviour.clear()
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    assert group.error is None


@pytest.mark.parametrize(
    "value",
    [
        "not base64!",
        "é",
        b64(b""),
        b64(b"[]"),
        b64(b"7"),
        b64(b"[" * 40_000),
        b64(b'{"id": 7}'),
        b64(b'{"id": "0a"}'),
        b64(b'{"id": "%s", "host": "x y", "port": 1}' % (b"0a" * 16)),
        b64(b'{"id": "%s", "host": "127.0.0.1"}' % (b"0a" * 16)),
        b64(b'{"id": "%s", "host": "127.0.0.1", "port": 65536}' % (b"0a" * 16)),
        b64(b'{"id": "%s", "host": 7, "port": 5000}' % (b"0a" * 16)),
    ],
)
def test_a_leader_that_says_nonsense_of_itself_is_none(scripted, join, value, eventually):
    scripted.behaviour["/v3/election/leader"] = leader_saying(value)
    group = join(scripted.url, lifetime_s=1)
    eventually(lambda: group.source.failures)
    assert not group.hasLeader()
    scripted.behaviour.clear()
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)


@pytest.mark.parametrize("name", ["endless body", "closed", "refused", "no HTTP", "endless head"])
@pytest.mark.parametrize("path", ["/v3/election/campaign", "/v3/election/observe"])
def test_what_only_hints_cannot_lie(scripted, join, name, path, eventually):
    """The keeper reads who leads; a campaign that never ends well, or a flood of hints, changes nothing."""
    scripted.behaviour[path] = HOSTILE[name]
    # So it looks three times in a second.
    group = join(scripted.url, lifetime_s=1)
    eventually(lambda: len(scripted.times(path)) > 2 and len(scripted.times("/v3/election/leader")) > 2)
    if path == "/v3/election/campaign":
        # Nobody stands, because nothing of what this would change took place.
        assert not group.hasLeader()
    else:
        assert group.wait_until(lambda status: status.is_leader, LIMIT_S)


def test_failures_of_ever_new_kinds_are_counted_in_bounded_memory(scripted, join, eventually):
    numbers = iter(range(1000))
    scripted.behaviour["/v3/lease/grant"] = lambda _: answer({"error": f"reason {next(numbers)}"}, "500 X")
    group = join(scripted.url, lifetime_s=1)
    source = group.source
    eventually(lambda: source.failures)
    for number in range(100):
        source._note_failure(source._gateway, ValueError(f"cause {number}"))
    assert len(source.failures) <= 33
    assert source.failures["other"] >= 68


@pytest.mark.usefixtures("quick_questions")
def test_the_next_server_is_asked_when_one_fails(scripted, cleanup, join):
    hanging = ScriptedEtcd()
    cleanup.callback(hanging.close)
    for path in PATHS:
        hanging.behaviour[path] = lambda _: None
    # The two are no cluster: what is said to this one, that one does not know.
    hanging.behaviour["/v3/election/campaign"] = lambda _: b""
    group = join(hanging.url, scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)


@pytest.mark.usefixtures("quick_questions")
def test_leaving_does_not_wait_for_an_etcd_that_hangs(scripted, join):
    for path in (*PATHS, "/v3/election/resign", "/v3/lease/revoke"):
        scripted.behaviour[path] = lambda _: None
    group = join(scripted.url)
    before = threading.active_count()
    group.leave()
    assert threading.active_count() < before


def test_leaving_a_group_ends_all_threads_of_the_source(scripted, join):
    group = join(scripted.url)
    assert group.wait_until(lambda status: status.is_leader, LIMIT_S)
    group.leave()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("group-ports")]


@pytest.mark.fault("C23", "group-ports")
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_source_without_a_thread_is_a_port_error_and_leaves_none(monkeypatch, scripted, failing):
    start, starts = threading.Thread.start, []

    def scarce(thread):
        if thread.name.startswith("group-ports etcd"):
            starts.append(thread)
            if len(starts) == failing:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    source = EtcdLeaderSource([scripted.url])
    with pytest.raises(PortError, match="the leader source cannot begin"):
        Group.standalone("rack", "a", leader_source=source)
    assert len(starts) == failing
    assert not [thread for thread in starts if thread.is_alive()]


def test_a_source_serves_one_member(scripted, join):
    group = join(scripted.url)
    with pytest.raises(RuntimeError, match="one member"):
        Group.standalone("rack", "a", leader_source=group.source)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"urls": "http://127.0.0.1:2379"}, TypeError),
        ({"urls": []}, ValueError),
        ({"urls": ["127.0.0.1:2379"]}, ValueError),
        ({"urls": ["http://"]}, ValueError),
        ({"urls": ["http://127.0.0.1:2379/v3"]}, ValueError),
        ({"urls": ["http://127.0.0.1:many"]}, ValueError),
        ({"lifetime_s": 0}, ValueError),
        ({"lifetime_s": 3601}, ValueError),
        ({"lifetime_s": 1.5}, TypeError),
        ({"lifetime_s": True}, TypeError),
    ],
)
def test_impossible_settings_are_refused(arguments, error):
    with pytest.raises(error):
        EtcdLeaderSource(**arguments)
