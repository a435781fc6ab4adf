"""Faults of the catalogue, played on groups with the tools of this folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import history
import measure
import pytest
from namespaces import Program, python

from group_ports import (
    Group,
    GroupAnsPort,
    GroupSubPort,
    MemberLeft,
    Message,
    PortSettings,
    PortTimeout,
)

#: Seconds for a step on a busy machine; the longest wait of a group.
LIMIT_S = 20.0
#: Quick, so that a test is short; but a busy machine is not taken for a dead one, whose messages are lost.
PARAMS = {
    "heartbeat": 50,
    "electionMin": 200,
    "electionMax": 500,
    "peerTimeout": 5000,
    "consensusTimeout": 400,
}


#: What a process may grow by beside what is configured.
ROOM = 8 << 20
#: No host of its own.
HERE = SimpleNamespace(enter=())


@contextlib.contextmanager
def group_of(count, **more):
    """Members of one group that follow each other and have agreed on a leader."""
    with contextlib.ExitStack() as stack:
        members = [
            stack.enter_context(Group.standalone("rack", "a", size=count, params=PARAMS, **more))
            for _ in range(count)
        ]
        for one in members:
            for other in members:
                one.update(*other.address)
        deadline = time.monotonic() + LIMIT_S
        while not agree(members):
            assert time.monotonic() < deadline, "the members do not agree"
            time.sleep(0.01)
        yield members


def agree(members):
    """Whether all follow the same leader, and it says that it leads."""
    leaders = {(one.getLeaderId(), one.term) for one in members}
    return len(leaders) == 1 and None not in leaders.pop() and any(one.isLeader() for one in members)


@pytest.mark.fault("C21", "group-ports", "LW")
def test_c21_a_member_that_many_threads_use_loses_and_mixes_up_nothing(figure):
    """L W: eight threads send through one member while two more ask for its state without a pause."""
    threads, each = 8, 100
    previous = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    book = history.History()
    got = []
    errors = []
    is_over = threading.Event()
    try:
        with group_of(2) as members:
            sender, listener = members

            def send(name):
                for number in range(each):
                    operation = book.begin(name, b"%d %d" % (name, number))
                    try:
                        sender.send(operation.request)
                    except PortTimeout as error:
                        operation.unknown(error)
                    else:
                        operation.done()

            def look():
                while not is_over.is_set():
                    sender.status(), sender.hasLeader(), sender.groupSize(), sender.getLeaderId()

            def take():
                while len(got) < threads * each and (event := listener.receive(LIMIT_S)) is not None:
                    if isinstance(event, Message):
                        got.append(event.data)

            def guarded(function, *arguments):
                try:
                    function(*arguments)
                except BaseException as error:  # noqa: BLE001 - told below, by the test's own thread
                    errors.append(error)

            running = [threading.Thread(target=guarded, args=(send, name)) for name in range(threads)]
            looking = [threading.Thread(target=guarded, args=(look,)) for _ in range(2)]
            taking = threading.Thread(target=guarded, args=(take,))
            for thread in (*running, *looking, taking):
                thread.start()
            for thread in (*running, taking):
                thread.join(LIMIT_S)
            is_over.set()
            for thread in looking:
                thread.join(LIMIT_S)
    finally:
        sys.setswitchinterval(previous)
    assert not errors, errors
    assert history.unended(book) == []
    assert history.not_exactly_once(book, got) == []
    for name in range(threads):
        numbers = [int(text.split()[1]) for text in got if int(text.split()[0]) == name]
        assert history.not_rising(numbers) == []
    figure(f"{len(got)} of {threads * each} messages of {threads} threads, each once and in order")


@pytest.mark.fault("C24", "group-ports", "M")
def test_c24_members_that_come_and_go_leave_nothing_behind(figure):
    """M: one member joins, talks and leaves again and again; two that stay hold what they held before.

    The whole measure: ``FAULTS_SOAK_MEMBERS=600``, one a second for ten minutes.
    """
    count = int(os.environ.get("FAULTS_SOAK_MEMBERS", "20"))
    heard = 0
    with group_of(2) as members:
        # The first ones fill memories and caches that are bounded.
        for _ in range(5):
            come_and_go(members)
        before = measure.open_descriptors(), measure.running_threads()
        memory = measure.resident_bytes()
        for _ in range(count):
            heard += come_and_go(members)
        deadline = time.monotonic() + LIMIT_S
        while (measure.open_descriptors(), measure.running_threads()) != before:
            assert time.monotonic() < deadline, "descriptors or threads are left over"
            time.sleep(0.05)
        growth = measure.resident_bytes() - memory
        assert heard == count * len(members) * TALKS
        # Eight MiB more than what is configured, which the first ones have filled.
        assert growth < 8 << 20
        held = f"{before[0]} descriptors and {before[1]} threads before and after"
        figure(f"{count} members: {growth / 1024:.0f} KiB more, {held}")


#: Messages of a member before it leaves.
TALKS = 20


def come_and_go(members):
    """Let another member join, send and leave; return how many of its messages the others have heard."""
    with Group.standalone("rack", "a", size=2, params=PARAMS) as guest:
        for one in members:
            one.update(*guest.address)
            guest.update(*one.address)
        for one in (*members, guest):
            assert one.wait_until(lambda status: status.size == len(members) + 1, LIMIT_S), "it did not join"
        for number in range(TALKS):
            guest.send(b"guest %d" % number)
        heard = 0
        for one in members:
            wanted = {b"guest %d" % number for number in range(TALKS)}
            deadline = time.monotonic() + LIMIT_S
            while wanted:
                assert time.monotonic() < deadline, wanted
                event = one.receive(0.1)
                if isinstance(event, Message) and event.data in wanted:
                    wanted.remove(event.data)
                    heard += 1
        address = guest.address
    for one in members:
        one.forget(*address)
        assert one.wait_until(lambda status: status.size == len(members), LIMIT_S), "it is still there"
    return heard


def until(condition, what):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


# -- C3: what is longer than allowed --------------------------------------------------------------------

#: ZMTP 3.0 without security: signature, version, mechanism, not a server, filler.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_MORE, _LONG = 1, 2


def ready(kind):
    """The command with which a socket of a kind says who it is."""
    body = b"\x05READY\x0bSocket-Type" + struct.pack("!I", len(kind)) + kind
    return bytes([4, len(body)]) + body


def short_frame(data, *, more):
    return bytes([_MORE if more else 0, len(data)]) + data


@contextlib.contextmanager
def stranger_of(port):
    """A bare TCP connection to a port, behind the handshake of ZMTP."""
    with contextlib.ExitStack() as stack:
        if isinstance(port, GroupAnsPort):
            line = stack.enter_context(socket.create_connection(port.address, LIMIT_S))
            kind = b"DEALER"
        else:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(3 * LIMIT_S)
            port.update(*listener.getsockname())
            line = stack.enter_context(listener.accept()[0])
            kind = b"PUB"
        line.settimeout(3 * LIMIT_S)
        line.sendall(GREETING + ready(kind))
        got = b""
        while b"READY" not in got:
            got += line.recv(1000)
        yield line


@pytest.mark.fault("C3", "group-ports", "ME")
@pytest.mark.parametrize("kind", [GroupSubPort, GroupAnsPort])
def test_c03_a_frame_without_end_takes_nothing_and_ends_its_connection(figure, kind):
    """M: strangers announce 64 MiB where 1 MiB is allowed, or that much and then nothing; others are heard.

    E: the announcement alone ends the connection.
    """
    limit, strangers, sent = 1 << 20, 8, 0
    tag = b"mtl" if kind is GroupAnsPort else b"msg"
    with kind.standalone(settings=PortSettings(max_size=limit, recv_timeout=LIMIT_S)) as port:
        before = peak = measure.resident_bytes()
        for number in range(strangers):
            with stranger_of(port) as line:
                size = limit if number % 2 else 64 << 20
                line.sendall(short_frame(tag, more=True) + bytes([_LONG]) + struct.pack("!Q", size))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    while size > limit:
                        line.sendall(bytes(65536))
                        sent += 65536
                        assert sent < strangers * (64 << 20), "nobody ends the connection"
                peak = max(peak, measure.resident_bytes())
        assert port.statistics.received == 0
        with stranger_of(port) as honest:
            honest.sendall(short_frame(tag, more=True) + short_frame(b"honest", more=False))
            assert port.take(LIMIT_S).payload == b"honest"
    assert peak - before <= limit + ROOM
    figure(f"{kind.__name__} {(peak - before) / 1024:.0f} KiB for {strangers} frames of up to 64 MiB")


@pytest.mark.fault("C3", "group-ports", "ME")
@pytest.mark.parametrize("kind", [GroupSubPort, GroupAnsPort])
def test_c03_very_many_frames_are_held_once_and_then_no_more(figure, kind):
    """M: libzmq keeps a message until it is whole, 64 bytes a frame; then it is dropped, and all is free.

    E: each message counts as one that was dropped.
    """
    frames, messages = 30_000, 10
    tag = b"mtl" if kind is GroupAnsPort else b"msg"
    with kind.standalone(settings=PortSettings(recv_timeout=LIMIT_S)) as port, stranger_of(port) as line:

        def send(count):
            line.sendall(short_frame(tag, more=True) * (count - 1) + short_frame(tag, more=False))
            dropped = sum(port.statistics.dropped.values())
            # Nothing of it can be read before all of it is there.
            assert port.getSocket().poll(1000 * LIMIT_S)
            top = measure.resident_bytes()

            def is_dropped():
                assert port.take() is None
                return sum(port.statistics.dropped.values()) > dropped

            until(is_dropped, "a message of many frames is not dropped")
            return top

        send(frames)
        before = measure.resident_bytes()
        peak = max(send(frames) for _ in range(messages))
        after = measure.resident_bytes()
        line.sendall(short_frame(tag, more=True) + short_frame(b"honest", more=False))
        assert port.take(LIMIT_S).payload == b"honest"
        assert port.statistics.dropped == {"BadHeader": messages + 1}
    # Of two frames of libzmq the second is the room that its queue keeps.
    assert peak - before <= 2 * 64 * frames + ROOM
    assert after - before <= ROOM
    what = f"{messages * frames} frames in {messages} messages"
    figure(
        f"{kind.__name__} {(peak - before) / 1024:.0f} KiB for {what}, {(after - before) / 1024:.0f} KiB kept"
    )


# -- C17: a subscriber that stops -----------------------------------------------------------------------

# Messages that wait for a subscriber, and bytes of each.
WAITING, MESSAGE = 100, 20_000
QUEUES = {"send_hwm": WAITING, "recv_hwm": WAITING}
# KiB that a publisher may grow by: the queue of its subscriber, and as much again for what the system adds.
GROWTH = 2 * WAITING * MESSAGE // 1024
SEND_TIMEOUT_S = 0.5
# One that no send can have waited for by accident, however busy the machine is.
LONG_SEND_TIMEOUT_S = 10.0
# Longer than any silence here.
PATIENCE_S = 10.0
GLANCE_S = 0.01


class End:
    """A port as a program of its own; see `group_program`."""

    def __init__(self, stack, directory, kind, **settings):
        script = str(Path(__file__).parents[1] / "group_program.py")
        settings = json.dumps({"host": "127.0.0.1", **settings})
        command = python("-W", "error", script, kind, settings)
        self.program = stack.enter_context(Program(HERE, command, directory))
        assert self.program.line() == "ready"

    def ask(self, command, *arguments):
        self.order(command, *arguments)
        return self.answer()

    def order(self, command, *arguments):
        self.program.tell(json.dumps([command, arguments]))

    def answer(self):
        return json.loads(self.program.line())


@pytest.fixture
def end(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda kind, **settings: End(stack, tmp_path, kind, **settings)


@pytest.mark.fault("C17", "group-ports", "LMT")
@pytest.mark.parametrize(("seconds", "liveness_s"), [(5.0, 3.0), (1.0, 30.0)], ids=["given up", "kept"])
def test_c17_a_stopped_subscriber_costs_no_time_and_no_memory_and_all_it_missed_is_counted(
    figure, end, seconds, liveness_s
):
    """M: its queue, whatever is published. L: received and lost are what was sent. T: no send waits."""
    settings = {"numbering": True, "send_timeout": LONG_SEND_TIMEOUT_S, "liveness_s": liveness_s, **QUEUES}
    publisher = end("publisher", **settings)
    subscriber = end("subscriber", recv_timeout=PATIENCE_S, **settings)
    subscriber.ask("update", publisher.ask("address"))
    publisher.ask("ready", 1)
    publisher.ask("send", 1, MESSAGE)
    heard = subscriber.ask("until", 0)
    before = publisher.ask("statistics")["peak_memory"]
    subscriber.program.signal(signal.SIGSTOP)
    began = time.monotonic()
    sent = 1
    while time.monotonic() - began < seconds or sent < 40 * WAITING:
        result = publisher.ask("send", WAITING, MESSAGE)
        assert result["refused"] == []
        assert result["longest"] < LONG_SEND_TIMEOUT_S
        sent += WAITING
    grown = publisher.ask("statistics")["peak_memory"] - before
    subscriber.program.signal(signal.SIGCONT)
    subscriber.order("until", sent)
    while not subscriber.program.has_line():
        publisher.ask("send", 1, MESSAGE)
        time.sleep(GLANCE_S)
    heard += subscriber.answer()
    assert heard == sorted(set(heard))
    statistics = subscriber.ask("statistics")
    assert statistics["received"] == len(heard) < sent
    assert statistics["received"] + statistics["lost"] == heard[-1] + 1
    assert grown < GROWTH
    figure(
        f"{grown} KiB for {sent * MESSAGE >> 20} MiB in {seconds:g} s; all {statistics['lost']} lost counted"
    )


@pytest.mark.fault("C17", "group-ports", "LMT")
def test_c17_a_stopped_subscriber_holds_a_publisher_up_for_its_send_timeout_and_misses_nothing(figure, end):
    """With back pressure: what was answered with True is heard, all of it and in order, and nothing else."""
    settings = {"send_timeout": SEND_TIMEOUT_S, "liveness_s": 30.0, **QUEUES}
    publisher = end("publisher", back_pressure=True, **settings)
    subscriber = end("subscriber", recv_timeout=PATIENCE_S, **settings)
    subscriber.ask("update", publisher.ask("address"))
    publisher.ask("ready", 1)
    before = publisher.ask("statistics")["peak_memory"]
    subscriber.program.signal(signal.SIGSTOP)
    taken, refused, longest = [], [], 0.0
    while len(refused) < 3:
        result = publisher.ask("send", 1, MESSAGE)
        taken += result["taken"]
        refused += result["refused"]
        longest = max(longest, result["longest"])
        assert len(taken) < 40 * WAITING
    assert longest < SEND_TIMEOUT_S + PATIENCE_S
    grown = publisher.ask("statistics")["peak_memory"] - before
    subscriber.program.signal(signal.SIGCONT)
    heard = subscriber.ask("until", taken[-1])
    last = publisher.ask("send", 1, MESSAGE)["taken"]
    assert heard + subscriber.ask("until", last[0]) == taken + last
    assert grown < GROWTH
    refusals = f"3 refused after {longest:.2f} s of {SEND_TIMEOUT_S} s"
    figure(f"{len(heard)} taken and heard, {refusals}; {grown} KiB")


# -- C19: our own program is told to end ----------------------------------------------------------------

#: Blocks in one call after the other, each for ten minutes unless a signal ends it.
BLOCKED = """
import os, signal, sys
from group_ports import Group, GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort, PortSettings

places = [(host, int(port)) for host, port in (place.split(":") for place in sys.argv[1:])]
params = {"heartbeat": 50, "electionMin": 100, "electionMax": 300, "peerTimeout": 600_000}
long = PortSettings(send_timeout=600.0, recv_timeout=600.0, send_hwm=1, recv_hwm=1)
waiting = PortSettings(back_pressure=True, send_timeout=600.0, send_hwm=1)


def stop(number, frame):
    raise KeyboardInterrupt


def fill(pub):
    while True:
        pub.send(bytes(1 << 20))


for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
with (
    Group.standalone("rack", "a", size=2, params={**params, "consensusTimeout": 200}, settings=long) as group,
    GroupSubPort.standalone(settings=long) as sub,
    GroupPubPort.standalone(settings=waiting) as pub,
    GroupQryPort.standalone(settings=long) as qry,
    GroupAnsPort.standalone(settings=long) as ans,
):
    for place in (*places, group.address):
        group.update(*place)
    print(os.getpid(), *group.address, flush=True)
    sub.update(*pub.address)
    pub.wait_ready(1)
    qry.update("127.0.0.1", 9)
    calls = {
        "sub.recv": sub.recv,
        "sub.take": lambda: sub.take(600.0),
        "sub.wait_connected": lambda: sub.wait_connected(2, 600.0),
        "pub.wait_ready": lambda: pub.wait_ready(2, 600.0),
        "pub.send": lambda: fill(pub),
        "qry.send": lambda: qry.send(b"x"),
        "qry.recv": qry.recv,
        "ans.recv": ans.recv,
        "group.recv": group.recv,
        "group.wait_until": lambda: group.wait_until(lambda status: False, 600.0),
    }
    for name, call in calls.items():
        for _ in range(2):
            try:
                print(name, flush=True)
                call()
            except KeyboardInterrupt:
                pass
print("closed", flush=True)
"""
CALLS = 10


def sleeps(pid):
    """Whether the main thread of a process waits for something; Linux only."""
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.fault("C19", "group-ports", "T")
def test_c19_a_signal_ends_every_call_and_whoever_leaves_is_known_to_have_left(figure, tmp_path):
    """T: no call that may take ten minutes outlasts a signal, nor do the peers have to miss heartbeats."""
    patient = {**PARAMS, "peerTimeout": 600_000}
    longest = 0.0
    with Group.standalone("rack", "a", size=2, params=patient, last_term=0) as peer:
        place = "{}:{}".format(*peer.address)
        with Program(HERE, python("-W", "error", "-c", BLOCKED, place), tmp_path) as program:
            pid, host, port = program.line().split()
            peer.update(host, int(port))
            peer.update(*peer.address)
            assert peer.wait_until(lambda status: status.size == 2, LIMIT_S)
            said = program.line()
            for number in range(2 * CALLS):
                until(lambda: sleeps(pid), "it does not wait")
                began = time.monotonic()
                program.signal(signal.SIGTERM if number % 2 else signal.SIGINT)
                before, said = said, program.line()
                longest = max(longest, time.monotonic() - began)
                assert (said == before) is (number % 2 == 0)
            assert said == "closed"
            while not isinstance(event := peer.receive(LIMIT_S), MemberLeft):
                assert event is not None, "its peer has heard nothing of its end"
            told = time.monotonic() - began
            assert program.ended() == 0
    figure(f"{2 * CALLS} calls returned within {longest:.3f} s; the peer was told after {told:.3f} s")


@pytest.mark.fault("C19", "group-ports", "T")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_c19_a_member_that_is_ended_without_a_word_is_missed_in_the_documented_time(figure, tmp_path, number):
    """T: the others give it up after the peer timeout, and agree on another leader if it led."""
    config = {"group": ["rack", "a"], "spec": {"message": "message", "timed": False, "params": PARAMS}}
    command = python("-W", "error", "-m", "group_ports", "member", json.dumps({**config, "min_size": 3}))
    with group_of(2, settings=None) as members, Program(HERE, command, tmp_path) as program:
        said = json.loads(program.line())
        for one in members:
            one.update(said["host"], said["port"])
            program.tell(json.dumps({"command": "update", "host": one.address[0], "port": one.address[1]}))
        for one in members:
            assert one.wait_until(lambda status: status.size == 3, LIMIT_S), "it did not join"
        began = time.monotonic()
        program.signal(number)
        assert program.ended() == -number
        for one in members:
            assert one.wait_until(lambda status: status.size == 2, LIMIT_S), "it is not missed"
        missed = time.monotonic() - began
        until(lambda: agree(members), "the members do not agree")
        assert members[0].send(b"on we go")
    figure(f"{number.name}: missed after {missed:.2f} s of {PARAMS['peerTimeout'] / 1000} s")
