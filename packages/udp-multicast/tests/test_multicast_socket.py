"""The socket that sender and receiver share."""

from __future__ import annotations

import copy
import os
import pickle
import socket

import pytest

from udp_multicast import DEFAULT_GROUP, DEFAULT_PORT, AddressError, MulticastSocketBase, errors


def test_it_is_a_datagram_socket_with_the_documented_defaults():
    with MulticastSocketBase() as sock:
        assert isinstance(sock, socket.socket)
        assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_DGRAM)
        assert sock.address() == (DEFAULT_GROUP, DEFAULT_PORT)


def test_address_is_as_given_and_not_the_bound_one():
    with MulticastSocketBase("localhost", 0) as sock:
        sock.bind(("127.0.0.1", 0))
        assert sock.address() == ("localhost", 0)


@pytest.mark.parametrize(
    ("group", "level", "option"),
    [
        ("239.1.1.1", socket.IPPROTO_IP, socket.IP_MULTICAST_TTL),
        ("ff15::1", socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS),
    ],
)
def test_set_option_is_of_the_level_of_the_group(group, level, option):
    with MulticastSocketBase(group) as sock:
        sock.set_option(option, 7)
        assert sock.getsockopt(level, option) == 7


def test_a_second_object_for_the_same_socket_is_refused_by_name():
    """Python's own attempt would leave the copied descriptor open."""
    with MulticastSocketBase() as sock:
        lowest = os.dup(sock.fileno())
        os.close(lowest)
        with pytest.raises(TypeError, match="MulticastSocketBase cannot be copied with dup"):
            sock.dup()
        assert os.dup(sock.fileno()) == lowest
        os.close(lowest)


@pytest.mark.parametrize(("port", "error"), [("5007", TypeError), (-1, ValueError), (65536, ValueError)])
def test_what_is_no_port_is_refused(port, error):
    with pytest.raises(error, match="port"):
        MulticastSocketBase("239.1.1.1", port)


def test_what_is_no_group_is_refused_and_leaves_no_socket_open():
    with pytest.raises(AddressError):
        MulticastSocketBase("239.1.1")


@pytest.mark.parametrize(
    "error",
    [
        errors.AddressError("why"),
        errors.DatagramTooLarge(2, 1),
        errors.UnsupportedHere("what"),
        errors.ReceiverClosed(),
    ],
)
def test_errors_can_be_copied_and_sent_to_another_process(error):
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), twin.errno) == (type(error), str(error), error.errno)


def test_errors_are_of_the_kinds_the_original_raised():
    assert issubclass(errors.AddressError, OSError)
    assert issubclass(errors.AddressError, ValueError)
    assert issubclass(errors.DatagramTooLarge, OSError)
    assert issubclass(errors.ReceiverClosed, ConnectionError)
