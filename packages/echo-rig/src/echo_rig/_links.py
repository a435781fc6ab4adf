"""All other ends that one end knows, each with its link."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from echo_rig._conversation import Conversation
from echo_rig._link import Address, Link
from wireframe.echo import MAX_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[bytes], object]

#: Other ends that are remembered. A forged source address costs no more than one of them.
MAX_LINKS: Final = 4096

AnyLink = TypeVar("AnyLink", bound=Link)


class Links(dict[Address, AnyLink], Generic[AnyLink]):
    """Links by address; the numbers of all belong to one session.

    Parameters
    ----------
    make : callable
        ``make(address, conversation, write)`` returns a link.
    datagrams : bool
        UDP; else TCP.
    max_message_size : int
        See `Conversation`.
    """

    def __init__(
        self,
        make: Callable[[Address, Conversation, Write], AnyLink],
        *,
        datagrams: bool,
        max_message_size: int,
    ) -> None:
        super().__init__()
        self._make = make
        self._datagrams = datagrams
        self._max_message_size = max_message_size
        self._session = secrets.randbelow(MAX_NUMBER) + 1
        self._first_number = 1

    def open(self, address: Address, write: Write, numbering: bool | None) -> AnyLink:
        """Make a link; if there are too many, forget the oldest one that nothing is under way to."""
        if len(self) >= MAX_LINKS:
            idle = (address for address, link in self.items() if not link.conversation.outstanding)
            self.forget(next(idle, next(iter(self))), ConnectionResetError("too many addresses"))
        conversation = Conversation(
            datagrams=self._datagrams,
            session=self._session,
            numbering=numbering,
            first_number=self._first_number,
            max_message_size=self._max_message_size,
        )
        link = self[address] = self._make(address, conversation, write)
        return link

    def forget(self, address: Address, error: Exception) -> None:
        """Let a link and all that waits there fail; the next message begins another conversation."""
        link = self.pop(address, None)
        if link is not None:
            # Numbers are never used twice in a session, also for an address that comes back.
            self._first_number = min(max(self._first_number, link.conversation.next_number), MAX_NUMBER)
            link.end(error)

    def end(self, address: Address, error: Exception | None) -> None:
        """Let a link and all that waits there fail, because its connection is lost."""
        link = self.pop(address, None)
        if link is not None:
            link.end(lost_connection(address, error))

    def end_all(self, error: Exception | None) -> None:
        """Let all links and all that waits there fail, because the connection is lost."""
        for address in list(self):
            self.end(address, error)


def lost_connection(address: Address, error: Exception | None) -> ConnectionError:
    """Return what sends that were waiting fail with: never a TimeoutError, as the system may call it."""
    failure = ConnectionResetError(f"{address[0]}:{address[1]} is gone: {error or 'end of stream'}")
    failure.__cause__ = error
    return failure
