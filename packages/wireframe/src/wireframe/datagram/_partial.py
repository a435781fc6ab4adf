"""A message of which some fragments are here."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count, repeat
from typing import TYPE_CHECKING, TypeAlias

from wireframe.datagram._messages import FRAGMENT_HEAD, FRAGMENT_MAGIC, FULL_FRAGMENT

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from wireframe.datagram._memory import Memory
    from wireframe.datagram._messages import Fragment

_PACK = FRAGMENT_HEAD.pack

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

    Fragments mostly come in order. Those that do are joined at once, into the
    buffer as it was given and, beyond that, into memory that grows with them;
    what comes too early waits.
    """

    __slots__ = (
        "account",
        "arrived",
        "buffer",
        "channel",
        "count",
        "earned",
        "ends",
        "expires",
        "filled",
        "held",
        "is_handed_out",
        "key",
        "lent",
        "size",
        "view",
        "waiting",
    )

    def __init__(
        self,
        key: Key,
        account: Account,
        size: int,
        count: int,
        expires: float,
        buffer: Memory,
        earned: int,
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
        self.buffer = buffer
        #: What `Spares` lent it for.
        self.earned = earned
        #: All of `buffer`, which cannot grow meanwhile.
        self.view = buffer.getbuffer()
        self.lent = len(self.view)
        #: Whether the bytes of the buffer are somebody else's by now.
        self.is_handed_out = False
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
        filled = self.filled
        end = filled + len(payload)
        if end <= len(self.view):
            self.view[filled:end] = payload
        else:
            self.view.release()
            try:
                self.buffer.seek(filled)
                self.buffer.write(payload)
            finally:  # no memory, or an interrupt: without a view nothing could be received any more
                self.view = self.buffer.getbuffer()
        self.filled = end
        self.ends.append(end)

    def next_heads(self) -> Iterator[bytes]:
        """Make the headers of the fragments behind those that are joined, were they full ones."""
        return map(
            _PACK,
            repeat(FRAGMENT_MAGIC),
            repeat(self.key[1]),
            repeat(self.size),
            range(self.filled, self.size, FULL_FRAGMENT),
            count(len(self.ends)),
            repeat(self.count),
        )

    def is_repeated_by(self, fragment: Fragment) -> bool | None:
        """Say whether the fragment of this number that is here is the same; None if none is here."""
        number, ends = fragment.number, self.ends
        known: bytes | bytearray
        if number < len(ends):
            offset = ends[number - 1] if number else 0
            known = bytearray(self.view[offset : ends[number]])
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
        self.view.release()
        self.buffer.truncate(self.size)
        self.is_handed_out = True
        return self.buffer.getvalue()
