"""What both ends of groups of all kinds offer, and how one of a kind is made.

Not everybody who runs one kind has the libraries of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Sends a payload; returns when it has been handed to ZeroMQ.
    Send = Callable[[bytes], object]
    #: Waits for a message and returns its payload.
    Receive = Callable[[], bytes]

HOST: Final = "127.0.0.1"
#: Seconds; nothing here takes as long unless something is broken.
WAIT_S: Final = 10.0


class Ends:
    """All ends of one kind, in one context, until the process ends."""

    def publish(self, subscribers: int) -> tuple[Send, list[Receive]]:
        """Return what publishes, and what each of so many connected subscribers receives with."""
        raise NotImplementedError

    def answer(self, port: int) -> tuple[Receive, Send]:
        """Bind to a TCP port; return what takes a query, and what answers the last one."""
        raise NotImplementedError

    def ask(self, port: int) -> tuple[Send, Receive]:
        """Connect to that; return what asks, and what takes an answer."""
        raise NotImplementedError


def ends(whose: str) -> Ends:
    """Return the ends of a kind: ``ours``, ``bare``, ``plain`` or ``pyre``."""
    if whose == "pyre":
        from pyre_ends import Members

        return Members()
    from group_ends import Ports, Sockets

    return Ports() if whose == "ours" else Sockets(is_plain=whose == "plain")
