"""The TCP connections of one end: a limited number, and who has to make room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from echo_rig._link import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._link import Link
    from echo_rig._quiet_log import QuietLogger

#: Connections a server keeps; more than any laboratory has rigs, fewer than a process may open files.
MAX_CONNECTIONS: Final = 512


class Linked(Protocol):
    """A connection."""

    @property
    def link(self) -> Link | None:
        """Its link, None if it was refused."""


AnyConnection = TypeVar("AnyConnection", bound=Linked)


class Connections(dict[Address, AnyConnection], Generic[AnyConnection]):
    """Connections by address of the other end, in the order in which they were made.

    Parameters
    ----------
    close : callable
        ``close(connection)`` closes one, and removes it from here.
    quiet : QuietLogger
        Is told of those that are closed or refused.
    """

    def __init__(self, close: Callable[[AnyConnection], object], quiet: QuietLogger) -> None:
        super().__init__()
        self._close = close
        self._quiet = quiet

    def make_room(self, newcomer: Address) -> bool:
        """Tell whether there is room for one more, if need be at the cost of the oldest that never spoke."""
        if len(self) < MAX_CONNECTIONS:
            return True
        for address, connection in self.items():
            if connection.link is not None and connection.link.heard_at is None:
                self._quiet.warn(address[0], "silent", "Closed %s:%s, which said nothing", *address)
                self._close(connection)
                return True
        self._quiet.warn(newcomer[0], "full", "Refused %s:%s: %d connections", *newcomer, MAX_CONNECTIONS)
        return False
