"""An end that keeps to the rules of the old program, as they were observed.

One message waits for its echo. While it does, anything else that comes closes
the program, and so does a missing echo. Without one that waits, all that comes is
echoed, unless its second character is ``0``, and given to callbacks.
"""

from __future__ import annotations

from .simulated_world import Fate


class OldEnd:
    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.life = 0
        self.alive = True
        self.delivered = []
        #: Times that it closed because of what it met.
        self.closed = 0
        self._pending = None
        world.ends.append(self)

    def command(self, text=None):
        # Its users wait for one answer before they ask the next.
        if not self.alive or self._pending is not None:
            return
        world = self.world
        fate = self._pending = Fate(text or world.text(self), self, self.life)
        world.fates.append(fate)
        world.transmit(self, fate.text)
        world.at(world.now + 1.0, self._expire, fate)

    def _expire(self, fate):
        if self._pending is fate:
            self._close()

    def _close(self):
        self.closed += 1
        self.die()

    def die(self):
        if not self.alive:
            return
        self.alive = False
        if self._pending is not None:
            self._pending.outcome = "failed"
            self._pending = None
        self.world.at(self.world.now + self.world.plan.away_s, self._return)

    def _return(self):
        self.alive = True
        self.life += 1

    def arrive(self, data):
        if not self.alive:
            return
        fate = self._pending
        if fate is not None:
            if data != fate.text:
                self._close()
                return
            fate.outcome = "confirmed"
            self._pending = None
            return
        if data[1:2] != b"0":
            self.world.transmit(self, data)
        self.delivered.append((self.life, data))
        is_command = b"answer" not in data and not data.startswith(b"[32]")
        if is_command and self.world.random.random() < self.world.plan.answered:
            self.command(self.world.text(self, "answer"))

    def is_quiet(self):
        return self._pending is None
