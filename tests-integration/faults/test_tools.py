"""The tools of the fault lab do what they say, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import random
import socket
import threading
import time
from collections import Counter

import history
import measure
import proxy
import pytest
import simulated_loop
from failing_socket import CODES, FailingCall, fail_each_call
from seeds import replayable, seeds
from simulator import Faults, Network, Stream

LIMIT_S = 20.0


# -- seeds


def test_a_failing_seed_tells_the_line_that_plays_it_again(monkeypatch):
    def fail():
        with replayable(17, "test_channels_rows.py", "test_something"):
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong") as caught:
        fail()
    (note,) = caught.value.__notes__
    assert note.startswith("replay: FAULTS_SEED=17 python -m pytest ")
    assert note.endswith("tests-integration/faults/test_channels_rows.py -k 'test_something'")
    monkeypatch.setenv("FAULTS_SEED", "17")
    assert seeds() == [17]
    monkeypatch.delenv("FAULTS_SEED")
    monkeypatch.setenv("FAULTS_SEEDS", "3")
    assert seeds() == [0, 1, 2]


# -- the network in memory


def play(seed, faults, count=1000):
    network = Network(seed, faults)
    got = []
    network.attach("b", lambda data, source: got.append((network.now, source, data)))
    for number in range(count):
        network.after(0.0005 * number, network.send, "a", "b", b"%d" % number)
    network.run()
    return network, got


def test_a_perfect_network_delivers_everything_in_order():
    network, got = play(1, Faults())
    assert [data for _, _, data in got] == [b"%d" % number for number in range(1000)]
    assert network.counts == {"sent": 1000, "arrived": 1000}


def test_the_same_seed_is_the_same_to_the_last_datagram_and_another_one_is_not():
    faults = Faults(0.2, 0.1, 0.3, 0.1, 0.001, 0.004)
    first, second, other = play(5, faults), play(5, faults), play(6, faults)
    assert first[1] == second[1]
    assert first[0].counts == second[0].counts
    assert first[1] != other[1]


def test_each_fault_is_played_and_counted():
    network, got = play(2, Faults(loss=0.2, duplication=0.1, reordering=0.3, corruption=0.1))
    counts = network.counts
    assert counts["arrived"] == len(got) == 1000 - counts["lost"] + counts["doubled"]
    numbers = [data for _, _, data in got]
    assert 100 < counts["lost"] < 300
    assert 40 < counts["doubled"] < 160
    wrong = sum(not (data.isdigit() and int(data) < 1000) for data in numbers)
    assert 0 < wrong <= counts["corrupted"]
    in_order = sum(before <= after for before, after in itertools.pairwise(numbers))
    assert in_order < len(got) - 100


def test_cuts_are_for_one_direction_and_what_is_on_its_way_is_lost():
    network = Network(3)
    got = Counter()
    for end in "ab":
        network.attach(end, lambda data, source, end=end: got.update([end]))
    network.send("a", "b", b"")
    network.cut("a", "b")
    network.send("b", "a", b"")
    network.run()
    assert got == {"a": 1}
    network.heal("a", "b")
    network.send("a", "b", b"")
    network.run()
    assert got == {"a": 1, "b": 1}
    assert network.counts["cut"] == 1


def test_a_paused_end_gets_all_when_it_goes_on_and_a_detached_one_nothing():
    network = Network(4)
    got = []
    network.attach("b", lambda data, source: got.append(data))
    network.pause("b")
    for number in range(3):
        network.send("a", "b", b"%d" % number)
    network.run()
    assert got == []
    network.resume("b")
    assert got == [b"0", b"1", b"2"]
    network.detach("b")
    network.send("a", "b", b"3")
    network.run()
    assert (len(got), network.counts["unheard"]) == (3, 1)


def test_a_storm_ends_the_run():
    network = Network(5)
    network.attach("a", lambda data, source: network.send("a", "b", data))
    network.attach("b", lambda data, source: network.send("b", "a", data))
    network.send("a", "b", b"again")
    with pytest.raises(AssertionError, match="a storm"):
        network.run(most=1000)


def test_a_stream_keeps_all_bytes_in_order_however_it_is_cut_or_held_up():
    count = 0
    for seed in range(50):
        network = Network(seed, Faults(spread_s=0.01))
        pieces = []
        stream = Stream(network, "a", "b", pieces.append)
        whole = random.Random(seed).randbytes(200)
        stream.write(whole[:50])
        network.after(0.002, network.cut, "a", "b")
        network.after(1.0, network.heal, "a", "b")
        stream.write(whole[50:])
        stream.close()
        network.run()
        assert pieces.pop() == b""
        assert b"".join(pieces) == whole
        count += len(pieces)
    assert count > 100


# -- programs of asyncio on it


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.got = []

    def datagram_received(self, data, addr):
        self.got.append((data, addr))
        if data.startswith(b"?"):
            self.transport.sendto(b"!" + data, addr)


def test_a_program_of_asyncio_runs_in_simulated_time():
    """Hours pass, and no second of ours."""
    network = Network(1, Faults(delay_s=60.0))

    async def main():
        loop = asyncio.get_running_loop()
        server_transport, server = await loop.create_datagram_endpoint(Echo, local_addr=("10.0.0.1", 7))
        transport, client = await loop.create_datagram_endpoint(Echo, remote_addr=("10.0.0.1", 7))
        began = time.monotonic()
        transport.sendto(b"?")
        await asyncio.sleep(119)
        assert client.got == []
        await asyncio.sleep(2)
        assert client.got == [(b"!?", ("10.0.0.1", 7))]
        await asyncio.sleep(36_000)
        assert time.monotonic() - began == pytest.approx(36_121)
        transport.close()
        server_transport.close()
        return len(server.got)

    real = time.monotonic()
    assert simulated_loop.run(network, main(), limit_s=100_000) == 1
    # The clock is real again, and goes on where it was.
    assert time.monotonic() - real < LIMIT_S


def test_what_waits_for_ever_is_told():
    async def main():
        async with asyncio.timeout(None):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        simulated_loop.run(Network(1), main(), limit_s=60)


def test_tasks_left_over_and_what_escapes_into_the_loop_are_told():
    async def leaves():
        main.task = asyncio.ensure_future(asyncio.sleep(1000))

    async def main():
        await leaves()

    with pytest.raises(AssertionError, match="tasks are left over"):
        simulated_loop.run(Network(1), main())

    async def escapes():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        simulated_loop.run(Network(1), escapes())


# -- proxies


@pytest.fixture
def server():
    """A listener, and the connections it takes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        yield listener


def connected(listener, address):
    near = socket.create_connection(address, LIMIT_S)
    far, _ = listener.accept()
    far.settimeout(LIMIT_S)
    return near, far


def read_all(sock):
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        return data, "reset"
    return data, "end"


# A reset before the first byte may come before the client has connected.
@pytest.mark.parametrize(
    ("cut", "resets"), [(0, False), (1, False), (4, False), (9, False), (1, True), (4, True), (9, True)]
)
def test_a_proxy_cuts_behind_any_byte_in_either_direction(server, cut, resets):
    with proxy.TcpProxy(
        server.getsockname(), to_client=proxy.Faults(cut_after=cut, resets=resets)
    ) as between:
        near, far = connected(server, between.address)
        with near, far:
            if cut:
                far.sendall(b"0123456789")
            data, end = read_all(near)
            assert (data, between.counts["cuts"]) == (b"0123456789"[:cut], 1)
            assert end == ("reset" if resets else "end")
            assert read_all(far)[0] == b""


def test_a_proxy_hands_over_all_bytes_and_ends_byte_by_byte(server):
    faults = proxy.Faults(piece=1)
    with proxy.TcpProxy(server.getsockname(), faults, faults) as between:
        near, far = connected(server, between.address)
        with near, far:
            near.sendall(b"question")
            near.shutdown(socket.SHUT_WR)
            assert read_all(far) == (b"question", "end")
            far.sendall(b"answer")
            far.shutdown(socket.SHUT_WR)
            assert read_all(near) == (b"answer", "end")
    assert (between.counts["to server"], between.counts["to client"]) == (8, 6)


def test_a_proxy_stalls_behind_a_byte_and_reads_no_more(server):
    with proxy.TcpProxy(server.getsockname(), proxy.Faults(stall_after=3)) as between:
        near, far = connected(server, between.address)
        with near, far:
            near.sendall(b"abcdef")
            assert far.recv(3, socket.MSG_WAITALL) == b"abc"
            near.settimeout(0.2)
            with pytest.raises(TimeoutError):
                near.sendall(bytes(64 << 20))
            # The other direction goes on.
            far.sendall(b"still here")
            near.settimeout(LIMIT_S)
            assert near.recv(10, socket.MSG_WAITALL) == b"still here"


def test_a_proxy_whose_server_is_gone_closes_and_leaves_nothing_behind(server):
    threads, descriptors = measure.running_threads(), measure.open_descriptors()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = gone.getsockname()
    with proxy.TcpProxy(nobody) as between, socket.create_connection(between.address, LIMIT_S) as near:
        assert read_all(near)[0] == b""
    assert (measure.running_threads(), measure.open_descriptors()) == (threads, descriptors)


def test_a_proxy_loses_and_doubles_datagrams_and_counts_them():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(type=socket.SOCK_DGRAM) as near,
    ):
        far.bind(("127.0.0.1", 0))
        far.settimeout(LIMIT_S)
        with proxy.UdpProxy(far.getsockname(), loss=0.3, duplication=0.3, seed=3) as between:
            got = 0
            for number in range(200):
                near.sendto(b"%d" % number, between.address)
                deadline = time.monotonic() + LIMIT_S
                while between.counts["to server"] <= number:
                    assert time.monotonic() < deadline
                    time.sleep(0.0005)
                # What is being decided is decided when the next thing has its turn there.
                between.call(asyncio.sleep(0))
                expected = number + 1 - between.counts["lost"] + between.counts["doubled"]
                while got < expected:
                    far.recv(100)
                    got += 1
            assert min(between.counts["lost"], between.counts["doubled"]) > 20


# -- failing calls


def test_every_call_fails_once_and_the_run_after_the_last_has_none():
    seen = []

    def run(failing):
        near, far = socket.socketpair()
        with near, far, failing.installed():
            for _ in range(3):
                try:
                    near.send(b"x")
                    seen.append("sent")
                except BlockingIOError:
                    seen.append("refused")

    assert fail_each_call(run, ["send"], errno.EAGAIN) == 3
    assert seen.count("refused") == 3
    assert [seen[3 * k + k] for k in range(3)] == ["refused"] * 3
    assert seen[9:] == ["sent"] * 3


@pytest.mark.parametrize("name", CODES)
def test_a_failing_call_does_nothing_and_is_the_systems_error(name):
    code = getattr(errno, name)
    near, far = socket.socketpair()
    with near, far:
        with (
            FailingCall(["send"], 0, code).installed() as failing,
            pytest.raises(OSError, match=r".") as caught,
        ):
            near.send(b"lost")
        assert (caught.value.errno, failing.has_failed) == (code, True)
        near.send(b"next")
        assert far.recv(100) == b"next"


def test_the_failure_of_a_run_names_the_call():
    def run(failing):
        near, far = socket.socketpair()
        with near, far, failing.installed():
            near.send(b"a")
            near.send(b"b")

    with pytest.raises(OSError, match=r".") as caught:
        fail_each_call(run, ["send"], errno.EPIPE)
    assert caught.value.__notes__ == ["call 0 of send failed with Broken pipe"]


def test_a_run_that_was_cut_short_is_played_again_and_one_that_always_is_fails_the_test():
    lengths = iter([1, 0, 3, 3, 3])

    def run(failing):
        near, far = socket.socketpair()
        with near, far, failing.installed():
            for _ in range(next(lengths)):
                with contextlib.suppress(BlockingIOError):
                    near.send(b"x")

    assert fail_each_call(run, ["send"], errno.EAGAIN, least=3) == 3
    assert next(lengths, None) is None
    with pytest.raises(AssertionError, match=r"0 calls of \['send'\], and not 1"):
        fail_each_call(lambda failing: None, ["send"], errno.EAGAIN, least=1)


# -- histories


def test_histories_that_are_right_have_nothing_wrong():
    book = history.History()
    for number in range(3):
        book.begin("client", number).done(number * 2)
    book.begin("client", 3).unknown("timeout")
    book.begin("client", 4).failed("refused")
    assert history.unended(book) == []
    assert history.wrongly_paired(book, lambda request: request * 2) == []
    for effects in ([0, 1, 2], [2, 1, 0, 3]):
        assert history.not_exactly_once(book, effects) == []
    assert history.not_rising([1, 2, 5]) == []
    assert book.requests(history.DONE) == [0, 1, 2]


def test_each_thing_that_is_wrong_is_found():
    book = history.History()
    book.begin("one", 1).done("reply of 2")
    book.begin("one", 2).failed("no")
    book.begin("two", 3)
    assert history.unended(book) == ["never ended: 3 of 'two'"]
    assert history.wrongly_paired(book, lambda request: f"reply of {request}") == ["1 got 'reply of 2'"]
    wrong = history.not_exactly_once(book, [2, 9, 9])
    assert len(wrong) == 3
    assert wrong[0] == "done, but happened 0 times: 1"
    assert wrong[1] == "failed, but happened 1 times: 2"
    assert wrong[2] == "nobody asked for 9"
    assert history.not_exactly_once(book, [1, 1]) == ["done, but happened 2 times: 1"]
    assert history.not_rising([1, 1, 0]) == ["1 after 1", "0 after 1"]


def test_an_operation_ends_once_and_threads_share_a_history():
    book = history.History()
    operation = book.begin("one", 1)
    operation.done()
    with pytest.raises(AssertionError, match="it ended twice"):
        operation.failed("late")
    threads = [
        threading.Thread(target=lambda name=name: [book.begin(name, (name, n)).done() for n in range(500)])
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(set(book.requests(history.DONE))) == 2001
