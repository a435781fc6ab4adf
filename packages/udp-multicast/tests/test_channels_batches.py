"""Several datagrams a call, both ways: the same messages and counts as one by one, whatever arrives."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import random
import signal
import socket
import sys
import threading
from collections import deque

import pytest

from udp_multicast import MulticastSender, ReceiverClosed, _options
from udp_multicast._batch import BatchSender, runs
from udp_multicast.channels import (
    ChannelReceiver,
    ChannelSender,
    _ledger,
    _mmsg,
    _recvmmsg,
    _sender,
    _sendmmsg,
)
from udp_multicast.channels._outlet import Outlet
from udp_multicast.channels._slots import OneSlot
from wireframe import FrameError
from wireframe.datagram import MAX_DATAGRAM, encode_fragments, encode_message, encode_small

GROUP, LOOPBACK = "239.255.76.69", "127.0.0.1"
LIMIT_S = 20.0
LARGE = 500_000
#: Bytes, as the system counts them, that every system grants unasked.
USUAL_BUFFER = 400_000


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_receiver(cleanup):
    """A receiver on a free port of the loopback interface."""

    def make(**settings):
        settings = {"timeout": LIMIT_S, "interface": LOOPBACK} | settings
        return cleanup.enter_context(ChannelReceiver(None, None, GROUP, 0, **settings))

    return make


@pytest.fixture
def make_socket(cleanup):
    """A bare socket that sends to a receiver."""

    def make(receiver):
        sock = cleanup.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        sock.connect((GROUP, receiver.port))
        return sock

    return make


@pytest.fixture
def make_sender(cleanup):
    """A sender to a receiver, as quick as it can."""

    def make(receiver, **settings):
        settings = {"interface": LOOPBACK, "bytes_per_s": None} | settings
        return cleanup.enter_context(ChannelSender("ADC", GROUP, receiver.port, **settings))

    return make


@pytest.fixture
def without_calls(monkeypatch):
    """A system that moves one datagram a call."""
    monkeypatch.setattr(_options, "LINUX", False)


def payload_of(number, size=LARGE):
    return random.Random(number).randbytes(size)


def fragments_of(number, size=LARGE):
    return [b"".join(parts) for parts in encode_fragments(number, "ADC", payload_of(number, size))]


def feed(receiver, datagrams):
    """The messages that come of datagrams, sent as many at a time as the usual buffer holds.

    Parameters
    ----------
    datagrams : iterable of socket and bytes
    """
    found, weight = [], 0
    for sock, data in datagrams:
        # The system charges whole pages, and its own books.
        if weight + 2 * len(data) + 1500 > USUAL_BUFFER:
            found += drained(receiver)
            weight = 0
        weight += 2 * len(data) + 1500
        sock.send(data)
    return found + drained(receiver)


def drained(receiver):
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(receiver.receive(0))
    return found


def numbers_in_place(receiver):
    """How many fragments each call found in their places, and of how many."""
    found = []
    ledger = receiver._reception._ledger
    enter = ledger.enter

    def spy(heads, sender, now):
        found.append((enter(heads, sender, now), len(heads)))
        return found[-1][0]

    ledger.enter = spy
    return found


# Receiving.


def test_on_linux_several_datagrams_come_in_a_call(make_receiver):
    assert type(make_receiver()._reception._slots) is _recvmmsg.ManySlots


def test_elsewhere_one_by_one(without_calls, make_receiver):
    assert type(make_receiver()._reception._slots) is OneSlot


@pytest.mark.parametrize("name", ["recvmmsg", "sendmmsg"])
@pytest.mark.parametrize("error", [OSError("no library"), AttributeError("no function")])
def test_a_system_without_the_call_is_known(monkeypatch, name, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert _mmsg.find(name) is None


@pytest.mark.parametrize("name", ["recvmmsg", "sendmmsg"])
def test_a_system_that_does_not_allow_the_call_is_known(monkeypatch, name):
    """It says so before it looks at anything else."""
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.ENOSYS)
    assert _mmsg.find(name) is None


def test_without_the_call_all_goes_one_by_one(monkeypatch, make_receiver, make_sender):
    monkeypatch.setattr(_mmsg, "find", lambda _: None)
    receiver = make_receiver()
    assert type(receiver._reception._slots) is OneSlot
    sender = make_sender(receiver)
    assert sender._outlet._volley is None
    sender.send(payload_of(0, 100_000))
    assert receiver.receive().readout == payload_of(0, 100_000)


def test_headers_are_laid_out_as_the_system_has_them():
    """Kept against the socket module: the padding of a header is that of the machine."""
    word = ctypes.sizeof(ctypes.c_void_p)
    assert ctypes.sizeof(_mmsg.Piece) == 2 * word
    assert ctypes.sizeof(_mmsg.Header) == 8 * word


def test_messages_of_all_sizes_arrive_in_order(make_receiver, make_socket):
    """More of them than slots, large and small ones mixed."""
    receiver = make_receiver()
    sock = make_socket(receiver)
    sizes = [0, 10, 4090, 4100, 60_000, LARGE, LARGE, 5, 200_000, LARGE, *range(40)]
    datagrams = [
        (sock, b"".join(parts))
        for number, size in enumerate(sizes)
        for parts in encode_message(number, "ADC", payload_of(number, size))
    ]
    found = feed(receiver, datagrams)
    assert [message.readout for message in found] == [payload_of(*each) for each in enumerate(sizes)]
    assert {type(message.readout) for message in found} == {bytes}
    statistics = receiver.statistics
    assert (statistics.messages, statistics.lost, statistics.incomplete) == (len(sizes), 0, 0)
    assert statistics.datagrams == len(datagrams)


def test_large_messages_are_received_where_they_belong(make_receiver, make_socket):
    """From the second on, when there is memory of an earlier one."""
    receiver = make_receiver()
    sock = make_socket(receiver)
    found = numbers_in_place(receiver)
    datagrams = [(sock, data) for number in range(4) for data in fragments_of(number)]
    messages = feed(receiver, datagrams)
    assert [message.readout for message in messages] == [payload_of(number) for number in range(4)]
    assert all(entered == tried for entered, tried in found)
    assert sum(entered for entered, _ in found) >= len(fragments_of(0)), "out of three messages"
    assert receiver.statistics.datagrams == len(datagrams)


def test_large_messages_that_wait_as_a_whole_are_received_where_they_belong(make_receiver, make_socket):
    """All but the first and last fragment of each from the second on, though that of the first came alone."""
    receiver = make_receiver()
    sock = make_socket(receiver)
    found = numbers_in_place(receiver)
    for number in range(5):
        for data in fragments_of(number, 300_000):
            sock.send(data)
        assert receiver.receive().readout == payload_of(number, 300_000)
        if number == 0:
            assert found == []
            sock.send(small(99))  # not large, and not enough to think of anything else
            with contextlib.suppress(TimeoutError):
                receiver.receive(0)
    of_each = len(fragments_of(0, 300_000)) - 2
    assert sum(entered for entered, _ in found) == 4 * of_each


def calls_for_many(receiver):
    """How many datagrams each call for several brought."""
    found = []
    slots = receiver._reception._slots
    fetch = slots._fetch

    def spy(*arguments):
        found.append(fetch(*arguments))
        return found[-1]

    slots._fetch = spy
    return found


def test_who_keeps_up_fetches_one_by_one_and_asks_for_several_now_and_then(make_receiver, make_socket):
    receiver = make_receiver()
    sock = make_socket(receiver)
    found = calls_for_many(receiver)
    for number in range(19):
        sock.send(small(number))
        assert receiver.receive().sequence == number
    assert found == [1, 1, 1], "each ninth"


def test_who_falls_behind_fetches_several_in_a_call_again(make_receiver, make_socket):
    receiver = make_receiver()
    sock = make_socket(receiver)
    sock.send(small(0))
    receiver.receive()
    found = calls_for_many(receiver)
    for number in range(1, 51):
        sock.send(small(number))
    assert [receiver.receive().sequence for _ in range(50)] == list(range(1, 51))
    assert found == [16, 16, 10], "after eight"


def test_messages_of_one_long_datagram_come_one_by_one(make_receiver, make_socket):
    """Where memory stays in the cache."""
    receiver = make_receiver()
    sock = make_socket(receiver)
    found = calls_for_many(receiver)
    for number in range(6):
        sock.send(small(number, payload_of(number, 50_000)))
        sock.send(small(100 + number, payload_of(number, 50_000)))
        assert [one.readout for one in drained(receiver)] == [payload_of(number, 50_000)] * 2
    assert sum(found) == 2, "the first ones"


@pytest.mark.parametrize("group", ["239.255.76.69", "::1"])
def test_a_sender_has_one_name_however_its_datagrams_came(cleanup, group):
    interface = None if ":" in group else LOOPBACK
    receiver = cleanup.enter_context(
        ChannelReceiver(None, None, group, 0, timeout=LIMIT_S, interface=interface)
    )
    sender = cleanup.enter_context(ChannelSender("ADC", group, receiver.port, interface=interface))
    for _ in range(20):
        sender.send(b"hello")
        receiver.receive()
    (name,) = receiver.statistics.senders
    assert receiver.statistics.senders[name].messages == 20
    assert name[1] == sender._outlet.sender.getsockname()[1]


def test_who_waits_for_one_datagram_is_woken_by_the_end(make_receiver, make_socket):
    """Also where senders are looked at: nobody sent what wakes him."""
    receiver = make_receiver(timeout=None, sources=[LOOPBACK])
    sock = make_socket(receiver)
    sock.send(small(0))
    receiver.receive()
    begun = threading.Event()

    def close():
        begun.wait(LIMIT_S)
        receiver.close()

    thread = threading.Thread(target=close)
    thread.start()
    try:
        with pytest.raises(ReceiverClosed):  # noqa: PT012 - any moment from here on
            begun.set()
            receiver.receive()
    finally:
        thread.join(LIMIT_S)


def test_a_long_message_beyond_the_limit_is_refused(cleanup, make_socket):
    told = []
    receiver = cleanup.enter_context(
        ChannelReceiver(
            None,
            None,
            GROUP,
            0,
            interface=LOOPBACK,
            timeout=LIMIT_S,
            max_size=49_999,
            on_broken=lambda _, error: told.append(error),
        )
    )
    sock = make_socket(receiver)
    sock.send(small(0, bytes(50_000)))
    sock.send(small(1, bytes(49_999)))
    assert receiver.receive().sequence == 1
    assert [type(error).__name__ for error in told] == ["FrameTooLarge"]


def test_broken_datagrams_are_told_in_their_turn(make_receiver, make_socket):
    """After the messages before them, though they came in one call."""
    told = []
    receiver = make_receiver(on_broken=lambda datagram, _: told.append(datagram.data))
    sock, other = make_socket(receiver), make_socket(receiver)
    sock.send(small(0))
    other.send(b"noise")
    sock.send(small(1))
    sock.send(b"more noise")
    found = []
    for number in range(2):
        found.append((receiver.receive().sequence, list(told)))
        assert receiver.statistics.messages == number + 1
    assert found == [(0, []), (1, [b"noise"])]
    with pytest.raises(TimeoutError):
        receiver.receive(0)
    assert told == [b"noise", b"more noise"]
    assert receiver.statistics.foreign == 2


def test_strangers_within_a_call_are_left_alone(make_receiver, make_socket, monkeypatch):
    """They are counted as such and in no other number."""
    receiver = make_receiver()
    good, bad = make_socket(receiver), make_socket(receiver)
    reception = receiver._reception
    reception._has_sources = True
    monkeypatch.setattr(
        type(reception._intake), "is_stranger", lambda _, sender: sender == bad.getsockname(), raising=True
    )
    for number in range(4):
        bad.send(small(number))
        bad.send(b"noise")
        good.send(small(number))
    assert [message.sequence for message in drained(receiver)] == [0, 1, 2, 3]
    counts = receiver.statistics
    assert (counts.datagrams, counts.strangers, counts.foreign, list(counts.senders)) == (
        4,
        8,
        0,
        [good.getsockname()],
    )


def disturbed(seed):
    """Datagrams of several senders, with losses, repetitions, strange order and noise, by sender."""
    source = random.Random(seed)
    streams = []
    for sender in range(2):
        stream = []
        for number in range(6):
            size = source.choice([10, 5000, LARGE, LARGE, 200_000])
            stream += [b"".join(parts) for parts in encode_message(number, "ADC", payload_of(number, size))]
        for _ in range(source.randrange(4)):
            at = source.randrange(len(stream))
            what = source.choice(["lose", "repeat", "swap", "noise", "cut"])
            if what == "lose":
                del stream[at]
            elif what == "repeat":
                stream.insert(source.randrange(len(stream)), stream[at])
            elif what == "swap":
                stream.insert(source.randrange(len(stream)), stream.pop(at))
            elif what == "noise":
                stream.insert(at, source.randbytes(source.choice([0, 10, 30, MAX_DATAGRAM])))
            else:
                stream[at] = stream[at][: source.randrange(len(stream[at]))]
        streams.append([(sender, data) for data in stream])
    first, second = streams
    mixed = []
    while first or second:
        stream = source.choice([each for each in (first, second) if each])
        count = source.choice([1, 1, 5, 20])
        mixed += stream[:count]
        del stream[:count]
    return mixed


def everything(receiver, sockets, datagrams):
    """The messages that come of datagrams, and the counts at the end."""
    order = {sock.getsockname()[1]: number for number, sock in enumerate(sockets)}
    # There will be memory of an earlier message.
    messages = feed(receiver, [(sockets[2], data) for data in fragments_of(99)])
    messages += feed(receiver, [(sockets[sender], data) for sender, data in datagrams])
    counts = receiver.statistics
    names = (
        "datagrams foreign broken messages bytes incomplete lost late duplicates"
        " refused late_fragments repeated_fragments"
    )
    return (
        [(order[message.sender[1]], message.sequence, message.readout) for message in messages],
        {name: getattr(counts, name) for name in names.split()},
    )


@pytest.mark.parametrize("seed", range(40))
def test_whatever_arrives_it_is_what_one_by_one_would_be(make_receiver, make_socket, monkeypatch, seed):
    """Also when what comes is not what was expected, and stands where something else belongs."""
    datagrams = disturbed(seed)
    many = make_receiver()
    found = everything(many, [make_socket(many) for _ in range(3)], datagrams)
    monkeypatch.setattr(_options, "LINUX", False)
    one = make_receiver()
    assert everything(one, [make_socket(one) for _ in range(3)], datagrams) == found
    assert found[0], "nothing came through"


def feed_in_batches(receiver, datagrams):
    """The messages that come of datagrams, those of one sender together as far as they have one size."""
    found = []
    for start in range(0, len(datagrams), 3):  # three of the longest fit into the usual buffer
        some = datagrams[start : start + 3]
        for sock in dict.fromkeys(sock for sock, _ in some):
            several = [data for one, data in some if one is sock]
            BatchSender(sock, sock.getpeername(), sock.send, MAX_DATAGRAM).send(several)
        found += drained(receiver)
    return found


@pytest.mark.parametrize("linux", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_arrives_together_it_is_what_one_by_one_would_be(
    make_receiver, make_socket, monkeypatch, seed, linux
):
    """Also where fragments were expected."""
    source = random.Random(seed)
    datagrams = []
    for number, size in enumerate([LARGE, *(source.choice([0, 50, 900, LARGE]) for _ in range(12))]):
        for parts in encode_message(
            number, "ADC", payload_of(number, size), source.choice([1000, MAX_DATAGRAM])
        ):
            datagrams.append((0, b"".join(parts)))
            if not source.randrange(5):
                count = source.randrange(2, 12)
                datagrams += [(1, small(len(datagrams) + each, bytes(700))) for each in range(count)]
    if not linux:
        monkeypatch.setattr(_options, "LINUX", False)
    together = make_receiver()
    together._reception.inlet.enable_gro()
    sockets = [make_socket(together) for _ in range(2)]
    found = feed_in_batches(together, [(sockets[sender], data) for sender, data in datagrams])
    monkeypatch.setattr(_options, "LINUX", False)
    one = make_receiver()
    sockets = [make_socket(one) for _ in range(2)]
    expected = feed(one, [(sockets[sender], data) for sender, data in datagrams])
    numbers = [
        [(each.sequence, each.readout) for each in some if len(each.readout) != 700]
        for some in (found, expected)
    ]
    assert numbers[0] == numbers[1]
    assert len(found) == len(expected)
    assert together.statistics.datagrams == one.statistics.datagrams == len(datagrams)


def test_a_batch_as_long_as_a_fragment_that_was_expected_is_no_fragment(make_receiver, make_socket):
    receiver = make_receiver()
    sock = make_socket(receiver)
    feed(receiver, [(sock, data) for data in fragments_of(0)])
    receiver._reception.inlet.enable_gro()
    first, *others = fragments_of(1)
    feed(receiver, [(sock, first)])
    head = others[0][:20]
    batch = [head + bytes(5019), *[small(9).ljust(5039)] * 11, small(10).ljust(5039)]
    assert sum(map(len, batch)) == MAX_DATAGRAM
    assert [len(run) for run in runs(batch)] == [13], "one call takes them"
    found = numbers_in_place(receiver)
    BatchSender(sock, sock.getpeername(), sock.send, MAX_DATAGRAM).send(batch)
    assert [message.sequence for message in drained(receiver)] == [9, 10]
    assert found == []
    assert receiver.statistics.duplicates == 10


def test_what_the_system_tells_besides_makes_no_batch(make_receiver, make_socket):
    receiver = make_receiver()
    sock = make_socket(receiver)
    receiver._reception.inlet.enable_gro()
    receiver._receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    for number in range(30):
        sock.send(small(number, bytes(100)))
    assert [one.sequence for one in drained(receiver)] == list(range(30))


@pytest.mark.parametrize("linux", [True, False])
def test_messages_that_were_sent_together_are_received_together(
    make_receiver, make_sender, monkeypatch, linux
):
    if not linux:
        monkeypatch.setattr(_options, "LINUX", False)
    receiver = make_receiver()
    sender = make_sender(receiver)
    with pytest.raises(TimeoutError):
        receiver.receive_many(timeout=0)
    assert sender.send_many(b"%3d" % number for number in range(200)) == 200
    assert [int(each.readout) for each in receiver.receive_many(150)] == list(range(150))
    assert receiver.statistics.messages == 150
    assert [int(receiver.receive().readout) for _ in range(50)] == list(range(150, 200))
    counts = receiver.statistics
    assert (counts.datagrams, counts.messages, counts.lost) == (200, 200, 0)


def test_what_was_not_expected_comes_out_of_its_place(make_receiver, make_socket):
    """Other senders' datagrams among the fragments, short and long, and one of the same length."""
    receiver = make_receiver()
    sender, other = make_socket(receiver), make_socket(receiver)
    feed(receiver, [(sender, data) for data in fragments_of(0)])
    found = numbers_in_place(receiver)
    first, second, third, *others = fragments_of(1)
    longest = payload_of(5, MAX_DATAGRAM - len(b"".join(encode_small(1, "ADC", b""))))
    feed(receiver, [(sender, first)])
    messages = feed(
        receiver, [(sender, second), (other, b"".join(encode_small(0, "ADC", b"short"))), (sender, third)]
    )
    messages += feed(receiver, [(other, b"".join(encode_small(1, "ADC", longest))), (sender, others[0])])
    messages += feed(receiver, [(sender, data) for data in others[1:]])
    assert [message.readout for message in messages] == [b"short", longest, payload_of(1)]
    assert found[:2] == [(1, 1), (0, 1)]


def test_senders_are_told_apart_within_a_call(make_receiver, make_socket):
    receiver = make_receiver()
    sockets = [make_socket(receiver) for _ in range(5)]
    for number in range(3):
        for sock in sockets:
            sock.send(b"".join(encode_small(number, "ADC", b"%d" % sock.getsockname()[1])))
    messages = [receiver.receive() for _ in range(15)]
    assert [message.sender for message in messages] == [sock.getsockname() for sock in sockets] * 3
    assert [int(message.readout) for message in messages] == [message.sender[1] for message in messages]


def test_known_senders_are_bounded(monkeypatch, make_receiver, make_socket):
    monkeypatch.setattr(_recvmmsg, "_MAX_KNOWN", 2)
    receiver = make_receiver()
    sockets = [make_socket(receiver) for _ in range(5)]
    for sock in sockets * 2:
        sock.send(b"".join(encode_small(0, "ADC", b"")))
    found = {receiver.receive().sender for _ in sockets}
    assert found == {sock.getsockname() for sock in sockets}
    assert len(receiver._reception._slots._known) <= 2


def test_senders_of_ipv6_are_named_as_python_names_them(cleanup):
    receiver = cleanup.enter_context(ChannelReceiver(None, None, "::1", 0, timeout=LIMIT_S))
    sock = cleanup.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    sock.connect(("::1", receiver.port))
    for number in range(2):
        (message,) = feed(receiver, [(sock, data) for data in fragments_of(number)])
        assert message.sender == sock.getsockname()
        assert message.readout == payload_of(number)


def test_ipv6_addresses_are_read_with_flow_and_scope():
    name = _recvmmsg._IPV6.pack(
        socket.AF_INET6, b"\x13\x8f", b"\0\0\0\x05", bytes.fromhex("fe80" + 14 * "01"), 3
    )
    assert _recvmmsg._ipv6_address(name) == ("fe80:101:101:101:101:101:101:101", 5007, 5, 3)


def test_a_signal_does_not_end_the_wait(make_receiver, make_socket):
    """Its handler runs while the system waits."""
    receiver = make_receiver(timeout=None)
    sock = make_socket(receiver)
    here = threading.get_ident()
    ran = threading.Event()

    def send():
        while not ran.wait(0.01):
            signal.pthread_kill(here, signal.SIGUSR1)
        sock.send(b"".join(encode_small(0, "ADC", b"hello")))

    before = signal.signal(signal.SIGUSR1, lambda *_: ran.set())
    thread = threading.Thread(target=send)
    try:
        thread.start()
        assert receiver.receive().readout == b"hello"
    finally:
        thread.join(LIMIT_S)
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_ends_the_wait(make_receiver):
    receiver = make_receiver(timeout=None)
    here = threading.get_ident()
    begin, over = threading.Event(), threading.Event()

    def interrupt(*_):
        over.set()
        raise InterruptedError("from the handler")

    def send():
        begin.wait(LIMIT_S)
        while not over.wait(0.01):
            signal.pthread_kill(here, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=send)
    try:
        thread.start()
        with pytest.raises(InterruptedError, match="from the handler"):  # noqa: PT012 - any moment from here on
            begin.set()
            receiver.receive()
    finally:
        begin.set()
        over.set()
        thread.join(LIMIT_S)
        signal.signal(signal.SIGUSR1, before)


def small(number, payload=b"hello", channel="ADC"):
    return b"".join(encode_small(number, channel, payload))


def test_an_error_that_is_kept_does_not_keep_the_memory_of_a_message(make_receiver, make_socket):
    """In a shell, the last error lives on, and with it all that was in use when it was raised."""
    receiver = make_receiver()
    sock = make_socket(receiver)
    for number in range(2):  # before, there is no memory to receive in
        assert [one.readout for one in feed(receiver, [(sock, each) for each in fragments_of(number)])] == [
            payload_of(number)
        ]
    begin, end = fragments_of(2)[:2], fragments_of(2)[2:]
    for each in begin:
        sock.send(each)
    with pytest.raises(TimeoutError) as kept:
        receiver.receive(0.05)
    assert [one.readout for one in feed(receiver, [(sock, each) for each in end])] == [payload_of(2)]
    assert kept.value.args


@pytest.mark.parametrize("at", range(1, 12))
def test_an_interrupt_between_datagrams_of_a_call_costs_one_at_the_most(
    make_receiver, make_socket, monkeypatch, at
):
    receiver = make_receiver()
    sock = make_socket(receiver)
    for number in range(30):
        sock.send(small(number))
    judged = []
    judge = _ledger.split_small

    def interrupted(data, max_size):
        judged.append(data)
        if len(judged) == at:
            raise KeyboardInterrupt
        return judge(data, max_size)

    monkeypatch.setattr(_ledger, "split_small", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drained(receiver)
    found = at - 1 - len(receiver._reception._ready)
    rest = drained(receiver)
    statistics = receiver.statistics
    assert found + len(rest) >= 29
    assert (statistics.datagrams, statistics.duplicates) == (30, 0)
    # The first message of a sender cannot be missed: nobody knows yet where it begins.
    assert statistics.lost == (30 - found - len(rest) if at > 1 else 0)


def test_what_came_before_an_error_comes_next_in_order_and_number(cleanup, make_socket):
    settings = {"interface": LOOPBACK, "timeout": LIMIT_S, "strict": True}
    receiver = cleanup.enter_context(ChannelReceiver(None, None, GROUP, 0, **settings))
    sock = make_socket(receiver)
    for number in range(10):
        if number == 6:
            sock.send(b"LC99")
        sock.send(small(number))
    with pytest.raises(FrameError):
        receiver.receive_many(100)
    assert [one.sequence for one in receiver.receive_many(2)] == [0, 1]
    assert receiver.receive().sequence == 2
    assert [one.sequence for one in receiver.receive_many(100)] == [3, 4, 5, 6, 7, 8, 9]


def test_a_python_without_ctypes_moves_one_datagram_a_call(make_receiver, make_sender, monkeypatch):
    monkeypatch.setitem(sys.modules, "udp_multicast.channels._mmsg", None)
    monkeypatch.delattr("udp_multicast.channels._mmsg")
    receiver = make_receiver()
    assert type(receiver._reception._slots) is OneSlot
    sender = make_sender(receiver)
    sender.send(b"hello")
    assert receiver.receive().readout == b"hello"


class Nonzero:
    """A readout of one byte, which must not be 0."""

    @classmethod
    def from_bytes(cls, data):
        if not data[0]:
            raise ZeroDivisionError("a readout of 0")
        return data[0]


def test_messages_of_a_call_are_counted_as_one_by_one(cleanup, make_socket):
    """Repeated ones, those of other channels, one that begins anew, and what is no message at all."""
    settings = {"interface": LOOPBACK, "timeout": LIMIT_S}
    receiver = cleanup.enter_context(ChannelReceiver(None, ["ADC"], GROUP, 0, **settings))
    sock = make_socket(receiver)
    for number in (5000, 5001, 5001, 5003, 5002):
        sock.send(small(number))
    sock.send(small(5004, channel="OTHER"))
    sock.send(b"noise")
    for number in (5, 6, 7):  # the second one so far back is believed
        sock.send(small(number))
    assert [message.sequence for message in drained(receiver)] == [5000, 5001, 5003, 5002, 6, 7]
    counts = receiver.statistics
    assert (counts.datagrams, counts.messages, counts.ignored, counts.foreign) == (10, 7, 1, 1)
    assert (counts.duplicates, counts.late, counts.restarts, counts.lost) == (1, 1, 1, 0)


@pytest.mark.parametrize("strict", [False, True])
def test_readouts_are_made_when_their_message_is_returned(cleanup, make_socket, strict):
    """Also of messages that came in one call with another."""
    settings = {"interface": LOOPBACK, "timeout": LIMIT_S, "strict": strict}
    receiver = cleanup.enter_context(ChannelReceiver(Nonzero, None, GROUP, 0, **settings))
    sock = make_socket(receiver)
    for number, payload in enumerate((b"\1", b"\2", b"\0", b"\3")):
        sock.send(small(number, payload))
    assert [receiver.receive().readout for _ in range(2)] == [1, 2]
    assert receiver.statistics.unreadable == 0
    if strict:
        with pytest.raises(ZeroDivisionError):
            receiver.receive()
    assert receiver.receive().readout == 3
    assert receiver.statistics.unreadable == 1


def test_a_closed_receiver_returns_nothing_more(make_receiver, make_socket):
    """Not even what came in one call with a message that was returned."""
    receiver = make_receiver()
    sock = make_socket(receiver)
    for number in range(3):
        sock.send(small(number))
    receiver.receive()
    receiver.close()
    for receive in (receiver.receive, receiver.receive_many):
        with pytest.raises(ReceiverClosed):
            receive()


def test_two_threads_may_be_after_the_same_message(make_receiver, make_socket):
    """One of them gets it, the other one the next."""

    class Contested(deque):
        quicker = 1

        def popleft(self):
            if self.quicker:
                self.quicker -= 1
                raise IndexError("another thread was quicker")
            return super().popleft()

    receiver = make_receiver()
    sock = make_socket(receiver)
    for number in range(3):
        sock.send(small(number))
    assert receiver.receive().sequence == 0
    assert receiver.statistics.messages == 1, "the others were not returned yet"
    reception = receiver._reception
    reception._ready = Contested(reception._ready)
    assert receiver.receive().sequence == 1
    reception._ready.quicker = 2
    assert receiver.receive().sequence == 2


# Receiving many.


def test_all_that_is_here_comes_at_once(make_receiver, make_sender):
    receiver = make_receiver()
    sender = make_sender(receiver)
    for number in range(50):
        sender.send(b"%d" % number)
    messages = receiver.receive_many(20)
    assert len(messages) == 20
    messages += receiver.receive_many()
    assert [int(message.readout) for message in messages] == list(range(50))
    with pytest.raises(TimeoutError):
        receiver.receive_many(timeout=0)


def test_messages_before_a_refused_one_come_with_the_next_call(make_receiver, make_socket):
    receiver = make_receiver(strict=True)
    sock = make_socket(receiver)
    for data in (
        b"".join(encode_small(0, "ADC", b"first")),
        b"noise",
        b"".join(encode_small(1, "ADC", b"last")),
    ):
        sock.send(data)
    with pytest.raises(ValueError, match="LC02 or LC03"):
        receiver.receive_many()
    assert [message.readout for message in receiver.receive_many()] == [b"first", b"last"]


def test_threads_that_receive_many_take_turns(make_receiver, make_sender):
    receiver = make_receiver()
    with receiver._reception.inlet.turn:
        errors = []

        def receive():
            with contextlib.suppress(TimeoutError):
                errors.append(receiver.receive_many(timeout=0.01))

        thread = threading.Thread(target=receive)
        thread.start()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    assert errors == []


# Sending many.


@pytest.fixture
def host(cleanup):
    """A bare socket of this host, and how to send to it."""
    sock = cleanup.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((LOOPBACK, 0))
    sock.settimeout(LIMIT_S)
    return sock


def test_many_messages_are_the_same_datagrams_as_one_by_one(cleanup, host):
    sender = cleanup.enter_context(ChannelSender("ADC", LOOPBACK, host.getsockname()[1], bytes_per_s=None))
    payloads = (
        [b"abc"] * 70 + [bytearray(b"de"), b"", payload_of(0, 70_000), memoryview(b"fgh")] + [b"ijk"] * 2
    )
    assert sender.send_many(iter(payloads)) == len(payloads)
    expected = [
        b"".join(parts)
        for number, payload in enumerate(payloads)
        for parts in encode_message(number, "ADC", payload)
    ]
    assert [host.recv(65536) for _ in expected] == expected
    assert sender.sequence == len(payloads)
    assert sender.send_many([], channel="NONE") == 0
    sender.send_many([b"x"], channel="OTHER")
    assert host.recv(100) == b"".join(encode_small(len(payloads), "OTHER", b"x"))


def test_what_came_before_an_error_is_sent(cleanup, host):
    """Of the iterable, and of a message."""
    sender = cleanup.enter_context(ChannelSender("ADC", LOOPBACK, host.getsockname()[1]))

    def source():
        yield b"a"
        raise KeyError("broken")

    with pytest.raises(KeyError):
        sender.send_many(source())
    with pytest.raises(TypeError):
        sender.send_many([b"b", "text", b"c"])
    sender.send(b"d")
    for number, payload in enumerate((b"a", b"b", b"d")):
        assert host.recv(100) == b"".join(encode_small(number, "ADC", payload))


def test_many_messages_keep_to_the_rate(cleanup, host, monkeypatch):
    """The pacer is told the bytes of all datagrams of a batch."""
    told = []
    monkeypatch.setattr(_sender.Pacer, "wait", lambda _, amount: told.append(amount))
    sender = cleanup.enter_context(ChannelSender("ADC", LOOPBACK, host.getsockname()[1]))
    sender.send_many([b"abc"] * 100)
    assert told == [64 * 15, 36 * 15]


@pytest.mark.parametrize("error", [errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL])
def test_when_the_way_is_gone_many_go_by_another(make_receiver, error):
    """Each once and in order, also those of other sizes behind; a new socket has the port of the old one."""

    class Stranded(MulticastSender):
        def sendmsg(self, *_):
            raise OSError(error, "no way")

        def send(self, *_):
            raise OSError(error, "no way")

    receiver = make_receiver()
    kinds = [Stranded, MulticastSender]
    outlet = Outlet(lambda: kinds.pop(0)(GROUP, receiver.port, 0, interface=LOOPBACK), needs_route=False)
    sizes = [5, 5, 5, 3, 7, 9, 9, 9]
    with contextlib.closing(outlet):
        port = outlet.sender.getsockname()[1]
        outlet.send_many([b"".join(encode_small(n, "ADC", bytes(size))) for n, size in enumerate(sizes)])
        assert type(outlet.sender) is MulticastSender
    found = [receiver.receive() for _ in sizes]
    assert [(one.sequence, len(one.readout)) for one in found] == list(enumerate(sizes))
    assert {one.sender for one in found} == {(LOOPBACK, port)}
    assert receiver.statistics.duplicates == 0


def test_when_the_way_is_gone_within_a_batch_none_is_sent_twice(make_receiver):
    """The kernel cuts nothing here, so they go one by one, and the third finds no way at all for once."""
    broken = []

    class Uncut(MulticastSender):
        def sendmsg(self, *_):
            raise OSError(errno.EIO, "not cut here")

    class Waylaid(Outlet):
        def send(self, datagram):
            if datagram == datagrams[2] and not broken:
                broken.append(datagram)
                raise OSError(errno.ENETUNREACH, "no way")
            super().send(datagram)

    receiver = make_receiver()
    datagrams = [b"".join(encode_small(n, "ADC", b"hello")) for n in range(5)]
    kinds = [Uncut, MulticastSender]
    outlet = Waylaid(lambda: kinds.pop(0)(GROUP, receiver.port, 0, interface=LOOPBACK), needs_route=False)
    with contextlib.closing(outlet):
        outlet.send_many(datagrams)
    assert [receiver.receive().sequence for _ in datagrams] == [0, 1, 2, 3, 4]
    assert (len(broken), receiver.statistics.duplicates) == (1, 0)


def test_another_error_of_many_keeps_the_socket(make_receiver):
    class Refused(MulticastSender):
        def sendmsg(self, *_):
            raise PermissionError(errno.EPERM, "refused")

    receiver = make_receiver()
    outlet = Outlet(lambda: Refused(GROUP, receiver.port, 0, interface=LOOPBACK), needs_route=False)
    with contextlib.closing(outlet):
        old = outlet.sender
        with pytest.raises(PermissionError):
            outlet.send_many([b"abc"] * 3)
        assert outlet.sender is old


# Fragments in one call.


def volleys(sender):
    """How many datagrams each call was given and took."""
    volley = sender._outlet._volley
    found, call = [], volley._call

    def spy(descriptor, begin, count, flags):
        found.append((count, call(descriptor, begin, count, flags)))
        return found[-1][1]

    volley._call = spy
    return found


def test_fragments_go_in_few_calls(make_receiver, make_sender):
    receiver = make_receiver()
    sender = make_sender(receiver, max_datagram=2000)
    found = volleys(sender)
    payload = payload_of(0, 140_000)
    assert sender.send(payload) == len(payload)
    assert receiver.receive().readout == payload
    assert found == [(_sendmmsg.COUNT, _sendmmsg.COUNT), (71 - _sendmmsg.COUNT, 71 - _sendmmsg.COUNT)]


def test_messages_of_all_sizes_and_channels_go_in_volleys(make_receiver, make_sender):
    """What is kept of the last one is used for its like, and for no other."""
    receiver = make_receiver()
    sender = make_sender(receiver)
    sender._sequence = (1 << 32) - 2
    found = volleys(sender)
    likes = [(200_000, "ADC"), (200_000, "ADC"), (200_000, "TDC"), (200_001, "TDC"), (200_000, "ADC")]
    for number, (size, channel) in enumerate(likes):
        sender.send(payload_of(number, size), channel=channel)
        message = receiver.receive()
        assert message.channel == channel
        assert message.readout == payload_of(number, size)
        assert message.sequence == ((1 << 32) - 2 + number) % (1 << 32)
    assert found == [(4, 4)] * len(likes)
    assert receiver.statistics.lost == 0


def test_a_large_message_that_does_not_fit_the_wire_takes_no_number(make_receiver, make_sender):
    receiver = make_receiver()
    sender = make_sender(receiver, max_datagram=100)
    for payload, channel in ((bytes(10_000_000), "ADC"), (bytes(1000), "C" * 64)):
        with pytest.raises(ValueError, match="the limit is"):
            sender.send(payload, channel=channel)
        assert sender.sequence == 0
    sender.send(bytes(1000))
    assert receiver.receive().sequence == 0


@pytest.mark.parametrize("what", ["rate", "view", "host", "system"])
def test_where_they_cannot_fragments_go_one_by_one(
    make_receiver, make_sender, cleanup, host, monkeypatch, what
):
    """With a rate, from memory that is not bytes, without a connection, and on other systems."""
    if what == "system":
        monkeypatch.setattr(_options, "LINUX", False)
    payload = payload_of(0, 100_000)
    if what == "host":
        sender = cleanup.enter_context(
            ChannelSender("ADC", LOOPBACK, host.getsockname()[1], bytes_per_s=None)
        )
        found = volleys(sender)
        sender.send(payload)
        assert [host.recv(65536) for _ in range(2)] == fragments_of(0, 100_000)
    else:
        receiver = make_receiver()
        sender = make_sender(receiver, bytes_per_s=1e9 if what == "rate" else None)
        found = volleys(sender) if what == "view" else []
        sender.send(memoryview(payload) if what == "view" else payload)
        assert receiver.receive().readout == payload
    assert found == []


@pytest.mark.parametrize("went", [-1, 0, 2])
def test_what_a_call_leaves_is_sent_one_by_one(make_receiver, make_sender, went):
    """That tells what is wrong with it, if it still is."""
    receiver = make_receiver()
    sender = make_sender(receiver)
    volley = sender._outlet._volley
    call = volley._call
    volley._call = lambda descriptor, begin, _, flags: (
        call(descriptor, begin, went, flags) if went > 0 else went
    )
    payload = payload_of(0, 190_000)
    sender.send(payload)
    assert receiver.receive().readout == payload
    assert receiver.statistics.datagrams == 3


def test_fragments_of_a_closed_sender_are_refused(make_receiver, make_sender):
    sender = make_sender(make_receiver())
    sender.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.send(payload_of(0))


def test_fragments_that_ip_cuts_are_warned_about_once(make_receiver, make_sender, caplog):
    sender = make_sender(make_receiver())
    sender._outlet._whole = sender._outlet.sender._whole = 1472  # as on Ethernet
    for number in range(2):
        sender.send(payload_of(number))
    assert [record.args[0] for record in caplog.records] == [MAX_DATAGRAM]
