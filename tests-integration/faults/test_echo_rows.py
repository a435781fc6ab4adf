"""Faults of the catalogue, played on the ends of echo-rig over the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import history
import pytest
from failing_socket import CODES, fail_each_call
from proxy import Faults as StreamFaults
from proxy import TcpProxy
from rig_player import free_uri, place_of, tell, tell_blocking

from echo_rig import EchoProtocol, sync
from wireframe.echo import Number, add_number

#: Seconds for a step on a busy machine.
LIMIT_S = 20.0


# -- C4: a peer is killed at each byte of a frame


@pytest.mark.fault("C4", "echo-tcp", "LTE")
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_c04_a_connection_that_ends_at_any_byte_costs_its_own_message_only(caplog, figure, direction, resets):
    """L E T: at each byte of a message or its echo; the error is typed and prompt, the server serves on."""
    caplog.set_level(logging.CRITICAL)
    book = history.History()
    heard = []

    async def main():
        uri = free_uri("tcp")
        async with await EchoProtocol.server(uri) as server:
            server.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
            size = len(b'[1, ["cut", 10]]')
            async with await EchoProtocol.client(uri) as steady:
                for cut in range(size + 1):
                    faults = {direction: StreamFaults(cut_after=cut, resets=resets)}
                    with TcpProxy(place_of(uri), **faults) as between:
                        try:
                            client = await EchoProtocol.client(f"tcp://127.0.0.1:{between.port}")
                        except ConnectionError as error:
                            book.begin("cut", ("cut", 10 + cut)).failed(repr(error))
                        else:
                            async with client:
                                await tell(client, book, ["cut", 10 + cut], LIMIT_S)
                    await tell(steady, book, ["steady", cut], LIMIT_S)
        return size

    async def limited():
        async with asyncio.timeout(50):
            return await main()

    size = asyncio.run(limited())
    told = judge_cuts(book, heard, size)
    figure(f"{size + 1} cuts, {len(told)} told as lost connections")


@pytest.mark.fault("C4", "echo-tcp", "LTE")
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_c04_the_same_for_blocking_ends(caplog, figure, direction, resets):
    """L E T: at each byte of a message or its echo; the error is typed and prompt, the server serves on."""
    caplog.set_level(logging.CRITICAL)
    book = history.History()
    heard, took = [], []
    size = len(b'[1, ["cut", 10]]')
    with serving_thread("tcp", heard) as uri, sync.connect(uri) as steady:
        for cut in range(size + 1):
            faults = {direction: StreamFaults(cut_after=cut, resets=resets)}
            began = time.monotonic()
            with TcpProxy(place_of(uri), **faults) as between:
                try:
                    client = sync.connect(f"tcp://127.0.0.1:{between.port}")
                except ConnectionError as error:
                    book.begin("cut", ("cut", 10 + cut)).failed(repr(error))
                else:
                    with client:
                        tell_blocking(client, book, ["cut", 10 + cut], LIMIT_S)
            took.append(time.monotonic() - began)
            tell_blocking(steady, book, ["steady", cut], LIMIT_S)
    judge_cuts(book, heard, size)
    figure(f"blocking: {size + 1} cuts, none needed its timeout; slowest {max(took):.2f} s")


def judge_cuts(book, heard, size):
    """What was cut is told as a lost connection, at once; what was not is heard once."""
    assert history.unended(book) == []
    assert history.not_exactly_once(book, heard) == []
    steady = [one for one in book.requests(history.DONE) if one[0] == "steady"]
    assert len(steady) == size + 1
    told = [one.reply for one in book.operations if one.outcome == history.UNKNOWN]
    assert told
    assert not [reason for reason in told if not reason.startswith("Connection")], "not told as lost"
    return told


@contextlib.contextmanager
def serving_thread(scheme, heard, **options):
    """A blocking server in a thread of its own; its URI."""
    uri = free_uri(scheme)
    stop = threading.Event()
    with sync.listen(uri, **options) as server:
        server.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))

        def serve():
            while not stop.is_set():
                server.serve(0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield uri
        finally:
            stop.set()
            thread.join(LIMIT_S)
        assert not thread.is_alive()


# -- C23: any call of a socket fails


EACH_ERROR = pytest.mark.parametrize("name", CODES)
EACH_CALL = pytest.mark.parametrize(
    ("scheme", "methods"),
    [
        ("udp", ["send", "sendto"]),
        ("udp", ["recv", "recvfrom"]),
        ("tcp", ["send"]),
        ("tcp", ["recv"]),
        ("tcp", ["accept"]),
    ],
    ids=["udp-send", "udp-receive", "tcp-send", "tcp-receive", "tcp-accept"],
)


@pytest.mark.fault("C23", "echo-rig", "TE")
@EACH_ERROR
@EACH_CALL
def test_c23_any_call_that_fails_costs_a_typed_error_and_the_next_connection_works(
    caplog, figure, scheme, methods, name
):
    """T E: the k-th call fails, for every k; each send returns, and the server takes a new client."""
    caplog.set_level(logging.CRITICAL)

    async def main(failing):
        async with asyncio.timeout(2 * LIMIT_S):
            uri = free_uri(scheme)
            book = history.History()
            async with await EchoProtocol.server(uri, numbering=False):
                with failing.installed():
                    async with await EchoProtocol.client(uri, numbering=False) as client:
                        # What was lost is told by the deadline, so it is a short one.
                        for number in range(3):
                            await tell(client, book, ["first", number], 0.1)
                async with await EchoProtocol.client(uri, numbering=False) as client:
                    await tell(client, book, ["last", 0], LIMIT_S)
            assert history.unended(book) == []
            assert book.operations[-1].outcome == history.DONE, book.operations[-1]

    failures = fail_each_call(
        lambda failing: asyncio.run(main(failing)),
        methods,
        getattr(errno, name),
        least=1 if methods == ["accept"] else 4,
    )
    figure(f"{scheme} {methods[0]} {name}: {failures} calls failed one by one")


@pytest.mark.fault("C23", "echo-rig", "TE")
@EACH_ERROR
@EACH_CALL
def test_c23_the_same_for_blocking_ends(caplog, figure, scheme, methods, name):
    """T E: the k-th call fails, for every k; each send returns, and the server takes a new client."""
    caplog.set_level(logging.CRITICAL)

    def run(failing):
        book = history.History()
        with serving_thread(scheme, [], numbering=False) as uri:
            # Over TCP what fails is told by the connection; over UDP by the deadline.
            with failing.installed(), sync.connect(uri, numbering=False) as client:
                for number in range(2):
                    tell_blocking(client, book, ["first", number], 0.1)
            with sync.connect(uri, numbering=False) as client:
                tell_blocking(client, book, ["last", 0], LIMIT_S)
        assert history.unended(book) == []
        assert book.operations[-1].outcome == history.DONE, book.operations[-1]

    least = 1 if methods == ["accept"] else 3
    failures = fail_each_call(run, methods, getattr(errno, name), least=least)
    figure(f"blocking, {scheme} {methods[0]} {name}: {failures} calls failed one by one")


# -- C6: who stalls


@pytest.mark.fault("C6", "echo-tcp", "LT")
def test_c06_ends_that_stall_anywhere_return_in_time_and_hold_up_nobody(caplog, figure):
    """L T: the way to or from the server stands still at a byte; others send 100 messages meanwhile.

    Beside them somebody sends a byte now and then, and somebody else reads nothing of what he is answered.
    """
    caplog.set_level(logging.CRITICAL)
    book = history.History()
    heard, took = [], []

    async def stalled(between, number):
        async with await EchoProtocol.client(f"tcp://127.0.0.1:{between.port}") as client:
            began = time.monotonic()
            await tell(client, book, ["stalled", number], 1.0)
            took.append(time.monotonic() - began)

    async def send_steadily(steady, first):
        began = time.monotonic()
        for number in range(first, first + 100):
            await tell(steady, book, ["steady", number], LIMIT_S)
        return 100 / (time.monotonic() - began)

    async def trickle(stranger):
        for byte in b'[1, "' + b"x" * 10_000:
            await asyncio.get_running_loop().sock_sendall(stranger, bytes([byte]))
            await asyncio.sleep(0.01)

    def stuff(stranger):
        with contextlib.suppress(BlockingIOError):
            while True:
                stranger.send(b'[8, "' + b"x" * 50_000 + b'"]')

    async def main(stack):
        uri = free_uri("tcp")
        async with await EchoProtocol.server(uri) as server, await EchoProtocol.client(uri) as steady:
            server.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
            alone = await send_steadily(steady, 100)
            waiting = []
            strangers = [stack.enter_context(socket.create_connection(place_of(uri))) for _ in range(2)]
            for stranger in strangers:
                stranger.setblocking(False)
            trickling = asyncio.ensure_future(trickle(strangers[0]))
            for _ in range(20):
                stuff(strangers[1])
                await asyncio.sleep(0.001)
            for number in range(12):
                where = {"to_server" if number % 2 else "to_client": StreamFaults(stall_after=number)}
                between = stack.enter_context(TcpProxy(place_of(uri), **where))
                waiting.append(asyncio.ensure_future(stalled(between, number)))
            beside = await send_steadily(steady, 0)
            assert not trickling.done(), trickling
            trickling.cancel()
            await asyncio.gather(*waiting)
        return beside / alone

    with contextlib.ExitStack() as stack:
        share = asyncio.run(main(stack))
    assert history.unended(book) == []
    assert history.not_exactly_once(book, heard) == []
    done = book.requests(history.DONE)
    assert sorted(done) == [("steady", number) for number in range(200)]
    # On an idle machine no more than half a second over its own timeout of 1 s; the connection has a minute.
    assert len(took) == 12
    assert max(took) < LIMIT_S
    figure(
        f"12 stalled messages of timeout 1 s returned after {min(took):.2f} to {max(took):.2f} s; "
        f"the others sent {share:.2f} times as many a second as alone"
    )


# -- C3, C7, C12: a rig in a process of its own, whose memory and descriptors are looked at


linux = pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are looked up in /proc")
rigs = pytest.mark.parametrize("kind", ["asyncio", "blocking"])
#: Bytes that measuring and the allocator may take above what is allowed.
ROOM = 8 << 20


class RigProcess:
    """A running `rig_program`."""

    def __init__(self, process):
        self._process = process
        assert self._answer() == "ready"

    def ask(self, question):
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self):
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def rig_process(kind, uri):
    program = Path(__file__).with_name("rig_program.py")
    command = [sys.executable, str(program), kind, uri]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield RigProcess(process)
            process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0


def until(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@linux
@rigs
@pytest.mark.fault("C7", "echo-tcp", "T")
def test_c07_a_server_without_descriptors_accepts_again_when_there_are_some(figure, kind):
    """T: 60 strangers, 20 descriptors; who is connected is served all the time, and newcomers soon after."""
    uri = free_uri("tcp")
    book = history.History()

    async def main(flood):
        async with await EchoProtocol.client(uri) as early:
            await tell(early, book, ["early", 0], LIMIT_S)
            for _ in range(60):
                stranger = flood.enter_context(socket.socket())
                stranger.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    stranger.connect(place_of(uri))
            for number in range(1, 20):
                await tell(early, book, ["early", number], LIMIT_S)
            flood.close()
            began = time.monotonic()
            async with await EchoProtocol.client(uri) as late:
                await tell(late, book, ["late", 0], LIMIT_S)
            return time.monotonic() - began

    with rig_process(kind, uri) as rig, contextlib.ExitStack() as flood:
        rig.ask("scarce 20")
        seconds = asyncio.run(main(flood))
    assert [one.outcome for one in book.operations] == [history.DONE] * 21
    figure(f"{kind}: a newcomer was served {seconds:.2f} s after the flood had gone")


@linux
@rigs
@pytest.mark.fault("C7", "echo-tcp", "M")
def test_c07_connections_beyond_the_limit_take_no_memory_and_no_descriptors(figure, kind):
    """M: 512 are kept, and 1500 more come and go, each with half a message."""
    uri = free_uri("tcp")

    def connect():
        stranger = socket.create_connection(place_of(uri), timeout=LIMIT_S)
        stranger.sendall(b'[1, "')
        return stranger

    with rig_process(kind, uri) as rig, contextlib.ExitStack() as flood:
        few = rig.ask("descriptors")
        for _ in range(512):
            flood.enter_context(connect())
        until(lambda: rig.ask("descriptors") >= few + 512)
        rig.ask("reset")
        most = 0
        for number in range(1500):
            with contextlib.suppress(ConnectionError), connect():
                if number % 100 == 0:
                    most = max(most, rig.ask("descriptors"))
        grown = rig.ask("peak")
        # asyncio accepts 100 in a turn of its loop, and closes within the two turns after it.
        assert most <= few + 512 + 3 * 100
        assert grown <= ROOM
        flood.close()
        until(lambda: rig.ask("descriptors") <= few)
    figure(f"{kind}: {most - few} connections at most, {grown / 1024:.0f} KiB for 1500 beyond the limit")


@linux
@rigs
@pytest.mark.fault("C3", "echo-tcp", "M")
def test_c03_a_message_without_end_takes_what_the_longest_may(figure, kind):
    """M: 64 MiB of one message where 1 MiB is allowed; what follows it is heard."""
    uri = free_uri("tcp")
    with rig_process(kind, uri) as rig, socket.create_connection(place_of(uri), timeout=LIMIT_S) as stream:
        stream.sendall(b"[1, 1]")
        until(lambda: rig.ask("heard") == 1)
        rig.ask("reset")
        stream.sendall(b'[1, "')
        for _ in range(1024):
            stream.sendall(b"x" * 65536)
        stream.sendall(b'"][1, 2]')
        until(lambda: rig.ask("heard") == 2)
        grown = rig.ask("peak")
    assert grown <= 2 * (1 << 20) + ROOM
    figure(f"{kind}: {grown / 1024:.0f} KiB for 64 MiB")


@linux
@rigs
@pytest.mark.fault("C3", "echo-udp", "M")
def test_c03_datagrams_that_wait_for_one_that_never_comes_take_what_is_allowed(figure, kind):
    """M: 32 MiB of the longest datagrams, all kept for a number before them, where 4 MiB may be kept."""
    uri = free_uri("udp")
    with rig_process(kind, uri) as rig, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(place_of(uri))
        sender.settimeout(LIMIT_S)
        ask(sender, b"[1, 1]")
        rig.ask("reset")
        text = b'[1, "' + b"x" * 65_000 + b'"]'
        for number in range(2, 514):
            sender.send(add_number(text, Number(1, number, 1)))
            # It keeps pace: its echo is the last thing that it does with all before.
            ask(sender, b"[4, %d]" % number)
        grown = rig.ask("peak")
        # The missing one, and all that were kept for it: as many as 4 MiB hold, and it itself.
        before = rig.ask("heard")
        sender.send(add_number(b"[1, 1]", Number(1, 1, 1)))
        until(lambda: rig.ask("heard") > before + 1)
        heard = rig.ask("heard") - before
    assert heard <= (4 << 20) // 65_000 + 1
    assert grown <= (4 << 20) + ROOM
    figure(f"{kind}: {grown / 1024:.0f} KiB for 32 MiB, {heard - 1} datagrams kept")


def ask(sender, message):
    """Send a datagram until its echo comes."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        sender.send(message)
        sender.settimeout(0.5)
        try:
            while sender.recv(70_000) != message:
                pass
        except TimeoutError:
            continue
        return
    raise AssertionError("no echo")


@linux
@rigs
@pytest.mark.fault("C12", "echo-udp", "M")
def test_c12_senders_without_number_take_the_memory_of_those_that_are_remembered(figure, kind):
    """M: 4096 addresses are remembered; 5000 more take no more, and the rig answers all the while."""
    uri = free_uri("udp")

    def say(first, count):
        for number in range(first, first + count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind((f"127.9.{number >> 7}.{1 + (number & 127)}", 0))
                stranger.sendto(b"[1, %d]" % number, place_of(uri))
            if number % 64 == 0:
                ask(steady, b"[4, %d]" % number)

    with rig_process(kind, uri) as rig, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as steady:
        steady.connect(place_of(uri))
        say(0, 4200)
        rig.ask("reset")
        say(4200, 5000)
        grown, heard = rig.ask("peak"), rig.ask("heard")
    assert heard > 4096 + 4500
    assert grown <= ROOM
    figure(f"{kind}: {grown / 1024:.0f} KiB for 5000 senders beyond the limit")


# -- C21: threads


THREADS, SENT = 8, 40


@pytest.mark.fault("C21", "echo-rig", "LW")
@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@pytest.mark.parametrize("way", ["an end each", "a shared end", "a loop of asyncio"])
def test_c21_messages_of_many_threads_arrive_once_and_in_order_for_each(caplog, figure, scheme, way):
    """L W: 8 threads of 40 messages; a blocking end refuses all threads but one, before anything is sent."""
    caplog.set_level(logging.CRITICAL)
    uri = free_uri(scheme)
    heard, refused = [], 0

    def through(end):
        def say(request):
            nonlocal refused
            deadline = time.monotonic() + LIMIT_S
            while True:
                try:
                    return end.confirmed_send(request, timeout=LIMIT_S)
                except RuntimeError as error:
                    if "another thread" not in str(error) or time.monotonic() > deadline:
                        raise
                    refused += 1
                    time.sleep(0.001)

        return say

    def tell_all(say, name):
        for number in range(SENT):
            say([1, [name, number, "x" * (name * number)]])

    def own(name):
        with sync.connect(uri, numbering=True) as end:
            tell_all(through(end), name)

    async def main():
        async with await EchoProtocol.server(uri, numbering=True) as server:
            server.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(THREADS) as pool, contextlib.ExitStack() as stack:
                if way == "an end each":
                    job = own
                elif way == "a shared end":
                    end = stack.enter_context(await loop.run_in_executor(pool, shared))
                    job = functools.partial(tell_all, through(end))
                else:
                    client = await EchoProtocol.client(uri, numbering=True)
                    stack.callback(client.close)

                    def say(request):
                        sent = client.confirmed_send(request, timeout=LIMIT_S)
                        asyncio.run_coroutine_threadsafe(sent, loop).result(LIMIT_S)

                    job = functools.partial(tell_all, say)
                await asyncio.gather(*(loop.run_in_executor(pool, job, name) for name in range(THREADS)))

    def shared():
        return sync.connect(uri, numbering=True)

    asyncio.run(main())
    assert len(heard) == THREADS * SENT
    for name in range(THREADS):
        expected = [(name, number, "x" * (name * number)) for number in range(SENT)]
        assert [one for one in heard if one[0] == name] == expected
    if way != "a shared end":
        assert refused == 0
    figure(f"{scheme}, {way}: {len(heard)} messages of {THREADS} threads, {refused} calls refused")
