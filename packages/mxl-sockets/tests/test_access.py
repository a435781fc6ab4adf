"""Who may connect."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from mxl_sockets import _access
from mxl_sockets._access import foreign_user, is_allowed, parse_allowed


def test_without_a_list_everybody_may_come():
    assert parse_allowed(None) is None
    assert is_allowed("203.0.113.9", None)
    assert is_allowed("2001:db8::1", None)


def test_nobody_is_in_an_empty_list():
    """A program that found no network to allow does not open its hub to all."""
    allowed = parse_allowed(network for network in [])
    assert allowed == ()
    assert not is_allowed("127.0.0.1", allowed)
    assert not is_allowed("::1", allowed)


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("10.1.0.0/16", "10.1.255.3", "10.2.0.1"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ("::1", "::1", "::2"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1"),
        ("10.1.0.0/16", "::ffff:10.1.0.9", "::ffff:10.2.0.9"),
        ("::ffff:10.1.0.0/112", "::ffff:10.1.0.9", "::ffff:10.2.0.9"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("::/0", "2001:db8::1", "203.0.113.9"),
    ],
)
def test_an_address_must_lie_in_a_network_of_the_list(entry, inside, outside):
    allowed = parse_allowed([entry])
    assert is_allowed(inside, allowed)
    assert not is_allowed(outside, allowed)


def test_one_entry_of_many_is_enough():
    allowed = parse_allowed(["192.0.2.1", "2001:db8::/32", "10.0.0.0/8"])
    assert is_allowed("10.9.9.9", allowed)
    assert is_allowed("2001:db8::77", allowed)
    assert not is_allowed("192.0.2.2", allowed)


@pytest.mark.parametrize("entry", ["", "localhost", "10.1.0.0/33", "10.1", "1.2.3.4:80", "*"])
def test_anything_else_is_refused_when_the_list_is_read(entry):
    with pytest.raises(ValueError, match="does not appear to be"):
        parse_allowed(["127.0.0.1", entry])


def test_an_address_within_a_network_may_be_a_slip_and_is_refused():
    with pytest.raises(ValueError, match=r"10\.1\.2\.3/16 has host bits set"):
        parse_allowed(["10.1.2.3/16"])


@pytest.mark.parametrize("text", ["10.1.0.0/16", ""])
def test_a_single_text_is_not_taken_for_a_list(text):
    with pytest.raises(TypeError, match="a list of addresses, not a single text"):
        parse_allowed(text)


def test_our_own_processes_are_no_strangers():
    here, there = socket.socketpair()
    with here, there:
        assert foreign_user(here) is None


class PeerOfUser:
    """A UNIX connection of another user: only root could make a real one."""

    def __init__(self, user):
        self.user = user

    def getsockopt(self, level, option, size):
        assert (level, size) == (socket.SOL_SOCKET, 12)
        return struct.pack("3i", 4711, self.user, 100)


@pytest.fixture
def linux(monkeypatch):
    """The rules of Linux, on every system."""
    monkeypatch.setattr(_access.sys, "platform", "linux")
    monkeypatch.setattr(socket, "SO_PEERCRED", 17, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)


@pytest.mark.usefixtures("linux")
def test_other_users_are_named_and_root_is_trusted():
    assert foreign_user(PeerOfUser(1000)) is None
    assert foreign_user(PeerOfUser(0)) is None
    assert foreign_user(PeerOfUser(1001)) == 1001


@pytest.mark.usefixtures("linux")
def test_where_the_kernel_cannot_be_asked_the_file_mode_must_do(monkeypatch):
    monkeypatch.setattr(_access.sys, "platform", "darwin")
    assert foreign_user(PeerOfUser(1001)) is None
