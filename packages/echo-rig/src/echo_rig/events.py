"""Events as a stream: ``async for event in rig.events()``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echo_rig._bounded_stream import BoundedStream

if TYPE_CHECKING:
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


class EventStream(BoundedStream[Event]):
    """Keeps the events that came since it was made, until they are asked for.

    It ends when the communicator is closed, or itself; what came before is
    still handed out. Dropping the last reference to it is enough to be rid of
    it. To be used in the thread of the communicator; several tasks may share
    it, and each event goes to one of them.

    Parameters
    ----------
    wanted : ExpMessage
        Events to keep: one, several together, or 0.
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

    def __init__(self, wanted: ExpMessage, max_queued: int) -> None:
        super().__init__(max_queued)
        self._wanted = wanted

    def offer(self, event: ExpMessage, data: list[Any], address: Any) -> bool:
        """Keep an event, if it is wanted here, and tell whether it is."""
        if self.is_closed or not (event & self._wanted or event == self._wanted):
            return False
        self.put(Event(event, data, address))
        return True
