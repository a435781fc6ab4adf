"""Ends of group-ports, and the floor below them: what the same frames cost with bare pyzmq.

The floor is what a program writes that has no ports: ``send_multipart`` of tag
and payload, ``recv_multipart`` and the payload out of it, both as bytes. Its
sockets have the kinds and the options that the ports set, so that what differs
is Python; ``plain`` is the floor with the options that ZeroMQ has by itself:
silence has no end, say. ``pyre`` is another library for groups, see `pyre_ends`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import zmq
from group_kinds import HOST, WAIT_S, Ends

from group_ports import (
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    PortSettings,
    StandaloneParent,
)

if TYPE_CHECKING:
    from group_kinds import Receive, Send

_SETTINGS: Final = PortSettings(send_timeout=WAIT_S, recv_timeout=WAIT_S)
#: Numbers of the options that ports set, all kinds the same.
_OPTIONS: Final = (
    zmq.SNDTIMEO,
    zmq.RCVTIMEO,
    zmq.SNDHWM,
    zmq.RCVHWM,
    zmq.MAXMSGSIZE,
    zmq.LINGER,
    zmq.HANDSHAKE_IVL,
    zmq.CONNECT_TIMEOUT,
    zmq.TCP_KEEPALIVE,
    zmq.TCP_KEEPALIVE_IDLE,
    zmq.TCP_KEEPALIVE_INTVL,
    zmq.TCP_KEEPALIVE_CNT,
    zmq.TCP_MAXRT,
    zmq.RECONNECT_IVL,
    zmq.RECONNECT_IVL_MAX,
)


class Ports(Ends):
    """Ends that are ports of group-ports."""

    def __init__(self) -> None:
        self._parent = StandaloneParent(HOST)

    def publish(self, subscribers: int) -> tuple[Send, list[Receive]]:
        """Return what publishes and what receives."""
        publisher = self._port(GroupPubPort)
        ports = [self._port(GroupSubPort) for _ in range(subscribers)]
        for subscriber in ports:
            subscriber.update(*publisher.address)
        publisher.wait_ready(subscribers, WAIT_S)
        return publisher.send, [subscriber.recv for subscriber in ports]

    def answer(self, port: int) -> tuple[Receive, Send]:
        """Return what takes queries and answers them."""
        answers = self._port(GroupAnsPort, port)
        answers.updatePoller()
        return answers.recv, answers.send

    def ask(self, port: int) -> tuple[Send, Receive]:
        """Return what asks and takes answers."""
        queries = self._port(GroupQryPort)
        queries.update(HOST, port)
        return queries.send, queries.recv

    def _port(self, kind: type[Any], port: int = 0) -> Any:
        settings = PortSettings(send_timeout=WAIT_S, recv_timeout=WAIT_S, port=port)
        made = kind(self._parent, kind.__name__, {"message": "bench", "timed": False}, settings=settings)
        made.setupSocket(None)
        return made


class Sockets(Ends):
    """Ends that are bare sockets.

    Parameters
    ----------
    is_plain : bool
        Whether to leave all options as they are.
    """

    def __init__(self, *, is_plain: bool) -> None:
        self._context = zmq.Context()
        self._is_plain = is_plain
        self._options = {} if is_plain else self._options_of_ports()

    def publish(self, subscribers: int) -> tuple[Send, list[Receive]]:
        """Return what publishes and what receives."""
        publisher = self._socket(zmq.XPUB)
        publisher.setsockopt(zmq.XPUB_VERBOSER, 1)
        port = publisher.bind_to_random_port(f"tcp://{HOST}")
        sockets = [self._socket(zmq.SUB) for _ in range(subscribers)]
        for socket in sockets:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(f"tcp://{HOST}:{port}")
            publisher.recv()  # its subscription
        return self._sends(publisher, b"msg"), [self._receives(socket) for socket in sockets]

    def answer(self, port: int) -> tuple[Receive, Send]:
        """Return what takes queries and answers them."""
        socket = self._socket(zmq.ROUTER)
        if not self._is_plain:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.bind(f"tcp://{HOST}:{port}")
        send, receive = socket.send_multipart, socket.recv_multipart
        asker = b""

        def receive_query() -> bytes:
            nonlocal asker
            asker, _tag, payload = receive()
            return payload

        return receive_query, lambda payload: send([asker, b"mfl", payload])

    def ask(self, port: int) -> tuple[Send, Receive]:
        """Return what asks and takes answers."""
        socket = self._socket(zmq.DEALER)
        if not self._is_plain:
            socket.setsockopt(zmq.ROUTING_ID, b"0123456789abcdef")
            socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.connect(f"tcp://{HOST}:{port}")
        return self._sends(socket, b"mtl"), self._receives(socket)

    @staticmethod
    def _sends(socket: zmq.Socket[bytes], tag: bytes) -> Send:
        send = socket.send_multipart
        return lambda payload: send([tag, payload])

    @staticmethod
    def _receives(socket: zmq.Socket[bytes]) -> Receive:
        receive = socket.recv_multipart
        return lambda: receive()[1]

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        for option, value in self._options.items():
            socket.setsockopt(option, value)
        return socket

    @staticmethod
    def _options_of_ports() -> dict[int, Any]:
        with GroupSubPort.standalone(settings=_SETTINGS) as port:
            socket: Any = port.getSocket()
            return {option: socket.getsockopt(option) for option in _OPTIONS}
