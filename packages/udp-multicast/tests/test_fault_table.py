"""Faults of the original, one test or more for each, and what happens here; more in `test_security`."""

from __future__ import annotations

import errno
import itertools
import logging
import socket
import struct
import time

import astropix4
import pytest

from udp_multicast import (
    AddressError,
    BackgroundReceiver,
    DatagramTooLarge,
    MulticastReceiver,
    MulticastSender,
    RawBytes,
    ReceiverClosed,
    _joining,
    _membership,
)
from udp_multicast._address import ANY_INTERFACE, parse_group
from udp_multicast._loopback import loopback
from udp_multicast._reception import PATIENCE

GOOD = astropix4.Readout(7, 8, b"\xbc\xe0\x50")
NOT_READOUTS = {
    "empty": b"",
    "cut": GOOD.to_bytes()[:-1],
    "cut header": GOOD.to_bytes()[:10],
    "one byte too long": GOOD.to_bytes() + b"\0",
    "wrong magic": b"\0" + GOOD.to_bytes()[1:],
    "two readouts": GOOD.to_bytes() * 2,
    "stray search": b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\n\r\n',
}


#: Linux: send nothing that a frame cannot carry whole.
_IPV6_DONTFRAG = 62


@pytest.mark.parametrize("kind", NOT_READOUTS)
def test_broken_datagram_is_counted_told_and_the_next_one_waited_for(pair, kind, caplog):
    told = []
    receiver, sender = pair(astropix4.Readout, on_broken=lambda *what: told.append(what))
    with caplog.at_level(logging.DEBUG):
        for data in (NOT_READOUTS[kind], NOT_READOUTS[kind], GOOD.to_bytes()):
            sender.send_data(data)
        assert receiver.receive() == GOOD
    assert (receiver.statistics.broken, receiver.statistics.received) == (2, 3)
    assert [datagram.data for datagram, _ in told] == [NOT_READOUTS[kind]] * 2
    assert all(isinstance(error, (RuntimeError, struct.error)) for _, error in told)
    # Said aloud once, then quietly.
    assert [one.levelname for one in caplog.records if "not a readout" in one.message] == ["WARNING", "DEBUG"]


@pytest.mark.parametrize("method", ["receive", "receive_many"])
def test_callback_is_told_about_every_broken_datagram_also_when_the_log_is_not(pair, method, caplog):
    """Unlike the log, which is told once about each cause."""
    caplog.set_level(logging.WARNING, "udp_multicast")
    told = []
    receiver, sender = pair(astropix4.Readout, on_broken=lambda datagram, _: told.append(datagram.data))
    broken = [GOOD.to_bytes()[:length] for length in range(19, 22)] * 2
    for data in (*broken, GOOD.to_bytes()):
        sender.send_data(data)
    assert getattr(receiver, method)() == (GOOD if method == "receive" else [GOOD])
    assert told == broken
    assert receiver.statistics.broken == len(broken)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", NOT_READOUTS)
def test_broken_datagram_raises_in_strict_mode_and_the_receiver_goes_on(pair, kind):
    receiver, sender = pair(astropix4.Readout, strict=True)
    sender.send_data(NOT_READOUTS[kind])
    with pytest.raises((RuntimeError, struct.error)):
        receiver.receive()
    sender.send_readout(GOOD)
    assert receiver.receive() == GOOD
    assert receiver.statistics.broken == 1


def test_several_receivers_on_one_host_get_a_copy_each(make_receiver, make_sender):
    first = make_receiver()
    receivers = [first, *(make_receiver(port=first.port) for _ in range(3))]
    sender = make_sender(first)
    sender.send_data(b"to all")
    assert [one.receive() for one in receivers] == [b"to all"] * 4


def test_receiver_shares_its_port_with_software_that_sets_reuseaddr_only(make_receiver, make_sender, other):
    receiver = make_receiver()
    foreign = other(port=receiver.port)
    make_sender(receiver).send_data(b"to both")
    assert (receiver.receive(), foreign.recv(100)) == (b"to both", b"to both")


def test_port_that_is_not_shared_says_so(make_receiver, other):
    foreign = other(port=0, reuse=None)
    with pytest.raises(OSError, match="in use") as caught:
        make_receiver(port=foreign.getsockname()[1])
    assert "does not share" in caught.value.__notes__[0]
    receiver = make_receiver(share=False)
    with pytest.raises(OSError, match="in use"):
        make_receiver(port=receiver.port)


def test_second_receiver_of_the_unicast_default_is_refused_and_told_what_to_use(make_receiver):
    receiver = make_receiver(group="127.0.0.1")
    with pytest.raises(OSError, match="in use") as caught:
        make_receiver(group="127.0.0.1", port=receiver.port)
    assert caught.value.errno == errno.EADDRINUSE
    assert "239.1.1.1" in caught.value.__notes__[0]


def test_multicast_on_the_loopback_interface_needs_no_route(pair):
    receiver, sender = pair(interface="127.0.0.1")
    sender.send_data(b"local")
    assert receiver.receive() == b"local"


def test_without_a_route_the_receiver_joins_on_the_loopback_interface(
    make_receiver, make_sender, monkeypatch, caplog
):
    def join_offline(sock, group, interface, source=None):
        if interface is ANY_INTERFACE:
            raise OSError(errno.ENODEV, "no such device")
        _joining.join(sock, group, interface, source)

    monkeypatch.setattr(_membership, "join", join_offline)
    receiver = make_receiver(interface=None)
    assert "no route" in caplog.text
    make_sender(receiver).send_data(b"local")
    assert receiver.receive() == b"local"
    receiver.leave()
    receiver.join()


def test_without_a_route_the_sender_sends_on_the_loopback_interface(make_receiver, monkeypatch, caplog):
    real = MulticastSender._path_mtu

    def offline(self, interface):
        if interface is ANY_INTERFACE:
            raise OSError(errno.ENETUNREACH, "no route")
        return real(self, interface)

    monkeypatch.setattr(MulticastSender, "_path_mtu", offline)
    receiver = make_receiver()
    with MulticastSender("239.1.1.1", receiver.port) as sender:
        assert "no route" in caplog.text
        sender.send_data(b"local")
    assert receiver.receive() == b"local"


@pytest.mark.parametrize("join_on", ["127.0.0.1", "lo", 1])
@pytest.mark.parametrize("send_on", ["127.0.0.1", "lo", 1])
def test_interface_is_chosen_by_address_name_or_index(make_receiver, make_sender, join_on, send_on):
    receiver = make_receiver(interface=join_on)
    make_sender(receiver, interface=send_on).send_data(b"here")
    datagram = receiver.receive_datagram()
    assert (datagram.data, datagram.sender[0]) == (b"here", "127.0.0.1")


def test_group_is_joined_on_several_interfaces(make_receiver, make_sender):
    # Two addresses of one interface are one interface for Linux, so a name it does not have is the second.
    receiver = make_receiver(interfaces=["127.0.0.1"])
    make_sender(receiver).send_data(b"here")
    assert receiver.receive() == b"here"
    with pytest.raises(AddressError, match="no interface"):
        make_receiver(interfaces=["127.0.0.1", "nosuch0"])


def test_large_receive_buffer_is_asked_for_and_the_grant_reported(make_receiver):
    receiver = make_receiver(buffer_size=65536)
    granted = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert receiver.statistics.granted_buffer == granted == 2 * 65536
    assert make_receiver().statistics.granted_buffer > 2 * 65536


@pytest.mark.fault("C13", "udp-multicast", "L")
def test_kernel_drops_and_received_add_up_to_what_was_sent(pair):
    receiver, sender = pair(buffer_size=8192)
    for number in range(500):
        sender.send_data(number.to_bytes(2, "big"))
    receiver.settimeout(0)
    received = len(receiver.receive_many())
    with pytest.raises(BlockingIOError):
        receiver.receive()
    statistics = receiver.statistics
    assert statistics.kernel_drops > 0
    assert statistics.received == received
    assert statistics.kernel_drops + received == 500
    receiver.close()
    assert receiver.statistics.kernel_drops == statistics.kernel_drops


@pytest.mark.parametrize("asked_before", [False, True])
def test_kernel_drops_are_known_after_close_though_nobody_asked_just_before(pair, asked_before):
    receiver, sender = pair(buffer_size=8192)
    if asked_before:
        assert receiver.statistics.kernel_drops == 0
    for number in range(500):
        sender.send_data(number.to_bytes(2, "big"))
    received = len(receiver.receive_many())
    receiver.close()
    statistics = receiver.statistics
    assert statistics.kernel_drops > 0
    assert statistics.kernel_drops + received == 500


def test_queued_bytes_are_what_waits_in_the_buffer(pair):
    """In bytes of the kernel's own counting, which are more than those of the datagrams."""
    receiver, sender = pair()
    queued = [receiver.statistics.queued_bytes]
    for _ in range(3):
        sender.send_data(bytes(1000))
        queued.append(receiver.statistics.queued_bytes)
    assert queued[0] == 0
    assert all(after >= before + 1000 for before, after in itertools.pairwise(queued))
    assert queued[-1] < receiver.statistics.granted_buffer
    assert len(receiver.receive_many()) == 3
    assert receiver.statistics.queued_bytes == 0


def test_gaps_in_the_readout_ids_are_counted_for_each_sender_with_wrap(make_receiver, make_sender):
    receiver = make_receiver(astropix4.Readout, readout_id=lambda readout: readout.readout_id)
    one, two = make_sender(receiver), make_sender(receiver)
    for number in (0xFFFFFFFE, 0xFFFFFFFF, 0, 3, 2, 3):
        one.send_readout(astropix4.Readout(number, 0, b""))
        two.send_readout(astropix4.Readout(number & 1, 0, b""))
        receiver.receive(), receiver.receive()
    losses = receiver.statistics.senders[("127.0.0.1", one.getsockname()[1])]
    assert (losses.received, losses.lost, losses.gaps, losses.late, losses.duplicates) == (6, 1, 1, 1, 1)
    assert receiver.statistics.duplicates == 1 + 4


def test_restart_of_the_run_is_seen(pair):
    receiver, sender = pair(astropix4.Readout, readout_id=lambda readout: readout.readout_id)
    for number in (5000, 5001, 0, 1, 2):
        sender.send_readout(astropix4.Readout(number, 0, b""))
        receiver.receive()
    assert (receiver.statistics.restarts, receiver.statistics.lost) == (1, 0)


def test_receive_ends_by_its_timeout(make_receiver):
    receiver = make_receiver(timeout=0.05)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        receiver.receive()
    assert 0.04 < time.monotonic() - start < 5


@pytest.mark.parametrize("method", ["receive", "receive_many", "receive after receive_many"])
def test_a_flood_of_broken_datagrams_does_not_outlast_the_timeout(pair, method):
    """Time is up after a few of them, with many more in the buffer."""

    class Never:
        @classmethod
        def from_bytes(cls, data):
            raise ValueError("never")

    receiver, sender = pair(Never, timeout=0)
    name, _, before = method.partition(" after ")
    if before:
        with pytest.raises(BlockingIOError):
            getattr(receiver, before)()
    for _ in range(10 * PATIENCE):
        sender.send_data(b"x")
    with pytest.raises(BlockingIOError):
        getattr(receiver, name)()
    assert 0 < receiver.statistics.received <= 2 * PATIENCE


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("method", ["receive", "receive_many", "receive_datagram"])
def test_close_wakes_a_waiting_receive(make_receiver, background, wait_until_receiving, timeout, method):
    receiver = make_receiver(timeout=timeout)
    waiting = background(getattr(receiver, method))
    wait_until_receiving(receiver)
    receiver.close()
    with pytest.raises(ReceiverClosed):
        waiting.result(10)


def test_an_empty_datagram_is_not_taken_for_the_end(pair):
    receiver, sender = pair()
    sender.send_data(b"")
    assert receiver.receive() == b""


@pytest.mark.parametrize("parts", [False, True])
def test_more_than_a_datagram_holds_is_refused_with_the_limit(pair, parts):
    receiver, sender = pair()
    data = bytes(65508)
    with pytest.raises(DatagramTooLarge, match=r"65508 bytes.* 65507") as caught:
        sender.send_parts([data[:8], data[8:]]) if parts else sender.send_data(data)
    assert (caught.value.size, caught.value.limit, caught.value.errno) == (65508, 65507, errno.EMSGSIZE)
    assert sender.send_data(data[1:]) == 65507
    assert len(receiver.receive()) == 65507


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("size", "limit"), [(65489, 65488), (65527, 65488), (65528, 65527)])
def test_limit_is_that_of_the_frame_where_ip_must_not_cut_and_else_that_of_a_datagram(
    pair, size, limit, parts
):
    """An IPv6 datagram may be longer than a frame of the loopback interface carries."""
    receiver, sender = pair(group="::1", interface=None)
    sender.set_option(_IPV6_DONTFRAG, 1)
    data = bytes(size)
    with pytest.raises(DatagramTooLarge) as caught:
        sender.send_parts([data[:8], data[8:]]) if parts else sender.send_data(data)
    assert (caught.value.size, caught.value.limit) == (size, limit)
    # The limit is a true one.
    sender.set_option(_IPV6_DONTFRAG, int(limit == 65488))
    assert sender.send_data(data[:limit]) == len(receiver.receive()) == limit


def test_datagrams_above_the_mtu_of_the_path_are_warned_of_once(pair, caplog):
    receiver, sender = pair(group="::1", interface=None)
    # A frame of the loopback interface carries 65536 bytes, 48 of them headers.
    for size in (65488, 65489, 65490):
        sender.send_data(bytes(size))
        assert len(receiver.receive()) == size
    assert [one.args[0] for one in caplog.records if "cut by IP" in one.message] == [65489]


def test_ipv6_groups_are_joined_on_their_interface(make_receiver):
    receiver = make_receiver(group="ff02::4242", interface="::1")
    index = socket.if_nametoindex("lo")
    assert receiver.getsockname()[:1] + receiver.getsockname()[3:] == ("ff02::4242", index)
    assert make_receiver(group=f"ff02::4242%{index}", interface=None, port=receiver.port).address()[0]
    receiver.leave("lo")
    for group in ("ff02::4242", "ff01::4242"):
        with pytest.raises(AddressError, match="once per interface"):
            MulticastReceiver(RawBytes, group, 0)
        with pytest.raises(AddressError, match="once per interface"):
            MulticastSender(group, 5007)


def test_ipv6_datagrams_come_through(pair):
    receiver, sender = pair(group="::1", interface=None)
    sender.send_data(b"six")
    assert receiver.receive_datagram().data == b"six"


def test_background_queue_is_bounded_and_drops_the_oldest(pair, eventually):
    receiver, sender = pair(timeout=None)
    with BackgroundReceiver(receiver, max_queued=3) as queue:
        for number in range(10):
            sender.send_data(bytes([number]))
        eventually(lambda: receiver.statistics.received == 10)
        eventually(lambda: queue.dropped == 7)
        assert queue.drain() == [b"\7", b"\x08", b"\x09"]


def test_trap_sender_to_a_port_nobody_listens_on_never_notices(make_sender):
    sender = make_sender(group="127.0.0.1", port=1)
    for _ in range(3):
        assert sender.send_data(b"nobody") == 6


@pytest.mark.parametrize("again", ["127.0.0.1", "lo"])
@pytest.mark.parametrize("sources", [None, ("127.0.0.1",)])
def test_trap_joining_twice_is_no_error(make_receiver, make_sender, again, sources):
    receiver = make_receiver(sources=sources)
    receiver.join(again)
    make_sender(receiver).send_data(b"once")
    assert receiver.receive() == b"once"


@pytest.mark.fault("C14", "udp-multicast")
def test_leave_and_rejoin(make_receiver, make_sender):
    receiver = make_receiver()
    sender = make_sender(receiver)
    receiver.leave("127.0.0.1")
    sender.send_data(b"while away")
    with pytest.raises(AddressError, match="not joined"):
        receiver.leave("127.0.0.1")
    receiver.join("127.0.0.1")
    sender.send_data(b"back")
    assert receiver.receive() == b"back"


def test_ipv6_sources_and_send_interface_are_accepted(make_receiver, make_sender):
    receiver = make_receiver(group="ff15::4242", interface="lo", sources=["::1", "fe80::1"])
    receiver.leave("lo")
    receiver.join("::1")
    sender = make_sender(receiver, interface="lo")
    assert sender.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) == socket.if_nametoindex("lo")


def test_loopback_interface_is_found_for_both_families():
    assert loopback(parse_group("239.1.1.1")).address == "127.0.0.1"
    assert loopback(parse_group("ff15::1")).index == socket.if_nametoindex("lo")


@pytest.mark.parametrize("error", [errno.ENODEV, errno.EPERM])
def test_leaving_on_an_interface_that_is_gone_is_no_error(make_receiver, make_sender, monkeypatch, error):
    receiver = make_receiver()

    def gone(*_):
        raise OSError(error, "gone")

    monkeypatch.setattr(_membership, "leave", gone)
    if error == errno.ENODEV:
        receiver.leave("127.0.0.1")
    else:
        with pytest.raises(OSError, match="gone"):
            receiver.leave("127.0.0.1")
    receiver.join("127.0.0.1")
    make_sender(receiver).send_data(b"back")
    assert receiver.receive() == b"back"
