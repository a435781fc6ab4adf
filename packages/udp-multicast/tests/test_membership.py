"""Joining again what the system does not know any more, and only that."""

from __future__ import annotations

import errno
import socket

import pytest

from udp_multicast import AddressError, _joining, _membership, _options
from udp_multicast._address import ANY_INTERFACE

LOCAL = "127.0.0.1"


def lose_membership(receiver):
    """Do to the socket what happens to it when its interface is unplugged and plugged in again."""
    request = socket.inet_aton(receiver.address()[0]) + socket.inet_aton(LOCAL)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, request)


class Listeners:
    """A receiver, and a witness that hears whatever is sent."""

    def __init__(self, make_receiver, make_sender, interface=LOCAL):
        self.receiver = make_receiver(interface=interface)
        self.witness = make_receiver(port=self.receiver.port)
        self.sender = make_sender(self.witness)

    def check(self, *, heard):
        """Check that the receiver hears a readout, or that only the witness does."""
        self.sender.send_data(b"anybody?")
        assert self.witness.receive() == b"anybody?"
        if heard:
            assert self.receiver.receive() == b"anybody?"
        with pytest.raises(TimeoutError):
            self.receiver.receive_datagram(timeout=0)


@pytest.fixture
def listen(make_receiver, make_sender):
    return lambda *interface: Listeners(make_receiver, make_sender, *interface)


def test_join_again_after_the_system_has_lost_the_membership(listen):
    both = listen()
    lose_membership(both.receiver)
    both.check(heard=False)
    both.receiver.join(LOCAL)
    both.check(heard=True)
    both.receiver.leave(LOCAL)
    both.check(heard=False)


@pytest.mark.parametrize("windows", [False, True])
def test_join_where_it_is_joined_changes_nothing(listen, windows, monkeypatch):
    both = listen()
    with monkeypatch.context() as patch:
        patch.setattr(_options, "WINDOWS", windows)
        both.receiver.join(LOCAL)
    both.check(heard=True)
    both.receiver.leave(LOCAL)
    both.check(heard=False)
    with pytest.raises(AddressError, match="was not joined"):
        both.receiver.leave(LOCAL)


def test_join_when_there_is_a_network_at_last_leaves_the_loopback_interface(listen, monkeypatch):
    """It was taken because there was no other; who hears it still would hear programs he did not ask for."""
    networks = []

    def join(sock, group, interface, source=None):
        if interface is not ANY_INTERFACE:
            _joining.join(sock, group, interface, source)
        elif not networks:
            raise OSError(errno.ENODEV, "no such device")

    monkeypatch.setattr(_membership, "join", join)
    both = listen(None)
    both.check(heard=True)
    both.receiver.join()
    both.check(heard=True)
    networks.append("eth0")
    both.receiver.join()
    both.check(heard=False)
