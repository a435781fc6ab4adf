"""Sockets of one end, and the links over them: what UDP and TCP have in common."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Protocol

from echo_rig._links import Links
from echo_rig.sync._polled_link import PolledLink

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from echo_rig._conversation import Conversation
    from echo_rig._link import Address
    from echo_rig._quiet_log import QuietLogger
    from echo_rig._verdict import Received
    from echo_rig.sync._loop import Loop

#: Bytes asked for at once; no datagram is longer.
READ_SIZE: Final = 65536


class Owner(Protocol):
    """The end, as its carrier sees it."""

    name: str
    logger: logging.Logger
    numbering: bool | None
    max_message_size: int
    _quiet: QuietLogger

    @property
    def role(self) -> str:
        """``'server'`` or ``'client'``."""

    def message_received(self, message: bytes, address: Address) -> None:
        """Take one message whose echo is on its way."""

    def something_unusual(self, received: Received, address: Address) -> None:
        """Take note of what is neither news nor a proper echo."""

    def refuses(self, address: Address) -> bool:
        """Whether an address is not to be listened to, which is counted and logged once."""

    def oversized(self, size: int, limit: int, address: Address) -> None:
        """Take note of a message beyond the limit."""

    def unfinished(self, size: int, address: Address) -> None:
        """Take note of a message that the end of the stream has cut off."""


class Carrier(ABC):
    """Moves bytes between the sockets of one end and its links. All sockets are non-blocking.

    Parameters
    ----------
    owner : Owner
    loop : Loop
        What waits for the sockets.

    Attributes
    ----------
    links : Links of PolledLink
    failure : Exception or None
        Why the end is over, if it is.
    """

    datagrams: bool
    #: See `Member`.
    read_blocking: Callable[[], bool] | None = None

    def __init__(self, owner: Owner, loop: Loop) -> None:
        self.owner = owner
        self.loop = loop
        self.links: Links[PolledLink] = Links(
            self._new_link, datagrams=self.datagrams, max_message_size=owner.max_message_size
        )
        self.failure: Exception | None = None

    @abstractmethod
    def link_to(self, address: Address) -> PolledLink | None:
        """Return the link to an address; over UDP it is made if there is none."""

    @abstractmethod
    def sockets(self) -> list[socket.socket]:
        """Return all sockets."""

    @abstractmethod
    def close_sockets(self) -> None:
        """Close all sockets; safe to call twice."""

    @abstractmethod
    def is_congested(self, address: Address) -> bool:
        """Whether an other end does not read as fast as this end writes."""

    @abstractmethod
    def forget(self, link: PolledLink) -> None:
        """Be rid of a link that was interrupted while its state changed."""

    def close(self, error: Exception) -> None:
        """Let everything that waits for an echo fail, and close all sockets; safe to call twice."""
        if self.failure is None:
            self.failure = error
        for link in self.links.values():
            link.end(error)
        self.links.clear()
        self.close_sockets()
        self.loop.leave(self)

    def abandon(self, error: Exception) -> None:
        """Close a forked child's copies of the sockets, which changes nothing for the parent's."""
        self.failure = error
        for one in self.sockets():
            one.close()
        self.loop.abandon()

    def move(self, loop: Loop) -> None:
        """Let another loop wait for the sockets.

        Raises
        ------
        ValueError
            They are together with those of another end already.
        """
        old = self.loop
        if len(old.members) > 1:
            raise ValueError(f"{self.owner.name} belongs to other rigs already")
        self.loop = loop
        if self.failure is None:
            for key in old.selector.get_map().values():
                loop.selector.register(key.fileobj, key.events, key.data)
            loop.deadlines.update(old.deadlines)
            loop.join(self)
            old.leave(self)

    def _new_link(
        self, address: Address, conversation: Conversation, write: Callable[[bytes], object]
    ) -> PolledLink:
        return PolledLink(address, conversation, write, self)


def interrupted() -> ConnectionAbortedError:
    """Return what the other messages of an interrupted link fail with."""
    return ConnectionAbortedError("interrupted in the middle of a message")


def socket_address(host: str, port: int, kind: socket.SocketKind) -> tuple[socket.AddressFamily, Any]:
    """Return family and address of an IP address, for `socket.connect` and `socket.bind`.

    With the number of the zone of an IPv6 address, which a pair of address and port has no room for.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)[0]
    return family, address
