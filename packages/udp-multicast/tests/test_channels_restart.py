"""A sender that began anew may use any number again, for a large message too."""

from __future__ import annotations

import contextlib
import socket

import pytest

from udp_multicast.channels import ChannelReceiver
from wireframe.datagram import encode_fragments, encode_small

LIMIT_S = 10.0
PIECE = 1000


@pytest.fixture
def receiver():
    with ChannelReceiver(group="127.0.0.1", port=0, timeout=LIMIT_S) as made:
        yield made


@pytest.fixture
def say(receiver):
    """Send a message as another program would, from one address."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:

        def send(sequence, size):
            if size < PIECE:
                datagrams = [encode_small(sequence, "ADC", bytes(size))]
            else:
                datagrams = encode_fragments(sequence, "ADC", bytes(size), PIECE)
            for parts in datagrams:
                sock.sendto(b"".join(parts), ("127.0.0.1", receiver.port))

        yield send


def test_a_large_message_with_the_number_of_one_from_before_arrives(receiver, say):
    """That the sender began anew is known by two numbers in order from far behind; there was no silence."""
    before = [(5000, 3500), (5001, 3500), (7000, 10)]
    after = [(0, 10), (1, 10), (5000, 3500), (5001, 3500)]
    for sequence, size in (*before, *after):
        say(sequence, size)
    heard = [receiver.receive() for _ in range(len(before) + len(after) - 1)]
    # The first number from far behind could have been a stray.
    wanted = [*before, *after[1:]]
    assert [(one.sequence, len(one.readout)) for one in heard] == wanted
    statistics = receiver.statistics
    assert (statistics.restarts, statistics.late_fragments, statistics.incomplete) == (1, 0, 0)
