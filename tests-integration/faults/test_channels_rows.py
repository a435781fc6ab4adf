"""Faults of the catalogue, played on channels with the tools of this folder."""

from __future__ import annotations

import socket

import pytest
from seeds import replayable, seeds
from simulator import Faults, Network

from udp_multicast.channels import ChannelReceiver, SenderStatistics
from wireframe.datagram import encode_fragments, encode_small

LIMIT_S = 20.0
MESSAGES = 40
PIECE = 100


def datagrams_of(number, size):
    """A message with its number in front, small or in fragments."""
    payload = number.to_bytes(4, "big") + bytes([number % 256]) * size
    if size < PIECE:
        return payload, [b"".join(encode_small(number, "ADC", payload))]
    return payload, [b"".join(parts) for parts in encode_fragments(number, "ADC", payload, PIECE)]


def arrivals(seed):
    """What a sender sends, and the datagrams that the network in memory lets through, in their order."""
    network = Network(seed)
    dice = network.random
    # What is later than the receiver waits for is another matter.
    network.faults = Faults(
        loss=dice.choice((0.0, 0.05, 0.3, 0.5)),
        duplication=dice.choice((0.0, 0.1, 0.5)),
        reordering=dice.choice((0.0, 0.1, 0.5)),
        spread_s=dice.choice((0.0, 0.004)),
    )
    sent, got = {}, []
    network.attach("receiver", lambda data, source: got.append(data))
    for number in range(MESSAGES):
        payload, datagrams = datagrams_of(number, dice.choice((0, 20, 250, 700)))
        sent[number] = payload, datagrams
        for data in datagrams:
            network.after(0.001 * number, network.send, "sender", "receiver", data)
    network.run()
    return sent, got


def expected(sent, got):
    """Numbers of the messages that must come out, in order; how many of them late, how many again."""
    missing = {number: set(datagrams) for number, (_, datagrams) in sent.items()}
    owner = {data: number for number, (_, datagrams) in sent.items() for data in datagrams}
    order, late, repeated, highest = [], 0, 0, -1
    for data in got:
        number = owner[data]
        if missing[number]:
            missing[number].discard(data)
            if not missing[number]:
                order.append(number)
                late += number < highest
                highest = max(highest, number)
        elif len(sent[number][1]) == 1:
            # A fragment that comes again is counted as such, and not as a message.
            repeated += 1
    return order, late, repeated


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "udp-multicast", "LW")
def test_c11_a_receiver_returns_what_came_whole_once_and_counts_the_rest(figure):
    """L W: messages whose datagrams all came are returned, each once; lost, late and repeated are exact."""
    messages = returned = late = lost = 0
    for seed in seeds():
        with replayable(seed, "test_channels_rows.py", "test_c11_a_receiver_returns"):
            sent, got = arrivals(seed)
            found, counts = received(got)
            order, are_late, repeated = expected(sent, got)
            missing = max(order) - min(order) + 1 - len(order) if order else 0
            assert [number for number, _ in found] == order
            assert all(payload == sent[number][0] for number, payload in found)
            assert (counts.lost, counts.late, counts.duplicates) == (missing, are_late, repeated)
            messages += MESSAGES
            returned += len(order)
            lost += missing
            late += are_late
    figure(f"{len(seeds())} seeds: {returned} of {messages} messages, {lost} counted lost, {late} late")


def received(datagrams):
    """What a receiver returns for these datagrams of one sender, and its account."""
    with (
        ChannelReceiver(None, None, "127.0.0.1", 0, timeout=LIMIT_S) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for sock in (sender, other):
            sock.connect(("127.0.0.1", receiver.port))
        for data in datagrams:
            sender.send(data)
        # Of another sender, and behind all of the first.
        other.send(b"".join(encode_small(0, "END", b"")))
        found = []
        while (message := receiver.receive()).channel != "END":
            found.append((message.sequence, message.readout))
        senders = receiver.statistics.senders
        return found, senders.get(sender.getsockname(), SenderStatistics())
