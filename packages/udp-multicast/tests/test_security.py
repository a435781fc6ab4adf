"""What somebody on the network can not do, as the README promises: for each promise a test that names it."""

from __future__ import annotations

import ast
import logging
import os
import pickle
import socket
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import udp_multicast
from udp_multicast import (
    DEFAULT_TTL,
    ArrayReadout,
    ChannelReceiver,
    JsonReadout,
    MulticastReceiver,
    RawBytes,
    _options,
)
from wireframe.datagram import MAX_SIZE, encode_fragments, encode_small

LOCAL = "127.0.0.1"
LIMIT_S = 10.0
#: Bytes that a receiver may need to judge a datagram, whatever the datagram says.
SLACK = 1 << 20
#: Linux: tell how many networks a datagram might still have reached.
_IP_RECVTTL = 12


class Asked:
    """A readout class that writes down what it was given."""

    def __init__(self):
        self.given = []

    def from_bytes(self, data):
        self.given.append(data)
        return data


class Attack:
    """As a pickle it makes a directory when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def small(number, payload, channel="ADC"):
    return b"".join(encode_small(number, channel, payload))


@pytest.fixture
def make_channels(cleanup):
    """Make a receiver of channels on this host."""

    def make(readout_class=None, channels=None, **settings):
        return cleanup.enter_context(
            ChannelReceiver(readout_class, channels, LOCAL, 0, timeout=LIMIT_S, **settings)
        )

    return make


@pytest.fixture
def somebody(cleanup):
    """Make a socket that sends to a receiver on this host whatever it likes, from an address of its own."""

    def make(receiver, address=LOCAL):
        sock = cleanup.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind((address, 0))
        sock.connect((LOCAL, receiver.port))
        return sock

    return make


# Bound to the group, and IP_MULTICAST_ALL=0


@pytest.mark.parametrize(
    ("group", "interface"), [("239.1.1.1", LOCAL), ("ff15::4242", "lo"), (LOCAL, None), ("::1", None)]
)
def test_a_receiver_is_bound_to_its_group_and_not_to_all_addresses(make_receiver, group, interface):
    """Promise: bound to the group (not on Windows), so that nothing else gets in."""
    receiver = make_receiver(group=group, interface=interface)
    assert receiver.getsockname()[0] == group


def test_unicast_to_the_port_of_a_group_does_not_arrive(make_receiver, make_sender, other):
    """Promise: no unicast gets in."""
    receiver = make_receiver()
    other().sendto(b"unicast", (LOCAL, receiver.port))
    make_sender(receiver).send_data(b"ours")
    assert receiver.receive() == b"ours"
    assert receiver.statistics.received == 1


@pytest.mark.fault("C14", "udp-multicast", "W")
def test_groups_joined_by_others_on_the_same_port_do_not_leak_in(make_receiver, make_sender, other):
    """Promise: no other group gets in, also one that another program on this computer has joined."""
    receiver = make_receiver()
    foreign = other(group="239.1.1.2", bind="", port=receiver.port)
    make_sender(group="239.1.1.2", port=receiver.port).send_data(b"foreign")
    assert foreign.recv(100) == b"foreign"
    make_sender(receiver).send_data(b"ours")
    assert receiver.receive() == b"ours"
    assert receiver.statistics.received == 1


def test_groups_joined_by_others_stay_out_by_the_socket_option_alone(
    make_receiver, make_sender, other, monkeypatch
):
    """Promise: no other group gets in, also where a socket cannot be bound to a group (IP_MULTICAST_ALL)."""
    with monkeypatch.context() as patch:
        patch.setattr(
            MulticastReceiver, "bind", lambda self, target: socket.socket.bind(self, ("", target[1]))
        )
        receiver = make_receiver()
    foreign = other(group="239.1.1.2", bind="", port=receiver.port)
    make_sender(group="239.1.1.2", port=receiver.port).send_data(b"foreign")
    assert foreign.recv(100) == b"foreign"
    make_sender(receiver).send_data(b"ours")
    assert receiver.receive() == b"ours"
    assert receiver.statistics.received == 1


@pytest.mark.parametrize(
    ("group", "level", "option"),
    [
        ("239.1.1.1", socket.IPPROTO_IP, _options.IP_MULTICAST_ALL),
        ("ff15::4242", socket.IPPROTO_IPV6, _options.IPV6_MULTICAST_ALL),
    ],
)
def test_groups_joined_by_others_are_declined_in_both_families(make_receiver, group, level, option):
    """Promise: no other group gets in, with IPv6 neither."""
    assert make_receiver(group=group, interface="lo").getsockopt(level, option) == 0


def test_kernel_that_cannot_keep_other_groups_out_still_binds_to_the_group(make_receiver, monkeypatch):
    """Promise: no other group gets in, also with a kernel that does not know the option."""
    # An option this kernel does not have.
    monkeypatch.setattr("udp_multicast._options.IP_MULTICAST_ALL", 250)
    assert make_receiver().getsockname()[0] == "239.1.1.1"


# Senders that are listened to


@pytest.mark.fault("C12", "udp-multicast")
def test_sources_of_a_group_are_filtered_by_the_kernel(make_receiver, make_sender, figure):
    """Promise: `sources` stops other computers; their datagrams do not even cost the receiver a call."""
    receiver = make_receiver(sources=["127.0.0.5"])
    make_sender(receiver).send_data(b"stranger")
    friend = make_sender(receiver)
    friend.bind(("127.0.0.5", 0))
    friend.send_data(b"friend")
    assert receiver.receive() == b"friend"
    assert (receiver.statistics.received, receiver.statistics.strangers) == (1, 0)
    seen = receiver.statistics
    figure(f"{seen.received} datagram received, {seen.strangers} of a stranger")


@pytest.mark.parametrize("batches", [False, True])
def test_strangers_of_a_unicast_receiver_are_counted(make_receiver, make_sender, batches):
    """Promise: `sources` stops other computers, also where the kernel has no filter: a group of one host."""
    receiver = make_receiver(group=LOCAL, sources=["127.0.0.5"])
    make_sender(receiver).send_data(b"stranger")
    friend = make_sender(receiver)
    friend.bind(("127.0.0.5", 0))
    friend.send_data(b"friend")
    assert (receiver.receive_many() if batches else [receiver.receive()]) == [b"friend"]
    assert (receiver.statistics.strangers, receiver.statistics.received) == (1, 2)


def test_a_readout_class_never_sees_what_strangers_send(make_receiver, somebody):
    """Promise: `sources` stops other computers: nothing of theirs is decoded."""
    asked = Asked()
    receiver = make_receiver(asked, group=LOCAL, interface=None, sources=["127.0.0.5"])
    somebody(receiver).send(b"stranger")
    somebody(receiver, "127.0.0.5").send(b"friend")
    assert receiver.receive() == b"friend"
    assert asked.given == [b"friend"]


# Checked before it is decoded


@pytest.mark.parametrize("batches", [False, True])
def test_what_is_too_long_is_not_decoded(make_receiver, somebody, batches):
    """Promise: sizes are checked before: a datagram longer than `max_size` never reaches `from_bytes`."""
    asked = Asked()
    receiver = make_receiver(asked, group=LOCAL, interface=None)
    sock = somebody(receiver)
    for size in (11, 65507, 10):
        sock.send(bytes(size))
    found = receiver.receive_many(max_size=10) if batches else [receiver.receive(max_size=10)]
    assert found == asked.given == [bytes(10)]
    assert (receiver.statistics.broken, receiver.statistics.received) == (2, 3)


def test_what_is_no_message_of_a_channel_is_not_decoded(make_channels, somebody):
    """Promise: sizes and format are checked before: only whole messages of chosen channels are decoded."""
    asked = Asked()
    receiver = make_channels(asked, ["ADC"], max_size=100)
    sock = somebody(receiver)
    head, *_ = (b"".join(parts) for parts in encode_fragments(0, "ADC", bytes(90), 85))
    refused = [
        b"",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
        small(0, b"x")[:9],  # a channel that does not end
        b"LC02" + bytes(4) + b"\xff\xfe\0",  # ... and one that is no text
        small(1, bytes(101)),
        head[:8] + struct.pack(">I", 0xFFFFFFFF) + head[12:],  # a message of 4 GiB
        head[:8] + struct.pack(">II", 90, 91) + head[16:],  # a piece behind its end
        head[:16] + struct.pack(">HH", 1, 0) + head[20:],  # one of no pieces
        small(2, b"another channel", "LOG"),
    ]
    for data in (*refused, small(3, b"good")):
        sock.send(data)
    assert receiver.receive().readout == b"good"
    assert asked.given == [b"good"]
    counts = receiver.statistics
    assert counts.foreign + counts.broken + counts.ignored == len(refused)
    assert (counts.foreign, counts.ignored) == (2, 1)


# Every datagram that is dropped is counted


def test_every_readout_that_is_dropped_is_in_one_number(make_receiver, somebody):
    """Promise: what is broken, foreign, too long or does not fit is counted, each under its own name."""
    receiver = make_receiver(JsonReadout, group=LOCAL, interface=None, sources=[LOCAL], buffer_size=8192)
    friend, stranger = somebody(receiver), somebody(receiver, "127.0.0.2")
    for data in (b"{", b"", b"[1]" * 100):
        friend.send(data)
    stranger.send(b"1")
    friend.send(b"2")
    assert receiver.receive(max_size=100).value == 2
    sent = 500
    for _ in range(sent):  # more than the buffer holds
        friend.send(b"3")
    found = receiver.receive_many()
    counts = receiver.statistics
    assert (counts.broken, counts.strangers) == (3, 1)
    assert counts.kernel_drops == sent - len(found) > 0
    assert counts.received == len(found) + 5


def test_every_datagram_of_channels_that_is_dropped_is_in_one_number(make_channels, somebody):
    """Promise: as for readouts, and what could never be held is refused before any of it is kept."""
    receiver = make_channels(sources=[LOCAL], max_bytes=1 << 20)
    friend, stranger = somebody(receiver), somebody(receiver, "127.0.0.2")
    friend.send(b"GET / HTTP/1.1\r\n\r\n")
    friend.send(b"LC03")
    first, *_ = encode_fragments(0, "ADC", bytes(1 << 20))
    friend.send(b"".join(first))
    stranger.send(small(1, b"forged"))
    friend.send(small(2, b"good"))
    assert receiver.receive().readout == b"good"
    counts = receiver.statistics
    assert (counts.foreign, counts.broken, counts.strangers, counts.refused) == (1, 1, 1, 1)
    assert counts.datagrams == 4
    assert counts.messages == 1


# How far readouts go


@pytest.mark.parametrize(("settings", "networks"), [({}, DEFAULT_TTL), ({"ttl": 1}, 1), ({"ttl": 0}, 0)])
def test_readouts_go_as_far_as_was_said(make_sender, other, settings, networks):
    """Promise: `ttl=1` keeps readouts in the subnet; the default is the 2 of the original."""
    assert DEFAULT_TTL == 2
    monitor = other(port=0)
    monitor.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
    make_sender(port=monitor.getsockname()[1], **settings).send_data(b"how far?")
    data, ancillary, *_ = monitor.recvmsg(100, 100)
    ((level, kind, value),) = ancillary
    assert (level, kind) == (socket.IPPROTO_IP, socket.IP_TTL)
    assert (data, struct.unpack("@i", value)) == (b"how far?", (networks,))


# What comes in is data


@pytest.mark.parametrize(
    "good",
    [
        RawBytes(b"good"),
        JsonReadout(["good"]),
        ArrayReadout([1, 2]),
        ArrayReadout.fixed("<i2", 2)(np.array([1, 2], "<i2")),
    ],
    ids=["bytes", "json", "array", "fixed"],
)
@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_a_pickle_is_not_run(make_receiver, somebody, tmp_path, good, protocol):
    """Promise: nobody gets code run by the readouts that come with this package."""
    attack = pickle.dumps(Attack(tmp_path / "attacked"), protocol)
    objects = np.array([Attack(tmp_path / "attacked")])
    receiver = make_receiver(type(good), group=LOCAL, interface=None)
    sock = somebody(receiver)
    # As they are, and as what arrays of objects would be.
    bad = [
        attack,
        objects.dumps(),
        *(b"\x03|O8" + bytes([1, 1, 0, 0, 0]) + one for one in (attack, attack[:8])),
    ]
    for data in (*bad, good.to_bytes()):
        sock.send(data)
    if isinstance(good, RawBytes):
        assert [receiver.receive() for _ in bad] == bad
    assert receiver.receive().to_bytes() == good.to_bytes()
    assert receiver.statistics.broken == (0 if isinstance(good, RawBytes) else len(bad))
    assert not (tmp_path / "attacked").exists()


def test_nothing_in_this_package_reads_pickles_or_runs_texts():
    """Promise: readouts hold bytes, JSON and numbers, never pickles."""
    bad_modules, bad_calls = {"pickle", "marshal", "shelve", "runpy", "code"}, {"eval", "exec", "compile"}
    sources = list(Path(udp_multicast.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in bad_calls, source.name
            elif isinstance(node, ast.keyword):
                assert node.arg != "allow_pickle", source.name
            assert not names & bad_modules, source.name


# Nobody stops a receiver, or makes it grow


NONSENSE = [
    b"",
    b"\0",
    b"{",
    b"\xff" * 1472,
    bytes(65507),
    b"[" * 65507,
    b"9" * 65507,
    b"LC02",
    b"LC03" + bytes(20),
]


@pytest.mark.parametrize("method", ["receive", "receive_many", "iteration"])
def test_nonsense_does_not_stop_a_receiver(make_receiver, somebody, method):
    """Promise: nobody can stop a receiver."""
    receiver = make_receiver(JsonReadout, group=LOCAL, interface=None)
    sock = somebody(receiver)
    calls = {
        "receive": receiver.receive,
        "receive_many": lambda: receiver.receive_many()[0],
        "iteration": lambda: next(receiver),
    }
    for turn in range(20):
        for data in NONSENSE:
            sock.send(data)
        sock.send(b'{"turn": %d}' % turn)
        assert calls[method]().value == {"turn": turn}
    assert receiver.statistics.broken == 20 * len(NONSENSE)


def test_nonsense_does_not_stop_a_receiver_of_channels(make_channels, somebody):
    """Promise: nobody can stop a receiver."""
    receiver = make_channels()
    sock = somebody(receiver)
    for turn in range(20):
        for data in NONSENSE:
            sock.send(data)
        sock.send(small(turn, b"good"))
        assert receiver.receive().sequence == turn
    counts = receiver.statistics
    assert counts.foreign + counts.broken == 20 * len(NONSENSE)
    assert counts.lost == 0


def peak_of(call):
    """Return the bytes that a call takes at its worst, and what it returns."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head",
    [
        b"\x03<f8\x03" + struct.pack("<3I", *[0xFFFFFFFF] * 3),
        b"\x03<f8\x01" + struct.pack("<I", 0xFFFFFFFF),
        b"\x03<f8\x04" + struct.pack("<4I", 0, *[0xFFFFFFFF] * 3),
        b"\x03<U9\x01" + struct.pack("<I", 1 << 30),
        b"\xff" * 300,
    ],
)
def test_an_array_that_is_announced_takes_no_memory(make_receiver, somebody, head):
    """Promise: nobody makes anything be allocated by announcing a size: here up to 2^96 numbers."""
    receiver = make_receiver(ArrayReadout, group=LOCAL, interface=None)
    sock = somebody(receiver)
    good = ArrayReadout([1.5]).to_bytes()
    ArrayReadout.from_bytes(good)  # imports numpy
    for data in (*[head] * 10, good):
        sock.send(data)
    peak, readout = peak_of(receiver.receive)
    assert readout.array.tolist() == [1.5]
    assert receiver.statistics.broken == 10
    assert peak < SLACK


@pytest.mark.parametrize("size", [MAX_SIZE, MAX_SIZE + 1, 0xFFFFFFFF])
def test_a_message_that_is_announced_takes_no_memory(make_channels, somebody, size):
    """Promise: nobody makes anything be allocated by announcing a size, neither an allowed one."""
    receiver = make_channels()
    socks = [somebody(receiver) for _ in range(8)]
    receiver.statistics  # noqa: B018 - what is made at the first time
    for number, sock in enumerate(socks):
        # The first fragment of 65535, with a few bytes in it.
        sock.send(b"LC03" + struct.pack(">IIIHH", number, size, 0, 0, 65535) + b"ADC\0" + bytes(100))
    socks[0].send(small(100, b"good"))
    peak, message = peak_of(receiver.receive)
    assert message.readout == b"good"
    assert receiver.statistics.broken == (0 if size == MAX_SIZE else 8)
    assert peak < SLACK


# What the log tells


def test_the_log_is_not_flooded_and_its_lines_are_short(make_receiver, somebody, caplog):
    """Promise: nobody can make a receiver grow: its log neither, which tells once about each kind."""
    caplog.set_level(logging.WARNING, "udp_multicast")
    receiver = make_receiver(JsonReadout, group=LOCAL, interface=None)
    sock = somebody(receiver)
    for _ in range(50):
        sock.send(b"\r\nforged line of a log\r\n" * 50)
    sock.send(b"1")
    assert receiver.receive().value == 1
    (record,) = caplog.records
    text = record.getMessage()
    assert len(text) < 500
    assert text.isprintable()
