"""Options of other systems: nothing is guessed, and what is missing is named."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys

import pytest

from udp_multicast import _options

#: Run before the package is imported: what Python lacks on the other system.
_ELSEWHERE = """
import os, socket, sys
sys.platform = {platform!r}
import select
for name in {missing!r}:
    for owner in (socket, socket.socket, select, os):
        if name in vars(owner):
            delattr(owner, name)
import udp_multicast as um
from udp_multicast import _options, _joining, _address
"""
_MISSING_ON = {
    "darwin": ["CMSG_SPACE_none", "IP_BIND_ADDRESS_NO_PORT", "IP_RECVTOS", "SO_INCOMING_CPU", "SO_MARK"],
    "win32": [
        "MSG_DONTWAIT",
        "SO_REUSEPORT",
        "CMSG_SPACE",
        "CMSG_LEN",
        "poll",
        "epoll",
        "register_at_fork",
        "fork",
    ],
}


def _elsewhere(platform, code):
    script = _ELSEWHERE.format(platform=platform, missing=_MISSING_ON[platform]) + code
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("platform", _MISSING_ON)
def test_package_imports_without_what_linux_alone_has(platform):
    code = "print(*(name for name in vars(_options) if name.isupper() and getattr(_options, name) is None))"
    missing = _elsewhere(platform, code)
    for name in (
        "SO_MEMINFO",
        "UDP_SEGMENT",
        "UDP_GRO",
        "IP_MULTICAST_ALL",
        "MCAST_JOIN_SOURCE_GROUP",
        "IP_MTU",
    ):
        assert name in missing
    assert ("MSG_DONTWAIT" in missing) == (platform == "win32")


@pytest.mark.parametrize("platform", _MISSING_ON)
def test_sources_are_refused_by_name_where_they_cannot_work(platform):
    code = """
try:
    um.MulticastReceiver(um.RawBytes, "239.1.1.1", 0, interface="127.0.0.1", sources=["127.0.0.1"])
except um.UnsupportedHere as error:
    print(error.what)
"""
    if platform == "win32":
        code = _JOIN_LIKE_LINUX + code
    assert "sources" in " ".join(_elsewhere(platform, code))


#: The requests of Windows are shorter; this kernel would not take them.
_JOIN_LIKE_LINUX = """
_joining._ipv4_interface = lambda interface: socket.inet_aton(interface.address) + bytes(4)
"""


@pytest.mark.parametrize("platform", _MISSING_ON)
def test_sending_and_receiving_work_without_what_linux_alone_has(platform):
    code = """
receiver = um.MulticastReceiver(um.RawBytes, "239.1.1.1", 0, interface="127.0.0.1", timeout=10)
sender = um.MulticastSender("239.1.1.1", receiver.port, interface="127.0.0.1")
with receiver, sender:
    sender.send_parts([b"o", b"ne"])
    print(receiver.receive().decode())
    sender.send_readouts([um.RawBytes(b"two"), um.RawBytes(b"six")])
    print(*(one.decode() for one in receiver.receive_many()))
    print(receiver.statistics.kernel_drops, receiver.statistics.granted_buffer > 0)
"""
    if platform == "win32":
        code = _JOIN_LIKE_LINUX + code
    assert _elsewhere(platform, code) == ["one", "two", "six", "None", "True"]


def test_interface_requests_of_windows():
    code = """
class Recorder:
    def setsockopt(self, level, option, value):
        print(value.hex())
group = _address.parse_group("239.1.1.1")
by_index, by_address = _address.Interface("eth", 3), _address.Interface("", 0, "10.0.0.1")
for interface in (by_index, by_address):
    _joining.join(Recorder(), group, interface)
    _joining.send_on(Recorder(), group, interface)
"""
    assert _elsewhere("win32", code) == ["ef01010100000003", "00000003", "ef0101010a000001", "0a000001"]


def test_windows_binds_to_its_own_addresses_only():
    code = """
from udp_multicast._membership import bind_to_group
class Recorder:
    def setsockopt(self, *_): pass
    def bind(self, address): print(address)
bind_to_group(Recorder(), _address.parse_group("239.1.1.1"), 7, _address.ANY_INTERFACE, share=True)
"""
    assert _elsewhere("win32", code) == ["('',", "7)"]


def test_other_systems_share_a_port_in_their_own_way():
    code = """
class Recorder:
    def setsockopt(self, level, option, value): print(option)
_options.share_port(Recorder())
"""
    found = _elsewhere("darwin", code)
    assert found == [str(int(socket.SO_REUSEADDR)), str(int(socket.SO_REUSEPORT))]


def test_kernel_that_does_not_know_the_counters_has_none():
    class Old:
        def getsockopt(self, *_):
            raise OSError(errno.ENOPROTOOPT, "unknown option")

    assert _options.meminfo(Old()) is None


def test_buffer_that_is_refused_leaves_the_usual_one():
    asked = []

    class Strict:
        def setsockopt(self, _, option, size):
            asked.append(option)
            raise OSError(errno.ENOBUFS, "too much")

        def getsockopt(self, *_):
            return 4096

    assert _options.ask_receive_buffer(Strict(), 1 << 30) == 4096
    assert asked == [socket.SO_RCVBUF, _options.SO_RCVBUFFORCE]
