"""Bytes recorded from the real programs pass through our sockets unchanged."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct

import astropix4
import pytest

from udp_multicast import (
    DEFAULT_GROUP,
    DEFAULT_MAX_PACKET_SIZE,
    DEFAULT_PORT,
    DEFAULT_TTL,
    AddressError,
    BackgroundReceiver,
    MulticastReceiver,
    RawBytes,
)
from wireframe.datagram import MAX_DATAGRAM

GROUPS = [DEFAULT_GROUP, "239.1.1.1"]


def _every(vectors):
    return vectors["recorded"] + vectors["decode_samples"] + vectors["edge_readouts"]


class Original(socket.socket):
    """An end of the original, by the socket calls that it makes; on the loopback interface."""

    def __init__(self, vectors):
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self._vectors = vectors

    def prepare_to_send(self):
        """A sender: a time to live, and nothing else."""
        ttl = self._vectors["socket_state"]["sender"]["ttl"]
        self.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        self.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))

    def listen_to(self, group):
        """A receiver: the default is bound to itself, a group is joined with the recorded request."""
        (place,) = [one for one in self._vectors["receiver_groups"] if one["group"] == group]
        self.settimeout(10)
        self.bind((place["bound_to"], 0))
        if place["joined"]:
            request = bytearray.fromhex(self._vectors["socket_state"]["membership_request_hex"])
            assert request[:4] == socket.inet_aton(group)
            request[4:8] = socket.inet_aton("127.0.0.1")
            self.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes(request))

    def receive(self):
        return self.recvfrom(self._vectors["constants"]["default_max_packet_size"])[0]


@pytest.fixture
def original(cleanup, vectors):
    return cleanup.enter_context(Original(vectors))


def _receive(receiver, count):
    return [receiver.receive() for _ in range(count)]


def _receive_many(receiver, count):
    found = []
    while len(found) < count:
        found += receiver.receive_many()
    return found


def _iterate(receiver, count):
    return list(itertools.islice(receiver, count))


def _iterate_asynchronously(receiver, count):
    async def collect():
        return [await anext(receiver) for _ in range(count)]

    return asyncio.run(asyncio.wait_for(collect(), 20))


def _receive_in_the_background(receiver, count):
    with BackgroundReceiver(receiver) as queue:
        return [queue.get(timeout=10) for _ in range(count)]


RECEIVING = [_receive, _receive_many, _iterate, _iterate_asynchronously, _receive_in_the_background]


def test_the_defaults_are_those_of_the_original(vectors):
    constants = vectors["constants"]
    assert constants["default_group"] == DEFAULT_GROUP
    assert constants["default_port"] == DEFAULT_PORT
    assert constants["default_ttl"] == DEFAULT_TTL
    assert constants["default_max_packet_size"] == DEFAULT_MAX_PACKET_SIZE
    assert constants["largest_datagram"] == MAX_DATAGRAM


def test_every_recorded_readout_arrives_unchanged(pair, vectors):
    receiver, sender = pair(astropix4.Readout, readout_id=lambda readout: readout.readout_id)
    for each in _every(vectors):
        data = bytes.fromhex(each["hex"])
        assert sender.send_readout(astropix4.Readout.from_bytes(data)) == each["size"]
        readout = receiver.receive()
        assert readout.to_bytes() == data
        assert (readout.readout_id, readout.timestamp) == (each["readout_id"], each["timestamp_ns"])
        assert readout.payload.hex() == each["payload_hex"]


def test_recorded_readouts_arrive_in_a_batch_unchanged(pair, vectors):
    receiver, sender = pair(astropix4.Readout)
    readouts = [astropix4.Readout.from_bytes(bytes.fromhex(each["hex"])) for each in _every(vectors)]
    assert sender.send_readouts(readouts) == len(readouts)
    received = []
    while len(received) < len(readouts):
        received += receiver.receive_many()
    assert received == readouts


def test_hits_of_recorded_readouts_decode_to_the_recorded_values(pair, vectors):
    receiver, sender = pair(astropix4.Readout)
    for each in vectors["recorded"]:
        sender.send_data(bytes.fromhex(each["hex"]))
        assert receiver.receive().hits() == (each["hits"], b"")


@pytest.mark.fault("C25", "udp-multicast", "LW")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("receive", RECEIVING)
def test_what_the_original_sends_is_received_whole_once_and_in_order(
    make_receiver, original, vectors, group, receive, figure
):
    """L W: the recorded exchange, broken datagrams among the readouts, with the original as the sender."""
    receiver = make_receiver(
        astropix4.Readout, group=group, readout_id=lambda readout: readout.readout_id, timeout=10
    )
    original.prepare_to_send()
    exchange = _every(vectors)
    broken = [each for each in vectors["from_bytes_cases"] if "error" in each]
    for number, each in enumerate(exchange):
        original.sendto(bytes.fromhex(broken[number % len(broken)]["hex"]), (group, receiver.port))
        original.sendto(bytes.fromhex(each["hex"]), (group, receiver.port))
    found = receive(receiver, len(exchange))
    assert [readout.to_bytes().hex() for readout in found] == [each["hex"] for each in exchange]
    assert [readout.timestamp for readout in found] == [each["timestamp_ns"] for each in exchange]
    counts = receiver.statistics
    assert (counts.received, counts.broken) == (2 * len(exchange), len(exchange))
    assert counts.kernel_drops == 0
    others = f"{counts.broken} broken, {counts.kernel_drops} dropped"
    figure(f"{counts.received} datagrams of the original: {len(found)} readouts, {others}")


@pytest.mark.fault("C25", "udp-multicast", "LW")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("method", ["send_readout", "send_readouts", "send_data", "send_parts"])
def test_what_we_send_the_original_receives_as_it_was_recorded(make_sender, original, vectors, group, method):
    """L W: the recorded exchange with the original as the receiver: the same datagrams, and no others."""
    original.listen_to(group)
    sender = make_sender(group=group, port=original.getsockname()[1])
    exchange = [bytes.fromhex(each["hex"]) for each in _every(vectors)]
    readouts = [astropix4.Readout.from_bytes(data) for data in exchange]
    if method == "send_readouts":
        assert sender.send_readouts(readouts) == len(exchange)
    else:
        for data, readout in zip(exchange, readouts, strict=True):
            what = {"send_data": data, "send_parts": [data[:19], data[19:]]}.get(method, readout)
            assert getattr(sender, method)(what) == len(data)
    assert [original.receive() for _ in exchange] == exchange
    original.setblocking(False)
    with pytest.raises(BlockingIOError):
        original.receive()


@pytest.mark.fault("C25", "udp-multicast", "LW")
@pytest.mark.parametrize("group", GROUPS)
def test_the_sizes_at_both_ends_are_those_of_the_original(
    make_receiver, make_sender, cleanup, vectors, group
):
    """L W: nothing, one byte, and the largest datagram there is, from the original and to it."""
    largest = vectors["constants"]["largest_datagram"]
    datagrams = [b"", b"\xff", bytes(largest)]
    theirs = cleanup.enter_context(Original(vectors))
    theirs.prepare_to_send()
    receiver = make_receiver(group=group)
    for data in datagrams:
        theirs.sendto(data, (group, receiver.port))
    assert [receiver.receive() for _ in datagrams] == datagrams
    theirs = cleanup.enter_context(Original(vectors))
    theirs.listen_to(group)
    sender = make_sender(group=group, port=theirs.getsockname()[1])
    for data in datagrams:
        sender.send_data(data)
    assert [theirs.receive() for _ in datagrams] == datagrams
    for refused in (sender.send_data, lambda data: theirs.sendto(data, sender._target)):
        with pytest.raises(OSError, match=r"65508|too long"):
            refused(bytes(largest + 1))


def test_readouts_that_the_real_class_cannot_write_are_not_sent(make_sender, vectors):
    sender = make_sender(group="239.1.1.1", port=5007)
    for each in vectors["to_bytes_limits"]:
        with pytest.raises(struct.error):
            sender.send_readout(astropix4.Readout(each["readout_id"], each["timestamp"], b""))


def test_a_cut_hit_goes_on_in_the_next_readout(pair, vectors):
    receiver, sender = pair(astropix4.Readout)
    cut, following = vectors["decode_samples"][2:4]
    sender.send_data(bytes.fromhex(cut["hex"]))
    sender.send_data(bytes.fromhex(following["hex"]))
    hits, rest = receiver.receive().hits()
    assert (hits, rest.hex()) == (cut["hits"], cut["extra_bytes"])
    assert receiver.receive().hits(rest)[0] == following["hits"]


def test_datagrams_that_the_real_class_refuses_are_counted_and_never_fatal(pair, vectors):
    receiver, sender = pair(astropix4.Readout)
    for each in vectors["from_bytes_cases"]:
        sender.send_data(bytes.fromhex(each["hex"]))
    good = [each for each in vectors["from_bytes_cases"] if each.get("ok")]
    for each in good:
        assert receiver.receive().payload.hex() == each["payload_hex"]
    assert receiver.statistics.broken == len(vectors["from_bytes_cases"]) - len(good)


def test_the_sender_socket_is_in_the_state_of_the_original(make_sender, vectors):
    state = vectors["socket_state"]["sender"]
    sender = make_sender(group=state["address"][0], port=state["address"][1], interface=None)
    assert list(sender.address()) == state["address"]
    assert sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == state["ttl"]
    assert sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == state["loop"]
    interface = sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)
    assert socket.inet_ntoa(interface) == state["interface"]


def test_the_default_receiver_is_bound_like_the_original(make_receiver, vectors):
    receiver = make_receiver(group=DEFAULT_GROUP, interface=None)
    assert receiver.getsockname()[0] == vectors["socket_state"]["receiver_default"]["bound"][0]


@pytest.mark.parametrize("group", ["0.0.0.0", "255.255.255.255", ""])
def test_groups_nobody_can_be_in_are_refused_as_by_the_original(group, vectors):
    assert {"group": group} in [
        {"group": one["group"]} for one in vectors["receiver_groups"] if "error" in one
    ]
    with pytest.raises(AddressError) as caught:
        MulticastReceiver(RawBytes, group, 0)
    assert isinstance(caught.value, OSError)
