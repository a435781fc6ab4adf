"""Replies that are read one after the other: whatever comes instead of one is dealt with as by the poller."""

from __future__ import annotations

import errno
import time

import pytest

from mxl_sockets import _connection, _coupling
from mxl_sockets._connection import NO_WAIT, Connection
from wireframe import ipi

FIELDS = {one: {"efield_au": (1.0 + one, 0.0, 0.0)} for one in range(3)}


@pytest.fixture
def reads(monkeypatch):
    """Do something before the reads of the hub that may wait; gives ``{number of the read: action}``."""
    actions = {}

    class Watched(Connection):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            real = self.receive_into

            def call(row, *flags):
                if flags:
                    assert flags == (0, NO_WAIT)
                else:
                    actions["count"] += 1
                    actions.get(actions["count"], int)()
                return real(row, *flags)

            self.receive_into = call

    actions["count"] = 0
    monkeypatch.setattr("mxl_sockets._links.Connection", Watched)
    monkeypatch.setattr(_coupling, "LONGEST_READING", 60.0)  # in order, however slow this machine is just now
    return actions


def answer(driver):
    """Answer twice the field."""
    head = driver.read_request()
    (value,) = memoryview(head[:8]).cast("d")
    driver.reply((2 * value, 0.0, 0.0))


def amplitudes(result):
    return [row["amp"][0] for row in result.values()]


def test_replies_are_read_in_order_each_with_one_call(bound, reads):
    """The usual step: the drivers answer while they are waited for, and nobody is polled for."""
    hub, drivers = bound(3)
    reads.update({1 + one: lambda one=one: answer(drivers[one]) for one in range(3)})
    for step in range(1, 4):
        assert amplitudes(hub.step_barrier(FIELDS)) == [2.0, 4.0, 6.0]
        assert reads["count"] == 3
        reads["count"] = 0
        assert hub.status().reply_times.count == 3 * step


def test_a_reply_in_pieces_is_put_together(bound, reads):
    """The first piece is read in order, the others as they come."""
    hub, drivers = bound(3)
    whole = ipi.encode_forceready((7.0, 0.0, 0.0), extra=b"x" * 1000)

    def begin():
        drivers[1].read_request()
        drivers[1].send(whole[:50])

    def end():
        drivers[1].send(whole[50:])
        answer(drivers[2])

    reads.update({1: lambda: answer(drivers[0]), 2: begin, 3: end})
    result = hub.step_barrier(FIELDS)
    assert amplitudes(result) == [2.0, 7.0, 6.0]
    assert result[1]["extra"] == b"x" * 1000


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (lambda driver: driver.close(), "closed"),
        (lambda driver: driver.reset(), "connection broke: Connection reset by peer"),
        (lambda driver: driver.say(ipi.READY), "broke the protocol"),
    ],
    ids=["end", "reset", "another message"],
)
def test_a_driver_that_does_not_answer_as_it_should_costs_itself_only(bound, reads, scripted, leave, reason):
    """What the others answered is kept; the replacement is asked, and nobody else."""
    hub, drivers = bound(3)

    def fail():
        drivers[1].read_request()
        leave(drivers[1])

    # The others' answers are there before: that of the last is read at the latest by the poller.
    reads[1] = lambda: [answer(drivers[0]), answer(drivers[2])]
    reads[2] = fail
    assert hub.step_barrier(FIELDS) == {}
    assert hub.paused
    assert reason in hub.status().last_error
    drivers[1] = scripted(hub)
    assert hub.wait_until_bound({one: {} for one in range(3)})
    drivers[1].read_init()
    assert hub.step_barrier(FIELDS, timeout=0) == {}
    answer(drivers[1])
    assert amplitudes(hub.step_barrier(FIELDS)) == [2.0, 4.0, 6.0]
    assert [drivers[one].unread() for one in (0, 2)] == [b"", b""]


def test_a_second_reply_behind_the_first_is_not_kept_for_the_next_step(bound, reads):
    """The first answers this step; the other was not asked for and costs the driver its connection."""
    hub, drivers = bound(3)

    def twice():
        drivers[1].read_request()
        drivers[1].send(2 * ipi.encode_forceready((7.0, 0.0, 0.0)))

    reads.update({1: lambda: answer(drivers[0]), 2: twice, 3: lambda: answer(drivers[2])})
    assert amplitudes(hub.step_barrier(FIELDS)) == [2.0, 7.0, 6.0]
    assert hub.paused
    assert sorted(hub.status().bound) == [0, 2]


def test_who_is_late_is_waited_for_by_the_poller(bound, reads, background, eventually):
    """One read is given up, and the lock is free for others while the step goes on."""
    hub, drivers = bound(3)
    step = background(hub.step_barrier, FIELDS, 20.0)
    eventually(lambda: hub._coupling.loop._leading)
    assert reads["count"] == 1
    for driver in reversed(drivers):
        assert hub.status().steps == 0
        answer(driver)
    assert amplitudes(step.result(10)) == [2.0, 4.0, 6.0]
    assert reads["count"] == 1


def test_a_near_deadline_allows_no_waiting_reads(bound, reads):
    """However the drivers dawdle, reading in order cannot carry a call over its deadline."""
    hub, drivers = bound(3)
    assert hub.step_barrier(FIELDS, timeout=_coupling.LONGEST_BATCH / 2) == {}
    assert reads["count"] == 0
    for driver in drivers:
        answer(driver)
    assert amplitudes(hub.step_barrier(FIELDS, timeout=0)) == [2.0, 4.0, 6.0]


def test_slow_reading_in_order_ends_after_a_batch(bound, reads, monkeypatch):
    """The lock is not held for long: then the poller goes on, and others get their turn."""
    monkeypatch.setattr(_coupling, "LONGEST_READING", 0.01)
    hub, drivers = bound(20)
    fields = {one: {"efield_au": (1.0, 0.0, 0.0)} for one in range(20)}

    def dawdle():
        time.sleep(0.02)
        for driver in drivers:
            answer(driver)

    reads[1] = dawdle
    assert amplitudes(hub.step_barrier(fields)) == [2.0] * 20
    assert reads["count"] == 16


class Refusing:
    """A socket that takes no options."""

    def setsockopt(self, *_):
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")


def test_reads_that_cannot_be_limited_do_not_wait(bound, monkeypatch, background):
    """Where the system lacks what it takes, all calls are non-blocking, and steps work as well."""
    assert _connection._limit_reads(Refusing()) is False
    with monkeypatch.context() as lacking:
        lacking.setattr(_connection, "NO_WAIT", 0)
        assert _connection._limit_reads(Refusing()) is False
    monkeypatch.setattr(_connection, "_limit_reads", lambda _: False)
    hub, drivers = bound(3)
    step = background(hub.step_barrier, FIELDS)
    for driver in drivers:
        answer(driver)
    assert amplitudes(step.result(10)) == [2.0, 4.0, 6.0]
    connections = hub._coupling.exchange.connections.values()
    assert [one.sock.getblocking() for one in connections] == [False] * 3


def test_a_driver_that_reads_nothing_holds_nobody_up(bound, background):
    """Sends never wait, although the sockets are left in blocking mode."""
    hub, (driver,) = bound()
    exchange = hub._coupling.exchange
    (connection,) = exchange.connections.values()
    start = time.monotonic()
    while not connection.outgoing:
        connection.send(b"x" * (1 << 20))
    assert connection.peek() is None
    assert time.monotonic() - start < 5
    driver.close()
