"""The simulated world with streams in place of datagrams: all arrives, cut anywhere."""

from __future__ import annotations

from wireframe.echo import Splitter

from .simulated_world import OurEnd, World


class StreamWorld(World):
    """Bytes arrive in order, in pieces that have nothing to do with the writes."""

    def __init__(self, seed, plan):
        super().__init__(seed, plan)
        self.whole = self.random.random() < 0.3
        self._under_way = {}
        self._free_at = {}

    def transmit(self, source, data):
        self.datagrams += 1
        target = self.other(source)
        self._under_way.setdefault(target, bytearray()).extend(data)
        self._schedule(target)

    def _schedule(self, target):
        plan = self.plan
        when = self.now + plan.delay_s + self.random.random() * plan.spread_s
        self._free_at[target] = when = max(when, self._free_at.get(target, 0))
        self.at(when, self._arrive, target)

    def _arrive(self, target):
        under_way = self._under_way[target]
        if not under_way:
            return
        size = len(under_way) if self.whole else self.random.choice([1, 7, 50, 100, len(under_way)])
        piece = bytes(under_way[:size])
        del under_way[:size]
        if under_way:
            self._schedule(target)
        target.read(piece)


class StreamEnd(OurEnd):
    """An end of ours on a connection."""

    def __init__(self, world, name, numbering):
        super().__init__(world, name, numbering, datagrams=False)
        self._splitter = Splitter()

    def read(self, piece):
        self._splitter.feed(piece)
        self._take()

    def _take(self):
        # No text of this world is longer than a splitter keeps.
        while isinstance(event := self._splitter.next_event(), bytes):
            self.arrive(event)
