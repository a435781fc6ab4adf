"""All other ends that one end knows, each with its link."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from echo_rig._conversation import Conversation
from echo_rig._link import Link
from wireframe.echo import MAX_NUMBER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from echo_rig._link import Address, Listener

#: Other ends that are remembered. A forged source address costs no more than one of them.
MAX_LINKS: Final = 4096


class Links(dict["Address", Link]):
    """Links by address; the numbers of all belong to one session.

    Parameters
    ----------
    listener : Listener
        Is told what comes over any of them.
    loop : asyncio.AbstractEventLoop
    datagrams : bool
        UDP; else TCP.
    max_message_size : int
        See `Conversation`.
    """

    def __init__(
        self, listener: Listener, loop: asyncio.AbstractEventLoop, *, datagrams: bool, max_message_size: int
    ) -> None:
        super().__init__()
        self._listener = listener
        self._loop = loop
        self._datagrams = datagrams
        self._max_message_size = max_message_size
        self._session = secrets.randbelow(MAX_NUMBER) + 1
        self._first_number = 1

    def open(self, address: Address, write: Callable[[bytes], object], numbering: bool | None) -> Link:
        """Make a link; if there are too many, forget another one."""
        if len(self) >= MAX_LINKS:
            self._forget_one()
        conversation = Conversation(
            datagrams=self._datagrams,
            session=self._session,
            numbering=numbering,
            first_number=self._first_number,
            max_message_size=self._max_message_size,
        )
        link = self[address] = Link(address, conversation, write, self._listener, self._loop)
        return link

    def end(self, address: Address, error: Exception | None) -> None:
        """Let a link and all that waits there fail."""
        link = self.pop(address, None)
        if link is not None:
            link.end(lost_connection(address, error))

    def end_all(self, error: Exception | None) -> None:
        """Let all links and all that waits there fail."""
        for address in list(self):
            self.end(address, error)

    def cancel_all(self) -> None:
        """End all links; what waits there is cancelled."""
        for link in self.values():
            link.end(None)
        self.clear()

    def _forget_one(self) -> None:
        """Make room for one more: forget the oldest one that nothing is under way to."""
        idle = (address for address, link in self.items() if not link.conversation.outstanding)
        link = self.pop(next(idle, next(iter(self))))
        # Numbers are never used twice in a session, also for an address that comes back.
        self._first_number = min(max(self._first_number, link.conversation.next_number), MAX_NUMBER)
        link.end(ConnectionResetError("too many addresses"))


def lost_connection(address: Address, error: Exception | None) -> ConnectionError:
    """Return what sends that were waiting fail with: never a TimeoutError, as the system may call it."""
    failure = ConnectionResetError(f"{address[0]}:{address[1]} is gone: {error or 'end of stream'}")
    failure.__cause__ = error
    return failure
