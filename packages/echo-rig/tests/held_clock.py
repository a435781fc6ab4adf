"""A clock of our ends that stands still unless the test moves it: then no pause of a busy machine counts."""

from __future__ import annotations


class HeldClock:
    """Takes the place of `time` in modules of the package."""

    def __init__(self, monkeypatch, *modules):
        self.now = 1000.0
        for module in modules:
            monkeypatch.setattr(module, "time", self)

    def monotonic(self):
        return self.now
