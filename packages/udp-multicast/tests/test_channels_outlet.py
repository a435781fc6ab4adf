"""The connected socket of a channel: what it costs nobody, and that it finds its way again."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket

import pytest

from udp_multicast import MulticastSender
from udp_multicast.channels import ChannelReceiver
from udp_multicast.channels._outlet import Outlet
from udp_multicast.errors import AddressError, DatagramTooLarge
from wireframe.datagram import encode_small

GROUP = "239.1.1.2"
LOOPBACK = "127.0.0.1"
LIMIT_S = 10.0


class Stranded(MulticastSender):
    """A sender whose connected way is gone: a loopback cannot lose its address in a test."""

    error = errno.EINVAL

    def send(self, *_):
        raise OSError(self.error, "no way")

    def sendmsg(self, parts, *address):
        return super().sendmsg(parts, *address) if address else self.send(parts)


@pytest.fixture
def receiver():
    with ChannelReceiver(None, None, GROUP, 0, interface=LOOPBACK, timeout=LIMIT_S) as receiver:
        yield receiver


def outlet_of(*makers, needs_route=False):
    """An outlet whose senders are made one after the other."""
    left = list(makers)
    return contextlib.closing(Outlet(lambda: left.pop(0)(), needs_route=needs_route))


def maker(receiver, kind=MulticastSender):
    return lambda: kind(GROUP, receiver.port, 0, interface=LOOPBACK)


def parts(number, size=5):
    return encode_small(number, "ADC", bytes(size))


def test_a_group_is_connected_to_and_a_host_is_not(receiver):
    with outlet_of(maker(receiver)) as outlet:
        assert outlet.sender.getpeername() == (GROUP, receiver.port)
    host = outlet_of(lambda: MulticastSender(LOOPBACK, receiver.port))
    with host as outlet, pytest.raises(OSError, match="not connected"):
        outlet.sender.getpeername()


def test_a_host_without_receiver_gives_no_errors():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((LOOPBACK, 0))
        port = nobody.getsockname()[1]
    with outlet_of(lambda: MulticastSender(LOOPBACK, port)) as outlet:
        for number in range(10):
            outlet.send_parts(parts(number))


@pytest.mark.parametrize("size", [5, 50_000])
@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENETUNREACH])
def test_when_the_way_is_gone_another_socket_takes_the_port_over(receiver, size, error):
    """So receivers see no other sender, unless the address changed."""
    stranded = type("StrandedOtherwise", (Stranded,), {"error": error})
    with outlet_of(maker(receiver, stranded), maker(receiver)) as outlet:
        old = outlet.sender
        port = old.getsockname()[1]
        for number in range(2):
            outlet.send_parts(parts(number, size))
            message = receiver.receive()
            assert (message.sequence, message.sender) == (number, (LOOPBACK, port))
        assert old.fileno() == -1
        assert type(outlet.sender) is MulticastSender


def test_another_error_keeps_the_socket(receiver):
    """The datagram goes by the address, as it would have without a connection."""
    stranded = type("Refused", (Stranded,), {"error": errno.ECONNREFUSED})
    with outlet_of(maker(receiver, stranded)) as outlet:
        outlet.send_parts(parts(0))
        assert receiver.receive().sequence == 0


@pytest.mark.parametrize("error", [AddressError("no such interface"), OSError(errno.ENODEV, "gone")])
def test_without_any_way_the_old_socket_is_kept_for_later(receiver, error):
    def fail():
        raise error

    with outlet_of(maker(receiver, Stranded), fail, maker(receiver)) as outlet:
        old = outlet.sender
        outlet.send_parts(parts(0))  # by the address, which here is a way
        assert outlet.sender is old
        outlet.send_parts(parts(1))
        assert outlet.sender is not old
        assert [receiver.receive().sequence for _ in range(2)] == [0, 1]


def test_a_sender_that_would_fall_back_is_not_made_again_without_a_route(receiver):
    """It would send to the loopback interface from then on, even when there is a route again."""
    made = []

    def make():
        made.append(None)
        return Stranded(GROUP, receiver.port, 0, interface=LOOPBACK)

    with outlet_of(make, make, needs_route=True) as outlet:
        # A broadcast is refused, whatever the routes of this host are.
        outlet.sender._target = ("255.255.255.255", 9)
        with pytest.raises(PermissionError):
            outlet.send_parts(parts(0))
        assert len(made) == 1


def test_with_a_route_it_is_made_again(receiver):
    def stranded():
        sender = Stranded(GROUP, receiver.port, 0, interface=LOOPBACK)
        # A route that every host has.
        sender._target = (LOOPBACK, receiver.port)
        return sender

    with outlet_of(stranded, maker(receiver), needs_route=True) as outlet:
        outlet.send_parts(parts(0))
        assert type(outlet.sender) is MulticastSender
        assert receiver.receive().sequence == 0


def test_an_outlet_that_is_closed_meanwhile_leaves_no_socket_behind(receiver):
    made = []

    def make():
        made.append(MulticastSender(GROUP, receiver.port, 0, interface=LOOPBACK))
        outlet.close()
        return made[-1]

    closing = outlet_of(maker(receiver, Stranded), make)
    with closing as outlet, pytest.raises(OSError, match="Bad file descriptor"):
        outlet.send_parts(parts(0))
    assert made[0].fileno() == -1


def test_a_port_that_was_taken_meanwhile_is_another_sender(receiver):
    def make():
        sender = MulticastSender(GROUP, receiver.port, 0, interface=LOOPBACK)
        sender.bind((LOOPBACK, 0))  # a second bind is refused
        return sender

    with outlet_of(maker(receiver, Stranded), make) as outlet:
        port = outlet.sender.getsockname()[1]
        outlet.send_parts(parts(0))
        assert receiver.receive().sender[1] != port


def test_what_is_too_large_is_said_as_without_a_connection(receiver):
    with outlet_of(maker(receiver)) as outlet, pytest.raises(DatagramTooLarge, match="65508"):
        outlet.send_parts([bytes(20), bytes(65488)])


@pytest.mark.parametrize("size", [2000, 5000])
def test_datagrams_that_ip_cuts_are_warned_about_once(receiver, caplog, size):
    """Joined or gathered by the system."""
    with outlet_of(maker(receiver)) as outlet, caplog.at_level(logging.WARNING, "udp_multicast.sender"):
        outlet._whole = outlet.sender._whole = 1472  # as on Ethernet
        for number in range(2):
            outlet.send_parts(parts(number, size))
    (record,) = caplog.records
    assert record.getMessage().startswith(f"a datagram of {size + 12} bytes to {(GROUP, receiver.port)}: ")


def test_a_closed_outlet_sends_nothing(receiver):
    with outlet_of(maker(receiver)) as outlet:
        outlet.close()
        outlet.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            outlet.send_parts(parts(0))
