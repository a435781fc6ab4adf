"""Faults of the catalogue, played on the JSON socket with the tools of this folder."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import history
import measure
import pytest
from failing_socket import CODES, fail_each_call
from proxy import Faults, TcpProxy

from wireframe import Socket
from wireframe.errors import FrameError
from wireframe.json_socket import SocketClosed

#: Seconds for a step on a busy machine.
LIMIT_S = 20.0
#: Exchanges recorded from both ends of the original.
EXCHANGES = json.loads(
    (Path(__file__).parents[2] / "packages/wireframe/tests/vectors/json-socket.json").read_text("utf-8")
)["commands"]

#: Serves at the port it is told and says which it got; carries a number out by writing it into a file.
PROGRAM = """
import os, signal, sys, threading
import wireframe.json_socket._room as room
from wireframe import Socket

port, path, grace_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
room.GRACE = grace_s
effects = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def double(number):
    os.write(effects, b"%d\\n" % number)
    return 2 * number

def last(number):
    double(number)
    os.kill(os.getpid(), signal.SIGKILL)

def stall():
    threading.Event().wait()

server = Socket("server", port=port, max_connections=32, header_timeout=0.5)
signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
print(server.port, flush=True)
server.serve({"double": double, "last": last, "stall": stall})
"""


@contextlib.contextmanager
def program(path, port=0, grace_s=1.0):
    """A server that is a process of its own, and its port; killed at the end."""
    command = [sys.executable, "-c", PROGRAM, str(port), str(path), str(grace_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def quiet_port():
    """A free port that the system gives to nobody who does not ask for it; it may be left for a while."""
    for port in random.sample(range(10_000, 32_768), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail("no port is free")


def until(condition, what):
    """Wait for something to become true."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


def serve(server, handlers):
    """Serve in a thread, which may come to it only when the server is shut down already."""
    with contextlib.suppress(SocketClosed):
        server.serve(handlers, stop="done")


@pytest.fixture
def served():
    """A server in a thread that doubles numbers, and notes which it was asked for."""
    asked = []

    def double(number):
        asked.append(number)
        return number * 2

    server = Socket("server", port=0)
    thread = threading.Thread(target=serve, args=(server, {"double": double}))
    thread.start()
    try:
        yield server, asked
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def ask(port, book, number, timeout=LIMIT_S, process="client"):
    """Ask for a number, and write down what is known about it."""
    operation = book.begin(process, number)
    client = Socket("client", port=port)
    try:
        with contextlib.closing(client):
            operation.done(client.tcpcmd({"command": "double", "number": number}, timeout=timeout))
    except (ConnectionError, TimeoutError, FrameError) as error:
        operation.unknown(error)


def judge(book, asked):
    assert history.unended(book) == []
    assert history.wrongly_paired(book, lambda number: 2 * number) == []
    assert history.not_exactly_once(book, asked) == []


@pytest.mark.fault("C4", "json-socket", "LWTE")
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_c04_a_connection_that_ends_at_any_byte_costs_its_own_command_only(served, figure, direction, resets):
    """L W T E: at each byte of command and reply; told at once and by type, and the next one is served."""
    server, asked = served
    book = history.History()
    number = cut = slowest = 0
    with TcpProxy(("127.0.0.1", server.port)) as between:
        while True:
            setattr(between, direction, Faults(cut_after=cut, resets=resets))
            number, cut = number + 2, cut + 1
            began = time.monotonic()
            ask(between.port, book, number)
            slowest = max(slowest, time.monotonic() - began)
            last = book.operations[-1]
            # From outside the server is as ever.
            ask(server.port, book, number + 1, process="another")
            assert book.operations[-1].outcome == history.DONE
            if last.outcome == history.DONE:
                break
            assert not isinstance(last.reply, TimeoutError), "told by the deadline, not by the end"
            assert cut < 200
        judge(book, asked)
    # A command that was cut short was never carried out.
    told = len(book.requests(history.UNKNOWN))
    assert told > 10
    figure(f"{cut} cuts, {told} told as lost; slowest {slowest:.2f} s")


@pytest.mark.fault("C1", "json-socket", "LW")
def test_c01_commands_and_replies_byte_by_byte_are_what_they_were(served, figure):
    """L W: both directions a byte at a time, for commands of growing size."""
    server, asked = served
    book = history.History()
    bytewise = Faults(piece=1)
    with TcpProxy(("127.0.0.1", server.port), bytewise, bytewise) as between:
        for power in range(0, 300, 10):
            ask(between.port, book, 10**power)
        judge(book, asked)
        assert len(book.requests(history.DONE)) == len(asked) == 30
        figure(f"{between.counts['to server'] + between.counts['to client']} single bytes, 30 replies")


@pytest.mark.fault("C6", "json-socket", "LWT")
@pytest.mark.fault("D9", "json-socket", "LWT")
def test_c06_clients_that_stall_anywhere_hold_up_nobody_and_return_in_time(served, figure):
    """L W T: 20 connections stop at a byte of command or reply; another client makes 200 commands."""
    server, asked = served
    book = history.History()
    times = []

    def stalled(port, number):
        began = time.monotonic()
        ask(port, book, number, timeout=1.0, process=number)
        times.append(time.monotonic() - began)

    with contextlib.ExitStack() as stack:
        threads = []
        for number in range(20):
            where = {"to_server" if number % 2 else "to_client": Faults(stall_after=number // 2)}
            between = stack.enter_context(TcpProxy(("127.0.0.1", server.port), **where))
            threads.append(threading.Thread(target=stalled, args=(between.port, -1 - number)))
        for thread in threads:
            thread.start()
        for number in range(200):
            ask(server.port, book, number, process="steady")
        for thread in threads:
            thread.join(LIMIT_S)
    judge(book, asked)
    steady = [one for one in book.operations if one.process == "steady"]
    assert [one.outcome for one in steady] == [history.DONE] * 200
    late = [one for one in book.operations if one.outcome == history.UNKNOWN]
    assert len(late) == len(times) == 20
    assert all(isinstance(one.reply, TimeoutError | ConnectionError) for one in late)
    # On an idle machine no more than half a second over its own timeout of 1 s; the connection has a minute.
    assert max(times) < LIMIT_S
    figure(
        f"20 stalled commands of timeout 1 s returned after {min(times):.2f} to {max(times):.2f} s, "
        f"{len(steady)} of another client were answered meanwhile"
    )


@pytest.mark.fault("C19", "json-socket", "M")
def test_c19_cut_connections_leave_no_descriptor_and_no_thread(figure):
    """M: after 100 connections that were cut anywhere, server and clients hold what they held before."""
    before = measure.running_threads(), measure.open_descriptors()
    server = Socket("server", port=0)
    thread = threading.Thread(target=serve, args=(server, {"double": lambda number: 2 * number}))
    thread.start()
    book = history.History()
    try:
        with TcpProxy(("127.0.0.1", server.port)) as between:
            for cut in range(100):
                between.to_server = Faults(cut_after=cut % 50, resets=cut % 3 == 0)
                between.to_client = Faults(cut_after=cut // 5)
                ask(between.port, book, cut)
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
    after = measure.running_threads(), measure.open_descriptors()
    assert after == before
    figure(f"{after[0]} threads and {after[1]} descriptors before and after")


@pytest.mark.fault("C7", "json-socket", "MT")
def test_c07_a_flood_of_silent_strangers_takes_no_more_than_the_connections_allowed(tmp_path, figure):
    """M T: a thousand strangers, all but one in ten without a word; in between commands are answered."""

    def held(pid):
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return [
            descriptors,
            *(int(re.search(rf"{name}:\s*(\d+)", status)[1]) for name in ("Threads", "VmRSS")),
        ]

    strangers, times, peaks = [], [], [0, 0, 0]
    with (
        program(tmp_path / "effects", grace_s=0.02) as (process, port),
        contextlib.ExitStack() as stack,
        contextlib.closing(Socket("client", port=port)) as client,
    ):
        assert client.tcpcmd({"command": "double", "number": 0}, timeout=LIMIT_S) == 0
        before = held(process.pid)
        for number in range(1000):
            strangers.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S)))
            if number % 10 == 0:
                strangers[-1].send(b"00000")
            if number % 50 == 49:
                began = time.monotonic()
                reply = client.tcpcmd({"command": "double", "number": number}, timeout=LIMIT_S)
                assert reply == 2 * number
                times.append(time.monotonic() - began)
                peaks = list(map(max, peaks, held(process.pid)))
            if len(strangers) > 200:
                strangers.pop(0).close()
    descriptors, threads, kilobytes = (after - at for after, at in zip(peaks, before, strict=True))
    # One more than the 32: who comes in while another gives way.
    assert descriptors <= 33
    assert threads == 0
    assert kilobytes <= 8 << 10
    figure(
        f"1000 strangers, 32 connections allowed: {descriptors} more descriptors, no thread, "
        f"{kilobytes} KiB; commands answered after {max(times):.2f} s at most"
    )


@pytest.mark.fault("C8", "json-socket", "L")
def test_c08_a_server_killed_and_started_on_its_port_does_no_command_twice(tmp_path, figure):
    """L: four clients while the server is killed four times, between what a command does and its reply.

    Each command is answered, or told as lost.
    """
    book, enough = history.History(), threading.Event()
    effects = tmp_path / "effects"

    def do(client, process, command, number):
        operation = book.begin(process, number)
        try:
            operation.done(client.tcpcmd({"command": command, "number": number}, timeout=LIMIT_S))
        except ConnectionRefusedError as error:
            operation.failed(error)
            time.sleep(0.02)
        except (ConnectionError, TimeoutError) as error:
            operation.unknown(error)

    def work(name, port, persistent):
        number = name
        with contextlib.closing(Socket("client", port=port, persistent=persistent)) as client:
            while not enough.is_set():
                number += 10
                do(client, name, "double", number)

    def remains(port):
        """Connections at a port that have ended on its side, and that the system still remembers."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()]
        return sum(row[1].endswith(f":{port:04X}") and row[3] in ("05", "06") for row in rows)

    port, remembered, threads = quiet_port(), 0, []
    try:
        for turn in range(4):
            with program(effects, port):
                if not threads:
                    arguments = [(name, port, name % 2 == 0) for name in range(1, 5)]
                    threads = [threading.Thread(target=work, args=one) for one in arguments]
                    for thread in threads:
                        thread.start()
                enough_here = len(book.requests(history.DONE)) + 40
                until(lambda: len(book.requests(history.DONE)) > enough_here, "commands answered")  # noqa: B023
                # Kept by a client, so that the server's end is the first to close.
                with contextlib.closing(Socket("client", port=port, persistent=True)) as client:
                    do(client, "first", "double", -2 - 10 * turn)
                    do(client, "first", "last", -1 - 10 * turn)
            until(lambda: remains(port), "a connection that is remembered")
            remembered += remains(port)
    finally:
        enough.set()
        for thread in threads:
            thread.join(LIMIT_S)
    judge(book, [int(line) for line in effects.read_text("ascii").split()])
    counts = [len(book.requests(outcome)) for outcome in (history.DONE, history.FAILED, history.UNKNOWN)]
    assert counts[0] > 160
    assert counts[2] >= 4
    figure(
        f"4 kills with {remembered} connections in TIME_WAIT or before: {counts[0]} commands answered once, "
        f"{counts[1]} refused and not done, {counts[2]} told as lost, none done twice"
    )


@pytest.mark.fault("C19", "json-socket", "T")
@pytest.mark.parametrize(
    ("command", "number", "timeout", "errors"),
    [
        # Some may hear the end of the server before their own.
        ("stall", signal.SIGTERM, 1.0, (TimeoutError, ConnectionError)),
        ("stall", signal.SIGKILL, 3 * LIMIT_S, ConnectionError),
        ("double", signal.SIGTERM, 3 * LIMIT_S, ConnectionError),
    ],
    ids=["shut down in a handler that stalls", "killed", "shut down"],
)
def test_c19_clients_of_a_server_that_is_stopped_return_by_their_own_deadline(
    tmp_path, figure, command, number, timeout, errors
):
    """T: eight wait for a reply while the server is stopped; none waits for longer than it wanted to."""
    times, raised = [], []

    def wait(port):
        began = time.monotonic()
        with contextlib.closing(Socket("client", port=port)) as client:
            try:
                if command == "stall":
                    client.tcpcmd({"command": "stall"}, timeout=timeout)
                else:  # for a second reply, which never comes
                    client.send({"command": "double", "number": 1})
                    client.receive(timeout=LIMIT_S)
                    ready.release()
                    client.receive(timeout=timeout)
            except (ConnectionError, TimeoutError) as error:
                raised.append(error)
        times.append(time.monotonic() - began)

    ready = threading.Semaphore(0)
    with program(tmp_path / "effects") as (process, port):
        threads = [threading.Thread(target=wait, args=(port,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        if command == "double":
            for _ in threads:
                assert ready.acquire(timeout=LIMIT_S)
        else:  # all are connected, and one of them is served
            until(lambda: len(list(Path(f"/proc/{process.pid}/fd").iterdir())) > 8, "connections")
        process.send_signal(number)
        for thread in threads:
            thread.join(2 * LIMIT_S)
        assert not any(thread.is_alive() for thread in threads)
    assert len(raised) == 8
    assert all(isinstance(error, errors) for error in raised), raised
    # On an idle machine half a second over its own timeout; those of a minute were told by the end.
    assert max(times) < LIMIT_S + (timeout if timeout < LIMIT_S else 0)
    figure(f"{signal.Signals(number).name}, timeout {timeout:g} s: returned after {max(times):.2f} s at most")


@pytest.mark.fault("C23", "json-socket", "TE")
@pytest.mark.parametrize(
    "methods",
    [["connect"], ["accept"], ["send", "sendall"], ["recv"], ["setsockopt"], ["settimeout", "setblocking"]],
    ids=lambda methods: methods[0],
)
def test_c23_a_command_returns_by_its_deadline_whichever_call_fails(served, figure, methods):
    """T E: the k-th call of either end fails, for every k; each command returns by type, the next is done."""
    server, asked = served
    book, times = history.History(), []

    def command(process, timeout):
        operation = book.begin(process, len(book.operations))
        began = time.monotonic()
        try:
            with contextlib.closing(Socket("client", port=server.port)) as client:
                operation.done(
                    client.tcpcmd({"command": "double", "number": operation.request}, timeout=timeout)
                )
        except OSError as error:
            operation.unknown(error)
        times.append(time.monotonic() - began)
        return operation

    def run(failing):
        with failing.installed():
            for operation in (command("client", 1.0), command("client", 1.0)):
                if operation.outcome == history.UNKNOWN:
                    told = "\n".join([str(operation.reply), *getattr(operation.reply, "__notes__", [])])
                    assert f"127.0.0.1:{server.port}" in told, operation
        assert command("after", LIMIT_S).outcome == history.DONE, book.operations[-1]

    failures = sum(fail_each_call(run, methods, getattr(errno, name)) for name in CODES)
    judge(book, asked)
    assert failures >= 2 * len(CODES)
    # On an idle machine no more than half a second over its own timeout of 1 s.
    assert max(times) < LIMIT_S
    lost = len(book.requests(history.UNKNOWN))
    figure(
        f"{methods[0]}: {failures} calls failed one by one, {lost} commands told as lost, "
        f"all of timeout 1 s returned after {max(times):.2f} s at most"
    )


@contextlib.contextmanager
def as_server(exchange, asked, key):
    """Our server, which gives the recorded reply to the recorded command; where it listens."""

    def reply(**_):
        asked.append(key)
        return exchange["reply"]

    server = Socket("server", port=0)
    thread = threading.Thread(target=serve, args=(server, {exchange["command"]["command"]: reply}))
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        thread.join(LIMIT_S)


def from_recording(port, exchange, operation):
    """What the original client sends and expects, byte for byte."""
    wanted, got = bytes.fromhex(exchange["server_bytes"]), b""
    try:
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as client:
            client.sendall(bytes.fromhex(exchange["client_bytes"]))
            while len(got) < len(wanted) and (piece := client.recv(len(wanted) - len(got))):
                got += piece
    except ConnectionError as error:
        operation.unknown(error)
        return
    assert wanted.startswith(got)
    if got == wanted:
        operation.done(exchange["reply"])
    else:
        operation.unknown("cut")


@contextlib.contextmanager
def as_recording(exchange, asked, key):
    """What the original server reads and answers, byte for byte; where it listens."""
    wanted = bytes.fromhex(exchange["client_bytes"])

    def serve():
        got = b""
        with contextlib.suppress(ConnectionError), listener.accept()[0] as connection:
            connection.settimeout(LIMIT_S)
            while len(got) < len(wanted) and (piece := connection.recv(len(wanted) - len(got))):
                got += piece
            if got == wanted:
                asked.append(key)
                connection.sendall(bytes.fromhex(exchange["server_bytes"]))
                connection.recv(1)  # until the client closes
            else:
                assert wanted.startswith(got)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            thread.join(LIMIT_S)


def from_ours(port, exchange, operation):
    """Our client with the recorded command."""
    try:
        with contextlib.closing(Socket("client", port=port)) as client:
            operation.done(client.tcpcmd(exchange["command"], timeout=LIMIT_S))
    except ConnectionError as error:
        operation.unknown(error)


@pytest.mark.fault("C25", "json-socket", "LW")
@pytest.mark.parametrize(
    ("server", "client"),
    [(as_server, from_recording), (as_recording, from_ours)],
    ids=["our server", "our client"],
)
def test_c25_recorded_exchanges_cut_anywhere_are_done_once_or_told_as_lost(figure, server, client):
    """L W: all exchanges of the original byte by byte, and cut at every byte of command and reply."""
    book, asked = history.History(), []
    replies = {}
    with TcpProxy(("127.0.0.1", 0)) as between:

        def play(exchange, to_server, to_client):
            key = len(book.operations)
            replies[key] = exchange["reply"]
            between.to_server, between.to_client = to_server, to_client
            with server(exchange, asked, key) as between.server:
                client(between.port, exchange, book.begin("client", key))
            return book.operations[-1].outcome

        for exchange in EXCHANGES:
            assert play(exchange, Faults(piece=1), Faults(piece=1)) == history.DONE
            for cut in range(len(exchange["client_bytes"]) // 2):
                cut_here = Faults(cut_after=cut, resets=cut % 2 == 0)
                assert play(exchange, cut_here, Faults()) == history.UNKNOWN
            before = len(asked)
            for cut in range(1, len(exchange["server_bytes"]) // 2):
                cut_here = Faults(cut_after=cut, resets=cut % 2 == 0)
                assert play(exchange, Faults(), cut_here) == history.UNKNOWN
            # A reply that is on its way is that of a command that was done.
            assert len(asked) == before + cut
    assert history.unended(book) == []
    assert history.wrongly_paired(book, replies.get) == []
    assert history.not_exactly_once(book, asked) == []
    counts = [len(book.requests(outcome)) for outcome in (history.DONE, history.UNKNOWN)]
    figure(f"{counts[0]} exchanges byte by byte, {counts[1]} cuts all told; {len(asked)} done, none twice")
