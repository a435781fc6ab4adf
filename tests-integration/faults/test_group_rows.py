"""Faults of the catalogue, played on groups with the tools of this folder."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

import history
import measure
import pytest

from group_ports import Group, Message, PortTimeout

#: Seconds for a step on a busy machine; the longest wait of a group.
LIMIT_S = 10.0
#: Quick, so that a test is short; slow enough for a busy machine.
PARAMS = {
    "heartbeat": 50,
    "electionMin": 100,
    "electionMax": 300,
    "peerTimeout": 1500,
    "consensusTimeout": 200,
}


@contextlib.contextmanager
def group_of(count):
    """Members of one group that follow each other and have agreed on a leader."""
    with contextlib.ExitStack() as stack:
        members = [
            stack.enter_context(Group.standalone("rack", "a", size=count, params=PARAMS))
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


@pytest.mark.timeout(120)
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
