"""What a port needs to know of the component that owns it, and a stand-in for use without one."""

# ruff: noqa: N802 - the names are those of the original

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

import zmq

from group_ports._room import require_room_for_context
from group_ports.errors import PortError
from group_ports.security import AllowList

if TYPE_CHECKING:
    from types import TracebackType

    from group_ports.security import CurveKeys

__all__ = ["Actor", "Owner", "Parent", "StandaloneParent"]


class Actor(Protocol):
    """The process around the components.

    Attributes
    ----------
    public_key, private_key : bytes or None
        One CURVE pair in Z85 for all its ports, or no encryption. An actor
        without these attributes has no keys.
    """

    def getGlobalIface(self) -> str:
        """Return the address of the interface to other machines."""
        ...


class Parent(Protocol):
    """The part of an application that a port belongs to; any object with these will do.

    Attributes
    ----------
    appContext : zmq.Context
        Where the port makes its socket.
    parent : Actor
        Interface and keys.
    """

    @property
    def appContext(self) -> Any:
        """The context where the port makes its socket."""
        ...

    @property
    def parent(self) -> Actor:
        """Interface and keys."""
        ...


class Owner(Protocol):
    """Whoever polls the socket of a port, and must hear when a reset replaces it."""

    def replaceSocket(self, port: Any, new_socket: zmq.Socket[bytes]) -> None:
        """Take the new socket for the old one, which is closed by now."""
        ...


class _Closable(Protocol):
    def close(self) -> None: ...


class StandaloneParent:
    """A parent of its own: context, interface and keys for ports without a component.

    Parameters
    ----------
    host : str
        Address of the interface where ports bind: loopback unless told
        otherwise. An IPv6 address without brackets will do.
    keys : CurveKeys, optional
        Encryption. With ``keys.allowed``, an `AllowList` runs beside the ports.

    Attributes
    ----------
    appContext : zmq.Context
    parent : StandaloneParent
        Itself.
    allow_list : AllowList or None

    Notes
    -----
    May be shared by any number of ports, also of several threads. `close` also
    closes ports that are still open, so no other thread may be using them then.
    """

    def __init__(self, host: str = "127.0.0.1", keys: CurveKeys | None = None) -> None:
        require_room_for_context()
        self.appContext = zmq.Context()
        self.keys = keys
        self.public_key = keys.public if keys else None
        self.private_key = keys.secret if keys else None
        self.allow_list: AllowList | None = None
        self._host = host
        self._ports: set[_Closable] = set()
        if keys is not None and keys.allowed is not None:
            try:
                self.allow_list = AllowList(self.appContext, keys.allowed)
            except PortError:
                self.appContext.destroy()
                raise

    @property
    def parent(self) -> Self:
        """Itself: it is its own actor."""
        return self

    def getGlobalIface(self) -> str:
        """Return the address of the interface."""
        return self._host

    def getLocalIface(self) -> str:
        """Return the address of the interface."""
        return self._host

    def adopt(self, port: _Closable) -> None:
        """Keep an open port until it is closed, at the latest with this parent."""
        self._ports.add(port)

    def release(self, port: _Closable) -> None:
        """Forget a port that was closed."""
        self._ports.discard(port)

    def close(self) -> None:
        """Close whatever is open and end the context. Twice is fine.

        Messages under way may still leave; that takes at most the `linger_s` of
        their ports.
        """
        for port in list(self._ports):
            port.close()
        if self.allow_list is not None:
            self.allow_list.close()
        self.appContext.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
