"""One end of a stream between two processes, in which nothing is lost.

Started by the bench, never imported::

    python stream_subject.py KIND (publish | subscribe) PORT SIZE STRIDE FIFO

Messages go by multicast on the loopback interface. After every STRIDE
messages the subscriber writes one byte into FIFO, and the publisher is never
more than two strides ahead, so the receive buffer never overflows. If
something is lost all the same, the publisher waits in vain, and the bench
breaks.

================= =============================================================
``channel``       `ChannelSender.send`, `ChannelReceiver.receive`
``channel-many``  `ChannelSender.send_many`, `ChannelReceiver.receive_many`
``channel-paced`` as ``channel``, at the pace of a sender that is told nothing
``lcm``           ``LCM.publish``, ``LCM.handle`` of the lcm package, its queue
                  without bound
``bare``          ``sendto(readout.to_bytes())``; ``recvfrom_into``, ``bytes``,
                  ``from_bytes``; readouts are bytes
``bare-python``   the same; ``from_bytes`` is a Python method
``many``          `send_readouts`, `receive_many`; readouts are bytes
``many-python``   the same; ``from_bytes`` is a Python method
================= =============================================================

All ask for 4 MiB of receive buffer.
"""

from __future__ import annotations

import os
import select
import sys
import time
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import orders
from datagram_loops import GROUP, LOCAL, RECEIVE_BUFFER, PythonReadout, bare_receiver, bare_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Sends, or receives, so many messages.
    Move = Callable[[int], None]

#: Seconds until a message is known to be lost.
LOST_S: Final = 20.0
#: A channel of LCM.
CHANNEL: Final = "READOUTS"


def publisher(kind: str, port: int, payload: bytes) -> Move:
    """Return what sends messages with this payload."""
    if kind == "lcm":
        import lcm  # type: ignore[import-not-found,import-untyped,unused-ignore]

        publish = lcm.LCM(f"udpm://{GROUP}:{port}?ttl=0").publish

        def send_lcm(count: int) -> None:
            for _ in repeat(None, count):
                publish(CHANNEL, payload)

        return send_lcm
    if kind.startswith("channel"):
        from udp_multicast.channels import ChannelSender
        from udp_multicast.channels._sender import DEFAULT_BYTES_PER_S

        pace = DEFAULT_BYTES_PER_S if kind.endswith("paced") else None
        sender = ChannelSender(CHANNEL, GROUP, port, 0, interface=LOCAL, bytes_per_s=pace)
        send, send_all = sender.send, sender.send_many

        def send_channel(count: int) -> None:
            for _ in repeat(None, count):
                send(payload)

        def send_channel_many(count: int) -> None:
            send_all(repeat(payload, count))

        return send_channel_many if kind == "channel-many" else send_channel
    from udp_multicast import MulticastSender, RawBytes

    readout = PythonReadout(payload) if kind.endswith("python") else RawBytes(payload)
    if kind.startswith("bare"):
        sendto, target = bare_sender().sendto, (GROUP, port)

        def send_bare(count: int) -> None:
            for _ in repeat(None, count):
                sendto(readout.to_bytes(), target)

        return send_bare
    send_readouts = MulticastSender(GROUP, port, 0, interface=LOCAL).send_readouts

    def send_many(count: int) -> None:
        send_readouts(repeat(readout, count))

    return send_many


def subscriber(kind: str, port: int, size: int) -> Move:
    """Return what receives messages of this size, and refuses others."""
    if kind == "lcm":
        return lcm_subscriber(port, size)

    def check(found: int) -> None:
        if found != size:
            message = f"{size} bytes were sent, {found} arrived"
            raise ValueError(message)

    if kind.startswith("channel"):
        from udp_multicast.channels import ChannelReceiver

        receiver = ChannelReceiver(None, (CHANNEL,), GROUP, port, interface=LOCAL)
        receive, receive_all = receiver.receive, receiver.receive_many

        def receive_channel(count: int) -> None:
            for _ in repeat(None, count):
                check(len(receive().readout))

        def receive_channel_many(count: int) -> None:
            missing = count
            while missing:
                # Not those of the next stride, which may be here already.
                messages = receive_all(missing)
                missing -= len(messages)
                for message in messages:
                    check(len(message.readout))

        return receive_channel_many if kind == "channel-many" else receive_channel
    from udp_multicast import MulticastReceiver, RawBytes

    readout_class: Any = PythonReadout if kind.endswith("python") else RawBytes
    if kind.startswith("bare"):
        take, buffer = bare_receiver(port).recvfrom_into, memoryview(bytearray(65535))
        from_bytes = readout_class.from_bytes

        def receive_bare(count: int) -> None:
            readout = None
            for _ in repeat(None, count):
                length, _sender = take(buffer)
                readout = from_bytes(bytes(buffer[:length]))
            check(len(readout.to_bytes()) if readout is not None else size)

        return receive_bare
    receive_some = MulticastReceiver(readout_class, GROUP, port, interface=LOCAL).receive_many

    def receive_many(count: int) -> None:
        missing = count
        while missing > 0:
            # The next stride may be here already.
            readouts = receive_some(missing)
            missing -= len(readouts)
            check(len(readouts[-1].to_bytes()))

    return receive_many


def lcm_subscriber(port: int, size: int) -> Move:
    """Return what handles messages of this size with the lcm package."""
    import lcm  # type: ignore[import-not-found,import-untyped,unused-ignore]

    network = lcm.LCM(f"udpm://{GROUP}:{port}?ttl=0&recv_buf_size={RECEIVE_BUFFER}")
    arrived = 0

    def take(_channel: str, payload: bytes) -> None:
        nonlocal arrived
        if len(payload) != size:
            message = f"{size} bytes were sent, {len(payload)} arrived"
            raise ValueError(message)
        arrived += 1

    network.subscribe(CHANNEL, take).set_queue_capacity(0)
    handle = network.handle

    def receive_lcm(count: int) -> None:
        nonlocal arrived
        arrived = 0
        while arrived < count:
            handle()

    return receive_lcm


def publishing(send: Move, acknowledged: int, stride: int) -> orders.Steps:
    """Return what sends as many strides as it takes and waits until all arrived."""

    def wait() -> None:
        if not select.select([acknowledged], [], [], LOST_S)[0] or not os.read(acknowledged, 1):
            message = "a message was lost: the receive buffer is too small for two strides"
            raise TimeoutError(message)

    def run(steps: int) -> tuple[int, float, float]:
        strides = -(-steps // stride)
        cpu, wall = time.process_time(), time.perf_counter()
        for done in range(strides):
            if done >= 2:
                wait()
            send(stride)
        for _ in range(min(2, strides)):
            wait()
        return strides * stride, time.perf_counter() - wall, time.process_time() - cpu

    return run


def subscribing(receive: Move, acknowledge: int, stride: int) -> orders.Steps:
    """Return what receives as many strides as it takes, and acknowledges each."""

    def run(steps: int) -> tuple[int, float, float]:
        strides = -(-steps // stride)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(strides):
            receive(stride)
            os.write(acknowledge, b".")
        return strides * stride, time.perf_counter() - wall, time.process_time() - cpu

    return run


def main() -> None:
    """Open this end, say so, follow the orders of the bench."""
    kind, role = sys.argv[1:3]
    port, size, stride = map(int, sys.argv[3:6])
    # Neither end waits for the other to open it.
    fifo = os.open(sys.argv[6], os.O_RDWR)
    if role == "publish":
        run = publishing(
            publisher(kind, port, bytes(range(256)) * (size // 256) + bytes(size % 256)), fifo, stride
        )
    else:
        run = subscribing(subscriber(kind, port, size), fifo, stride)
    orders.say(ready=True)
    orders.follow(run)


if __name__ == "__main__":
    main()
