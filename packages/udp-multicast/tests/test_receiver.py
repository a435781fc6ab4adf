"""What the receiver promises, beside the table of faults."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import select
import socket
import sys
import threading
import time
import warnings
from pathlib import Path

import astropix4
import pytest

from udp_multicast import (
    AddressError,
    Datagram,
    ForeignProcessError,
    MulticastReceiver,
    MulticastSender,
    RawBytes,
    ReceiverBusy,
    ReceiverClosed,
    _asynchronous,
    _options,
)
from wireframe import FrameTooLarge


class Upper:
    """A readout that refuses what is not upper case, and numbers by its length."""

    def __init__(self, data):
        self.data = data

    @classmethod
    def from_bytes(cls, data):
        assert type(data) is bytes
        if not data.isupper():
            raise ValueError("not upper case")
        return cls(data)

    def __eq__(self, other):
        return self.data == other

    __hash__ = None


def test_it_hands_out_bytes_that_are_never_reused(pair):
    receiver, sender = pair(Upper)
    sender.send_data(b"ONE")
    first = receiver.receive()
    sender.send_data(b"TWO")
    assert (receiver.receive(), first) == (b"TWO", b"ONE")


def test_max_size_never_cuts_but_counts_as_broken(pair):
    receiver, sender = pair()
    sender.send_data(b"12345")
    sender.send_data(b"1234")
    assert receiver.receive(4) == b"1234"
    assert receiver.statistics.broken == 1
    strict, sender = pair(strict=True)
    sender.send_data(b"12345")
    with pytest.raises(FrameTooLarge):
        strict.receive(4)


def test_settings_that_contradict_are_refused():
    with pytest.raises(ValueError, match="not both"):
        MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="lo", interfaces=["lo"])
    for name in ("interfaces", "sources"):
        with pytest.raises(TypeError, match="sequences"):
            MulticastReceiver(RawBytes, "239.1.1.1", 0, **{name: "127.0.0.1"})
    # A list that a program computed and that came out empty must not let everybody in.
    with pytest.raises(ValueError, match="nobody could be heard"):
        MulticastReceiver(RawBytes, "239.1.1.1", 0, sources=[])


@pytest.mark.parametrize(
    "settings",
    [
        {"group": "192.0.2.77"},
        {"interface": "192.0.2.77"},
        {"sources": ["here"]},
        {"timeout": "x"},
    ],
)
def test_constructor_that_fails_leaves_no_socket_open(settings):
    group = settings.pop("group", "239.1.1.1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((OSError, TypeError)):
            MulticastReceiver(RawBytes, group, 0, **settings)
        gc.collect()


def test_failed_join_names_group_and_interface():
    with pytest.raises(OSError, match="No such device") as caught:
        MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="192.0.2.77")
    assert caught.value.__notes__ == ["while joining 239.1.1.1 on interface 192.0.2.77"]


def test_too_many_sources_are_named_and_none_stays_joined(make_receiver):
    sources = [f"10.0.0.{number}" for number in range(1, 200)]
    with pytest.raises(OSError, match="buffer space") as caught:
        make_receiver(sources=sources)
    assert caught.value.errno == errno.ENOBUFS
    assert any("igmp_max" in note for note in caught.value.__notes__)


def test_unicast_receiver_has_nothing_to_leave(make_receiver):
    receiver = make_receiver(group="127.0.0.1")
    with pytest.raises(AddressError):
        receiver.leave()
    with pytest.raises(OSError, match="Invalid"):
        receiver.join("127.0.0.1")


def test_timeout_zero_does_not_wait(make_receiver):
    receiver = make_receiver(timeout=0)
    for method in (receiver.receive, receiver.receive_many, receiver.receive_datagram):
        with pytest.raises(BlockingIOError):
            method()


def test_timeout_zero_of_one_call_is_a_timeout_and_takes_what_is_there(pair):
    receiver, sender = pair()
    with pytest.raises(TimeoutError):
        receiver.receive_datagram(timeout=0)
    sender.send_data(b"here")
    assert receiver.receive_datagram(timeout=0).data == b"here"


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_timeout_that_is_none_is_refused(make_receiver, timeout):
    with pytest.raises(ValueError, match="a timeout is at least 0"):
        make_receiver().receive_datagram(timeout)


def test_timeout_zero_says_so_if_only_broken_ones_were_looked_at(make_receiver, make_sender):
    """It looks at a few dozen; the next calls go on."""
    receiver = make_receiver(Upper, timeout=0)
    sender = make_sender(receiver)
    for _ in range(100):
        sender.send_data(b"broken")
    sender.send_data(b"A")
    with pytest.raises(BlockingIOError, match="no readout among the first datagrams"):
        receiver.receive()
    found = []
    while not found:
        with contextlib.suppress(BlockingIOError):
            found.append(receiver.receive())
    assert (found, receiver.statistics.broken) == ([b"A"], 100)


@pytest.mark.parametrize("count", [0, -1])
def test_receive_many_is_at_least_one(make_receiver, count):
    with pytest.raises(ValueError, match="max_count is at least 1"):
        make_receiver().receive_many(count)


@pytest.mark.parametrize("size", [0, -1, 1 << 31, 99_999_999_999])
def test_buffer_size_the_system_has_no_number_for_is_refused(make_receiver, size):
    with pytest.raises(ValueError, match=r"buffer_size is 1 to 2147483647, not"):
        make_receiver(buffer_size=size)


def test_plain_socket_methods_keep_their_timeout(make_receiver):
    receiver = make_receiver(timeout=0.01)
    with pytest.raises(TimeoutError):
        receiver.recv(10)


def test_default_timeout_of_the_program_is_not_that_of_a_receiver():
    socket.setdefaulttimeout(0.01)
    try:
        with MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="127.0.0.1") as receiver:
            assert receiver.gettimeout() is None
    finally:
        socket.setdefaulttimeout(None)


def test_receive_datagram_gives_data_and_sender_and_has_a_timeout_of_its_own(pair):
    receiver, sender = pair(Upper, timeout=None)
    with pytest.raises(TimeoutError):
        receiver.receive_datagram(timeout=0.001)
    sender.send_data(b"anything")
    port = sender.getsockname()[1]
    assert receiver.receive_datagram(timeout=None) == Datagram(b"anything", ("127.0.0.1", port))
    assert (receiver.statistics.received, receiver.statistics.broken) == (1, 0)


def test_receive_many_takes_all_that_are_there_and_skips_the_broken(pair):
    receiver, sender = pair(Upper)
    for data in (b"A", b"b", b"C", b"d", b"E"):
        sender.send_data(data)
    assert receiver.receive_many() == [b"A", b"C", b"E"]
    assert receiver.statistics.broken == 2
    sender.send_readouts([RawBytes(data) for data in (b"a", b"B", b"c", b"D", b"e")])
    assert receiver.receive_many(max_size=1) == [b"B", b"D"]
    assert receiver.statistics.broken == 5
    sender.send_readouts([RawBytes(b"AB"), RawBytes(b"CD"), RawBytes(b"E")])
    assert receiver.receive_many(max_size=1) == [b"E"]


def test_receive_many_stops_at_its_count(pair):
    receiver, sender = pair()
    for number in range(10):
        sender.send_data(bytes([number]))
    assert len(receiver.receive_many(4)) == 4
    assert len(receiver.receive_many()) == 6


def test_receive_many_raises_in_strict_mode_and_loses_no_good_readout(pair):
    receiver, sender = pair(Upper, strict=True)
    for data in (b"A", b"b", b"C"):
        sender.send_data(data)
    with pytest.raises(ValueError, match="upper"):
        receiver.receive_many()
    assert receiver.receive_many() == [b"A", b"C"]


def test_receive_goes_on_after_receive_many_with_what_came_in_one_batch(pair):
    receiver, sender = pair(Upper)
    sender.send_data(b"FIRST")
    assert receiver.receive_many() == [b"FIRST"]
    sender.send_readouts([RawBytes(data) for data in (b"A", b"b", b"C", b"d", b"E")])
    assert [receiver.receive(), receiver.receive_datagram().data] == [b"A", b"b"]
    assert receiver.receive_many() == [b"C", b"E"]


def test_readout_ids_are_counted_in_batches_too(pair):
    receiver, sender = pair(astropix4.Readout, readout_id=lambda readout: readout.readout_id)
    sender.send_readouts([astropix4.Readout(number, 0, b"") for number in (1, 2, 5)])
    assert len(receiver.receive_many()) == 3
    assert (receiver.statistics.lost, receiver.statistics.gaps) == (2, 1)


def test_readout_id_that_cannot_be_makes_the_readout_broken(pair):
    receiver, sender = pair(readout_id=lambda readout: readout[0] - 1)
    for data in (b"\2", b"\0", b"", b"\3"):
        sender.send_data(data)
    assert [receiver.receive(), receiver.receive()] == [b"\2", b"\3"]
    assert receiver.statistics.broken == 2


def test_iteration_ends_when_the_receiver_is_closed(pair):
    receiver, sender = pair()
    for number in range(3):
        sender.send_data(bytes([number]))
    found = []
    for readout in receiver:
        found.append(readout)
        if len(found) == 3:
            receiver.close()
    assert found == [b"\0", b"\1", b"\2"]


def test_closed_receiver_says_so_and_close_may_be_repeated(make_receiver):
    receiver = make_receiver()
    receiver.close()
    receiver.close()
    for method in (receiver.receive, receiver.receive_many, receiver.receive_datagram):
        with pytest.raises(ReceiverClosed) as caught:
            method()
        assert caught.value.errno == errno.EBADF
    assert receiver.statistics.received == 0


def test_callback_may_close_the_receiver(make_receiver, make_sender):
    receiver = make_receiver(Upper, on_broken=lambda *_: receiver.close())
    make_sender(receiver).send_data(b"broken")
    with pytest.raises(ReceiverClosed):
        receiver.receive()


@pytest.mark.fault("C19", "udp-multicast")
def test_error_of_the_callback_comes_out_and_the_receiver_goes_on(make_receiver, make_sender):
    def fail(*_):
        raise LookupError("callback")

    receiver = make_receiver(Upper, on_broken=fail)
    sender = make_sender(receiver)
    sender.send_data(b"broken")
    with pytest.raises(LookupError):
        receiver.receive()
    sender.send_data(b"GOOD")
    assert receiver.receive() == b"GOOD"


def test_second_thread_waits_for_its_turn_no_longer_than_its_timeout(
    make_receiver, make_sender, background, wait_until_receiving
):
    receiver = make_receiver(timeout=None)
    waiting = background(receiver.receive)
    wait_until_receiving(receiver)
    with pytest.raises(TimeoutError):
        receiver.receive_datagram(timeout=0.01)
    make_sender(receiver).send_data(b"first")
    assert waiting.result(10) == b"first"


def test_second_thread_is_told_when_the_receiver_is_closed(make_receiver, background, wait_until_receiving):
    receiver = make_receiver(timeout=None)
    waiting = [background(receiver.receive) for _ in range(3)]
    wait_until_receiving(receiver)
    receiver.close()
    for one in waiting:
        with pytest.raises(ReceiverClosed):
            one.result(10)


@pytest.mark.fault("C21", "udp-multicast", "L")
def test_four_threads_share_a_receiver_without_loss(pair, background, figure):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        receiver, sender = pair()
        waits = [background(lambda: [receiver.receive() for _ in range(200)]) for _ in range(4)]
        for number in range(800):
            sender.send_data(number.to_bytes(2, "big"))
        found = sorted(data for one in waits for data in one.result(10))
    finally:
        sys.setswitchinterval(interval)
    assert found == [number.to_bytes(2, "big") for number in range(800)]
    assert (receiver.statistics.received, receiver.statistics.bytes) == (800, 1600)
    figure(f"{len(found)} readouts to {len(waits)} threads, none lost, none twice")


def test_detach_gives_the_descriptor_away(make_receiver):
    receiver = make_receiver()
    descriptor = receiver.detach()
    with socket.socket(fileno=descriptor) as sock:
        assert sock.getsockname()[1] == receiver.port
    with pytest.raises(ReceiverClosed):
        receiver.receive()


@pytest.mark.fault("C19", "udp-multicast", "M")
def test_no_descriptor_is_left_open():
    before = sorted(one.name for one in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with (
            MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="127.0.0.1") as receiver,
            MulticastSender("239.1.1.1", receiver.port, interface="127.0.0.1"),
        ):
            pass
    assert sorted(one.name for one in Path("/proc/self/fd").iterdir()) == before


def _in_child(action):
    """Run an action in a forked child; what it returns is its exit code."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forks with threads around; here are none that matter.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 99
        try:
            code = action()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.fault("C20", "udp-multicast", "E")
def test_forked_child_cannot_use_the_receiver_and_the_parent_goes_on(pair):
    receiver, sender = pair()

    def child():
        try:
            receiver.receive()
        except ForeignProcessError:
            receiver.close()
            return 0
        return 1

    assert _in_child(child) == 0
    sender.send_data(b"parent")
    assert receiver.receive() == b"parent"


@pytest.mark.parametrize("closes", [False, True])
def test_forked_child_does_not_shut_the_socket_of_the_parent(make_receiver, make_sender, closes):
    """One that is shut still hands out what comes, but never waits: it is readable with nothing to read."""
    receiver = make_receiver()

    def child():
        if closes:
            receiver.close()
        return 0 if receiver.fileno() == -1 else 1

    assert _in_child(child) == 0
    assert select.select([receiver], [], [], 0)[0] == []
    make_sender(receiver).send_data(b"parent")
    assert select.select([receiver], [], [], 10)[0] == [receiver]
    assert receiver.receive() == b"parent"


def test_statistics_where_the_kernel_has_no_counters(pair, monkeypatch):
    monkeypatch.setattr(_options, "SO_MEMINFO", None)
    receiver, sender = pair()
    sender.send_data(b"x")
    receiver.receive()
    statistics = receiver.statistics
    assert (statistics.kernel_drops, statistics.queued_bytes, statistics.received) == (None, None, 1)


def test_rate_is_that_of_the_time_since_it_was_made(pair):
    receiver, sender = pair()
    assert receiver.statistics.datagrams_per_s == 0
    sender.send_data(b"x")
    receiver.receive()
    assert receiver.statistics.datagrams_per_s > 0


def test_waiting_in_slices_where_nobody_is_woken(make_receiver, make_sender, monkeypatch, background):
    monkeypatch.setattr("udp_multicast._waiting._SLICE_S", 0.005)
    receiver = make_receiver(timeout=None)
    monkeypatch.setattr(receiver._inlet, "wait_flags", receiver._inlet.no_wait_flags)
    waiting = background(receiver.receive)
    make_sender(receiver).send_data(b"x")
    assert waiting.result(10) == b"x"
    waiting = background(receiver.receive)
    receiver.close()
    with pytest.raises(ReceiverClosed):
        waiting.result(10)


@pytest.mark.parametrize("use_select", [False, True])
def test_receiving_where_no_flag_says_not_to_wait(make_receiver, make_sender, monkeypatch, use_select):
    monkeypatch.setattr(_options, "MSG_DONTWAIT", None)
    monkeypatch.setattr(_options, "LINUX", False)
    if use_select:
        monkeypatch.delattr("select.poll")
    receiver = make_receiver()
    sender = make_sender(receiver)
    sender.send_data(b"x")
    assert receiver.receive() == b"x"
    with pytest.raises(TimeoutError):
        receiver.receive_datagram(timeout=0.001)


@pytest.mark.fault("C23", "udp-multicast", "EL")
@pytest.mark.parametrize("error", [errno.EINTR, errno.ECONNREFUSED, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_failing_receive_call_raises_its_error_and_nothing_is_lost(pair, error, call):
    receiver, sender = pair()
    real, calls = receiver._inlet.take, []

    def take(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise OSError(error, "told to")
        return real(*arguments)

    receiver._inlet.take = take
    for number in range(3):
        sender.send_data(bytes([number]))
    found = []
    while len(found) < 3:
        try:
            found.append(receiver.receive())
        except OSError as failure:
            assert failure.errno == error  # noqa: PT017 - the loop goes on
    assert found == [b"\0", b"\1", b"\2"]
    assert len(calls) == 4


def test_failing_receive_call_comes_out_of_the_other_methods_too(make_receiver):
    receiver = make_receiver()

    def take(*_):
        raise OSError(errno.ENOMEM, "told to")

    receiver._inlet.take = take
    for method in (receiver.receive_datagram, receiver._receive_now):
        with pytest.raises(OSError, match="told to"):
            method(1.0)


class TestAsync:
    def test_readouts_come_by_async_for_until_closed(self, pair):
        receiver, sender = pair(Upper)

        async def collect():
            loop = asyncio.get_running_loop()
            for number, data in enumerate((b"A", b"b", b"C")):
                loop.call_later(0.001 * number, sender.send_data, data)
            found = []
            async for readout in receiver:
                found.append(readout)
                if len(found) == 2:
                    loop.call_later(0.001, receiver.close)
            return found

        assert asyncio.run(collect()) == [b"A", b"C"]
        assert receiver.statistics.broken == 1

    def test_close_from_another_thread_ends_the_wait(self, make_receiver, eventually):
        receiver = make_receiver(timeout=None)

        def close():
            eventually(lambda: receiver._inlet.wakers)
            receiver.close()

        thread = threading.Thread(target=close)
        thread.start()

        async def collect():
            return [readout async for readout in receiver]

        assert asyncio.run(collect()) == []
        thread.join()

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_close_while_the_wait_begins_ends_it(self, make_receiver, moment):
        """As by a handler of a signal, which runs between any two steps: here around `add_reader`."""
        receiver = make_receiver(timeout=None)

        async def collect():
            loop = asyncio.get_running_loop()
            add_reader = loop.add_reader

            def closing(*arguments):
                if moment == "before":
                    receiver.close()
                add_reader(*arguments)
                receiver.close()

            loop.add_reader = closing
            async with asyncio.timeout(20):
                return [readout async for readout in receiver]

        assert asyncio.run(collect()) == []

    def test_a_close_from_another_thread_leaves_nothing_in_the_loop(self, make_receiver):
        """A receiver that is made afterwards gets the same descriptor, which the loop must not know yet."""

        async def wait():
            loop = asyncio.get_running_loop()
            descriptors = set()
            for number in range(3):
                receiver = make_receiver(timeout=None)
                descriptors.add(receiver._inlet.fileno())
                waiting = asyncio.ensure_future(anext(receiver))
                while not receiver._inlet.wakers:
                    await asyncio.sleep(0)
                if number < 2:
                    await loop.run_in_executor(None, receiver.close)
                    with pytest.raises(StopAsyncIteration):
                        await waiting
            with MulticastSender(receiver.address()[0], receiver.port, interface="127.0.0.1") as sender:
                sender.send_data(b"heard")
                assert await asyncio.wait_for(waiting, 20) == b"heard"
            return descriptors

        assert len(asyncio.run(wait())) < 3

    def test_a_close_under_way_ends_the_wait_and_is_nobody_waiting(self, make_receiver):
        """While `close` has the turn, the task that it has woken looks again."""
        inlet = make_receiver(timeout=None)._inlet
        taken, finish = threading.Event(), threading.Event()

        def close():
            with inlet.turn:
                taken.set()
                finish.wait(5)

        thread = threading.Thread(target=close)
        thread.start()
        assert taken.wait(5)
        inlet.is_closing = True
        try:
            with pytest.raises(ReceiverClosed):
                asyncio.run(_asynchronous.receive(inlet, lambda deadline: pytest.fail("nothing is taken")))
        finally:
            inlet.is_closing = False
            finish.set()
            thread.join()

    def test_timeout_holds(self, make_receiver):
        receiver = make_receiver(timeout=0.01)

        async def one():
            return await anext(receiver)

        with pytest.raises(TimeoutError):
            asyncio.run(one())

    def test_cancelled_wait_loses_nothing(self, make_receiver, make_sender):
        receiver = make_receiver(timeout=None)
        sender = make_sender(receiver)

        async def cancel_then_take():
            task = asyncio.create_task(anext(receiver))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            sender.send_data(b"kept")
            return await asyncio.wait_for(anext(receiver), 10)

        assert asyncio.run(cancel_then_take()) == b"kept"

    def test_two_tasks_at_once_are_refused(self, make_receiver):
        receiver = make_receiver(timeout=None)

        async def two():
            first = asyncio.create_task(anext(receiver))
            await asyncio.sleep(0)
            try:
                with pytest.raises(ReceiverBusy):
                    await anext(receiver)
            finally:
                first.cancel()
                await asyncio.wait([first])

        asyncio.run(two())

    def test_other_tasks_get_their_turn_in_a_flood(self, pair):
        receiver, sender = pair()
        sender.send_readouts([RawBytes(b"x")] * 200)

        async def flood():
            turns = []
            asyncio.get_running_loop().call_soon(turns.append, True)
            for _ in range(200):
                await anext(receiver)
            return turns

        assert asyncio.run(flood())

    def test_loop_without_readers_waits_in_a_thread(self, pair):
        receiver, sender = pair()

        async def one():
            loop = asyncio.get_running_loop()

            def refuse(*_):
                raise NotImplementedError

            loop.add_reader = loop.remove_reader = refuse
            loop.call_later(0.01, sender.send_data, b"x")
            return await anext(receiver)

        assert asyncio.run(one()) == b"x"

    def test_closed_receiver_ends_at_once(self, make_receiver):
        receiver = make_receiver()
        receiver.close()

        async def collect():
            return [readout async for readout in receiver]

        assert asyncio.run(collect()) == []


@pytest.mark.fault("C15", "udp-multicast", "T")
def test_time_is_never_that_of_the_wall_clock(make_receiver, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: pytest.fail("asked for the wall clock"))
    with pytest.raises(TimeoutError):
        make_receiver(timeout=0.001).receive()
