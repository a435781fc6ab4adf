"""What the sender promises."""

from __future__ import annotations

import errno
import itertools
import socket
import time

import pytest

from udp_multicast import AddressError, MulticastSender, RawBytes
from udp_multicast.readouts import SendableReadout


class Text:
    def __init__(self, text):
        self.text = text

    def to_bytes(self):
        return self.text.encode()


def test_any_object_with_to_bytes_is_sent_as_one_datagram_without_a_byte_added(pair):
    receiver, sender = pair()
    assert isinstance(Text(""), SendableReadout)
    assert sender.send_readout(Text("abc")) == 3
    assert receiver.receive() == b"abc"


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_data_may_be_any_buffer(pair, data):
    receiver, sender = pair()
    assert sender.send_data(data) == 3
    assert receiver.receive() == b"abc"


@pytest.mark.parametrize("count", [0, 1, 3, 2000])
def test_parts_are_one_datagram(pair, count):
    receiver, sender = pair()
    assert sender.send_parts([b"ab"] * count) == 2 * count
    assert receiver.receive() == b"ab" * count


def test_parts_are_joined_where_the_system_cannot_gather_so_many(pair, monkeypatch):
    receiver, sender = pair()
    monkeypatch.setattr("udp_multicast.sender._MAX_GATHERED", 1)
    assert sender.send_parts([b"ab", memoryview(b"cd")]) == 4
    assert receiver.receive() == b"abcd"


@pytest.mark.parametrize(("ttl", "actual"), [(0, 0), (255, 255), (-1, 1)])
def test_time_to_live_is_set_as_by_the_original(make_sender, ttl, actual):
    sender = make_sender(group="239.1.1.1", port=5007, ttl=ttl)
    assert sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == actual


@pytest.mark.parametrize("ttl", [256, -2])
def test_time_to_live_out_of_range_is_refused_as_by_the_original(ttl):
    with pytest.raises(OSError, match="Invalid") as caught:
        MulticastSender("239.1.1.1", 5007, ttl)
    assert caught.value.errno == errno.EINVAL


def test_time_to_live_must_be_a_number():
    with pytest.raises(TypeError):
        MulticastSender("239.1.1.1", 5007, "2")


def test_loop_can_be_switched_off(make_sender):
    sender = make_sender(group="239.1.1.1", port=5007, loop=False)
    assert sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 0


def test_unknown_interface_is_refused():
    with pytest.raises(AddressError, match="nosuch0"):
        MulticastSender("239.1.1.1", 5007, interface="nosuch0")


def test_an_address_that_is_not_ours_is_no_way_out():
    with pytest.raises(OSError, match="assign requested address"):
        MulticastSender("239.1.1.1", 5007, interface="192.0.2.77")


def test_failed_send_names_the_group(make_sender, monkeypatch):
    sender = make_sender(group="239.1.1.1", port=5007)

    def unreachable(*_):
        raise OSError(errno.ENETUNREACH, "unreachable")

    monkeypatch.setattr(MulticastSender, "sendto", unreachable)
    with pytest.raises(OSError, match="unreachable") as caught:
        sender.send_data(b"x")
    assert "239.1.1.1" in caught.value.__notes__[0]


def test_what_is_not_bytes_is_refused(make_sender):
    with pytest.raises(TypeError):
        make_sender(group="239.1.1.1", port=5007).send_data("text")


def test_eight_threads_send_whole_datagrams_through_one_sender(pair, background):
    receiver, sender = pair()
    waits = [
        background(lambda number=number: [sender.send_data(bytes([number]) * 100) for _ in range(100)])
        for number in range(8)
    ]
    received = [receiver.receive() for _ in range(800)]
    assert all(one.result(10) for one in waits)
    assert all(len(data) == 100 and len(set(data)) == 1 for data in received)
    assert len(set(received)) == 8


@pytest.mark.parametrize(
    "sizes", [[], [5], [5] * 200, [5, 5, 3, 5, 5, 0, 0, 7], [2000] * 70, [60000, 60000, 1]]
)
def test_many_readouts_arrive_as_they_were_one_datagram_each(pair, sizes):
    receiver, sender = pair()
    readouts = [RawBytes(bytes([number % 256]) * size) for number, size in enumerate(sizes)]
    assert sender.send_readouts(iter(readouts)) == len(readouts)
    assert [receiver.receive() for _ in sizes] == readouts
    assert receiver.statistics.received == len(sizes)


def test_readouts_before_an_error_of_the_iterable_are_sent(pair):
    receiver, sender = pair()

    def readouts():
        yield from [RawBytes(b"a"), RawBytes(b"b")]
        raise LookupError("no more")

    with pytest.raises(LookupError):
        sender.send_readouts(readouts())
    assert [receiver.receive(), receiver.receive()] == [b"a", b"b"]


def test_rate_limits_readouts_per_second(pair):
    receiver, sender = pair()
    start = time.monotonic()
    # The first 10 may go at once, the others need 1 ms each.
    assert sender.send_readouts(itertools.repeat(RawBytes(b"x"), 60), readouts_per_s=1000) == 60
    assert time.monotonic() - start >= 0.03
    assert receiver.receive() == b"x"


@pytest.mark.parametrize("rate", [0, -1.0, float("inf"), float("-inf"), float("nan")])
def test_rate_must_be_positive(make_sender, rate):
    with pytest.raises(ValueError, match="a rate is more than 0"):
        make_sender(group="239.1.1.1", port=5007).send_readouts([RawBytes(b"x")], readouts_per_s=rate)


@pytest.mark.parametrize("ttl", [1 << 31, 99_999_999_999])
def test_time_to_live_the_system_has_no_number_for_is_refused(ttl):
    with pytest.raises(ValueError, match=f"ttl is 0 to 255, not {ttl}"):
        MulticastSender("239.1.1.1", 5007, ttl, interface="127.0.0.1")
