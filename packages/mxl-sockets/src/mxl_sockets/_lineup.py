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

from typing import TYPE_CHECKING, TypeAlias

from mxl_sockets._barrier import Stage
from mxl_sockets._replies import ReplyBlock
from mxl_sockets._requests import RequestBlock
from wireframe import ipi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mxl_sockets._barrier import Barrier
    from mxl_sockets._connection import Connection

    #: How to receive from a driver, into what, and whose slot it is.
    ShortWay: TypeAlias = tuple[Callable[[memoryview], int], memoryview, int]


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
    requests : list of memoryview
        196 bytes each.
    short_ways : dict of int to tuple
        By descriptor, for drivers whose reply may take the short way.
    sizes : list of int
        See above.
    unsettled : int
        How many `sizes` are positive.
    """

    def __init__(self, last_header: bytes) -> None:
        self.drivers: list[Connection] = []
        self.sends: list[Callable[[memoryview], int]] = []
        self.short_ways: dict[int, ShortWay] = {}
        self.sizes: list[int] = []
        self.unsettled = 0
        self._last_header = last_header
        self._request_block = RequestBlock(1, last_header)
        self._reply_block = ReplyBlock(1)
        self._ids: tuple[int, ...] = ()
        self._generation = -1

    @property
    def requests(self) -> list[memoryview]:
        """The requests, by slot."""
        return self._request_block.rows

    def stands(self, ids: tuple[int, ...], generation: int) -> bool:
        """Whether it was made for these molecules with these drivers, so that none is missing."""
        return self._generation == generation and (self._ids is ids or self._ids == ids)

    def form(self, ids: tuple[int, ...], bound: dict[int, Connection], generation: int) -> None:
        """Line up the drivers of a step; replies that are in stay where they are."""
        before = self.drivers
        if len(self._reply_block.rows) != len(ids) or len(self.sizes) != len(ids):
            self._request_block = RequestBlock(len(ids), self._last_header)
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
        for slot, driver in enumerate(self.drivers):
            driver.slot = slot
        self._ids = ids
        # With a place that nobody fills it may serve the rest of this step, and no other.
        self._generation = generation if all(one in bound for one in ids) else -1

    def fill(self, fields: bytes) -> None:
        """Put the fields into the requests."""
        self._request_block.fill(fields)

    def expect(self, slots: Sequence[int]) -> None:
        """Await whole replies for these slots."""
        # In place: the list is in use while events are handled.
        if len(slots) == len(self.sizes):
            self.sizes[:] = [0] * len(slots)
            self.unsettled = 0
        else:
            for slot in slots:
                self.sizes[slot] = 0

    def holds(self, driver: Connection) -> bool:
        """Whether the driver stands in the line."""
        return 0 <= driver.slot < len(self.drivers) and self.drivers[driver.slot] is driver

    def has_read(self, driver: Connection) -> bool:
        """Whether a whole reply of this driver, which stands in the line, waits to be settled."""
        return self.sizes[driver.slot] > 0

    def leave(self, driver: Connection) -> None:
        """Take a driver off the short way for good."""
        self.short_ways.pop(driver.descriptor, None)

    def settle(self, barrier: Barrier, max_extra: int) -> Iterable[tuple[Connection, bytes]]:
        """Hand all replies that are in to the barrier.

        Returns
        -------
        iterable of (Connection, bytes)
            Drivers that sent less or more than one whole reply, and what.
        """
        # An exception from a signal handler may have ended us before: then the
        # barrier has what the books below still show as open.
        if self.unsettled == len(barrier.ids) and not barrier.complete:
            replies = self._reply_block.read_all(self.sizes, max_extra)
            if replies is not None:
                barrier.answer_all(*replies)
        if barrier.complete:
            self.sizes[:] = [-1] * len(self.sizes)
            self.unsettled = 0
            return ()
        odd = [
            (driver, data)
            for driver, size in zip(self.drivers, self.sizes, strict=True)
            if size > 0 and (data := self.settle_one(driver, barrier, max_extra)) is not None
        ]
        self.unsettled = sum(size > 0 for size in self.sizes)
        return odd

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
