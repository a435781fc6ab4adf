"""Items on their way from callbacks to a reader that may be slower: a bounded number of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from typing import Self

Item = TypeVar("Item")


class BoundedStream(Generic[Item]):
    """Keeps items until they are asked for: ``async for item in stream``.

    It ends when it is closed; what came before is still handed out. To be used
    in one thread; several tasks may share it, and each item goes to one of them.

    Parameters
    ----------
    max_queued : int
        How many to keep. If more come, the oldest are dropped.

    Attributes
    ----------
    dropped : int
        How many were dropped.

    Raises
    ------
    ValueError
        `max_queued` is below 1.
    """

    def __init__(self, max_queued: int) -> None:
        if max_queued < 1:
            raise ValueError(f"max_queued must be 1 or more, not {max_queued}")
        self.dropped = 0
        self.is_closed = False
        self._max_queued = max_queued
        # Around each item a tuple; the empty one marks the end.
        self._queue: asyncio.Queue[tuple[Item] | tuple[()]] = asyncio.Queue()

    def put(self, item: Item) -> None:
        """Keep an item."""
        if self.is_closed:
            return
        if self._queue.qsize() >= self._max_queued:
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait((item,))

    def close(self) -> None:
        """End the stream behind what is kept; safe to call twice."""
        if not self.is_closed:
            self.is_closed = True
            self._queue.put_nowait(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        kept = await self._queue.get()
        if not kept:
            self._queue.put_nowait(())  # For the next who asks.
            raise StopAsyncIteration
        return kept[0]
