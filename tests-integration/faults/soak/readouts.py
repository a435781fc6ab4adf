"""Readouts and channels from senders that are replaced to monitors that join and leave."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Self

from scene import LIMIT_S, Scene

from udp_multicast import ChannelReceiver, ChannelSender, MulticastReceiver, MulticastSender

GROUP, HERE = "239.79.0.1", "127.0.0.1"
_EACH = 40
#: Senders that a receiver of readouts counts one by one; the first ones fill its memory.
_REMEMBERED = 256
#: More than a sender ever sends. Each begins so much below the one before: should it get its port, that
#: counts as a new life, and as nothing else.
_LIFE = 200_000
#: Bytes of every other readout on the channel, which goes in pieces then.
_LARGE = 100_000


class Numbered:
    """A readout with the sender's number and its own."""

    def __init__(self, sender: int, number: int, size: int = 0) -> None:
        self.sender, self.number, self.size = sender, number, size

    def to_bytes(self) -> bytes:
        """Two numbers, and more of what can be checked."""
        return struct.pack("<II", self.sender, self.number) + bytes([self.number % 256]) * self.size

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Check that the rest is as it was."""
        sender, number = struct.unpack_from("<II", data)
        if data[8:] != bytes([number % 256]) * (len(data) - 8):
            raise ValueError("changed on the way")
        return cls(sender, number, len(data) - 8)


class Readouts(Scene):
    """A monitor of either kind that stays; others come and go, here and in programs that are killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._settings = {"group": GROUP, "interface": HERE, "timeout": LIMIT_S, "strict": True}
        self._plain = self.enter_context(self._receiver(0))
        # A port of the last ones would not be used again so soon.
        channel = ChannelReceiver(Numbered, port=0, max_senders=8, **self._settings)
        self._channel = self.enter_context(channel)
        self._serial = 0
        self._senders = contextlib.ExitStack()
        self.callback(lambda: self._senders.close())
        for _ in range(_REMEMBERED):
            self._begin()
        self.mend()
        for _ in range(2):
            self.add("monitor", GROUP, self._plain.port)

    def _receiver(self, port: int) -> MulticastReceiver[Numbered]:
        return MulticastReceiver(
            Numbered, port=port, readout_id=lambda readout: readout.number, **self._settings
        )

    def mend(self) -> None:
        """Let other senders begin, as when the DAQ is started anew, and a guest listen for a while."""
        self._begin()
        with self._receiver(self._plain.port) as guest:
            self._exchange([guest, self._plain], _EACH)

    def _begin(self) -> None:
        self._senders.close()
        self._serial += 1
        self._number = (1 << 31) - self._serial * _LIFE
        where = {"group": GROUP, "interface": HERE}
        self._senders = contextlib.ExitStack()
        self._daq = self._senders.enter_context(MulticastSender(port=self._plain.port, **where))
        self._adc = self._senders.enter_context(ChannelSender("ADC", port=self._channel.port, **where))
        # Two, so that it can be told from a number that comes again.
        self._exchange([self._plain], 2)

    def play(self) -> None:
        """Send some to each, and take them."""
        self._exchange([self._plain], _EACH)
        for number in range(_EACH):
            self._adc.send_readout(Numbered(self._serial, number, _LARGE * (number % 2)))
            message = self._channel.receive()
            readout = message.readout
            assert (readout.sender, readout.number) == (self._serial, number), "lost, or another one"
            self.checked += 1
        self._judge()

    def _exchange(self, monitors: list[MulticastReceiver[Numbered]], count: int) -> None:
        first = self._number
        self._number += count
        for number in range(first, self._number):
            self._daq.send_readout(Numbered(self._serial, number))
        for monitor in monitors:
            for number in range(first, self._number):
                readout = monitor.receive()
                assert (readout.sender, readout.number) == (self._serial, number), "lost, or another one"
                self.checked += 1

    def _judge(self) -> None:
        """Nothing is counted that did not happen."""
        for statistics in (self._plain.statistics, self._channel.statistics):
            for name in ("lost", "gaps", "late", "duplicates", "broken", "strangers"):
                assert getattr(statistics, name) == 0, f"{name}: {getattr(statistics, name)}"
