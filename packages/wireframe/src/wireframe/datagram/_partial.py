"""A message of which some fragments are here."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from wireframe.datagram._messages import FRAGMENT_HEAD, FRAGMENT_MAGIC

if TYPE_CHECKING:
    from collections.abc import Hashable

    from wireframe.datagram._messages import Fragment

#: Sender and sequence number of a message.
Key: TypeAlias = "tuple[Hashable, int]"


class Account:
    """What one sender holds."""

    __slots__ = ("held", "partials")

    def __init__(self) -> None:
        self.held = 0
        self.partials: OrderedDict[int, Partial] = OrderedDict()


class Partial:
    """A message of which some fragments are here.

    Fragments mostly come in order. Those that do are joined at once, into
    memory of an earlier message (`front` as it was given) and, beyond that,
    into memory that grows with them; what comes too early waits.
    """

    __slots__ = (
        "account",
        "arrived",
        "channel",
        "count",
        "ends",
        "expires",
        "filled",
        "front",
        "held",
        "key",
        "lent",
        "size",
        "view",
        "waiting",
    )

    def __init__(
        self, key: Key, account: Account, size: int, count: int, expires: float, front: bytearray
    ) -> None:
        self.key = key
        self.account = account
        self.size = size
        self.count = count
        self.expires = expires
        self.channel: str | None = None
        #: What the books charge for it.
        self.held = 0
        #: Payload bytes that are here.
        self.arrived = 0
        #: Fragments 0 to n, joined in the first `filled` bytes, and where each of them ends.
        self.front = front
        self.lent = len(front)
        #: All of `front`, which cannot grow meanwhile.
        self.view = memoryview(front)
        self.filled = 0
        self.ends: list[int] = []
        #: Offset and payload of the others by number. Not a list of `count`:
        #: the peer chose that number.
        self.waiting: dict[int, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        """Return how many fragments are here."""
        return len(self.ends) + len(self.waiting)

    def put(self, number: int, offset: int, payload: bytes | memoryview) -> None:
        """Enter a fragment that is not here; its payload is copied."""
        self.arrived += len(payload)
        ends, waiting = self.ends, self.waiting
        if number != len(ends) or offset != self.filled:
            waiting[number] = (offset, bytes(payload))
            return
        self._append(payload)
        while waiting and (known := waiting.get(len(ends))) is not None and known[0] == self.filled:
            self._append(waiting.pop(len(ends))[1])

    def _append(self, payload: bytes | memoryview) -> None:
        front, filled = self.front, self.filled
        end = filled + len(payload)
        if end <= len(front):
            # Through a view: a bytearray would make a copy of `payload` first.
            self.view[filled:end] = payload
        else:
            self.view.release()
            del front[filled:]
            front += payload
            self.view = memoryview(front)
        self.filled = end
        self.ends.append(end)

    def next_head(self) -> bytes:
        """Return the header of the fragment behind those that are joined."""
        return FRAGMENT_HEAD.pack(
            FRAGMENT_MAGIC, self.key[1], self.size, self.filled, len(self.ends), self.count
        )

    def is_repeated_by(self, fragment: Fragment) -> bool | None:
        """Say whether the fragment of this number that is here is the same; None if none is here."""
        number, ends = fragment.number, self.ends
        known: bytes | bytearray
        if number < len(ends):
            offset = ends[number - 1] if number else 0
            known = self.front[offset : ends[number]]
        elif number in self.waiting:
            offset, known = self.waiting[number]
        else:
            return None
        return (
            offset == fragment.offset
            and known == fragment.payload
            and (number > 0 or self.channel == fragment.channel)
            and (self.size, self.count) == (fragment.size, fragment.count)
        )

    def contradicts(self, fragment: Fragment) -> bool:
        """Say whether a fragment, whose number is not here, cannot be of this message."""
        return (
            self.size != fragment.size
            or self.count != fragment.count
            or self.arrived + len(fragment.payload) > self.size
        )

    def payload(self) -> bytes | None:
        """Return the whole payload, when every number is here; None if they do not tile it."""
        if self.waiting or self.filled != self.size:
            return None
        return bytes(self.view[: self.size])
