"""Between a member and its leader: the port that asks and the one that answers."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import zmq

from group_ports._binding import bind
from group_ports._connecting import ConnectingPort
from group_ports._routed import RoutedPort
from group_ports._socket_options import endpoint, port_number
from group_ports._z85 import checked_key
from group_ports.errors import PortError, port_error
from wireframe.group import ANSWER_TAGS, QUERY_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

_MESSAGE_TYPE: Final = "group-mtl#group-mfl"


class GroupQryPort(ConnectingPort):
    """Writes to the leader and hears its answers; connects.

    Takes the parameters of `GroupPort`.

    Notes
    -----
    A message is taken only while a leader is connected, and waits for that as
    long as the send timeout. What the leader did not take before it died is
    lost; only an answer tells that a message arrived.
    """

    _KIND: ClassVar[str] = "gqry"
    _SOCKET: ClassVar[int] = zmq.DEALER
    _IS_INPUT: ClassVar[bool] = True
    _READS: ClassVar[frozenset[bytes]] = ANSWER_TAGS

    def update(
        self, host: str | None = None, port: int | None = None, *, server_key: bytes | None = None
    ) -> None:
        """Point to a leader, and away from any other; what was queued for or from that is dropped.

        Parameters
        ----------
        host : str or None
            Name or address; None: there is no leader.
        port : int or None
            TCP port; None: there is no leader.
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
        Leaving a leader takes a new socket, of which the owner hears by
        ``replaceSocket`` if it has that; others ask `getSocket` again.
        """
        if (host is None) != (port is None):
            raise ValueError("a leader has a host and a port")
        place = None if host is None or port is None else endpoint(host, port_number(port))
        if server_key is not None:
            checked_key(server_key)
        if self._socket is None:
            self._not_open()
        if self._endpoints.keys() - {place}:
            # `disconnect` would leave the old connection in use for a moment, and
            # a message for the new leader could go to the former.
            self._socket.setsockopt(zmq.LINGER, 0)
            self._renew()
        if place is not None:
            self._connect(place, server_key)

    def connected(self) -> int:
        """Return 1 if the leader is connected, handshake and all, else 0."""
        return self.reached()

    def sendToLeader(self, tag: bytes, payload: Buffer) -> bool:
        """Send a message to the leader.

        Parameters
        ----------
        tag : bytes
            ``mtl``, ``rfv`` or ``rtc``.
        payload : bytes-like

        Returns
        -------
        bool
            False if there is no leader to send to; nothing was sent.

        Raises
        ------
        PortTimeout
            The leader was not reached, or did not read, in time.
        PortError
            The port has no socket, or the context ended.
        TypeError, ValueError
            The tag or the payload is no such thing, or longer than ``max_size``.
        """
        frames = self._frames_of(tag, payload)
        if not self._endpoints:
            if self._socket is None:
                self._not_open()
            return False
        self._transmit(frames)
        return True

    def recvFromLeader(self) -> list[bytes]:
        """Return the next message of the leader: tag, payload and what else was sent.

        Raises
        ------
        PortTimeout
            None came in time.
        PortError
            The port has no socket, or the context ended.
        """
        return self._next(None)[1]

    def send(self, payload: Buffer) -> bool:
        """Send bytes as ``mtl``; see `sendToLeader`."""
        return self.sendToLeader(b"mtl", payload)

    def recv(self) -> bytes:
        """Return the payload of the next ``mfl``; see `recvFromLeader`."""
        return self._next(b"mfl")[1][1]

    def send_pyobj(self, thing: Any) -> bool:
        """Send an object as ``mtl``, pickled; see `sendToLeader`."""
        return self._send_object(thing)

    def recv_pyobj(self) -> Any:
        """Return the object in the next ``mfl``: plain data and allowed classes.

        Raises
        ------
        ObjectRefused
            It is neither, or damaged.
        PortTimeout, PortError
            As `recvFromLeader`.
        """
        return self._recv_object()

    def _message_type(self, groupSpec: Mapping[str, Any]) -> str:  # noqa: N803
        return _MESSAGE_TYPE

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.ROUTING_ID, self.member_id)
        # Queue only for a leader that is connected.
        socket.setsockopt(zmq.IMMEDIATE, 1)


class GroupAnsPort(RoutedPort):
    """Hears members and answers one of them; binds, once its member leads.

    Takes the parameters of `GroupPort`.

    Notes
    -----
    `setupSocket` makes the socket, `updatePoller` binds it.
    """

    _KIND: ClassVar[str] = "gans"
    _SOCKET: ClassVar[int] = zmq.ROUTER
    _IS_INPUT: ClassVar[bool] = True
    _READS: ClassVar[frozenset[bytes]] = QUERY_TAGS
    _bound: int | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and TCP port, for `GroupQryPort.update`; PortError if it is not bound."""
        if self._socket is None:
            self._not_open()
        if self._bound is None:
            raise PortError(f"port {self.name} is not bound", PortError.EROUTE)
        return self.getGlobalIface(), self._bound

    def updatePoller(self, poller: zmq.Poller | None = None) -> None:
        """Bind to a free TCP port; if it is bound, close that and bind a new socket to another.

        Parameters
        ----------
        poller : zmq.Poller, optional
            Polls the socket for messages from now on, and the old one no more.

        Raises
        ------
        PortError
            The port has no socket, or cannot be bound.
        """
        if self._socket is None:
            self._not_open()
        if self._bound is not None:
            if poller is not None and self._socket in poller:
                poller.unregister(self._socket)
            self.closeSocket()
            self._open()
        try:
            self._bound = bind(self._socket, self.getGlobalIface(), self.settings.port, self._keys)
        except zmq.ZMQError as error:
            raise port_error("bind", error) from error
        if poller is not None:
            poller.register(self._socket, zmq.POLLIN)

    def getPortNumber(self) -> int | None:
        """Return the TCP port; None if it is not bound."""
        return self._bound

    def recvFromMember(self) -> list[bytes]:
        """Return the next message of a member: tag, payload and what else was sent.

        `get_identity` then tells whose it was.

        Raises
        ------
        PortTimeout
            None came in time.
        PortError
            The port has no socket, or the context ended.
        """
        return self._next(None)[1]

    def sendToMember(self, tag: bytes, payload: Buffer) -> bool:
        """Send a message to the member that was heard last, or set.

        Parameters
        ----------
        tag : bytes
            ``mfl``.
        payload : bytes-like

        Returns
        -------
        bool
            True: the member is connected and its queue has taken the message.

        Raises
        ------
        PortError
            With EROUTE: that member is not connected, none was heard yet, or the
            port is not bound. Also without a socket, or if the context ended.
        PortTimeout
            The member did not read in time.
        TypeError, ValueError
            The tag or the payload is no such thing, or longer than ``max_size``.
        """
        frames = self._frames_of(tag, payload)
        if self._socket is None:
            self._not_open()
        if self._bound is None:
            raise PortError(f"send error: port {self.name} is not bound", PortError.EROUTE)
        self._transmit_to_sender(frames)
        return True

    def send(self, payload: Buffer) -> bool:
        """Send bytes as ``mfl``; see `sendToMember`."""
        return self.sendToMember(b"mfl", payload)

    def recv(self) -> bytes:
        """Return the payload of the next ``mtl``; others are skipped. See `recvFromMember`."""
        return self._next(b"mtl")[1][1]

    def send_pyobj(self, thing: Any) -> bool:
        """Send an object as ``mfl``, pickled; see `sendToMember`."""
        return self._send_object(thing)

    def recv_pyobj(self) -> Any:
        """Return the object in the next ``mtl``: plain data and allowed classes.

        Raises
        ------
        ObjectRefused
            It is neither, or damaged.
        PortTimeout, PortError
            As `recvFromMember`.
        """
        return self._recv_object()

    def closeSocket(self) -> None:
        """Close the socket. Twice is fine."""
        super().closeSocket()
        self._bound = None

    def _message_type(self, groupSpec: Mapping[str, Any]) -> str:  # noqa: N803
        return _MESSAGE_TYPE

    def _port_number(self) -> int | None:
        return self._bound

    def _go_public(self) -> None:
        self.updatePoller()
