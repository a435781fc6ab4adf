"""One end of an LCM network, as a program: ``peer_channels.py lcm|ours publish|subscribe URL``.

It says "ready" when it is. A publisher then takes lines ``CHANNEL SIZE`` and answers each with "sent"; a
subscriber writes one line of JSON for each message. The payload of a message is known by its size.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator

# The C library sends it to itself when it starts.
SELF_TEST = "LCM_SELF_TEST"


def payload_of(size: int) -> bytes:
    """The payload of a message of this size."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def described(channel: str, payload: bytes) -> dict[str, object]:
    """What a subscriber says of a message."""
    return {"channel": channel, "size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}


def expected(channel: str, size: int) -> dict[str, object]:
    """What a subscriber should say of a message."""
    return described(channel, payload_of(size))


def say(line: str) -> None:
    print(line, flush=True)


def publish(send: Callable[[str, bytes], object]) -> None:
    say("ready")
    for line in sys.stdin:
        channel, size = line.split()
        send(channel, payload_of(int(size)))
        say("sent")


def subscribe(messages: Iterator[tuple[str, bytes]]) -> None:
    say("ready")
    for channel, payload in messages:
        if channel != SELF_TEST:
            say(json.dumps(described(channel, payload)))


def lcm_messages(url: str) -> Iterator[tuple[str, bytes]]:
    """Subscribe with the C library, then return what it hears."""
    import lcm

    network = lcm.LCM(url)
    arrived: list[tuple[str, bytes]] = []
    network.subscribe(".*", lambda channel, payload: arrived.append((channel, payload)))

    def messages() -> Iterator[tuple[str, bytes]]:
        while True:
            network.handle()
            yield from arrived
            arrived.clear()

    return messages()


def our_messages(url: str) -> Iterator[tuple[str, bytes]]:
    """Begin to listen, then return what arrives."""
    from udp_multicast.channels import ChannelReceiver

    receiver = ChannelReceiver(url=url)
    return ((message.channel, message.readout) for message in receiver)


def main() -> None:
    whose, what, url = sys.argv[1:]
    if what == "subscribe":
        subscribe(lcm_messages(url) if whose == "lcm" else our_messages(url))
    elif whose == "lcm":
        import lcm

        publish(lcm.LCM(url).publish)
    else:
        from udp_multicast.channels import ChannelSender

        with ChannelSender("", url=url) as sender:
            publish(lambda channel, payload: sender.send(payload, channel=channel))


if __name__ == "__main__":
    main()
