"""Members that find each other by multicast DNS, on the loopback interface only."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from group_ports import Group, PortError, PortTimeout, _zeroconf_engine, _zeroconf_records, _zeroconf_services
from group_ports._zeroconf_records import name_of, properties_of
from group_ports.zeroconf_discovery import ZeroconfDiscovery

from .mdns_stranger import TYPE, Stranger

LIMIT_S = 15.0
FAST = {"heartbeat": 40, "electionMin": 80, "electionMax": 160, "peerTimeout": 400, "consensusTimeout": 150}
KEY = "m@rack.a"
HERE = "127.0.0.1"
REAL_TYPE = _zeroconf_records.SERVICE_TYPE
OWN, ANN, BOB = b"\x01" * 16, b"\x0a" * 16, b"\x0b" * 16


class Listener:
    """A publisher that was announced, and what it was told."""

    def __init__(self, discovery, key=KEY, port=7001, member_id=OWN):
        self.places = set()
        self.said = []
        self.discovery, self.key, self.port = discovery, key, port
        self._changed = threading.Condition()
        discovery.register(key, HERE, port, member_id, found=self.found, gone=self.gone)

    def found(self, host, port):
        with self._changed:
            self.said.append(("found", host, port))
            self.places.add((host, port))
            self._changed.notify_all()

    def gone(self, host, port):
        with self._changed:
            self.said.append(("gone", host, port))
            self.places.discard((host, port))
            self._changed.notify_all()

    def wait(self, *ports):
        wanted = {(HERE, port) for port in ports}
        with self._changed:
            assert self._changed.wait_for(lambda: self.places == wanted, LIMIT_S), self.said

    def close(self):
        self.discovery.unregister(self.key, HERE, self.port)


@pytest.fixture
def listen(cleanup):
    def listen(discovery=None, **more):
        listener = Listener(ZeroconfDiscovery([HERE]) if discovery is None else discovery, **more)
        cleanup.callback(listener.close)
        return listener

    return listen


@pytest.fixture(autouse=True)
def service_type(monkeypatch):
    """A type of service of this process alone: other runs of these tests speak on the same interface."""
    service_type = f"_gp-{os.getpid():x}._tcp.local."
    for module in (_zeroconf_records, _zeroconf_engine, _zeroconf_services):
        monkeypatch.setattr(module, "SERVICE_TYPE", service_type)
    # Milliseconds between the three goodbyes of the library, for which nobody has to wait here.
    monkeypatch.setattr("zeroconf._core._UNREGISTER_TIME", 1, raising=False)
    return service_type


@pytest.fixture
def stranger(cleanup, service_type):
    stranger = Stranger(service_type)
    cleanup.callback(stranger.close)
    return stranger


def texts_of(key, member_id, **changes):
    texts = {**properties_of(key, member_id), **changes}
    return [f"{name}={value}".encode() for name, value in texts.items() if value is not None]


def announce(stranger, member_id=ANN, key=KEY, port=9, **more):
    stranger.announce(name_of(key, member_id), texts_of(key, member_id), (HERE, port), **more)


def wait_for(condition, what):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


def test_the_type_of_service_is_the_documented_one():
    assert REAL_TYPE == TYPE == "_group-ports._tcp.local."


def test_members_find_each_other_elect_a_leader_and_part(cleanup):
    groups = [
        cleanup.enter_context(
            Group.standalone("rack", "a", size=3, params=FAST, discovery=ZeroconfDiscovery())
        )
        for _ in range(3)
    ]
    for group in groups:
        assert group.wait_until(lambda status: status.size == 3 and status.leader_id is not None)
    groups[0].send(b"hello")
    assert [group.recv() for group in groups] == [b"hello"] * 3
    gone = groups[0].address
    groups[0].leave()
    for group in groups[1:]:
        wait_for(
            lambda group=group: not any(str(gone[1]) in place for place in followed(group)),
            lambda group=group: followed(group),
        )
        assert len(followed(group)) == 2


def followed(group):
    return set(group._worker.ports.subscriber._endpoints)


def test_members_of_one_process_may_share_a_discovery(listen):
    discovery = ZeroconfDiscovery([HERE])
    one = listen(discovery)
    other = listen(discovery, port=7002, member_id=ANN)
    stranger_to_both = listen(discovery, key="m@rack.b", port=7003, member_id=BOB)
    one.wait(7001, 7002)
    other.wait(7001, 7002)
    stranger_to_both.wait(7003)
    other.close()
    one.wait(7001)


def test_one_member_id_may_be_in_two_groups(listen):
    discovery = ZeroconfDiscovery([HERE])
    one, other = listen(discovery), listen(discovery, key="m@rack.b", port=7002)
    far = listen(port=7003, member_id=ANN)
    far.wait(7001, 7003)
    one.wait(7001, 7003)
    other.wait(7002)


def test_a_member_that_leaves_is_gone_and_one_that_comes_back_is_found(listen):
    one, other = listen(), listen(port=7002, member_id=ANN)
    one.wait(7001, 7002)
    other.close()
    one.wait(7001)
    listen(port=7002, member_id=ANN)
    one.wait(7001, 7002)
    assert one.discovery.dropped == {}


def test_a_member_that_died_is_gone_when_its_time_is_over_and_one_that_lives_is_not(
    listen, stranger, monkeypatch
):
    """It says no goodbye, and does not answer; the other, announced before it, is asked again and again."""
    monkeypatch.setattr(_zeroconf_services, "_ANSWER_MS", 1000)
    one = listen(ZeroconfDiscovery([HERE], lifetime_s=1))
    listen(ZeroconfDiscovery([HERE], lifetime_s=1), port=7002, member_id=ANN)
    one.wait(7001, 7002)
    announce(stranger, BOB, lifetime_s=1)
    one.wait(7001, 7002, 9)
    one.wait(7001, 7002)
    assert one.discovery.dropped["no answer"] >= 1
    assert ("gone", HERE, 7002) not in one.said


def test_a_member_that_moved_is_followed(listen, stranger):
    one = listen()
    announce(stranger, port=9)
    one.wait(7001, 9)
    announce(stranger, port=10)
    one.wait(7001, 10)


def test_a_place_is_given_up_only_when_nobody_is_there(listen, stranger):
    """A member that died and came back with another id has the same port."""
    one = listen()
    announce(stranger, ANN)
    announce(stranger, BOB)
    one.wait(7001, 9)
    wait_for(lambda: one.discovery._engine._services.places(KEY).count((HERE, 9)) == 2, dict)
    announce(stranger, ANN, lifetime_s=0)
    wait_for(lambda: name_of(KEY, ANN) not in one.discovery._engine._services, dict)
    announce(stranger, ANN, port=10)
    one.wait(7001, 9, 10)
    assert ("gone", HERE, 9) not in one.said


def numbered(number):
    """Return the id of a stranger."""
    return bytes([100 + number]) * 16


#: What the members of these numbers announce, and why it is refused.
HOSTILE = {
    1: ("TXT without version", lambda own: []),
    2: ("TXT without member", lambda own: texts_of(KEY, own, member=None)),
    3: ("TXT without message", lambda own: [*texts_of(KEY, own, message=None), b"message"]),
    4: (
        "TXT with a type that is no text",
        lambda own: [*texts_of(KEY, own, type=None), b"type=\xff\xfe"],
    ),
    5: ("another version", lambda own: texts_of(KEY, own, version="2")),
    6: ("TXT with a member that is no id", lambda own: texts_of(KEY, own, member="xyz")),
    7: ("a name that is not that of the member", lambda own: texts_of(KEY, BOB)),
    8: ("a port that is none", lambda own: texts_of(KEY, own), (HERE, 0)),
    9: ("no address", lambda own: texts_of(KEY, own), ("224.0.0.1", 9)),
}


def test_records_that_are_none_of_a_member_are_refused_and_counted(listen, stranger, caplog):
    one = listen()
    for number, (_, texts, *place) in HOSTILE.items():
        own = numbered(number)
        stranger.announce(name_of(KEY, own), texts(own), *place)
    causes = {cause for cause, *_ in HOSTILE.values()}
    wait_for(lambda: causes <= one.discovery.dropped.keys(), lambda: one.discovery.dropped)
    assert one.places <= {(HERE, 7001)}
    # What is right again is believed.
    for number in HOSTILE:
        announce(stranger, numbered(number), port=100 + number)
    one.wait(7001, *(100 + number for number in HOSTILE))


def test_a_record_of_another_group_or_member_does_not_pass_for_ours(listen, stranger):
    one = listen()
    changes = (
        {"member": numbered(1).hex() + "00"},
        {"instance": "b"},
        {"type": "rack.a", "instance": "a"},
        {"message": "m@rack"},
    )
    for number, change in enumerate(changes, 1):
        own = numbered(number)
        stranger.announce(name_of(KEY, own), texts_of(KEY, own, **change))
    cause = "a name that is not that of the member"
    wait_for(lambda: one.discovery.dropped.get(cause, 0) >= len(changes), lambda: one.discovery.dropped)
    assert one.places <= {(HERE, 7001)}


def test_names_of_other_types_and_garbage_are_harmless(listen, stranger, caplog):
    one = listen()
    stranger.point_to("x._http._tcp.local.", "x", "\u00e9" * 20 + "._group-ports._tcp.local.")
    for data in (b"", b"\0" * 11, b"\xff" * 1000, b"\0\0\x84\0\0\0\xff\xff\0\0\0\0"):
        stranger.send_raw(data)
    announce(stranger)
    one.wait(7001, 9)


def test_huge_numbers_of_services_are_bounded_and_do_not_keep_members_out(listen, stranger, monkeypatch):
    monkeypatch.setattr(_zeroconf_services, "MAX_SERVICES", 20)
    one = listen()
    for start in range(0, 100, 10):
        stranger.point_to(*(f"x{number}._group-ports._tcp.local." for number in range(start, start + 10)))
    wait_for(lambda: one.discovery.dropped.get("too many", 0) >= 79, lambda: one.discovery.dropped)
    assert len(one.discovery._engine._services) <= 20
    announce(stranger)
    one.wait(7001, 9)


def test_more_members_than_there_is_room_for_are_not_followed(listen, stranger, monkeypatch):
    monkeypatch.setattr(_zeroconf_services, "MAX_SERVICES", 3)
    one = listen()
    one.wait(7001)
    wait_for(lambda: len(one.discovery._engine._services) == 1, dict)
    for number in range(2, 10):
        announce(stranger, bytes([number]) * 16, port=number)
    wait_for(lambda: one.discovery.dropped.get("too many", 0) >= 6, lambda: one.discovery.dropped)
    assert len(one.discovery._engine._services) == 3


def test_a_member_that_has_no_time_is_told_again_and_one_that_ended_no_more(listen, stranger, caplog):
    class Busy(Listener):
        tries = 0

        def found(self, host, port):
            self.tries += 1
            if self.tries < 3:
                raise PortTimeout("busy", PortError.EAGAIN)
            super().found(host, port)

    class Ended(Listener):
        tries = 0

        def found(self, host, port):
            self.tries += 1
            raise PortError("ended", PortError.ECLOSED)

    discovery = ZeroconfDiscovery([HERE])
    busy = Busy(discovery)
    ended = Ended(discovery, port=7002, member_id=ANN)
    try:
        busy.wait(7001, 7002)
        announce(stranger, BOB)
        busy.wait(7001, 7002, 9)
        assert ended.tries == 1
    finally:
        busy.close()
        ended.close()


def test_it_works_inside_an_event_loop():
    """The library would take the running loop for itself, and never get a turn."""

    async def join():
        with Group.standalone("rack", "a", size=1, params=FAST, discovery=ZeroconfDiscovery()) as group:
            while not group.isLeader():
                await group.receive_async(0.1)
        return True

    assert asyncio.run(join())


def test_the_last_member_ends_the_thread():
    before = set(threading.enumerate())
    discovery = ZeroconfDiscovery([HERE])
    for _ in range(2):
        listener = Listener(discovery)
        listener.wait(7001)
        listener.close()
        listener.close()
        assert not [thread for thread in threading.enumerate() if thread not in before]


def test_a_member_is_announced_once(listen):
    one = listen()
    one.wait(7001)
    with pytest.raises(ValueError, match="already"):
        Listener(one.discovery)
    other = listen(port=7002, member_id=ANN)
    other.wait(7001, 7002)


def test_no_call_waits_for_ever(listen, monkeypatch):
    before = set(threading.enumerate())
    held = threading.Event()

    def hold(name):
        method = getattr(_zeroconf_engine.Engine, name)

        async def slow(*arguments):
            await asyncio.to_thread(held.wait, LIMIT_S)
            return await method(*arguments)

        monkeypatch.setattr(_zeroconf_engine, "LONGEST_WAIT_S", 0.0)
        monkeypatch.setattr(_zeroconf_engine.Engine, name, slow)

    discovery = ZeroconfDiscovery([HERE])
    hold("_main")
    with pytest.raises(PortTimeout, match="start"):
        Listener(discovery)
    held.set()
    monkeypatch.undo()
    # It started after all, and ended at once.
    wait_for(lambda: set(threading.enumerate()) <= before, threading.enumerate)
    held.clear()
    one = listen(discovery)
    hold("_add")
    with pytest.raises(PortTimeout, match="long"):
        Listener(discovery, port=7002, member_id=ANN)
    held.set()
    monkeypatch.undo()
    one.wait(7001)


@pytest.mark.fault("C23", "group-ports")
def test_without_a_thread_it_is_a_port_error(monkeypatch):
    def scarce(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", scarce)
    with pytest.raises(PortError, match="mDNS cannot begin"):
        Listener(ZeroconfDiscovery([HERE]))


def test_an_interface_that_is_not_there_is_an_error_and_leaves_nothing_behind():
    before = threading.active_count()
    with pytest.raises(OSError, match="address"):
        Listener(ZeroconfDiscovery(["192.0.2.1"]))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("m" * 300 + "@rack.a", HERE, 7001), ValueError),
        ((KEY, "localhost", 7001), ValueError),
        ((KEY, HERE, 0), ValueError),
        ((KEY, HERE, "7001"), TypeError),
    ],
)
def test_what_cannot_be_announced_is_refused(arguments, error):
    before = threading.active_count()
    with pytest.raises(error):
        ZeroconfDiscovery([HERE]).register(*arguments, OWN, found=print, gone=print)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"interfaces": "127.0.0.1"}, TypeError),
        ({"interfaces": []}, ValueError),
        ({"interfaces": ["localhost"]}, ValueError),
        ({"interfaces": ["::1"]}, ValueError),
        ({"lifetime_s": 0}, ValueError),
        ({"lifetime_s": 4501}, ValueError),
        ({"lifetime_s": 1.5}, TypeError),
        ({"lifetime_s": True}, TypeError),
    ],
)
def test_impossible_settings_are_refused(arguments, error):
    with pytest.raises(error):
        ZeroconfDiscovery(**arguments)


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(ImportError, match=r"pip install group-ports\[zeroconf\]"):
        ZeroconfDiscovery()


def test_neither_the_library_nor_the_adapter_is_imported_unless_asked_for():
    program = (
        "import sys, group_ports, group_ports.zeroconf_discovery;"
        "sys.exit(bool({'zeroconf', 'group_ports.etcd'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
