"""Ports that connect: to whom, and whether they got there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from group_ports._port import GroupPort
from group_ports._port_settings import milliseconds
from group_ports.errors import PortError, PortTimeout, port_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from group_ports._parent import Parent
    from group_ports._port_settings import PortSettings


class ConnectingPort(GroupPort):
    """A port that connects; takes the parameters of `GroupPort`."""

    def __init__(
        self,
        parentPart: Parent,  # noqa: N803 - the name is that of the original
        portName: str,  # noqa: N803
        groupSpec: Mapping[str, Any],  # noqa: N803
        *,
        settings: PortSettings | None = None,
    ) -> None:
        #: Where it connects to, and the key that is expected there.
        self._endpoints: dict[str, bytes | None] = {}
        super().__init__(parentPart, portName, groupSpec, settings=settings)

    def reached(self) -> int:
        """Return how many of the peers it was pointed to are connected, handshake and all."""
        watch = self._watch
        return 0 if watch is None else len(watch.connected() & self._endpoints.keys())

    def wait_connected(self, count: int = 1, timeout: float | None = None) -> None:
        """Wait until so many peers are connected.

        Parameters
        ----------
        count : int
        timeout : float or None
            Seconds; None is the longest wait, 10 s.

        Raises
        ------
        PortTimeout
            There are still fewer; the message says how many.
        PortError
            The port has no socket.
        """
        if self._watch is None:
            self._not_open()
        now = self._watch.wait_connected(set(self._endpoints), count, milliseconds(timeout) / 1000)
        if now < count:
            raise PortTimeout(f"connected to {now} of {count} in time", PortError.EAGAIN)

    def closeSocket(self) -> None:  # noqa: N802 - the name is that of the original
        """Close the socket and forget the peers. Twice is fine."""
        super().closeSocket()
        self._endpoints.clear()

    def _renew(self) -> None:
        """Take a new socket, connected to nobody, and tell the owner."""
        self.closeSocket()
        self._open()
        replace = getattr(self._owner, "replaceSocket", None)
        if replace is not None:
            replace(self, self._socket)

    def _connect(self, place: str, server_key: bytes | None) -> None:
        socket = self._socket
        if socket is None:
            self._not_open()
        if place not in self._endpoints:
            self._reach(socket, place, server_key)
            self._endpoints[place] = server_key

    def _disconnect(self, place: str) -> None:
        socket, watch = self._socket, self._watch
        if socket is None or watch is None:
            self._not_open()
        if place in self._endpoints:
            del self._endpoints[place]
            self._part(socket, place)
            watch.forget(place)

    def _reach(self, socket: zmq.Socket[bytes], place: str, server_key: bytes | None) -> None:
        """Begin a connection."""
        try:
            # These hold for connections made from now on.
            if self._keys is not None:
                self._keys.introduce(socket, server_key)
            socket.setsockopt(zmq.IPV6, int("[" in place))
            socket.connect(place)
        except zmq.ZMQError as error:
            raise port_error(f"connect {place}", error) from error

    def _part(self, socket: zmq.Socket[bytes], place: str) -> None:
        """End a connection."""
        try:
            # What is queued for it goes nowhere.
            linger = socket.getsockopt(zmq.LINGER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.disconnect(place)
            socket.setsockopt(zmq.LINGER, linger)
        except zmq.ZMQError as error:
            raise port_error(f"disconnect {place}", error) from error
