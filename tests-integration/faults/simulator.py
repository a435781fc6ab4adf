"""A network in memory, with a clock of its own: the same seed loses, doubles and delays the same things.

Nothing here waits: time is that of the next event, so hours take as long as what happens in them. Ends are
functions that are called with what arrives; a program with sockets of asyncio is put onto it by
`simulated_loop`.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from dice import Faults, copies

Address = Hashable
Receive = Callable[[bytes, Any], object]


class Network:
    """Datagrams between addresses, and the clock of all who are connected.

    `counts` says what the network did: sent = lost + cut + unheard + arrived - doubled, once nothing is on
    its way any more.
    """

    def __init__(self, seed: object, faults: Faults | None = None) -> None:
        self.random = random.Random(str(seed))
        self.faults = faults or Faults()
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._serial = 0
        self._ends: dict[Address, Receive] = {}
        self._cuts: set[tuple[Address, Address]] = set()
        self._paused: dict[Address, list[tuple[bytes, Address]]] = {}

    # -- time

    def clock(self) -> float:
        """Seconds since the beginning, as `time.monotonic` would say."""
        return self.now

    def after(self, delay_s: float, action: Callable[..., object], *arguments: Any) -> None:
        """Let something happen; what is for the same time happens in the order of these calls."""
        self._serial += 1
        heapq.heappush(self._events, (self.now + delay_s, self._serial, action, arguments))

    @property
    def next_at(self) -> float | None:
        """When something happens next; None if nothing does."""
        return self._events[0][0] if self._events else None

    def run(self, until: float | None = None, most: int = 1_000_000) -> None:
        """Let happen what is due until then, or all; more than `most` events are a storm."""
        while self._events and (until is None or self._events[0][0] <= until):
            assert most > 0, "a storm: this never ends"
            most -= 1
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        if until is not None:
            self.now = max(self.now, until)

    # -- ends

    def attach(self, address: Address, receive: Receive) -> None:
        """Connect an end; `receive(data, source)` is called with what arrives."""
        assert address not in self._ends, f"{address!r} is taken"
        self._ends[address] = receive

    def detach(self, address: Address) -> None:
        """Let an end go; what is on its way to it is not heard by anybody."""
        self._ends.pop(address, None)
        self._paused.pop(address, None)

    def cut(self, source: Address, destination: Address) -> None:
        """Let nothing pass in this direction any more; what is on its way is lost too."""
        self._cuts.add((source, destination))

    def heal(self, source: Address, destination: Address) -> None:
        """Let everything pass again."""
        self._cuts.discard((source, destination))

    def pause(self, address: Address) -> None:
        """Stop a process: what arrives waits for it."""
        self._paused.setdefault(address, [])

    def resume(self, address: Address) -> None:
        """Let a process go on, with all that waits."""
        for data, source in self._paused.pop(address, []):
            self._hand_over(source, address, data)

    def is_open(self, source: Address, destination: Address) -> bool:
        """Whether nothing is cut in this direction."""
        return (source, destination) not in self._cuts

    # -- datagrams

    def send(self, source: Address, destination: Address, data: bytes) -> None:
        """Put a datagram on its way."""
        self.counts["sent"] += 1
        for delay_s, copy in copies(bytes(data), self.faults, self.random, self.counts):
            self.after(delay_s, self._arrive, source, destination, copy)

    def _arrive(self, source: Address, destination: Address, data: bytes) -> None:
        if not self.is_open(source, destination):
            self.counts["cut"] += 1
        elif destination in self._paused:
            self._paused[destination].append((data, source))
        else:
            self._hand_over(source, destination, data)

    def _hand_over(self, source: Address, destination: Address, data: bytes) -> None:
        receive = self._ends.get(destination)
        if receive is None:
            self.counts["unheard"] += 1
            return
        self.counts["arrived"] += 1
        receive(data, source)


class Stream:
    """One direction of a stream: all bytes in order, in pieces of any size; a cut holds them up.

    `receive(piece)` is called with each piece, and with b"" at the end.
    """

    def __init__(
        self, network: Network, source: Address, destination: Address, receive: Callable[[bytes], object]
    ) -> None:
        self._network = network
        self._way = source, destination
        self._receive = receive
        self._waiting = bytearray()
        self._is_closed = False
        self._is_scheduled = False

    def write(self, data: bytes) -> None:
        """Put bytes on their way."""
        assert not self._is_closed, "written behind its end"
        self._waiting += data
        self._schedule()

    def close(self) -> None:
        """End it behind what was written."""
        self._is_closed = True
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            faults = self._network.faults
            delay_s = faults.delay_s + self._network.random.random() * faults.spread_s
            self._network.after(delay_s, self._arrive)

    def _arrive(self) -> None:
        self._is_scheduled = False
        if not self._network.is_open(*self._way):
            # As TCP does: it tries again, later.
            self._is_scheduled = True
            self._network.after(0.2, self._arrive)
            return
        if self._waiting:
            size = self._network.random.randint(1, len(self._waiting))
            piece = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._network.counts["pieces"] += 1
            self._receive(piece)
            if self._waiting or self._is_closed:
                self._schedule()
        elif self._is_closed:
            self._receive(b"")
