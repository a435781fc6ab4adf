"""What cannot be made leaves no descriptor behind."""

from __future__ import annotations

import contextlib
import gc
import socket
from pathlib import Path

import pytest

from udp_multicast import MulticastReceiver, MulticastSender, RawBytes
from udp_multicast.channels import ChannelReceiver, ChannelSender

DESCRIPTORS = Path("/proc/self/fd")
GROUP = "239.1.1.1"
LOCAL = "127.0.0.1"
#: The address of no interface of this host, by RFC 5737.
NOWHERE = "192.0.2.77"

FAILURES = {
    "port taken": lambda port: MulticastReceiver(RawBytes, LOCAL, port),
    "no such interface": lambda _: MulticastReceiver(RawBytes, GROUP, 0, interface="no-such-one"),
    "no such address": lambda _: MulticastReceiver(RawBytes, GROUP, 0, interface=NOWHERE),
    "no such time": lambda _: MulticastReceiver(RawBytes, GROUP, 0, interface=LOCAL, timeout=-1.0),
    "sender, no such interface": lambda _: MulticastSender(GROUP, 9, interface="no-such-one"),
    "sender, no such address": lambda _: MulticastSender(GROUP, 9, interface=NOWHERE),
    "sender, no such time to live": lambda _: MulticastSender(GROUP, 9, ttl=300, interface=LOCAL),
    "channels, port taken": lambda port: ChannelReceiver(group=LOCAL, port=port),
    "channels, sender, no such address": lambda _: ChannelSender("ADC", GROUP, 9, interface=NOWHERE),
}


@pytest.fixture
def taken():
    """A port of this host that nobody else can have."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((LOCAL, 0))
        yield sock.getsockname()[1]


def open_now():
    """The descriptors of this process; none where the system does not tell."""
    return sorted(one.name for one in DESCRIPTORS.iterdir()) if DESCRIPTORS.is_dir() else []


@pytest.mark.parametrize("make", FAILURES.values(), ids=FAILURES)
def test_nothing_stays_open(make, taken):
    gc.collect()
    before = open_now()
    for _ in range(3):
        with pytest.raises((OSError, ValueError)):
            make(taken)
        assert open_now() == before
