"""Receiving honest readouts, with a broken datagram beside each or without, in a process of its own.

Started by the bench, never imported::

    python multicast_broken_subject.py KIND (broken | clean) PORT SIZE

Everything happens in one process and on the loopback interface. As many
datagrams as every receive buffer holds are sent, half of them broken or none,
and then the honest ones are received, which alone is timed; steps are honest
readouts, and CPU time is that of the thread. That all broken ones were refused,
and no honest one was lost, is checked each time.

================= =============================================================
``readouts, ids`` a header of 19 bytes, as AstroPix 4 has it, and its payload;
                  the readouts are numbered
``JSON``          `JsonReadout`, numbered
``arrays``        `ArrayReadout`, numbered by their first element
``messages``      `ChannelReceiver.receive`; in fragments if SIZE is more than
                  one frame carries, with a broken datagram beside each
================= =============================================================
"""

from __future__ import annotations

import random
import struct
import sys
import time
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import orders
from datagram_loops import GROUP, LOCAL, bare_sender

from udp_multicast import ArrayReadout, ChannelReceiver, JsonReadout, MulticastReceiver
from wireframe.datagram import encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Returns datagrams sent so far that were broken, and honest ones that got lost.
    Refused = Callable[[], tuple[int, int]]

#: Datagrams at a time, at least.
SOME: Final = 128
#: Different datagrams of either sort.
VARIETY: Final = 256
#: Bytes that a frame of Ethernet carries in one datagram.
FRAME: Final = 1472
SEED: Final = 1
_HEAD: Final = struct.Struct("<3sIQI")
_MAGIC: Final = b"\xfe\xdc\xba"
#: Magic, sequence, size, offset, fragment, fragments.
_FRAGMENT: Final = struct.Struct(">4sIIIHH")


@dataclass(slots=True)
class Readout:
    """One readout of a chip."""

    number: int
    time_ns: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """Return the datagram."""
        return _HEAD.pack(_MAGIC, self.number, self.time_ns, len(self.payload)) + self.payload

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a datagram, or say what is wrong with it."""
        magic, number, time_ns, size = _HEAD.unpack_from(data)
        if magic != _MAGIC or len(data) != _HEAD.size + size:
            message = "not a readout"
            raise ValueError(message)
        return cls(number, time_ns, data[_HEAD.size :])


def chip(number: int, size: int) -> bytes:
    """Return an honest readout of a chip."""
    return Readout(number, 1_763_719_555_000_000_000 + number, bytes(size - _HEAD.size)).to_bytes()


def json(number: int, size: int) -> bytes:
    """Return an honest text."""
    value = {"id": number, "hv_v": -150.25, "state": "running"}
    chips = [{"id": one, "rate_hz": 12.5 + one} for one in range(size // 32)]
    return bytes(JsonReadout({**value, "chips": chips}).to_bytes())


def array(number: int, size: int) -> bytes:
    """Return an honest array."""
    return bytes(ArrayReadout(np.arange(number, number + size // 4, dtype="<u4")).to_bytes())


#: What makes an honest datagram, what reads it, its number, and what is bad in a way of its own.
READOUTS: Final[
    dict[str, tuple[Callable[[int, int], bytes], Any, Callable[[Any], int], tuple[bytes, ...]]]
] = {
    "readouts, ids": (chip, Readout, lambda readout: readout.number, ()),
    "JSON": (
        json,
        JsonReadout,
        lambda readout: int(readout.value["id"].__index__()),
        (b"[" * 400, b'{"id":NaN}', b'{"id":"7"}', b'{"id":' + b"9" * 300 + b"}", b'"\\ud800"', b"{}{}"),
    ),
    "arrays": (
        array,
        ArrayReadout,
        lambda readout: int(readout.array[0]),
        (b"\3<u4\2" + b"\xff" * 8, b"\3|O8\1\1\0\0\0" + bytes(8), b"\3<u4\x21" + bytes(132)),
    ),
}


def broken_readouts(
    honest: list[bytes], own: tuple[bytes, ...], is_refused: Callable[[bytes], bool]
) -> list[bytes]:
    """Return datagrams that are refused: honest ones that were cut, extended or changed, and noise."""
    chance = random.Random(SEED)

    def changed(data: bytes) -> bytes:
        at = chance.randrange(len(data))
        return data[:at] + chance.randbytes(1) + data[at + 1 :]

    ways: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data[: chance.randrange(len(data))],
        lambda data: data[chance.randrange(1, len(data)) :],
        lambda data: data + chance.randbytes(chance.randrange(1, 40)),
        lambda data: chance.randbytes(len(data)),
        changed,
    )
    found: list[bytes] = []
    while len(found) < VARIETY:
        data = (
            chance.choice(own)
            if own and chance.random() < 0.5
            else chance.choice(ways)(chance.choice(honest))
        )
        if is_refused(data):
            found.append(data)
    return found


def broken_messages(size: int) -> list[bytes]:
    """Return datagrams that no message can be made of: foreign, cut, or against themselves.

    They are no longer than honest ones, some bytes apart: length costs its time in the kernel already.
    """
    chance = random.Random(SEED)
    rest = bytes(min(size, 1400))

    def fragment(of_bytes: int, offset: int, number: int, of: int) -> bytes:
        return _FRAGMENT.pack(b"LC03", chance.getrandbits(32), of_bytes, offset, number, of) + rest

    ways: tuple[Callable[[], bytes], ...] = (
        lambda: b"XC02" + chance.randbytes(len(rest)),
        lambda: b"LC02" + bytes(4) + b"X" * 64 + b"\0",
        lambda: b"LC02" + bytes(4) + b"\xff\xfe\0" + rest,
        lambda: b"LC03" + chance.randbytes(chance.randrange(16)),
        lambda: fragment(1 << 20, 0, 9, 9),
        lambda: fragment(0xFFFFFFFF, 0, 1, 9),
        lambda: fragment(9000, 9000, 1, 9),
    )
    return [chance.choice(ways)() for _ in range(VARIETY)]


class Readouts:
    """A receiver of readouts, and what is sent to it."""

    def __init__(self, kind: str, port: int, size: int) -> None:
        self._make, readout_class, number, own = READOUTS[kind]
        self._size = size
        self._receiver = MulticastReceiver(
            readout_class, GROUP, port, interface=LOCAL, timeout=20, readout_id=number
        )
        self.receive: Callable[[], object] = self._receiver.receive

        def is_refused(data: bytes) -> bool:
            try:
                return not 0 <= number(readout_class.from_bytes(data)) < 1 << 32
            except Exception:  # noqa: BLE001 - as the receiver: whatever it raises
                return True

        honest = [self._make(1000 * one, size) for one in range(32)]
        self.broken = broken_readouts(honest, own, is_refused)

    def honest(self, number: int) -> list[bytes]:
        """Return the datagrams of a readout."""
        return [self._make(number, self._size)]

    def counts(self) -> tuple[int, int]:
        """Return how many were refused, and how many honest ones got lost."""
        seen = self._receiver.statistics
        return seen.broken, seen.lost


class Messages:
    """A receiver of messages on channels, and what is sent to it."""

    def __init__(self, port: int, size: int) -> None:
        self._payload = bytes(size)
        self._receiver = ChannelReceiver(None, None, GROUP, port, interface=LOCAL, timeout=20)
        self.receive: Callable[[], object] = self._receiver.receive
        self.broken = broken_messages(size)

    def honest(self, number: int) -> list[bytes]:
        """Return the datagrams of a message."""
        return [b"".join(parts) for parts in encode_message(number, "READOUTS", self._payload, FRAME)]

    def counts(self) -> tuple[int, int]:
        """Return how many were refused, and how many honest ones got lost."""
        seen = self._receiver.statistics
        return seen.foreign + seen.broken, seen.lost


def rounds(subject: Readouts | Messages, port: int, *, is_clean: bool) -> Iterator[Callable[[], int]]:
    """Send what is to be received at a time; give what receives that, and returns how many that are."""
    friend, foe = bare_sender(), bare_sender()
    for sender in (friend, foe):
        sender.connect((GROUP, port))
    numbers, broken, refused = count(), cycle(subject.broken), 0
    share = SOME if is_clean else SOME // 2
    while True:
        sent = readouts = 0
        while sent < share:
            for data in subject.honest(next(numbers)):
                sent += 1
                if not is_clean:
                    foe.send(next(broken))
                    refused += 1
                friend.send(data)
            readouts += 1

        def receive(readouts: int = readouts) -> int:
            for _ in range(readouts):
                subject.receive()
            return readouts

        yield receive
        if subject.counts() != (refused, 0):
            message = f"{subject.counts()} were refused and lost, not {refused, 0}"
            raise ValueError(message)


def main() -> None:
    """Open both ends, say so, follow the orders of the bench."""
    kind, which = sys.argv[1:3]
    port, size = map(int, sys.argv[3:5])
    subject = Messages(port, size) if kind == "messages" else Readouts(kind, port, size)
    receiving = rounds(subject, port, is_clean=which == "clean")

    def run(steps: int) -> tuple[int, float, float]:
        done, wall, cpu = 0, 0.0, 0.0
        while done < steps:
            (receive,) = islice(receiving, 1)
            begin, busy = time.perf_counter(), time.thread_time()
            done += receive()
            cpu += time.thread_time() - busy
            wall += time.perf_counter() - begin
        return done, wall, cpu

    orders.say(ready=True)
    orders.follow(run)


if __name__ == "__main__":
    main()
