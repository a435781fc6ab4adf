"""How members find each other: a small interface, and addresses that are known beforehand.

A group calls `Discovery.register` once its publisher is bound, and is told of
each publisher by the `found` it hands over. A member follows itself as well:
as in the original, what it sends to the group it also hears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from group_ports._socket_options import endpoint, port_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Discovery", "StaticDiscovery"]


class Discovery(Protocol):
    """Tells a member where the publishers of its group are."""

    def register(
        self,
        key: str,
        host: str,
        port: int,
        member_id: bytes,
        *,
        found: Callable[[str, int], None],
        gone: Callable[[str, int], None],
    ) -> None:
        """Make a publisher known, and say from now on who else is there.

        Parameters
        ----------
        key : str
            ``<message>@<group type>.<instance>``: publishers with the same key
            belong together.
        host, port : str and int
            Where the publisher is.
        member_id : bytes
            16 bytes.
        found, gone : callable
            Take host and port of a publisher, the member's own included. From any
            thread; twice the same is no harm. They return within 10 s or raise
            `PortError`, such as when the member has left.
        """
        ...

    def unregister(self, key: str, host: str, port: int) -> None:
        """Take it back: the member leaves. Calls to `found` end soon."""
        ...


class StaticDiscovery:
    """Publishers at addresses that everybody knows.

    Parameters
    ----------
    addresses : iterable of (str, int)
        Host and TCP port of each member; the own one may be missing. A member
        binds its port by `PortSettings.port`.

    Raises
    ------
    TypeError, ValueError
        Not a host or port.

    Examples
    --------
    >>> places = []
    >>> discovery = StaticDiscovery([("10.0.0.1", 7001), ("10.0.0.2", 7001)])
    >>> def found(host, port):
    ...     places.append((host, port))
    >>> discovery.register("m@t.i", "10.0.0.1", 7001, bytes(16), found=found, gone=found)
    >>> places
    [('10.0.0.1', 7001), ('10.0.0.2', 7001)]
    """

    def __init__(self, addresses: Iterable[tuple[str, int]]) -> None:
        self.addresses = tuple(addresses)
        for host, port in self.addresses:
            endpoint(host, port_number(port))

    def register(
        self,
        key: str,
        host: str,
        port: int,
        member_id: bytes,
        *,
        found: Callable[[str, int], None],
        gone: Callable[[str, int], None],
    ) -> None:
        """Tell of all addresses at once; see `Discovery.register`."""
        for place in dict.fromkeys([(host, port), *self.addresses]):
            found(*place)

    def unregister(self, key: str, host: str, port: int) -> None:
        """Do nothing: the addresses stay."""
