"""Every system call may fail: the k-th one does, for every k, and the coupling goes on.

Hub and drivers run in one thread, so a run is the same every time. After each
fault the invariants are judged from what came out: the amplitudes are those of
an undisturbed run, no connection committed a step twice, no call raised, and
nothing is left open.
"""

from __future__ import annotations

import errno
import os

import pytest

from mxl_sockets import _accept, _running
from mxl_sockets._connection import Connection

FAULTS = ["EINTR", "EAGAIN", "ECONNRESET", "ENOBUFS", "EMFILE", "EPIPE", "ECONNABORTED", "ETIMEDOUT"]
FIELDS = [(1.0, -0.5, 0.25), (1 / 3, 1e-3, 7.0), (-2.0, 0.1, 1e5)]
IDS = range(2)


class Schedule:
    """Lets one call fail: the k-th after `arm`."""

    def __init__(self):
        self.left = -1
        self.error = None

    def arm(self, which, name):
        self.left = which
        code = getattr(errno, name)
        self.error = OSError(code, os.strerror(code))

    def check(self):
        """Raise if this is the call."""
        if self.left == 0:
            self.left = -1
            raise self.error
        self.left -= self.left > 0

    @property
    def pending(self):
        return self.left >= 0


class FailingListener:
    """A listening socket whose accept follows a schedule."""

    def __init__(self, sock, schedule):
        self.sock = sock
        self.schedule = schedule

    def accept(self):
        self.schedule.check()
        return self.sock.accept()

    def __getattr__(self, name):
        return getattr(self.sock, name)


@pytest.fixture
def schedule():
    return Schedule()


@pytest.fixture
def faulty(monkeypatch, schedule):
    """Let a call of every connection follow the schedule."""

    def install(what):
        class Faulty(Connection):
            __slots__ = ()

            def __init__(self, *arguments, **named):
                super().__init__(*arguments, **named)
                if what != "accept":
                    real = getattr(self, what)

                    def call(*arguments):
                        schedule.check()
                        return real(*arguments)

                    setattr(self, what, call)

        monkeypatch.setattr("mxl_sockets._links.Connection", Faulty)

    return install


def couple(hub, pumped, endpoints):
    """Run all steps with drivers that are replaced when they are gone; their trajectory and themselves."""
    drivers = [pumped(endpoint) for endpoint in endpoints]
    everybody = list(drivers)
    trajectory = []
    for value in FIELDS:
        result = {}
        for _ in range(2000):
            for one, driver in enumerate(drivers):
                if not driver.pump():
                    drivers[one] = pumped(endpoints[one])
                    everybody.append(drivers[one])
            hub.wait_until_bound({one: {"dt_au": 0.5} for one in IDS}, timeout=0)
            result = hub.step_barrier({one: {"efield_au": value} for one in IDS}, timeout=0)
            if result:
                break
        assert result, "the step never completed"
        trajectory.append([result[one]["amp"].tolist() for one in IDS])
    return trajectory, everybody


def expected():
    """The undisturbed trajectory, made with the drivers' own arithmetic."""
    total, trajectory = [0.0, 0.0, 0.0], []
    for value in FIELDS:
        total = [old + new for old, new in zip(total, value, strict=True)]
        trajectory.append([[(1 + one) * part for part in total] for one in IDS])
    return trajectory


@pytest.mark.fault("C23", "mxl-sockets", "LW")
@pytest.mark.parametrize("settings", [{}, {"two_phase": True}, {"handshake": "init+status"}], ids=repr)
@pytest.mark.parametrize("what", ["send_now", "receive_into", "accept"])
@pytest.mark.parametrize("name", FAULTS)
def test_the_coupling_survives_the_failure_of_any_one_call(
    make_hub, pumped, schedule, faulty, monkeypatch, descriptors, name, what, settings
):
    """k = 0, 1, 2, ... until a run needs fewer calls than that."""
    monkeypatch.setattr(_accept, "PAUSE", 0.002)
    faulty(what)
    before = descriptors()
    which = 0
    while True:
        hub = make_hub(resume=True, **settings)
        endpoints = [hub.add_endpoint(one) for one in IDS]
        if what == "accept":
            for listener in hub._coupling.exchange.acceptor.listeners.values():
                listener.sock = FailingListener(listener.sock, schedule)
        schedule.arm(which, name)
        trajectory, everybody = couple(hub, pumped, endpoints)
        assert trajectory == expected(), which
        # A fault costs one connection at the most.
        assert len(everybody) <= len(IDS) + 1
        if name == "EAGAIN" or what == "accept":  # Python itself repeats what EINTR ended
            assert len(everybody) == len(IDS), "a passing condition cost a driver"
        for driver in everybody:
            assert len(set(driver.commits)) == len(driver.commits)
            driver.close()
        hub.stop()
        if schedule.pending:
            break
        which += 1
    assert which >= (2 if what == "accept" else 6)
    assert descriptors() == before


@pytest.mark.fault("C1", "mxl-sockets", "LW")
@pytest.mark.parametrize("two_phase", [False, True])
@pytest.mark.parametrize("portion", [1, 7])
def test_sockets_that_move_a_few_bytes_at_a_time_only_take_longer(
    make_hub, pumped, monkeypatch, portion, two_phase
):
    """Short writes and short reads on every call; not a byte is lost or doubled."""

    class Narrow(Connection):
        __slots__ = ()

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            send, receive = self.send_now, self.receive_into
            self.send_now = lambda data, *flags: send(memoryview(data)[:portion], *flags)
            self.receive_into = lambda data, *flags: receive(memoryview(data)[:portion], *flags)

    monkeypatch.setattr("mxl_sockets._links.Connection", Narrow)
    hub = make_hub(two_phase=two_phase)
    trajectory, everybody = couple(hub, pumped, [hub.add_endpoint(one) for one in IDS])
    assert trajectory == expected()
    assert len(everybody) == len(IDS)
    for driver in everybody:
        driver.close()


def test_a_passing_refusal_of_queued_output_is_tried_again(make_hub, scripted, faulty, schedule, background):
    """EAGAIN in the middle of a long INIT: the rest follows in order."""
    faulty("send_now")
    hub = make_hub()
    driver = scripted(hub)
    wait = background(hub.wait_until_bound, {0: {"blob": "x" * (8 << 20)}})
    assert wait.result(5)
    schedule.arm(0, "EAGAIN")
    step = background(hub.step_barrier, {0: {"efield_au": FIELDS[0]}})
    driver.read_init()
    driver.read_request()
    driver.reply()
    assert step.result(5)
    assert not schedule.pending


@pytest.mark.parametrize("name", ["EPIPE", "ENOBUFS"])
def test_queued_output_that_cannot_be_sent_costs_the_connection(make_hub, scripted, faulty, schedule, name):
    """The failure is noticed when the peer takes more, and said in the status."""
    faulty("send_now")
    hub = make_hub()
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {"blob": "x" * (8 << 20)}})
    schedule.arm(0, name)
    step = {0: {"efield_au": FIELDS[0]}}
    for _ in range(8):
        driver.read(1 << 20)
        assert hub.step_barrier(step, timeout=0.01) == {}
        if hub.paused:
            break
    assert "cannot send" in hub.status().last_error


def test_a_connection_that_cannot_be_watched_is_refused(make_hub, pumped, monkeypatch, caplog):
    """No room in the event source: the newcomer is closed, the hub lives."""
    make = _running.make_poller
    refusals = [1]

    class Full:
        def __init__(self):
            self.real = make()

        def register(self, descriptor, mask):
            if getattr(self, "ready", False) and refusals:
                refusals.pop()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.real.register(descriptor, mask)

        def __getattr__(self, attribute):
            return getattr(self.real, attribute)

    pollers = []
    monkeypatch.setattr(_running, "make_poller", lambda: pollers.append(Full()) or pollers[-1])
    hub = make_hub()
    pollers[0].ready = True
    unlucky, lucky = pumped(hub), pumped(hub)
    assert hub.wait_until_bound({0: {}})
    assert not unlucky.pump()
    assert lucky.pump()
    assert lucky.inits == [{"molecule_id": 0}]
    assert "cannot be watched" in caplog.text
    lucky.close()


def test_a_newcomer_whose_options_cannot_be_set_has_left(make_hub, pumped, monkeypatch):
    """An error while a newcomer is prepared costs the newcomer."""
    failures = [OSError(errno.EINVAL, os.strerror(errno.EINVAL))]
    real = _accept.prepare_tcp

    def prepare(sock):
        if failures:
            raise failures.pop()
        real(sock)

    monkeypatch.setattr(_accept, "prepare_tcp", prepare)
    hub = make_hub()
    unlucky, lucky = pumped(hub), pumped(hub)
    assert hub.wait_until_bound({0: {}})
    assert not unlucky.pump()
    assert lucky.pump()
    lucky.close()
