"""The driver over real sockets, served by a hub that follows a script."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from mxl_sockets import ForceField, SocketHub, _conversation, _hub_client
from mxl_sockets._connect import Backoff
from mxl_sockets._driver_protocol import DriverProtocol, End
from mxl_sockets._model import as_model
from mxl_sockets.driver import Driver, DriverSummary
from mxl_sockets.errors import HubProtocolError, ModelError
from mxl_sockets.two_level import TwoLevelSystem
from wireframe import ipi

LIMIT_S = 10.0

STATUS, STOP, EXIT = (ipi.encode_header(name) for name in (ipi.STATUS, ipi.STOP, ipi.EXIT))
NEEDINIT, READY, HAVEDATA, BYE = (
    ipi.encode_header(name) for name in (ipi.NEEDINIT, ipi.READY, ipi.HAVEDATA, ipi.BYE)
)
INIT = ipi.encode_init(7, b'{"dt_au": 1.0}')

needs_unix = pytest.mark.parametrize("kind", ["tcp", "unix"] if hasattr(socket, "AF_UNIX") else ["tcp"])


class Hub:
    """A listener, and what a test needs to play a hub on it."""

    def __init__(self, kind="tcp", path=None, port=0):
        if kind == "unix":
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(path)
            self.where = {"unixsocket": path}
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", port))
            self.where = {"address": self.listener.getsockname()}
        self.listener.listen()
        self.listener.settimeout(LIMIT_S)
        self.connections = []

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(LIMIT_S)
        self.connections.append(sock)
        return sock

    def close(self):
        for sock in (self.listener, *self.connections):
            sock.close()


@pytest.fixture
def hub():
    with contextlib.closing(Hub()) as made:
        yield made


class Running:
    """A driver in a thread; `end()` gives its summary or raises what it raised."""

    def __init__(self, driver):
        self.driver = driver
        self.outcome = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.outcome = self.driver.run()
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.outcome = error

    def end(self):
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive(), "the driver did not end"
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def start():
    started = []

    def starter(model=lambda field: 2 * field, **options):
        started.append(Running(Driver(model, **options)))
        return started[-1]

    yield starter
    for running in started:
        running.driver.stop()
        running.thread.join(LIMIT_S)
        assert not running.thread.is_alive()


def read(sock, size):
    received = b""
    while len(received) < size:
        piece = sock.recv(size - len(received))
        assert piece, f"the driver closed after {received!r}"
        received += piece
    return received


def wait_until(claim, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def step(sock, *field):
    sock.sendall(ipi.encode_request(field))
    reply = read(sock, ipi.REPLY_LENGTH)
    extra = read(sock, struct.unpack_from("<i", reply, 120)[0])
    return ipi.reals(reply[24:48]), extra


@needs_unix
def test_serves_steps_until_stop_and_says_bye(kind, start, tmp_path):
    """INIT, two steps, STOP over both kinds of socket; the summary counts them."""
    with contextlib.closing(Hub(kind, str(tmp_path / "hub"))) as hub:
        running = start(**hub.where)
        sock = hub.accept()
        sock.sendall(INIT)
        assert step(sock, 0.0, 0.0, 1.5) == ((0.0, 0.0, 3.0), b"")
        assert step(sock, 1.0, -2.0, 0.0) == ((2.0, -4.0, 0.0), b"")
        assert (running.driver.steps, running.driver.molecule_id) == (2, 7)
        sock.sendall(STOP)
        assert read(sock, 12) == BYE
        assert sock.recv(1) == b""
        assert running.end() == DriverSummary(End.STOP, steps=2, connections=1, molecule_id=7)


def test_answers_a_server_of_the_classic_kind_and_ends_at_exit(hub, start):
    """i-PI's order: STATUS before everything; EXIT instead of STOP, and no BYE."""
    running = start(**hub.where)
    sock = hub.accept()
    for message, answer in (
        (STATUS, NEEDINIT),
        (ipi.encode_init(0, b"\0") + STATUS, READY),
        (ipi.encode_posdata((0, 0, 1)) + STATUS, HAVEDATA),
    ):
        sock.sendall(message)
        assert read(sock, 12) == answer
    sock.sendall(ipi.encode_header(ipi.GETFORCE))
    assert read(sock, 124)[:12] == ipi.encode_header(ipi.FORCEREADY)
    sock.sendall(EXIT)
    assert sock.recv(1) == b""
    assert running.end().reason is End.EXIT


@pytest.mark.fault("C1", "mxl-sockets", "LW")
def test_a_dialogue_split_at_any_byte_is_answered_the_same(hub, start):
    """In two writes, for each split; and one byte at a time."""
    dialogue = INIT + STATUS + ipi.encode_request((0, 0, 1)) + STATUS + ipi.encode_request((0, 0, 2)) + STOP
    running = start(**hub.where)
    sock = hub.accept()
    sock.sendall(dialogue)
    expected = read(sock, 12 + 124 + 12 + 124 + 12)
    sock.close()
    assert running.end().steps == 2
    splits = [[at] for at in range(1, len(dialogue))] + [list(range(1, len(dialogue)))]
    for cuts in splits:
        running = start(**hub.where)
        sock = hub.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in zip([0, *cuts], [*cuts, len(dialogue)], strict=True):
            sock.sendall(dialogue[begin:end])
        assert read(sock, len(expected)) == expected, cuts
        sock.close()
        assert running.end().reason is End.STOP


def test_each_reply_is_one_write(hub, start):
    """Header, numbers and extra come in one piece, so one read finds all of it."""
    start(lambda field: (field, b"x" * 200), **hub.where)
    sock = hub.accept()
    sock.sendall(INIT)
    for _ in range(20):
        sock.sendall(ipi.encode_request((0, 0, 1)))
        assert len(sock.recv(4096)) == 124 + 200


def test_waits_for_a_hub_that_does_not_exist_yet(start):
    """A refused connection is tried again until the hub is there."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    running = start(address=("127.0.0.1", port))
    time.sleep(0.1)  # some attempts are refused; too few of them would prove nothing wrong
    assert running.thread.is_alive()
    with contextlib.closing(Hub(port=port)) as hub:
        hub.accept().sendall(EXIT)
        assert running.end().reason is End.EXIT


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")
def test_waits_for_a_unix_path_that_does_not_exist_yet_or_is_stale(start, tmp_path):
    path = str(tmp_path / "hub")
    Hub("unix", path).close()  # leaves the path behind
    running = start(unixsocket=path)
    time.sleep(0.1)
    assert running.thread.is_alive()
    Path(path).unlink()
    with contextlib.closing(Hub("unix", path)) as hub:
        hub.accept().sendall(EXIT)
        assert running.end().reason is End.EXIT


def test_gives_up_when_no_hub_appears_and_says_which_and_why():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(TimeoutError, match=rf"hub 127.0.0.1:{port}: gave up after 0\.\d s.*refused"):
            Driver(abs, ("127.0.0.1", port), connect_timeout=0.2).run()


def test_finds_a_hub_again_that_was_killed_and_restarted_on_its_port(hub, start):
    """The state in INIT carries the molecule over; steps are counted over both connections."""
    molecule = TwoLevelSystem()
    running = start(molecule, **hub.where)
    sock = hub.accept()
    sock.sendall(INIT)
    step(sock, 0.0, 0.0, 1e-3)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hub.close()  # a reset, as from a killed process
    with contextlib.closing(Hub(port=hub.where["address"][1])) as successor:
        sock = successor.accept()
        sock.sendall(STATUS)
        assert read(sock, 12) == NEEDINIT
        sock.sendall(INIT)
        step(sock, 0.0, 0.0, 1e-3)
        sock.sendall(STOP)
        assert running.end() == DriverSummary(End.STOP, steps=2, connections=2, molecule_id=7)


def test_reconnect_false_ends_at_the_first_loss(hub, start):
    running = start(reconnect=False, **hub.where)
    sock = hub.accept()
    sock.sendall(INIT + STATUS)
    read(sock, 12)
    sock.close()
    assert running.end().reason is End.LOST


def test_gives_up_on_a_hub_that_does_not_come_back(hub, start, caplog):
    caplog.set_level(logging.INFO)
    running = start(reconnect_timeout=0.2, **hub.where)
    sock = hub.accept()
    sock.sendall(INIT + STATUS)
    read(sock, 12)
    hub.close()
    summary = running.end()
    assert (summary.reason, summary.connections) == (End.LOST, 1)
    assert "cannot connect to hub" in caplog.text


def keep_hanging_up(hub):
    """Accept and close until the listener is closed."""

    def work():
        with contextlib.suppress(OSError):
            while True:
                hub.accept().close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_hub_that_hangs_up_at_once_is_not_stormed_and_not_tried_for_ever(hub, start):
    """Connections without a word are failed attempts: spaced, and under the first deadline."""
    running = start(connect_timeout=0.5, **hub.where)
    keep_hanging_up(hub)
    with pytest.raises(TimeoutError, match="closed every connection without a word"):
        running.end()
    assert 2 <= len(hub.connections) <= 20


@pytest.fixture
def delays(monkeypatch):
    """The longest that each wait before another attempt to connect could have been, seconds."""
    seen = []

    class Noted(Backoff):
        def next_s(self):
            seen.append(self._delay)
            return super().next_s()

    monkeypatch.setattr(_hub_client, "Backoff", Noted)
    return seen


def test_a_hub_that_refuses_each_answer_is_left_alone_for_longer_each_time(hub, start, delays):
    """Growing pauses until an answer was taken, which is sure when the next step is asked for."""
    start(**hub.where)
    for _ in range(4):  # such as a hub with a smaller `max_extra`
        sock = hub.accept()
        sock.sendall(INIT + STATUS)
        assert read(sock, 12) == READY
        step(sock, 1.0, 0.0, 0.0)
        sock.close()
    sock = hub.accept()
    assert delays == pytest.approx([0.05, 0.075, 0.1125, 0.16875])
    sock.sendall(INIT)
    step(sock, 1.0, 0.0, 0.0)
    step(sock, 2.0, 0.0, 0.0)
    sock.close()
    hub.accept()
    assert delays[4:] == [0.05]


def test_a_driver_whose_extras_are_too_large_for_its_hub_comes_back_ever_more_slowly(start, delays):
    with SocketHub(port=0, max_extra=8) as real:
        start(lambda field: (field, {"note": "larger than that"}), address=real.address)
        deadline = time.monotonic() + LIMIT_S
        while len(delays) < 4:
            assert time.monotonic() < deadline
            if real.wait_until_bound({0: {}}, timeout=LIMIT_S):
                assert real.step_barrier({0: {"efield_au": [0, 0, 1]}}, timeout=LIMIT_S) == {}
    assert delays[:4] == pytest.approx([0.05, 0.075, 0.1125, 0.16875])


def test_a_hub_that_hangs_up_at_once_after_a_loss_counts_as_gone(hub, start):
    running = start(reconnect_timeout=0.3, **hub.where)
    sock = hub.accept()
    sock.sendall(INIT + STATUS)
    read(sock, 12)
    sock.close()
    keep_hanging_up(hub)
    assert running.end().reason is End.LOST


@needs_unix
def test_stop_wakes_a_waiting_driver_at_once(kind, start, tmp_path, monkeypatch):
    """From another thread, while it waits for the hub's next word."""
    monkeypatch.setattr(_conversation, "TICK_S", 60.0)  # it does not look up by itself
    with contextlib.closing(Hub(kind, str(tmp_path / "hub"))) as hub:
        running = start(**hub.where)
        sock = hub.accept()
        sock.sendall(INIT + STATUS)
        assert read(sock, 12) == READY
        running.driver.stop()
        running.driver.stop()
        assert running.end().reason is End.STOPPED
        assert sock.recv(1) == b""


def test_stop_wakes_a_driver_that_is_looking_for_its_hub(start):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        running = start(address=reserved.getsockname())
        wait_until(lambda: running.driver._stop_signal is not None)
        running.driver.stop()
        assert running.end() == DriverSummary(End.STOPPED, steps=0, connections=0, molecule_id=None)


def test_stop_wakes_a_driver_whose_hub_has_a_full_backlog(start):
    """Then connecting itself takes its time."""
    with socket.socket() as full, contextlib.ExitStack() as clients:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        running = start(address=full.getsockname())
        wait_until(lambda: running.driver._stop_signal is not None)
        running.driver.stop()
        assert running.end().reason is End.STOPPED


def test_stop_before_run_ends_it_at_once():
    driver = Driver(abs)
    driver.stop()
    assert driver.run().reason is End.STOPPED


def test_stop_during_a_step_still_sends_its_answer(hub, start):
    """The model calls stop itself; the hub gets the whole reply and then the end."""
    holder = []

    def model(field):
        holder[0].stop()
        return field

    driver = Driver(model, **hub.where)
    holder.append(driver)
    running = Running(driver)
    sock = hub.accept()
    sock.sendall(INIT + ipi.encode_posdata((0, 0, 1)))
    assert running.end().reason is End.STOPPED
    assert sock.recv(1) == b""

    class Model(TwoLevelSystem):
        def commit(self):
            driver.stop()
            return super().commit()

    driver = Driver(Model(), **hub.where)
    running = Running(driver)
    sock = hub.accept()
    sock.sendall(INIT)
    assert step(sock, 0.0, 0.0, 0.0)[0] == (0.0, 0.0, 0.0)
    assert running.end().reason is End.STOPPED


def test_leaving_the_context_stops_and_waits(hub):
    """Afterwards the thread has left run() and the connection is closed."""
    with Driver(abs, **hub.where) as driver:
        running = Running(driver)
        sock = hub.accept()
        sock.sendall(STATUS)
        read(sock, 12)
    assert sock.recv(1) == b""
    assert running.end().reason is End.STOPPED
    driver.close()


def test_a_second_run_at_the_same_time_is_refused(hub, start):
    running = start(**hub.where)
    hub.accept()
    with pytest.raises(RuntimeError, match="running already"):
        running.driver.run()


def test_close_does_not_wait_for_a_model_that_takes_too_long(hub, start):
    release = threading.Event()
    busy = threading.Event()

    def model(field):
        busy.set()
        release.wait(LIMIT_S)
        return field

    running = start(model, **hub.where)
    hub.accept().sendall(INIT + ipi.encode_request((0, 0, 1)))
    assert busy.wait(LIMIT_S)
    running.driver.close(timeout=0.05)
    assert running.thread.is_alive()
    release.set()
    assert running.end().reason is End.STOPPED


def test_a_failing_model_closes_the_connection_and_shows_its_traceback(hub, start, caplog):
    def model(field):
        raise ZeroDivisionError("no dipole")

    running = start(model, **hub.where)
    sock = hub.accept()
    sock.sendall(INIT + ipi.encode_request((0, 0, 1)))
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    with pytest.raises(ModelError, match="no dipole"):
        running.end()
    assert "Traceback" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a header"),
        (b"\0" * 12, "not a header"),
        (READY, "not a header it may send"),
        (ipi.encode_posdata((0, 0, 1)), "POSDATA before INIT"),
        (INIT[:16] + struct.pack("<i", -1), "INIT text length -1"),
        (INIT[:16] + struct.pack("<i", 2**31 - 1), "INIT text length 2147483647, the limit is 16777216"),
        (INIT + ipi.encode_posdata((0,) * 6), "atom count 2, expected 1"),
        (ipi.encode_init(0, b'{"dt_au": []}'), "dt_au"),
    ],
)
def test_a_hub_that_breaks_the_protocol_is_named_and_left(hub, start, caplog, hostile, why):
    """A typed error with address and reason at the first illegal byte, and no second try."""
    running = start(**hub.where)
    sock = hub.accept()
    sock.sendall(hostile)
    with pytest.raises(HubProtocolError, match=why) as caught:
        running.end()
    assert caught.value.hub == "{}:{}".format(*hub.where["address"])
    assert caught.value.hub in str(caught.value)
    assert len(caught.value.excerpt) <= 32
    assert why in caplog.text
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""


def test_a_hub_that_dies_inside_a_message_is_lost_not_hostile(hub, start, caplog, monkeypatch):
    """At each boundary of a request; nothing is committed for it."""
    monkeypatch.setattr(Backoff, "LARGEST_S", 0.05)
    running = start(**hub.where)
    request = ipi.encode_request((0, 0, 1))
    for cut in (1, 11, 12, 155, 159, 160, 183, 190, 195):
        sock = hub.accept()
        sock.sendall(INIT + request[:cut])
        sock.close()
    sock = hub.accept()
    sock.sendall(EXIT)
    summary = running.end()
    assert (summary.reason, summary.steps, summary.connections) == (End.EXIT, 0, 10)
    assert "inside a message" in caplog.text


@pytest.mark.fault("C3", "mxl-sockets", "M")
@pytest.mark.parametrize(
    "announced",
    [
        INIT + ipi.encode_init(7)[:16] + struct.pack("<i", 16 << 20),
        INIT + ipi.encode_posdata(())[:156] + struct.pack("<i", 1 << 20),
    ],
    ids=["text", "atoms"],
)
def test_nothing_is_allocated_for_what_a_hub_only_announces(hub, start, announced):
    """The longest INIT, the largest number of atoms: memory grows by what has come."""
    tracemalloc.start()
    try:
        running = start(ForceField(lambda *_: ()), frame_timeout=0.2, reconnect=False, **hub.where)
        hub.accept().sendall(announced)
        assert running.end().reason is End.LOST
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_silence_timeout_ends_a_silent_conversation(hub, start):
    running = start(silence_timeout=0.1, **hub.where)
    hub.accept().sendall(INIT)
    assert running.end().reason is End.IDLE


def test_without_a_silence_timeout_silence_is_no_end(hub, start, monkeypatch):
    """A solver may think for days: many looks at the clock later the driver still answers."""
    monkeypatch.setattr(_conversation, "TICK_S", 0.01)
    start(**hub.where)
    sock = hub.accept()
    sock.sendall(STATUS)
    assert read(sock, 12) == NEEDINIT
    time.sleep(0.1)
    sock.sendall(STATUS)
    assert read(sock, 12) == NEEDINIT


def test_a_stop_between_connecting_and_reading_is_seen():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(STATUS)
        conversation = _conversation.Conversation(
            ours,
            ipi.Decoder(),
            DriverProtocol(TwoLevelSystem()),
            is_stopped=lambda: True,
            silence_timeout=None,
            frame_timeout=1.0,
        )
        assert conversation.run() is End.STOPPED
        assert conversation.messages == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel what was not taken yet")
def test_the_numbers_of_a_request_are_read_in_few_calls_however_many_pieces_they_come_in():
    """ASE writes header, matrices, atom count and positions one by one: header, up to the count, the rest."""
    import fcntl
    import termios

    reads = []

    class Counted(socket.socket):
        def recv(self, size, flags=0):
            reads.append(size)
            return super().recv(size, flags)

    ours, theirs = socket.socketpair()
    with ours, theirs, Counted(fileno=ours.detach()) as counted:
        conversation = _conversation.Conversation(
            counted,
            ipi.Decoder(),
            DriverProtocol(as_model(lambda field: field)),
            is_stopped=lambda: False,
            silence_timeout=None,
            frame_timeout=LIMIT_S,
        )
        thread = threading.Thread(target=conversation.run)
        thread.start()
        try:
            request = INIT + ipi.encode_request((1, 2, 3))
            at = [0, *(len(INIT) + where for where in (12, 84, 156, 160, 184, 196))]
            for begin, end in itertools.pairwise(at):
                theirs.sendall(request[begin:end])
                wait_until(
                    lambda: struct.unpack("i", fcntl.ioctl(theirs, termios.TIOCOUTQ, bytes(4)))[0] == 0
                )
            assert len(read(theirs, ipi.REPLY_LENGTH)) == ipi.REPLY_LENGTH
            theirs.sendall(EXIT)
        finally:
            theirs.shutdown(socket.SHUT_WR)
            thread.join(LIMIT_S)
        assert reads[1:3] == [148, 24]


def test_a_trickle_of_bytes_does_not_outwit_the_silence_timeout(hub, start):
    """Only whole messages count."""
    running = start(silence_timeout=0.15, **hub.where)
    sock = hub.accept()
    with contextlib.suppress(OSError):
        for byte in ipi.encode_init(0, b" " * 10_000):
            sock.sendall(bytes([byte]))
            time.sleep(0.01)
            if not running.thread.is_alive():
                break
    assert running.end().reason is End.IDLE


def test_a_message_that_does_not_end_costs_the_connection(hub, start, caplog):
    """Half a header, then nothing: lost after frame_timeout, then connected anew."""
    running = start(frame_timeout=0.1, **hub.where)
    hub.accept().sendall(STATUS + STATUS[:5])
    hub.accept().sendall(EXIT)
    assert running.end() == DriverSummary(End.EXIT, 0, 2, None)
    assert "not complete after 0.1 s" in caplog.text


def test_a_hub_that_reads_nothing_is_lost_after_the_frame_timeout(hub, start, caplog):
    running = start(lambda field: (field, bytes(1 << 22)), frame_timeout=0.2, reconnect=False, **hub.where)
    sock = hub.accept()
    sock.sendall(INIT + ipi.encode_request((0, 0, 1)) * 4)
    assert running.end().reason is End.LOST
    assert "did not take an answer" in caplog.text


def test_stop_frees_a_driver_whose_hub_reads_nothing(hub, start):
    running = start(lambda field: (field, bytes(1 << 22)), **hub.where)
    sock = hub.accept()
    sock.sendall(INIT + ipi.encode_request((0, 0, 1)) * 4)
    wait_until(lambda: running.driver.steps)
    running.driver.stop()
    assert running.end().reason is End.STOPPED


def test_bye_arrives_although_exit_follows_stop(hub, start):
    """A hub may send both to be understood by everybody; unread bytes must not reset the BYE away."""
    for pause in (False, True):
        running = start(**hub.where)
        sock = hub.accept()
        sock.sendall(INIT + STOP)
        if pause:
            wait_until(lambda: running.driver.molecule_id == 7)  # noqa: B023 - called at once
        with contextlib.suppress(ConnectionError):
            sock.sendall(EXIT)
        assert read(sock, 12) == BYE
        sock.close()
        assert running.end().reason is End.STOP


def test_a_hub_that_closes_right_after_stop_is_no_failure(hub, start):
    running = start(**hub.where)
    sock = hub.accept()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.sendall(INIT + STATUS + STOP)
    read(sock, 24)
    sock.close()
    assert running.end().reason is End.STOP


def test_bye_does_not_wait_for_a_hub_that_keeps_talking(hub, start):
    running = start(**hub.where)
    sock = hub.accept()
    sock.sendall(INIT + STOP)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < LIMIT_S:
            sock.sendall(STATUS)
    assert running.end().reason is End.STOP
    assert time.monotonic() - began < LIMIT_S / 2


def test_no_descriptor_is_left_behind(hub, start):
    """After many runs of every kind of end."""
    where = Path("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd")
    before = len(list(where.iterdir()))
    for last in (STOP, EXIT, b"garbage12345", INIT + ipi.encode_request((0, 0, 1))):
        running = start(lambda field: 1 / 0, reconnect=False, **hub.where)
        hub.accept().sendall(last)
        with contextlib.suppress(Exception):
            running.end()
        hub.connections.pop().close()
    assert len(list(where.iterdir())) == before


FORKING = """
import os, sys, threading, time
from mxl_sockets.driver import Driver
driver = Driver(abs, sys.argv[1])
threading.Thread(target=driver.run, daemon=True).start()
sys.stdin.readline()                      # the hub has talked to us
child = os.fork()
if child == 0:
    try:
        driver.run()
    except RuntimeError as error:
        print(type(error).__name__, error, flush=True)
    sys.stdin.readline()                  # outlive the parent
    sys.exit()
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_neither_keeps_the_connection_nor_runs_the_driver(hub):
    """The hub sees the parent's death at once although a child lives on."""
    address = "{}:{}".format(*hub.where["address"])
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKING, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        sock = hub.accept()
        sock.sendall(STATUS)
        assert read(sock, 12) == NEEDINIT
        parent.stdin.write("go\n")
        parent.stdin.flush()
        assert parent.stdout.readline().startswith("ForeignProcessError the driver of ")
        assert parent.wait(LIMIT_S) == 0
        assert sock.recv(1) == b""
        parent.stdin.close()
        assert parent.stdout.read() == ""  # until the child has ended


def test_a_driver_cannot_be_pickled():
    with pytest.raises(TypeError, match="pickle its model"):
        pickle.dumps(Driver(abs))


@pytest.mark.parametrize("junk", [3, TwoLevelSystem, None])
def test_what_is_no_model_is_refused_at_once(junk):
    with pytest.raises(TypeError):
        Driver(junk)
