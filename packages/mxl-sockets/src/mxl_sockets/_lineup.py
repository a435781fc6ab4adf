"""The drivers of one step in their order, with room for what each is sent and answers.

A hub spends its own time here, so nothing is looked up or allocated per step
that can be kept while the same drivers serve the same molecules. Replies have
a *short way*: the hub receives straight into the row of the slot, and reads
all rows together when the last one is in (`settle`). `sizes` says where each
slot is on it:

======  =============================================================
``0``   a whole reply is awaited
``>0``  that many bytes are in the row, not yet judged
``-1``  nothing is awaited this way: not asked, settled, or in pieces
======  =============================================================
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, TypeAlias

from mxl_sockets._barrier import Stage
from mxl_sockets._connection import NO_WAIT
from mxl_sockets._replies import ReplyBlock
from mxl_sockets._requests import RequestBlock
from wireframe import ipi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mxl_sockets._barrier import Barrier
    from mxl_sockets._connection import Connection

    #: How to receive from a driver: into what, a number of bytes (0 for all), flags.
    Receive: TypeAlias = Callable[..., int]
    #: How to receive from a driver, into what, and whose slot it is.
    ShortWay: TypeAlias = tuple[Receive, memoryview, int]
    #: The first slot of some, how to receive from each, and into what.
    Batch: TypeAlias = tuple[int, list[Receive], list[memoryview]]

#: Replies that are read in order without a look at the clock.
BATCH: Final = 16


class LineUp:
    """Drivers, requests and replies of a step, by slot.

    Parameters
    ----------
    last_header : bytes
        What follows the field in a request.

    Attributes
    ----------
    drivers : list of Connection
    sends : list of callable
        The ``send`` of each driver's socket.
    requests : RequestBlock
        The requests, by slot.
    no_waits : iterator of int
        Flags for `sends`, without end.
    short_ways : dict of int to tuple
        By descriptor, for drivers whose reply may take the short way.
    batches : list of tuple
        All slots in order, some at a time, to receive from.
    sizes : list of int
        See above.
    unsettled : int
        How many `sizes` are positive.
    """

    def __init__(self, last_header: bytes) -> None:
        self.drivers: list[Connection] = []
        self.sends: list[Callable[[memoryview, int], int]] = []
        self.no_waits = itertools.repeat(NO_WAIT)
        self.batches: list[Batch] = []
        self.short_ways: dict[int, ShortWay] = {}
        self.sizes: list[int] = []
        self.unsettled = 0
        self._last_header = last_header
        self.requests = RequestBlock(1, last_header)
        self._reply_block = ReplyBlock(1)
        self._ids: tuple[int, ...] = ()
        self._generation = -1
        self._forces = False

    def stands(self, ids: tuple[int, ...], generation: int, requests: Sequence[bytes] = ()) -> bool:
        """Whether it was made for these molecules and drivers, and for forces if there are `requests`."""
        return (
            self._generation == generation
            and self._forces is bool(requests)
            and (self._ids is ids or self._ids == ids)
        )

    def form(self, ids: tuple[int, ...], bound: dict[int, Connection], generation: int) -> None:
        """Line up the drivers of a step; replies that are in stay where they are."""
        before = self.drivers
        if len(self._reply_block.rows) != len(ids) or len(self.sizes) != len(ids):
            self.requests = RequestBlock(len(ids), self._last_header)
            self._reply_block = ReplyBlock(len(ids))
            self.sizes = [-1] * len(ids)
        # A molecule that has answered may have lost its driver since: then its place is never used.
        self.drivers = [bound.get(one) or before[slot] for slot, one in enumerate(ids)]
        self.sends = [driver.send_now for driver in self.drivers]
        self.short_ways = {
            driver.descriptor: (driver.receive_into, self._reply_block.rows[slot], slot)
            for slot, driver in enumerate(self.drivers)
            if bound.get(ids[slot]) is driver
        }
        receives = [driver.receive_into for driver in self.drivers]
        self.batches = [
            (first, receives[first : first + BATCH], self._reply_block.rows[first : first + BATCH])
            for first in range(0, len(ids), BATCH)
        ]
        for slot, driver in enumerate(self.drivers):
            driver.slot = slot
        self._ids = ids
        self._forces = False
        # With a place that nobody fills it may serve the rest of this step, and no other.
        self._generation = generation if all(one in bound for one in ids) else -1

    def stand_aside(self) -> None:
        """Serve an evaluation of forces: no whole replies are awaited, they are read in pieces."""
        self.sizes[:] = [-1] * len(self.sizes)
        self.unsettled = 0
        self._forces = True

    def expect(self, slots: Sequence[int]) -> None:
        """Await whole replies for these slots."""
        # In place: the list is in use while events are handled.
        if len(slots) == len(self.sizes):
            self._reply_block.clear()
            self.sizes[:] = [0] * len(slots)
            self.unsettled = 0
        else:
            for slot in slots:
                self._reply_block.rows[slot][0] = 0
                self.sizes[slot] = 0

    def expects_all(self) -> bool:
        """Whether a whole reply of every driver is awaited, and nothing has been read of any."""
        return self.sizes.count(0) == len(self.sizes)

    def is_written(self, slot: int) -> bool:
        """Whether a row holds bytes, although `sizes` may not know: no reply begins with a zero."""
        return self._reply_block.rows[slot][0] != 0

    def recount(self) -> None:
        """Count anew what is unsettled."""
        self.unsettled = len(self.sizes) - self.sizes.count(0) - self.sizes.count(-1)

    def holds(self, driver: Connection) -> bool:
        """Whether the driver stands in the line."""
        return 0 <= driver.slot < len(self.drivers) and self.drivers[driver.slot] is driver

    def has_read(self, driver: Connection) -> bool:
        """Whether a whole reply of this driver, which stands in the line, waits to be settled."""
        return self.sizes[driver.slot] > 0

    def leave(self, driver: Connection) -> None:
        """Take a driver off the short way for good."""
        self.short_ways.pop(driver.descriptor, None)

    def settle(self, barrier: Barrier, max_extra: int) -> Iterable[Connection]:
        """Hand all replies to the barrier, if all are in and of one kind.

        Returns
        -------
        iterable of Connection
            Otherwise: drivers of which something is in, for `settle_one`.
        """
        # An exception from a signal handler may have ended us before: then the
        # barrier has what the books below still show as open.
        if barrier.open and self.unsettled == len(barrier.ids):
            replies = self._reply_block.read_all(self.sizes, max_extra)
            if replies is not None:
                barrier.answer_all(*replies)
        if barrier.complete:
            self.sizes[:] = [-1] * len(self.sizes)
            self.unsettled = 0
            return ()
        self.recount()
        return [driver for driver, size in zip(self.drivers, self.sizes, strict=True) if size > 0]

    def settle_one(self, driver: Connection, barrier: Barrier, max_extra: int) -> bytes | None:
        """Hand the reply of one driver to the barrier, if one is in.

        Returns
        -------
        bytes or None
            What is in, if it is less or more than one whole reply; the
            driver's reply is then awaited in pieces.
        """
        slot = driver.slot
        size = self.sizes[slot]
        if size <= 0:
            return None
        row = self._reply_block.rows[slot]
        reply = ipi.split_reply(row, size, max_extra)
        if reply is not None and barrier.stage_of(slot) is Stage.ASKED:
            barrier.answer(slot, *reply)
        self.sizes[slot] = -1
        self.unsettled -= 1
        return bytes(row[:size]) if reply is None else None
