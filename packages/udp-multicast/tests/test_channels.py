"""Channels over the loopback: both ends ours, and golden datagrams from a bare socket and to one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from udp_multicast import ForeignProcessError, ReceiverClosed
from udp_multicast.channels import ChannelReceiver, ChannelSender, ChannelUrl, _place, _reception, _sender
from wireframe.datagram import encode_fragments, encode_small
from wireframe.errors import BadHeader, FrameError, TruncatedFrame

sys.path.insert(0, str(Path(__file__).parent))

from lcm_vectors import pattern, recorded_messages

GROUP, LOOPBACK = "239.255.76.68", "127.0.0.1"
LIMIT_S = 20.0


class Number:
    """A readout of one byte, which must not be 0."""

    def __init__(self, value):
        self.value = value

    def to_bytes(self):
        return bytes([self.value])

    @classmethod
    def from_bytes(cls, data):
        (value,) = data
        if not value:
            raise ZeroDivisionError("a readout of 0")
        return cls(value)


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_receiver(cleanup):
    """A receiver on a free port of the loopback interface."""

    def make(readout_class=None, channels=None, **settings):
        settings.setdefault("timeout", LIMIT_S)
        receiver = ChannelReceiver(readout_class, channels, GROUP, 0, interface=LOOPBACK, **settings)
        return cleanup.enter_context(receiver)

    return make


@pytest.fixture
def make_sender(cleanup):
    """A sender to a receiver."""

    def make(receiver, channel="ADC", **settings):
        sender = ChannelSender(channel, GROUP, receiver.port, interface=LOOPBACK, **settings)
        return cleanup.enter_context(sender)

    return make


@pytest.fixture
def bare_sender(cleanup):
    """A bare socket that sends to a receiver's group, and may have a port of its own."""

    def make(receiver, port=0):
        sock = cleanup.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind((LOOPBACK, port))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        sock.connect((GROUP, receiver.port))
        return sock

    return make


@pytest.fixture
def bare_receiver(cleanup):
    """A bare socket that hears what a sender sends to its own port."""
    sock = cleanup.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    # On a busy machine it may have to hold a whole message before its turn comes.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((LOOPBACK, 0))
    sock.settimeout(LIMIT_S)
    return sock


# Golden bytes, both ways.


def test_a_sender_sends_the_recorded_datagrams_bit_for_bit(bare_receiver):
    """All messages a real LCM sender published, from number 0 on, on two channels and in any size."""
    port = bare_receiver.getsockname()[1]
    with ChannelSender("A", LOOPBACK, port) as sender, ThreadPoolExecutor() as pool:
        for one in recorded_messages():
            size = pool.submit(sender.send, one.payload, channel=one.channel)
            for data in one.datagrams:
                assert bare_receiver.recv(65536) == data
            assert size.result() == len(one.payload)


def test_a_receiver_returns_the_recorded_messages(make_receiver, bare_sender):
    receiver = make_receiver()
    sock = bare_sender(receiver)
    for number, one in enumerate(recorded_messages()):
        for data in one.datagrams:
            sock.send(data)
            if data is not one.datagrams[-1]:
                # Takes the fragment: the buffer need not hold all of them.
                with pytest.raises(TimeoutError):
                    receiver.receive(0)
        message = receiver.receive()
        assert (message.channel, message.readout, message.sequence) == (one.channel, one.payload, number)
        assert message.sender == sock.getsockname()
    assert receiver.statistics.lost == 0


# Ours to ours.


@pytest.mark.parametrize("size", [0, 1, 65494, 65495, 1_000_000, 5_000_000])
def test_messages_of_any_size_arrive(make_receiver, make_sender, size):
    """A usual receive buffer is enough if fragments come no faster than a busy machine reads them."""
    receiver = make_receiver()
    sender = make_sender(receiver, "DATA", bytes_per_s=20e6)
    payload = pattern(size)
    thread = threading.Thread(target=sender.send, args=(payload,))
    thread.start()
    message = receiver.receive()
    thread.join(LIMIT_S)
    assert message.readout == payload
    assert receiver.statistics.lost == 0


def test_readouts_go_in_and_come_out(make_receiver, make_sender):
    receiver = make_receiver(Number)
    sender = make_sender(receiver)
    assert sender.send_readout(Number(7)) == 1
    assert sender.send_readout(Number(8), channel="LOG") == 1
    messages = [receiver.receive(), receiver.receive()]
    assert [(one.channel, one.readout.value, one.sequence) for one in messages] == [
        ("ADC", 7, 0),
        ("LOG", 8, 1),
    ]


def test_an_array_is_sent_as_its_memory(make_receiver, make_sender):
    import numpy as np

    receiver = make_receiver()
    array = np.arange(50_000, dtype="<f8").reshape(100, 500)
    assert make_sender(receiver).send_data(array) == array.nbytes
    assert receiver.receive().readout == array.tobytes()


def test_small_datagrams_for_small_frames(bare_receiver):
    """LCM itself would fill 65507 bytes; what is read back does not depend on it."""
    with ChannelSender("ADC", LOOPBACK, bare_receiver.getsockname()[1], max_datagram=1472) as sender:
        sender.send(bytes(3000))
        assert [len(bare_receiver.recv(65536)) for _ in range(3)] == [1472, 1472, 120]


def test_only_the_channels_asked_for_are_returned(make_receiver, make_sender):
    receiver = make_receiver(None, ["IMAGE", "LOG"])
    sender = make_sender(receiver)
    for channel in ("ADC", "LOG", "ADC", "IMAGE"):
        sender.send(b"", channel=channel)
    assert [receiver.receive().channel for _ in range(2)] == ["LOG", "IMAGE"]
    assert (receiver.statistics.ignored, receiver.statistics.lost) == (2, 0)


def test_several_receivers_on_one_host_get_everything(make_receiver, make_sender):
    first = make_receiver()
    second = ChannelReceiver(None, None, GROUP, first.port, interface=LOOPBACK, timeout=LIMIT_S)
    with second:
        make_sender(first).send(b"hello")
        assert first.receive().readout == second.receive().readout == b"hello"


@pytest.mark.fault("C21", "udp-multicast", "LW")
def test_threads_share_a_sender_and_messages_do_not_mix(make_receiver, make_sender, figure):
    """Eight threads send large and small ones; every number comes once, every payload whole."""
    receiver = make_receiver()
    sender = make_sender(receiver, max_datagram=2000)

    def send(fill):
        for size in (10, 5000, 3000, 1):
            sender.send(bytes([fill]) * size)

    threads = [threading.Thread(target=send, args=(fill,)) for fill in range(8)]
    for thread in threads:
        thread.start()
    messages = [receiver.receive() for _ in range(32)]
    for thread in threads:
        thread.join(LIMIT_S)
    assert [one.sequence for one in messages] == list(range(32))
    assert all(len(set(one.readout)) == 1 for one in messages)
    assert sender.sequence == 32
    figure(f"{len(messages)} messages of {len(threads)} threads, each whole and numbered once")


def test_numbers_wrap(make_receiver, make_sender):
    receiver = make_receiver()
    sender = make_sender(receiver)
    sender._sequence = 2**32 - 1
    sender.send(b"last")
    sender.send(b"first")
    assert [receiver.receive().sequence for _ in range(2)] == [2**32 - 1, 0]
    assert receiver.statistics.lost == 0


# What goes wrong.


def test_lost_datagrams_are_counted_exactly(make_receiver, bare_sender):
    """One of seven is withheld, of small messages and of fragments."""
    receiver = make_receiver()
    sock = bare_sender(receiver)
    datagrams, cut = [], set()
    for number in range(70):
        if number % 5:
            datagrams.append((number, b"".join(encode_small(number, "ADC", b"x"))))
        else:
            parts = encode_fragments(number, "IMAGE", bytes(3000), 1200)
            datagrams += [(number, b"".join(one)) for one in parts]
    for index, (number, data) in enumerate(datagrams[:-1]):
        if index % 7 == 3:
            cut.add(number)
        else:
            sock.send(data)
    sock.send(datagrams[-1][1])
    messages = [receiver.receive() for _ in range(70 - len(cut))]
    assert {one.sequence for one in messages} == set(range(70)) - cut
    assert receiver.statistics.senders[sock.getsockname()].lost == len(cut)


def test_reordered_and_repeated_fragments_make_one_message(make_receiver, bare_sender):
    receiver = make_receiver()
    sock = bare_sender(receiver)
    payload = pattern(100_000)
    datagrams = [b"".join(parts) for parts in encode_fragments(0, "IMAGE", payload, 5000)] * 2
    random.Random(3).shuffle(datagrams)
    for data in datagrams:
        sock.send(data)
    sock.send(b"".join(encode_small(1, "END", b"")))
    assert [(one.channel, one.readout) for one in (receiver.receive(), receiver.receive())] == [
        ("IMAGE", payload),
        ("END", b""),
    ]


def test_a_late_joiner_starts_where_it_came(make_receiver, make_sender):
    early = make_receiver()
    sender = make_sender(early)
    for _ in range(5):
        sender.send(b"before")
    with ChannelReceiver(None, None, GROUP, early.port, interface=LOOPBACK, timeout=LIMIT_S) as late:
        sender.send(b"after")
        message = late.receive()
        assert (message.readout, message.sequence, late.statistics.lost) == (b"after", 5, 0)


def test_a_restarted_sender_is_another_sender(make_receiver, make_sender):
    """It has another port, so its numbers begin anew without a loss."""
    receiver = make_receiver()
    for _ in range(2):
        with ChannelSender("ADC", GROUP, receiver.port, interface=LOOPBACK) as sender:
            for _ in range(3):
                sender.send(b"x")
    numbers = [receiver.receive().sequence for _ in range(6)]
    assert numbers == [0, 1, 2, 0, 1, 2]
    assert len(receiver.statistics.senders) == 2
    assert receiver.statistics.lost == 0


def test_foreign_and_broken_datagrams_are_counted_told_and_never_fatal(make_receiver, bare_sender, caplog):
    told = []
    receiver = make_receiver(Number, on_broken=lambda datagram, error: told.append((datagram.data, error)))
    sock = bare_sender(receiver)
    with caplog.at_level(logging.DEBUG, "udp_multicast.channels"):
        for data in (b"", b"M-SEARCH * HTTP/1.1\r\n", b"LC02\0", b"LC03" + bytes(16)):
            sock.send(data)
        for number, payload in enumerate((b"\x00", b"\x01\x02", b"\x05")):
            sock.send(b"".join(encode_small(number, "ADC", payload)))
        assert receiver.receive().readout.value == 5
    statistics = receiver.statistics
    assert (statistics.foreign, statistics.broken, statistics.unreadable) == (2, 2, 2)
    assert statistics.lost == 0
    assert [data for data, _ in told][-2:] == [b"\x00", b"\x01\x02"]
    assert [type(error) for _, error in told][-2:] == [ZeroDivisionError, ValueError]
    levels = [record.levelno for record in caplog.records]
    assert levels.count(logging.WARNING) == 4, "one for each kind of error: two kinds came twice"
    assert levels.count(logging.DEBUG) == 2


def test_strict_raises_what_was_wrong_and_goes_on_when_asked_again(make_receiver, bare_sender):
    receiver = make_receiver(Number, strict=True)
    sock = bare_sender(receiver)
    sock.send(b"nonsense")
    sock.send(b"".join(encode_small(0, "ADC", b"\x00")))
    sock.send(b"".join(encode_small(1, "ADC", b"\x01")))
    with pytest.raises(BadHeader, match="LC02 or LC03 expected"):
        receiver.receive()
    with pytest.raises(ZeroDivisionError):
        receiver.receive()
    assert receiver.receive().readout.value == 1


@pytest.mark.fault("C3", "udp-multicast", "E")
def test_a_message_above_the_limit_is_refused(make_receiver, make_sender, figure):
    receiver = make_receiver(max_size=10_000)
    sender = make_sender(receiver)
    sender.send(bytes(10_001))
    sender.send(bytes(100_000))
    sender.send(bytes(10_000))
    assert len(receiver.receive().readout) == 10_000
    assert receiver.statistics.broken == 3
    assert receiver.statistics.lost == 0, "nothing came before the first message that was taken"
    figure(f"two messages too large: {receiver.statistics.broken} datagrams refused and counted")


def test_messages_above_the_limit_of_memory_are_refused_counted_and_warned_about_once(
    make_receiver, make_sender, caplog
):
    receiver = make_receiver(max_bytes=1 << 20)
    sender = make_sender(receiver)
    with caplog.at_level(logging.WARNING, "udp_multicast.channels"):
        for _ in range(3):
            sender.send(bytes(600_000))
        sender.send(b"small")
        assert receiver.receive().readout == b"small"
    statistics = receiver.statistics
    assert (statistics.refused, statistics.broken) == (30, 0)
    (record,) = caplog.records
    assert "600000 bytes, in memory" in record.getMessage()


def test_what_does_not_fit_the_wire_is_not_sent(make_receiver, make_sender):
    """Nor does it take a number: nobody will see a loss."""
    receiver = make_receiver()
    sender = make_sender(receiver)
    with pytest.raises(ValueError, match="the limit is 63"):
        sender.send(b"", channel="C" * 64)
    with pytest.raises(TypeError):
        sender.send("text")
    sender.send(b"good")
    assert receiver.receive().sequence == 0


# Waiting.


def test_waiting_ends_in_time(make_receiver):
    receiver = make_receiver(timeout=0.01)
    begin = time.monotonic()
    for wait in ((), (0.02,), (0,)):
        with pytest.raises(TimeoutError):
            receiver.receive(*wait)
    assert time.monotonic() - begin < LIMIT_S
    assert receiver.timeout == 0.01


def test_a_flood_that_is_no_message_does_not_hold_the_caller(make_receiver, bare_sender):
    """The deadline is that of a message, not of a datagram."""
    receiver = make_receiver()
    sock = bare_sender(receiver)
    over = threading.Event()

    def flood():
        while not over.is_set():
            sock.send(b"noise")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for wait in (0.05, 0):
            with pytest.raises(TimeoutError):
                receiver.receive(wait)
    finally:
        over.set()
        thread.join(LIMIT_S)
    assert receiver.statistics.foreign > 0


def test_what_is_here_already_is_found_without_waiting(make_receiver, bare_sender):
    """Also when foreign datagrams and fragments stand before it."""
    receiver = make_receiver()
    sock = bare_sender(receiver)
    for _ in range(10):
        sock.send(b"noise")
    for parts in encode_fragments(0, "ADC", bytes(5000), 1000):
        sock.send(b"".join(parts))
    assert len(receiver.receive(0).readout) == 5000


@pytest.mark.parametrize("wait", [None, LIMIT_S])
def test_closing_wakes_who_waits(make_receiver, wait):
    receiver = make_receiver()
    errors = []
    waiting = threading.Event()

    def receive():
        waiting.set()
        try:
            receiver.receive(wait)
        except ReceiverClosed as error:
            errors.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    waiting.wait(LIMIT_S)
    receiver.close()
    thread.join(LIMIT_S)
    assert len(errors) == 1
    receiver.close()
    with pytest.raises(ReceiverClosed):
        receiver.receive()


def test_threads_that_receive_take_turns(make_receiver, make_sender):
    """Who finds another one waiting waits no longer than it wants to."""
    receiver = make_receiver(timeout=None)
    sender = make_sender(receiver)
    found = []
    thread = threading.Thread(target=lambda: found.append(receiver.receive(LIMIT_S)))
    with receiver._reception.inlet.turn:
        thread.start()
        waiting = [threading.Thread(target=lambda: found.append(receiver.receive()))]
        waiting[0].start()
    with contextlib.suppress(TimeoutError):
        found.append(receiver.receive(0.01))
    for number in range(2):
        sender.send(bytes([number]))
    for each in (thread, *waiting):
        each.join(LIMIT_S)
        assert not each.is_alive()
    assert sorted(message.readout for message in found) == [b"\x00", b"\x01"]


def test_what_was_told_of_a_host_is_only_counted_from_then_on(
    make_receiver, bare_sender, caplog, monkeypatch
):
    """What is remembered for it is bounded, too: it starts anew."""
    monkeypatch.setattr(_reception, "MAX_CAUSES", 1)
    receiver = make_receiver(Number)
    sock = bare_sender(receiver)
    with caplog.at_level(logging.INFO, "udp_multicast.channels"):
        for data in (b"noise", b"noise", b"LC03", b"noise"):
            sock.send(data)
        for number, payload in enumerate((b"\x00", b"\x00", b"\x05")):
            sock.send(b"".join(encode_small(number, "ADC", payload)))
        assert receiver.receive().readout.value == 5
    statistics = receiver.statistics
    assert (statistics.foreign, statistics.broken, statistics.unreadable) == (3, 1, 2)
    assert [record.args[-1].__class__ for record in caplog.records] == [
        BadHeader,
        TruncatedFrame,
        ZeroDivisionError,
    ]


def test_statistics_stay_after_closing(make_receiver, make_sender):
    receiver = make_receiver()
    make_sender(receiver).send(b"hello")
    receiver.receive()
    receiver.close()
    assert receiver.statistics.messages == 1


def test_iteration_ends_when_the_receiver_is_closed(make_receiver, make_sender):
    receiver = make_receiver()
    sender = make_sender(receiver)
    for payload in (b"one", b"two"):
        sender.send(payload)
    found = []
    for message in receiver:
        found.append(message.readout)
        if len(found) == 2:
            receiver.close()
    assert found == [b"one", b"two"]


def test_iteration_raises_when_nothing_comes_in_time(make_receiver):
    with pytest.raises(TimeoutError):
        next(iter(make_receiver(timeout=0.01)))


def test_asynchronous_iteration(make_receiver, make_sender):
    """Messages come while other tasks run; closing ends it, from another task too."""
    receiver = make_receiver(timeout=None)
    sender = make_sender(receiver)

    async def receive():
        return [message.readout async for message in receiver]

    async def send():
        for number in range(20):
            sender.send(bytes([number]) * 2000 * number)
            await asyncio.sleep(0)
        while receiver.statistics.messages < 20:
            await asyncio.sleep(0.001)
        receiver.close()

    async def both():
        return await asyncio.gather(receive(), send())

    found, _ = asyncio.run(asyncio.wait_for(both(), LIMIT_S))
    assert found == [bytes([number]) * 2000 * number for number in range(20)]


def test_asynchronous_iteration_keeps_to_the_timeout(make_receiver):
    receiver = make_receiver(timeout=0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(anext(receiver))


def test_asynchronous_iteration_goes_on_after_what_is_no_message(make_receiver, bare_sender):
    receiver = make_receiver()
    sock = bare_sender(receiver)
    sock.send(b"noise")
    for parts in encode_fragments(0, "ADC", bytes(3000), 1000):
        sock.send(b"".join(parts))
    assert len(asyncio.run(anext(receiver)).readout) == 3000


def test_a_flood_that_is_no_message_does_not_hold_the_event_loop(make_receiver, bare_sender):
    """Other tasks run between so many datagrams, though more of them are here all the time."""
    receiver = make_receiver()
    sock = bare_sender(receiver)
    turns = []

    async def flood(task):
        for _ in range(3):
            for _ in range(_reception.TURN):
                sock.send(b"noise")
            await asyncio.sleep(0)
            turns.append(receiver.statistics.foreign)
        sock.send(b"".join(encode_small(0, "ADC", b"hello")))
        return (await task).readout

    async def both():
        for _ in range(2 * _reception.TURN):
            sock.send(b"noise")
        return await flood(asyncio.ensure_future(anext(receiver)))

    assert asyncio.run(asyncio.wait_for(both(), LIMIT_S)) == b"hello"
    assert turns[0] == _reception.TURN
    assert receiver.statistics.foreign == 5 * _reception.TURN


def test_hosts_that_are_not_among_the_sources_are_strangers():
    """Where the kernel has no source filter: the group is one host."""
    with (
        ChannelReceiver(None, None, LOOPBACK, 0, sources=["127.0.0.2"], timeout=LIMIT_S) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend,
    ):
        friend.bind(("127.0.0.2", 0))
        for number, sock in enumerate((stranger, friend)):
            sock.sendto(b"".join(encode_small(number, "ADC", b"hello")), (LOOPBACK, receiver.port))
        assert receiver.receive().sequence == 1
        statistics = receiver.statistics
        assert (statistics.strangers, statistics.messages, statistics.datagrams) == (1, 1, 1)


def test_messages_keep_their_bytes_when_the_next_ones_come(make_receiver, make_sender):
    """Datagrams above and below the size from which they are read in place, in one buffer."""
    receiver = make_receiver()
    sender = make_sender(receiver, bytes_per_s=None)
    payloads = [bytes([number]) * size for number, size in enumerate((10, 4095, 4100, 65000, 100_000))]
    for payload in payloads:
        sender.send(payload)
    messages = [receiver.receive() for _ in payloads]
    assert [message.readout for message in messages] == payloads
    assert {type(message.readout) for message in messages} == {bytes}


def test_asynchronous_iteration_over_a_closed_receiver_is_over_at_once(make_receiver):
    receiver = make_receiver()
    receiver.close()

    async def collect():
        return [message async for message in receiver]

    assert asyncio.run(collect()) == []


def test_strict_asynchronous_iteration_raises(make_receiver, bare_sender):
    receiver = make_receiver(strict=True)
    bare_sender(receiver).send(b"nonsense")
    with pytest.raises(FrameError):
        asyncio.run(anext(receiver))


# Pacing.


def test_fragments_are_paced_and_small_messages_are_not(bare_receiver, monkeypatch):
    """What the pacer is told is the bytes of every fragment."""
    told = []
    monkeypatch.setattr(_sender.Pacer, "wait", lambda _, amount: told.append(amount))
    with ChannelSender("ADC", LOOPBACK, bare_receiver.getsockname()[1], max_datagram=1000) as sender:
        sender.send(bytes(900))
        assert told == []
        sender.send(bytes(2500))
    assert told == [1000, 1000, 564]


@pytest.mark.parametrize("rate", [1e6, None])
def test_a_rate_holds(bare_receiver, rate):
    """2 MB take 2 s at 1 MB/s, less the burst; cut short here, and next to nothing without a rate."""
    sender = ChannelSender("ADC", LOOPBACK, bare_receiver.getsockname()[1], bytes_per_s=rate)
    with sender:
        begin = time.monotonic()
        sender.send(bytes(400_000))
        elapsed = time.monotonic() - begin
    assert elapsed >= (0.2 if rate else 0.0)


def test_closing_ends_the_pause_of_a_slow_sender(bare_receiver):
    """At one byte a second the message would take days."""
    sender = ChannelSender("ADC", LOOPBACK, bare_receiver.getsockname()[1], bytes_per_s=1.0)
    errors = []

    def send():
        try:
            sender.send(bytes(1_000_000))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(2):
        bare_receiver.recv(65536)
    sender.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert len(errors) == 1


# Forks.


def in_child(action):
    """Run an action in a forked child, which has `LIMIT_S` for it; what it returns is its exit code."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forks with threads around; here that is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 99
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(LIMIT_S))
            code = action()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_refused(action):
    try:
        action()
    except ForeignProcessError:
        return True
    return False


@pytest.mark.fault("C20", "udp-multicast", "E")
def test_a_forked_child_cannot_send_and_the_parent_goes_on(make_receiver, make_sender, figure):
    """Both would use the same numbers, and the receiver would take good messages for repetitions."""
    receiver = make_receiver()
    sender = make_sender(receiver)
    sender.send(b"before")

    def child():
        calls = (
            lambda: sender.send(b"child"),
            lambda: sender.send(bytes(100_000)),
            lambda: sender.send_data(b"child"),
            lambda: sender.send_many([b"child"] * 3),
            lambda: sender.send_readout(Number(1)),
        )
        refused = [is_refused(call) for call in calls]
        sender.close()
        sender.close()
        return sum(refused)

    refused = in_child(child)
    assert refused == 5
    sender.send(b"after")
    found = [receiver.receive() for _ in range(2)]
    assert [(one.readout, one.sequence) for one in found] == [(b"before", 0), (b"after", 1)]
    figure(f"{refused} ways to send refused in the child, {len(found)} messages of the parent received")


def test_a_sender_of_the_child_is_its_own(make_receiver, make_sender):
    receiver = make_receiver()
    make_sender(receiver)

    def child():
        with ChannelSender("ADC", GROUP, receiver.port, interface=LOOPBACK) as sender:
            return 0 if sender.send(b"child") == 5 else 1

    assert in_child(child) == 0
    assert receiver.receive().readout == b"child"


def test_locks_that_were_held_at_the_fork_do_not_hold_the_child(make_receiver, make_sender):
    """The threads that had them do not exist in the child: it would wait for ever."""
    receiver = make_receiver()
    sender = make_sender(receiver)
    sender.send(b"hello")
    receiver.receive()

    def child():
        refused = is_refused(lambda: sender.send(b"child")) and is_refused(receiver.receive)
        counted = receiver.statistics.messages
        sender.close()
        receiver.close()
        return 0 if refused and counted == 1 else 1

    with sender._lock, receiver._reception._lock, sender._closing._cond:
        assert in_child(child) == 0
    sender.send(b"again")
    assert receiver.receive().readout == b"again"


# Settings.


def test_where_a_url_leads(cleanup):
    sender = cleanup.enter_context(
        ChannelSender("ADC", url="udpm://239.1.2.3:5555?ttl=1", interface=LOOPBACK)
    )
    assert sender.address() == ("239.1.2.3", 5555)
    assert sender.channel == "ADC"
    assert repr(sender) == "<ChannelSender 'ADC' to ('239.1.2.3', 5555)>"
    receiver = cleanup.enter_context(ChannelReceiver(url="udpm://239.1.2.3:5555", interface=LOOPBACK))
    assert receiver.address() == ("239.1.2.3", 5555)
    assert repr(receiver) == "<ChannelReceiver at ('239.1.2.3', 5555)>"


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ((None, None, None), ChannelUrl("239.255.76.67", 7667, 0)),
        ((None, None, 5007), ChannelUrl("239.255.76.67", 5007, 0)),
        ((None, "239.1.1.1", None), ChannelUrl("239.1.1.1", 7667, 1)),
        (("udpm://239.1.1.1?ttl=3", None, None), ChannelUrl("239.1.1.1", 7667, 3)),
    ],
)
def test_what_is_not_said_is_lcm_s_default(arguments, place):
    """A group that is named means the network, so its datagrams may leave the host."""
    assert _place.resolve(*arguments) == place


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ChannelSender("ADC", GROUP, url="udpm://"), "not both"),
        (lambda: ChannelReceiver(None, None, None, 5007, url="udpm://"), "not both"),
        (lambda: ChannelSender("ADC", url="udp://"), "is not udpm"),
        (lambda: ChannelSender("C" * 64), "the limit is 63"),
        (lambda: ChannelSender("ADC", bytes_per_s=0), "a rate is more than 0"),
        (lambda: ChannelSender("ADC", max_datagram=10), "max_datagram is"),
        (lambda: ChannelReceiver(max_size=0), "at least 1"),
        (lambda: ChannelReceiver(interface=LOOPBACK, buffer_size=0), "buffer_size is 1 to 2147483647, not 0"),
        (lambda: ChannelReceiver(max_size=600_000, max_bytes=1 << 20), "half of max_bytes, 524288, must be"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, error):
    with pytest.raises(ValueError, match=error):
        make()


def test_one_name_is_not_a_collection_of_names():
    with pytest.raises(TypeError, match="the one name 'ADC'"):
        ChannelReceiver(None, "ADC")


def test_the_receive_buffer_of_the_url_is_asked_for(cleanup):
    """The system may grant more than asked for, and less, but more to who asks for more."""

    def granted(url):
        receiver = cleanup.enter_context(ChannelReceiver(url=url, interface=LOOPBACK))
        return receiver.statistics.granted_buffer

    assert granted("udpm://239.255.76.68:17667?recv_buf_size=10000") < granted("udpm://239.255.76.68:17668")
