"""Events as a stream: ``async for event in rig.events()``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

    from wireframe.echo import ExpMessage

__all__ = ["Event", "EventStream"]


@dataclass(slots=True)
class Event:
    """One event that came in.

    Attributes
    ----------
    event : ExpMessage
        A single event, or 0 for an error that the other end reports.
    data : list
        The items of the message behind the event.
    address : tuple of (str, int)
        Who sent it.
    """

    event: ExpMessage
    data: list[Any]
    address: Any


class EventStream:
    """Keeps the events that came since it was made, until they are asked for.

    It ends when the communicator is closed, or itself; what came before is
    still handed out. Dropping the last reference to it is enough to be rid of
    it. To be used in the thread of the communicator; several tasks may share
    it, and each event goes to one of them.

    Parameters
    ----------
    wanted : ExpMessage
        Events to keep: one, several together, or 0.
    limit : int
        How many to keep. If more come, the oldest are dropped.

    Attributes
    ----------
    dropped : int
        How many were dropped.
    """

    def __init__(self, wanted: ExpMessage, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        self.dropped = 0
        self._wanted = wanted
        self._limit = limit
        self._closed = False
        # None marks the end.
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def offer(self, event: ExpMessage, data: list[Any], address: Any) -> bool:
        """Keep an event, if it is wanted here, and tell whether it is."""
        if self._closed or not (event & self._wanted or event == self._wanted):
            return False
        if self._queue.qsize() >= self._limit:
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait(Event(event, data, address))
        return True

    def close(self) -> None:
        """End the stream behind what is kept."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            self._queue.put_nowait(None)  # For the next who asks.
            raise StopAsyncIteration
        return event
