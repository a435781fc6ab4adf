"""udp-multicast: readouts and messages on channels, one by one and many at a time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

from cost_meters import COPIES, KEPT, OWN, PEAK, PYTHON_CALLS, SYSTEM_CALLS, Counted, Run, Scenario
from cost_waits import LIMIT_S, bound_to, until_readable

from udp_multicast import MulticastReceiver, MulticastSender, RawBytes
from udp_multicast.channels import ChannelReceiver, ChannelSender
from wireframe.datagram import Reassembler, decode

GROUP, LOCAL = "239.1.1.1", "127.0.0.1"
CHANNEL = "READOUTS"
SMALL = 64
#: As many as fit into any receive buffer, and are sent with one call.
MANY = 128
#: A message in nine datagrams.
LONG, DATAGRAM = 128 << 10, 16 << 10


def readouts(size: int) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of readouts, one by one."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        with (
            MulticastReceiver(RawBytes, GROUP, 0, interface=LOCAL, timeout=LIMIT_S) as receiver,
            MulticastSender(GROUP, receiver.port, 0, interface=LOCAL) as sender,
        ):
            readout = RawBytes(bytes(size))

            def run(messages: int) -> None:
                for _ in range(messages):
                    with counted("send_readout"):
                        sender.send_readout(readout)
                    until_readable(receiver)
                    with counted("receive"):
                        received = receiver.receive()
                    assert received == readout

            yield run

    return scenario


@contextlib.contextmanager
def many_readouts(counted: Counted) -> Iterator[Run]:
    """Readouts that are sent and received many at a time."""
    with (
        MulticastReceiver(RawBytes, GROUP, 0, interface=LOCAL, timeout=LIMIT_S) as receiver,
        MulticastSender(GROUP, receiver.port, 0, interface=LOCAL) as sender,
    ):
        readout = RawBytes(bytes(SMALL))

        def run(messages: int) -> None:
            for _ in range(messages):
                with counted("send_readouts"):
                    sender.send_readouts([readout] * MANY)
                missing = MANY
                while missing:
                    until_readable(receiver)
                    with counted("receive_many"):
                        missing -= len(receiver.receive_many(missing))

        yield run


def channel(size: int) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of messages on a channel, one by one."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        with ends() as (receiver, sender):
            payload = bytes(size)
            arriving = bound_to((GROUP, receiver.port))

            def run(messages: int) -> None:
                for _ in range(messages):
                    with counted("send"):
                        sender.send(payload)
                    until_readable(arriving)
                    with counted("receive"):
                        length = len(receiver.receive().readout)
                    assert length == size

            yield run

    return scenario


@contextlib.contextmanager
def channel_many(counted: Counted) -> Iterator[Run]:
    """Messages on a channel, many at a time."""
    with ends() as (receiver, sender):
        payload = bytes(SMALL)
        arriving = bound_to((GROUP, receiver.port))

        def run(messages: int) -> None:
            for _ in range(messages):
                with counted("send_many"):
                    sender.send_many([payload] * MANY)
                missing = MANY
                while missing:
                    until_readable(arriving)
                    with counted("receive_many"):
                        missing -= len(receiver.receive_many(missing))

        yield run


@contextlib.contextmanager
def ends() -> Iterator[tuple[ChannelReceiver[Any], ChannelSender]]:
    """A receiver and a sender."""
    with (
        ChannelReceiver(None, (CHANNEL,), GROUP, 0, interface=LOCAL, timeout=LIMIT_S) as receiver,
        sending(receiver.port) as sender,
    ):
        yield receiver, sender


def sending(port: int) -> ChannelSender:
    """A sender that is not slowed down, and whose long messages fit into the buffers that systems grant."""
    return ChannelSender(CHANNEL, GROUP, port, 0, interface=LOCAL, bytes_per_s=None, max_datagram=DATAGRAM)


@contextlib.contextmanager
def on_the_wire(_counted: Counted) -> Iterator[Run]:
    """What a long message is on the wire: datagrams, and their bytes, as a bare socket receives them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bare:
        bare.settimeout(LIMIT_S)
        bare.bind((GROUP, 0))
        membership = socket.inet_aton(GROUP) + socket.inet_aton(LOCAL)
        bare.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        with sending(bare.getsockname()[1]) as sender:
            payload = bytes(LONG)

            def run(messages: int) -> dict[str, float]:
                datagrams = size = 0
                for _ in range(messages):
                    sender.send(payload)
                    reassembler, message = Reassembler(), None
                    while message is None:
                        data, address = bare.recvfrom(DATAGRAM)
                        datagrams, size = datagrams + 1, size + len(data)
                        message = reassembler.add(address, decode(data), now=0.0)
                return {"datagrams": datagrams, "bytes on the wire": size}

            yield run


SCENARIOS = [
    Scenario("readouts of 64 B", readouts(SMALL), 20, (SYSTEM_CALLS, PYTHON_CALLS, PEAK, KEPT)),
    Scenario("readouts of 8 KiB", readouts(8 << 10), 20, (SYSTEM_CALLS, PEAK)),
    Scenario(
        f"{MANY} readouts of 64 B at once", many_readouts, 4, (SYSTEM_CALLS, PYTHON_CALLS, KEPT), per=MANY
    ),
    Scenario("channel, 64 B", channel(SMALL), 20, (SYSTEM_CALLS, PYTHON_CALLS, PEAK, KEPT)),
    Scenario("channel, 128 KiB", channel(LONG), 5, (SYSTEM_CALLS, PYTHON_CALLS, COPIES), size=LONG),
    Scenario("channel, 128 KiB", on_the_wire, 5, (OWN,)),
    Scenario(
        f"channel, {MANY} of 64 B at once", channel_many, 4, (SYSTEM_CALLS, PYTHON_CALLS, KEPT), per=MANY
    ),
]
