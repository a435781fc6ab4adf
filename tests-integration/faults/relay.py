"""A cable between two network namespaces that loses, doubles, reorders, delays and corrupts: for root only.

``relay.py PID PID SEED``: puts a TAP device named ``cable`` into the network namespaces of two processes,
with the addresses 10.78.0.1 and 10.78.0.2, and passes frames on between them. Only TCP and UDP over IPv4 is
treated badly; what finds addresses passes. It stands for netem, which not every kernel has. Each line of its
input is JSON with new faults, such as ``{"loss": 0.1}``, or ``{"is_up": false}`` to pull the cable; each is
answered with what was counted until then, and the end of the input ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

from dice import Faults, copies

DEVICE = "cable"
ADDRESSES = ("10.78.0.1", "10.78.0.2")
TUN = "/dev/net/tun"

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000
_IPV4 = b"\x08\x00"
_TCP, _UDP = 6, 17
#: What is before is not changed, so that a frame arrives and a checksum has to notice.
_ADDRESSES_END = 34
#: Largest frame of such a device.
_FRAME_SIZE = 65535


@dataclass(order=True)
class Due:
    """A copy of a frame on its way."""

    at: float
    serial: int
    side: int = field(compare=False)
    frame: bytes = field(compare=False)


class Cable:
    """Decides about frames: no device, no clock, so that it can be tried without root."""

    def __init__(self, seed: int) -> None:
        self.faults = Faults(delay_s=0.0)
        self.is_up = True
        self.counts: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._due: list[Due] = []
        self._serial = 0

    def set(self, knobs: dict[str, float | bool]) -> None:
        """Take new faults; the others stay as they are."""
        known = {one.name for one in fields(Faults)} | {"is_up"}
        if unknown := set(knobs) - known:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
        self.is_up = bool(knobs.get("is_up", self.is_up))
        self.faults = replace(self.faults, **{name: knobs[name] for name in knobs if name != "is_up"})

    def take(self, side: int, frame: bytes, now: float) -> None:
        """A frame came in on one side."""
        if not self.is_up:
            self.counts["down"] += 1
            return
        if frame[12:14] != _IPV4 or frame[23] not in (_TCP, _UDP):
            self._push(now, side, frame)
            return
        self.counts["taken"] += 1
        for delay_s, copy in copies(frame, self.faults, self._dice, self.counts, spared=_ADDRESSES_END):
            self.counts["passed"] += 1
            self._push(now + delay_s, side, copy)

    def _push(self, at: float, side: int, frame: bytes) -> None:
        self._serial += 1
        heapq.heappush(self._due, Due(at, self._serial, 1 - side, frame))

    @property
    def next_at(self) -> float | None:
        """When the next frame has to go out; None if nothing is on its way."""
        return self._due[0].at if self._due else None

    def due(self, now: float) -> Iterator[tuple[int, bytes]]:
        """Frames that have to go out now, and on which side."""
        while self._due and self._due[0].at <= now:
            one = heapq.heappop(self._due)
            yield one.side, one.frame


def open_device(process: int, address: str) -> int:
    """Make a device in the network namespace of a process; it goes with its descriptor."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (os.open(f"/proc/{one}/ns/net", os.O_RDONLY) for one in ("self", process))
        stack.callback(os.close, ours)
        stack.callback(os.close, theirs)
        _enter(theirs)
        stack.callback(_enter, ours)
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", DEVICE.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, request)
        for command in (f"addr add {address}/24 dev {DEVICE}", f"link set {DEVICE} up"):
            subprocess.run(["ip", *command.split()], check=True)
    return device


def _enter(namespace: int) -> None:
    """Go to a network namespace; Python itself can do so from 3.12 on."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(namespace, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def serve(cable: Cable, devices: list[int]) -> None:
    """Pass frames on until the input ends."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as lines:
        while True:
            next_at = cable.next_at
            wait = None if next_at is None else max(0.0, next_at - time.monotonic())
            readable, _, _ = select.select([*devices, lines], [], [], wait)
            for side, device in enumerate(devices):
                if device in readable:
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            cable.take(side, os.read(device, _FRAME_SIZE), time.monotonic())
            for side, frame in cable.due(time.monotonic()):
                os.write(devices[side], frame)
            if lines in readable:
                line = lines.readline()
                if not line:
                    return
                cable.set(json.loads(line))
                print(json.dumps(cable.counts), flush=True)


if __name__ == "__main__":
    opened = [open_device(int(sys.argv[1 + side]), ADDRESSES[side]) for side in range(2)]
    print("ready", flush=True)
    serve(Cable(int(sys.argv[3])), opened)
