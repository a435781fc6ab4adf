"""Events that came and were not asked for yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from echo_rig._log_text import remote_text
from echo_rig.errors import RemoteError
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from echo_rig.events import Event

#: Events kept, and bytes of their messages. Whoever leaves more than that lying does not wait for them.
MAX_EVENTS: Final = 256
MAX_BYTES: Final = 4 * 1024 * 1024


class Mailbox:
    """Keeps events until they are taken, the oldest ones make room for new ones.

    Examples
    --------
    >>> from echo_rig.events import Event
    >>> mailbox = Mailbox()
    >>> mailbox.put(Event(ExpMessage.EXPINIT, [42], ("127.0.0.1", 11001)), size=7)
    >>> mailbox.take(ExpMessage.EXPSTART), mailbox.take(ExpMessage.EXPINIT).data
    (None, [42])
    """

    __slots__ = ("_bytes", "_events", "count", "dropped")

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        #: How many were put here.
        self.count = 0
        #: How many of them had to make room.
        self.dropped = 0

    def put(self, event: Event, size: int) -> None:
        """Keep an event, of a message of so many bytes."""
        self.count += 1
        self._events.append((event, size))
        self._bytes += size
        while len(self._events) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._bytes -= self._events.popleft()[1]
            self.dropped += 1

    def take(self, wanted: ExpMessage) -> Event | None:
        """Return and forget the oldest event that is one of those wanted, if there is one.

        Raises
        ------
        RemoteError
            Before it came the report that a callback for one of those wanted has failed.
        """
        for index, (event, size) in enumerate(self._events):
            if _is_about(event, wanted):
                del self._events[index]
                self._bytes -= size
                if wanted and not event.event:
                    raise RemoteError(remote_text(event.data), event.address)
                return event
        return None

    def forget(self, wanted: ExpMessage) -> None:
        """Forget events, and reports that callbacks for them have failed."""
        kept = [entry for entry in self._events if not _is_about(entry[0], wanted)]
        self._events = deque(kept)
        self._bytes = sum(size for _, size in kept)


def _is_about(event: Event, wanted: ExpMessage) -> bool:
    if event.event:
        return bool(event.event & wanted)
    if not wanted:
        return True
    try:
        return bool(ExpMessage.validate(event.data[1]) & wanted)
    except (IndexError, TypeError, ValueError):  # the other end may have written anything there
        return False
