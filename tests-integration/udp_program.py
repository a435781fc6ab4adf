"""One end of a multicast network, as a program: ``udp_program.py monitor|daq SETTINGS``.

SETTINGS are those of the receiver or the sender as JSON, and ``"channel": true`` for those of channels. It
says "ready" when it is, and answers each line with one of JSON. Readouts are ``[label, number]``, and with
something longer behind it if wanted; a DAQ counts from 0.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from udp_multicast import ChannelReceiver, ChannelSender, JsonReadout, MulticastReceiver, MulticastSender

# Seconds that a monitor waits for what has been sent.
WAIT_S = 30.0


class Monitor:
    """Receives when told to, and only then."""

    def __init__(self, *, channel: bool = False, **settings: Any) -> None:
        self._receiver: Any
        if channel:
            self._receiver = ChannelReceiver(JsonReadout, **settings)
        else:
            self._receiver = MulticastReceiver(
                JsonReadout, readout_id=lambda readout: readout.value[1], **settings
            )
        self._is_channel = channel

    def _receive(self, how: str, wait_s: float) -> list[list[Any]]:
        if self._is_channel:
            return [self._receiver.receive(timeout=wait_s).readout.value]
        self._receiver.settimeout(wait_s)
        readouts = self._receiver.receive_many() if how == "many" else [self._receiver.receive()]
        return [readout.value for readout in readouts]

    def until(self, number: str, how: str = "one") -> list[list[Any]]:
        """Read until that number, or a later one, has come."""
        heard = self._receive(how, WAIT_S)
        while heard[-1][1] < int(number):
            heard += self._receive(how, WAIT_S)
        return heard

    def rest(self, how: str = "one") -> list[list[Any]]:
        """Read what is there, without waiting."""
        heard: list[list[Any]] = []
        while True:
            try:
                heard += self._receive(how, 0.0)
            except (BlockingIOError, TimeoutError):
                return heard

    def join(self, *interface: str) -> None:
        self._receiver.join(*interface)

    def leave(self, *interface: str) -> None:
        self._receiver.leave(*interface)

    def statistics(self) -> dict[str, Any]:
        """The counts, and the most memory there ever was in KiB."""
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        peak = int(status.partition("VmHWM:")[2].split()[0])
        counts = dataclasses.asdict(dataclasses.replace(self._receiver.statistics, senders={}))
        return {**counts, "peak_memory": peak}


class Daq:
    """Sends when told to; stops at the first error and says what it was."""

    def __init__(self, label: str, *, channel: bool = False, **settings: Any) -> None:
        # Packets stay in order: each processor has a queue of its own for them.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        self._label = label
        self._next = 0
        self._sender: Any = ChannelSender("ADC", **settings) if channel else MulticastSender(**settings)

    def _readouts(self, count: str, size: str) -> Iterator[JsonReadout]:
        for number in itertools.islice(itertools.count(self._next), int(count)):
            yield JsonReadout([self._label, number, "x" * int(size)][: 3 if int(size) else 2])

    def send(self, count: str, size: str = "0") -> dict[str, Any]:
        """Send so many, one by one, each longer than usual by that size."""
        try:
            for readout in self._readouts(count, size):
                self._sender.send_readout(readout)
                self._next += 1
        except OSError as error:
            return {"next": self._next, "error": errno.errorcode[error.errno]}
        return {"next": self._next}

    def batch(self, count: str, size: str = "0") -> dict[str, Any]:
        """Send so many in batches."""
        self._next += self._sender.send_readouts(self._readouts(count, size))
        return {"next": self._next}


def main() -> None:
    what, settings = sys.argv[1:]
    end = {"monitor": Monitor, "daq": Daq}[what](**json.loads(settings))
    print("ready", flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        print(json.dumps(getattr(end, command)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
