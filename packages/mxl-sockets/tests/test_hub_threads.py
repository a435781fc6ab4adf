"""The hub and whatever may happen beside it: threads, forks, signals, the collector of garbage."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from mxl_sockets import SocketHub, _coupling, _loop, _poll, _running
from mxl_sockets._connection import Connection
from wireframe import ipi

FIELD = {"efield_au": [0.5, -1.0, 2.0]}
linux = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


def field(value):
    return {"efield_au": [value, 0.0, 0.0]}


class Polls:
    """An event source that counts, and may be told what to do before it waits."""

    def __init__(self, real):
        self.real = real
        self.count = 0
        self.before = None

    def poll(self, timeout):
        self.count += 1
        if self.before is not None:
            self.before()
        return self.real.poll(timeout)

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.fixture
def polls(monkeypatch):
    """The event source of the next hub."""
    made = []
    make = _running.make_poller
    monkeypatch.setattr(_running, "make_poller", lambda: made.append(Polls(make())) or made[-1])
    return made


@pytest.fixture
def quick_switches():
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


# -- threads -----------------------------------------------------------------


def test_two_waiting_threads_do_not_keep_each_other_awake(bound, background, eventually, polls):
    """While nothing happens nobody polls, however many threads wait for different things."""
    hub, (driver,) = bound()
    loop = hub._coupling.loop
    step = background(hub.step_barrier, {0: FIELD}, 20.0)
    waits = [background(hub.wait_until_bound, {0: {}, one: {}}, True, 20.0) for one in (1, 2, 3)]
    eventually(lambda: loop._inside == 4 and loop._waiting == 3, "everybody waits")
    before = polls[0].count
    time.sleep(0.2)
    assert polls[0].count - before < 20
    driver.read_request()
    driver.reply()
    assert step.result(2)
    driver.close()
    hub.stop()
    assert [wait.result(2) for wait in waits] == [False] * 3


def test_one_thread_reads_what_another_waits_for(bound, background, eventually):
    """A reply that arrives while somebody looks at the status ends the step of the thread that waits."""
    hub, (driver,) = bound()
    loop = hub._coupling.loop
    step = background(hub.step_barrier, {0: FIELD}, 20.0)
    eventually(lambda: loop._leading)
    driver.read_request()
    with hub._coupling.lock:  # the leader cannot take what its poll has told it
        driver.reply()
        time.sleep(0.02)
        loop.look()
    assert step.result(2)[0]["amp"] is not None


def test_an_unasked_reply_is_noticed_while_another_thread_polls(make_hub, scripted, background, eventually):
    """That somebody else waits for the sockets does not let an old reply pass for a new one."""
    hub = make_hub()
    driver = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    driver.read_init()
    loop = hub._coupling.loop
    wait = background(hub.wait_until_bound, {0: {}, 1: {}}, True, 20.0)
    eventually(lambda: loop._leading)
    loop.lock.acquire()
    try:
        step = background(hub.step_barrier, {0: FIELD}, 0.2)
        driver.reply((-999.0, 0.0, 0.0))
        time.sleep(0.02)  # both threads want the lock now; either may be the first
    finally:
        loop.lock.release()
    assert step.result(2) == {}
    hub.stop()
    assert wait.result(2) is False


def test_steps_of_two_threads_run_one_after_the_other(bound, background, monkeypatch):
    """The second waits for the first, however long; neither gets the other's amplitudes."""
    monkeypatch.setattr(_loop, "LONGEST_WAIT", 0.01)
    hub, (driver,) = bound()
    first = background(hub.step_barrier, {0: field(1.0)}, 20.0)
    assert driver.read_request()[:8] == ipi.encode_request((1.0, 0.0, 0.0))[160:168]
    second = background(hub.step_barrier, {0: field(2.0)}, 20.0)
    third = background(hub.step_barrier, {0: field(3.0)}, 0.05)
    assert third.result(2) == {}
    assert driver.unread() == b""
    driver.reply((10.0, 0.0, 0.0))
    assert first.result(2)[0]["amp"][0] == 10.0
    assert driver.read_request()[:8] == ipi.encode_request((2.0, 0.0, 0.0))[160:168]
    driver.reply((20.0, 0.0, 0.0))
    assert second.result(2)[0]["amp"][0] == 20.0


def test_a_shutdown_in_one_thread_gives_way_to_stop_in_another(bound, background, eventually):
    """`stop` does not wait for the grace of `graceful_shutdown`; both return, nothing is torn."""
    hub, (driver,) = bound()
    shutdown = background(hub.graceful_shutdown, "slowly", 60.0)
    assert driver.read_header() == ipi.STOP
    eventually(lambda: hub._coupling.loop._leading)
    stop = background(hub.stop)
    shutdown.result(2)
    driver.close()
    stop.result(5)
    assert hub.address is None


@pytest.mark.fault("C21", "mxl-sockets")
def test_stop_from_many_threads_stops_once(bound, background):
    """All calls return, and what is closed is closed."""
    hub, (driver,) = bound()
    step = background(hub.step_barrier, {0: FIELD}, 20.0)
    driver.read_request()
    stops = [background(hub.stop) for _ in range(5)]
    driver.close()
    for stop in stops:
        stop.result(5)
    assert step.result(2) == {}
    assert hub.step_barrier({0: FIELD}) == {}


@pytest.mark.fault("C21", "mxl-sockets", "LW")
def test_everything_at_once_is_neither_lost_nor_mixed(make_hub, pumped, quick_switches, figure):
    """Steps, waits, registrations and status from six threads: every answer fits its own question.

    Bounded by work, not by time: it ends with the hundredth step, however slow the machine.
    """
    hub = make_hub()
    drivers = [pumped(hub) for _ in range(3)]
    payloads = {one: {} for one in range(3)}
    assert hub.wait_until_bound(payloads)
    ending = threading.Event()
    errors = []
    results = []

    def guarded(work, rounds):
        def run():
            try:
                for _ in rounds:
                    if ending.is_set():
                        break
                    work()
            except BaseException as error:  # noqa: BLE001 - reported by the test
                errors.append(error)
                ending.set()

        return threading.Thread(target=run, daemon=True)

    def step():
        # A short time: a step that one call leaves unfinished is completed by whoever comes next.
        while not ending.is_set():
            result = hub.step_barrier({one: field(1.0) for one in range(3)}, timeout=1.0)
            if result:
                results.append([result[one]["amp"][0] / (1 + one) for one in range(3)])
                break

    def pump():
        for driver in drivers:
            driver.pump()
        time.sleep(0)

    stepping = [guarded(step, range(50)) for _ in range(2)]
    others = [
        guarded(lambda: hub.wait_until_bound(payloads, timeout=0.01), itertools.count()),
        # The work of the other calls grows with the number of molecules.
        guarded(hub.register_molecule_return_id, range(200)),
        guarded(hub.status, itertools.count()),
        guarded(lambda: hub.all_bound(range(3)), itertools.count()),
        guarded(pump, itertools.count()),
    ]
    for thread in stepping + others:
        thread.start()
    # The drivers answer until all steps are complete. Only a hang comes near this time.
    deadline = time.monotonic() + 45
    for thread in stepping:
        thread.join(max(0.0, deadline - time.monotonic()))
    ending.set()
    for thread in stepping + others:
        thread.join(10)
    assert errors == []
    assert not any(thread.is_alive() for thread in stepping + others)
    assert [row[0] for row in sorted(results)] == [float(number) for number in range(1, 101)]
    assert all(len(set(row)) == 1 for row in results)
    assert hub.status().steps == len(results) == len(drivers[0].commits) == 100
    figure(f"{len(results)} steps of {len(stepping)} threads beside {len(others)} others, each once")


def test_a_stop_does_not_wait_for_ever_for_a_thread_that_does_not_leave(bound):
    """The wait for others has a deadline like any other."""
    hub, _ = bound()
    loop = hub._coupling.loop
    loop._inside += 1
    start = time.monotonic()
    with loop.lock:
        loop.wait_until_free(start + 0.05)
    assert 0.05 <= time.monotonic() - start < 10
    loop._inside -= 1


def test_waking_is_always_possible():
    """Often before anybody looks, and after the end."""
    waker = _poll.Waker()
    for _ in range(10_000):
        waker.wake()
    waker.clear()
    waker.close()
    waker.wake()


# -- signals -----------------------------------------------------------------


class Interrupted(BaseException):
    """What a signal handler raises."""


def test_an_interrupt_during_the_wait_leaves_the_step_to_be_continued(bound, polls):
    """Ctrl-C in the poll: the call ends with the exception, the next one collects the answer."""
    hub, (driver,) = bound()

    def interrupt():
        if hub._coupling.barrier.frozen and hub._coupling.barrier.late(0.0):
            polls[0].before = None
            raise Interrupted

    polls[0].before = interrupt
    with pytest.raises(Interrupted):
        hub.step_barrier({0: field(1.0)})
    driver.read_request()
    driver.reply((3.0, 0.0, 0.0))
    assert hub.step_barrier({0: field(2.0)})[0]["amp"][0] == 3.0
    assert driver.unread() == b""
    driver.close()
    hub.stop()


def test_a_driver_lost_in_a_commit_made_late_pauses_the_step(bound, monkeypatch):
    """An interrupt between the last staging and the commit, then a death in that: {} and a free place."""
    hub, drivers = bound(2, two_phase=True)
    exchange = hub._coupling.exchange
    fields = {0: field(1.0), 1: field(2.0)}
    assert hub.step_barrier(fields, timeout=0) == {}
    for driver in drivers:
        driver.read_request(ipi.STATUS)
        driver.say(ipi.HAVEDATA)

    def interrupt():
        monkeypatch.undo()
        raise Interrupted

    def step_on():
        while True:
            hub.step_barrier(fields, timeout=1)

    monkeypatch.setattr(exchange, "_commit_staged", interrupt)
    with pytest.raises(Interrupted):
        step_on()

    def broken(*_):
        raise BrokenPipeError

    exchange.lineup.drivers[0].send_now = broken
    assert hub.step_barrier(fields, timeout=1) == {}
    assert hub.paused
    assert list(hub.status().bound) == [1]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers for signals")
def test_a_real_signal_ends_a_real_wait(bound):
    """SIGALRM with a handler that raises: out at once, locks released, usable afterwards."""
    hub, (driver,) = bound()

    def handler(number, frame):
        raise Interrupted

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for call in (
            lambda: hub.step_barrier({0: field(1.0)}, timeout=20),
            lambda: hub.wait_until_bound({0: {}, 1: {}}, timeout=20),
            lambda: hub.step([[1.0, 0.0, 0.0]], timeout=20),
        ):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            start = time.monotonic()
            with pytest.raises(Interrupted):
                call()
            assert time.monotonic() - start < 10
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            hub.graceful_shutdown(wait=20)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            hub.stop()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert hub.address is None
    driver.read_request()
    assert driver.read_header() == ipi.STOP
    assert driver.is_closed()


@pytest.mark.parametrize("settings", [{}, {"two_phase": True}, {"handshake": "init+status"}], ids=repr)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["send_now", "receive_into", "peek"])
def test_an_interrupt_between_two_system_calls_loses_no_step(
    make_hub, pumped, monkeypatch, what, when, settings
):
    """Wherever the exception comes, the step completes later: nothing is forgotten, nothing awaited in vain.

    What cannot be known after it - whether a request went out, what was in a
    reply - costs that driver its connection. Tried at each call of a run.
    """
    left = [0]

    class Interrupting(Connection):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            real = getattr(self, what)

            def call(*data):
                left[0] -= 1
                if left[0] == -1:
                    if when == "after":
                        real(*data)
                    raise Interrupted
                return real(*data)

            setattr(self, what, call)

    monkeypatch.setattr("mxl_sockets._links.Connection", Interrupting)
    payloads = {one: {} for one in range(3)}
    for which in itertools.count():
        hub = make_hub(resume=True, **settings)
        endpoints = [hub.add_endpoint(one) for one in range(3)]
        drivers = [pumped(endpoint) for endpoint in endpoints]
        everybody = list(drivers)
        left[0] = which
        interrupts = 0
        for number in (1.0, 2.0):
            result = {}
            for _ in range(50):
                for one, driver in enumerate(drivers):
                    if not driver.pump():
                        drivers[one] = pumped(endpoints[one])
                        everybody.append(drivers[one])
                try:
                    hub.wait_until_bound(payloads, timeout=0)
                    result = hub.step_barrier({one: field(number) for one in range(3)}, timeout=0)
                except Interrupted:
                    interrupts += 1
                if result:
                    break
            total = sum(range(1, int(number) + 1))
            assert [result[one]["amp"][0] for one in range(3)] == [total, 2.0 * total, 3.0 * total], which
        assert interrupts == (left[0] < 0)
        assert len(everybody) <= 3 + interrupts
        left[0] = -9
        for driver in everybody:
            assert len(set(driver.commits)) == len(driver.commits)
            driver.close()
        hub.stop()
        if not interrupts:
            break
    assert which >= (3 if what == "peek" else 6)


@pytest.fixture
def prompt(monkeypatch):
    """Pump the drivers of a list whenever the hub waits for a reply; a function may take the hub's place."""
    monkeypatch.setattr(_coupling, "LONGEST_READING", 60.0)  # in order, however slow this machine is just now
    drivers = []

    class Prompt(Connection):
        read = staticmethod(lambda real, row: real(row))

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            real = self.receive_into

            def call(row, *flags):
                if flags:
                    return real(row, *flags)
                for driver in drivers:
                    driver.pump()
                return Prompt.read(real, row)

            self.receive_into = call

    monkeypatch.setattr("mxl_sockets._links.Connection", Prompt)
    return drivers, Prompt


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_while_replies_are_read_in_order_loses_no_step(make_hub, pumped, prompt, when):
    """What had come before it is kept, and nobody is lost whose reply had not been read yet."""
    drivers, connection = prompt
    left = [0]

    def read(real, row):
        left[0] -= 1
        if left[0] == -1:
            if when == "after":
                real(row)
            raise Interrupted
        return real(row)

    connection.read = read
    payloads = {one: {} for one in range(20)}  # more than one batch
    for which in itertools.count():
        hub = make_hub(resume=True)
        endpoints = [hub.add_endpoint(one) for one in payloads]
        drivers[:] = [pumped(endpoint) for endpoint in endpoints]
        everybody = list(drivers)
        left[0] = which
        interrupts = 0
        for number in (1.0, 2.0):
            result = {}
            timeout = 30  # so that replies are read in order
            while not result:
                for one, driver in enumerate(drivers):
                    if not driver.pump():
                        drivers[one] = pumped(endpoints[one])
                        everybody.append(drivers[one])
                hub.wait_until_bound(payloads, timeout=0)
                try:
                    result = hub.step_barrier({one: field(number) for one in payloads}, timeout=timeout)
                except Interrupted:
                    interrupts += 1
                    timeout = 0  # the rest is read as the drivers are pumped
            total = sum(range(1, int(number) + 1))
            assert [result[one]["amp"][0] for one in payloads] == [(1 + one) * total for one in payloads]
        assert interrupts == (left[0] < 0)
        assert len(everybody) == len(payloads) + (interrupts and when == "after")
        for driver in everybody:
            assert len(set(driver.commits)) == len(driver.commits)
            driver.close()
        hub.stop()
        if not interrupts:
            break
    assert which == 2 * len(payloads)


@pytest.mark.fault("C21", "mxl-sockets", "L")
@pytest.mark.parametrize("timeout", [0, 1])
def test_an_interrupt_anywhere_in_a_step_leaves_no_lock_and_no_step_behind(make_hub, pumped, prompt, timeout):
    """Raised wherever the interpreter runs signal handlers: the next calls work, and stop() stops."""
    for two_phase in (False, True) if timeout == 0 else (False,):
        for which in itertools.count():
            hub = make_hub(two_phase=two_phase, resume=True)
            driver = pumped(hub.address)
            prompt[0][:] = [driver]
            assert hub.wait_until_bound({0: {}})
            left = [which]

            def interrupt(frame, event, argument, left=left):
                if event in ("call", "c_return") and "mxl_sockets" in frame.f_code.co_filename:
                    left[0] -= 1
                    if left[0] == -1:
                        sys.setprofile(None)
                        raise Interrupted

            raised = False
            for _ in range(2):
                sys.setprofile(None if raised else interrupt)
                try:
                    hub.step_barrier({0: field(1.0)}, timeout=timeout)
                except Interrupted:
                    raised = True
                finally:
                    sys.setprofile(None)
                if not driver.pump():
                    driver = pumped(hub.address)
                    prompt[0][:] = [driver]
            result = {}
            for _ in range(20):
                if not driver.pump():
                    driver = pumped(hub.address)
                    prompt[0][:] = [driver]
                hub.wait_until_bound({0: {}}, timeout=0)
                if result := hub.step_barrier({0: field(2.0)}, timeout=0):
                    break
            assert result, f"stuck after an interrupt at point {which} (two_phase={two_phase})"
            graceful = background_stop(hub, driver)
            assert graceful, f"stop() hangs after an interrupt at point {which} (two_phase={two_phase})"
            if not raised:
                break
        assert which > 50


def background_stop(hub, driver):
    """Whether stop() ends in another thread: a lock left behind would keep it."""
    driver.close()
    thread = threading.Thread(target=hub.stop, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()


# -- forks and the end of the process ----------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_of_a_busy_hub_gets_its_error_at_once():
    """Forked while another thread steps, the child's calls raise; they do not wait for locks nobody holds."""
    script = """
import os, sys, threading, time, warnings
warnings.simplefilter('ignore', DeprecationWarning)  # fork with threads: the case in question
import socket
from mxl_sockets import SocketHub
from mxl_sockets.errors import ForeignProcessError
hub = SocketHub(port=0)
driver = socket.create_connection(hub.address)
assert hub.wait_until_bound({0: {}}, timeout=5)
thread = threading.Thread(target=hub.step_barrier, args=({0: {'efield_au': [1, 2, 3]}}, 30))
thread.start()
while not hub._coupling.loop._leading:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    start = time.monotonic()
    raised = 0
    for call in (lambda: hub.step_barrier({0: {}}), hub.stop, hub.status):
        try:
            call()
        except ForeignProcessError:
            raised += 1
    os._exit(0 if raised == 3 and time.monotonic() - start < 10 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
driver.close()
thread.join(5)
hub.stop()
print('ok')
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr


@pytest.mark.fault("C19", "mxl-sockets", "T")
@pytest.mark.parametrize("end", ["exit", "exception", "SIGTERM", "SIGKILL"])
def test_however_the_process_ends_drivers_hear_of_it(end, tmp_path):
    """End of stream within a second; the UNIX path goes too, or is stale after a SIGKILL."""
    path = tmp_path / "hub"
    script = f"""
import os, signal, sys
from mxl_sockets import SocketHub
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
hub = SocketHub(unixsocket={str(path)!r})
print('ready', flush=True)
hub.wait_until_bound({{0: {{}}}}, timeout=20)
print('bound', flush=True)
if {end!r} == 'exception':
    raise KeyError
if {end!r} != 'exit':
    hub.step_barrier({{0: {{'efield_au': [1, 2, 3]}}}}, timeout=20)
"""
    with (
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        socket.socket(socket.AF_UNIX) as driver,
    ):
        assert process.stdout.readline() == "ready\n"
        driver.settimeout(10)
        driver.connect(str(path))
        assert process.stdout.readline() == "bound\n"
        if end.startswith("SIG"):
            process.send_signal(getattr(signal, end))
        start = time.monotonic()
        while driver.recv(4096):
            pass
        assert time.monotonic() - start < 10
        errors = process.stderr.read()
    assert process.returncode == {"exit": 0, "exception": 1, "SIGTERM": 3, "SIGKILL": -9}[end]
    assert "Warning" not in errors
    assert path.exists() is (end == "SIGKILL")
    with SocketHub(unixsocket=str(path)) as again:
        assert again.address == str(path)


@pytest.mark.fault("C19", "mxl-sockets", "M")
@linux
def test_stopped_hubs_leave_no_descriptor_and_no_thread(make_hub, scripted, tmp_path, descriptors, figure):
    """Twenty lives with drivers bound, waiting, asked, half answered and gone."""
    before = descriptors()
    threads = threading.active_count()
    for life in range(20):
        hub = make_hub(**({"unixsocket": str(tmp_path / "hub")} if life % 2 else {}))
        drivers = [scripted(hub) for _ in range(5)]
        assert hub.wait_until_bound({one: {} for one in range(3)})
        hub.step_barrier(dict.fromkeys(range(3), FIELD), timeout=0)
        drivers[0].reply()
        drivers[1].send(b"FORCEREADY  \0")
        hub.step_barrier(dict.fromkeys(range(3), FIELD), timeout=0)
        for driver in drivers:
            driver.close()
        hub.stop()
    assert descriptors() == before
    assert threading.active_count() == threads
    more = len(descriptors()) - len(before)
    figure(f"{life + 1} lives: {more} descriptors and {threading.active_count() - threads} threads more")
