"""From all to one: the port that subscribes."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import zmq

from group_ports._connecting import ConnectingPort
from group_ports._socket_options import endpoint, port_number
from group_ports._z85 import checked_key
from group_ports.errors import port_error
from wireframe.group import PUBLISHED_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from group_ports._parent import Parent
    from group_ports._port_settings import PortSettings

# Plain numbers: operators of the enumerations of pyzmq are functions of Python.
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)


class GroupSubPort(ConnectingPort):
    """Hears all publishers it was told of; connects.

    Takes the parameters of `GroupPort`.
    """

    _KIND: ClassVar[str] = "gsub"
    _SOCKET: ClassVar[int] = zmq.SUB
    _IS_INPUT: ClassVar[bool] = True
    _READS: ClassVar[frozenset[bytes]] = PUBLISHED_TAGS
    _READS_DATA: ClassVar[bytes] = b"msg"

    def __init__(
        self,
        parentPart: Parent,  # noqa: N803 - the name is that of the original
        portName: str,  # noqa: N803
        groupSpec: Mapping[str, Any],  # noqa: N803
        *,
        settings: PortSettings | None = None,
    ) -> None:
        #: Connections that end behind the next message; with the key to come back with, if it is to.
        self._leaving: dict[str, tuple[()] | tuple[bytes | None]] = {}
        super().__init__(parentPart, portName, groupSpec, settings=settings)

    def update(
        self, host: str | None = None, port: int | None = None, *, server_key: bytes | None = None
    ) -> None:
        """Follow a publisher; one that is followed already is no news.

        Parameters
        ----------
        host : str
            Name or address.
        port : int
            TCP port.
        server_key : bytes, optional
            The public key that it shows; that of the group if not given.

        Raises
        ------
        PortError
            The port has no socket, or the address cannot be used.
        TypeError, ValueError
            Not a host, port or key.

        Notes
        -----
        It returns at once and connects in the background, again and again.
        """
        if host is None or port is None:
            raise ValueError("a publisher has a host and a port")
        if server_key is not None:
            checked_key(server_key)
        self._connect(endpoint(host, port_number(port)), server_key)

    def forget(self, host: str, port: int) -> None:
        """Follow this publisher no more; nothing happens if it was not followed.

        The connection itself ends while the port is used next. If a message
        waits to be read, it ends behind that one.

        Parameters
        ----------
        host : str
        port : int
        """
        self._disconnect(endpoint(host, port_number(port)))

    def is_reached(self, host: str, port: int) -> bool:
        """Tell whether this publisher is connected, handshake and all; of a port without a socket, none is.

        Parameters
        ----------
        host : str
        port : int

        Raises
        ------
        TypeError, ValueError
            Not a host or port.
        """
        watch = self._watch
        return watch is not None and endpoint(host, port_number(port)) in watch.connected()

    def closeSocket(self) -> None:
        """Close the socket and forget the publishers. Twice is fine."""
        super().closeSocket()
        self._leaving.clear()

    def _read(self, flags: int) -> list[bytes]:
        frames = super()._read(flags)
        if self._leaving and not self._skips:
            self._leave()
        return frames

    def _reach(self, socket: zmq.Socket[bytes], place: str, server_key: bytes | None) -> None:
        if place in self._leaving:
            self._leaving[place] = (server_key,)
        else:
            super()._reach(socket, place, server_key)

    def _part(self, socket: zmq.Socket[bytes], place: str) -> None:
        # Whoever asks for the events makes libzmq take the first frame of the message
        # that waits. If its connection went then, libzmq would miss the second frame
        # and abort the process. So this message is read first.
        try:
            waits = self._socket_option(_EVENTS) & _POLLIN
        except zmq.ZMQError as error:
            raise port_error(f"disconnect {place}", error) from error
        if waits:
            self._leaving[place] = ()
        else:
            super()._part(socket, place)

    def _leave(self) -> None:
        """Part from whom a message held up: directly behind a read nothing is taken in advance."""
        socket, leaving = self._socket, list(self._leaving.items())
        self._leaving.clear()
        if socket is None:
            return
        for place, back in leaving:
            super()._part(socket, place)
            for server_key in back:
                super()._reach(socket, place, server_key)

    def connected(self) -> int:
        """Return how many publishers it follows, connected by now or not."""
        return len(self._endpoints)

    def getDeadline(self) -> None:
        """Return None, as the original."""

    def recvGroup(self) -> list[bytes]:
        """Return the next message.

        Returns
        -------
        list of bytes
            Tag, payload and what else was sent. Messages that are not of this
            path are dropped and counted.

        Raises
        ------
        PortTimeout
            None came in time.
        PortError
            The port has no socket, or the context ended.
        """
        return self._next(None)[1]

    def recv(self) -> bytes:
        """Return the payload of the next ``msg``; others are skipped. See `recvGroup`."""
        return self._next(b"msg")[1][1]

    def recv_pyobj(self) -> Any:
        """Return the object in the next ``msg``: plain data and allowed classes. See `recvGroup`.

        Raises
        ------
        ObjectRefused
            It is neither, or damaged.
        """
        return self._recv_object()

    def reset(self) -> None:
        """Make a new socket that follows the same publishers, and tell the owner.

        Raises
        ------
        PortError
            The port has no socket, or the context ended.
        """
        if self._socket is None:
            self._not_open()
        endpoints = dict(self._endpoints)
        self._renew()
        for place, server_key in endpoints.items():
            self._connect(place, server_key)

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
