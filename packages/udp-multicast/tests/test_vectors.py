"""Bytes recorded from the real programs pass through our sockets unchanged."""

from __future__ import annotations

import socket

import astropix4
import pytest

from udp_multicast import (
    DEFAULT_GROUP,
    DEFAULT_MAX_PACKET_SIZE,
    DEFAULT_PORT,
    DEFAULT_TTL,
    AddressError,
    MulticastReceiver,
    RawBytes,
)
from wireframe.datagram import MAX_DATAGRAM


def _every(vectors):
    return vectors["recorded"] + vectors["decode_samples"] + vectors["edge_readouts"]


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
