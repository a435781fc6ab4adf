"""From one to all: the port that publishes."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

import zmq

from group_ports._binding import bind
from group_ports._port import GroupPort
from group_ports._port_settings import milliseconds
from group_ports.errors import PortError, PortTimeout, port_error
from wireframe.group import Extension, encode_frames

if TYPE_CHECKING:
    from typing_extensions import Buffer


_SUBSCRIBED: Final = b"\x01"
_UNSUBSCRIBED: Final = b"\x00"
#: Messages sent between two looks at who subscribed; they wait in a bounded queue.
_LOOK_EVERY: Final = 16
#: Frames read in one look: a peer that subscribes without end holds up nothing.
_LOOK_AT_MOST: Final = 1000
# Plain numbers: operators of the enumerations of pyzmq are functions of Python.
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)
_NOW: Final = int(zmq.NOBLOCK)


class GroupPubPort(GroupPort):
    """Publishes to all members; binds.

    Takes the parameters of `GroupPort`.

    Notes
    -----
    A subscriber hears what is sent after its subscription arrived: see
    `wait_ready`. To one that is too slow, messages are lost once
    `PortSettings.send_hwm` of them wait, unless ``back_pressure`` is on.

    Examples
    --------
    >>> from group_ports import GroupSubPort
    >>> with GroupPubPort.standalone() as pub, GroupSubPort.standalone() as sub:
    ...     sub.update(*pub.address)
    ...     pub.wait_ready(1, timeout=5.0)
    ...     _ = pub.send(b"hello")
    ...     sub.recv()
    b'hello'
    """

    _KIND: ClassVar[str] = "gpub"
    _SOCKET: ClassVar[int] = zmq.XPUB
    _IS_INPUT: ClassVar[bool] = False
    _READS: ClassVar[frozenset[bytes]] = frozenset()
    _subscribers = 0
    _bound: int | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and TCP port, for `GroupSubPort.update`; PortError if it has no socket."""
        if self._bound is None or self._socket is None:
            self._not_open()
        return self.getGlobalIface(), self._bound

    def sendGroup(self, tag: bytes, payload: Buffer) -> bool:
        """Publish a message.

        Parameters
        ----------
        tag : bytes
            Three ASCII characters, such as ``b"msg"``.
        payload : bytes-like

        Returns
        -------
        bool
            True. Without ``back_pressure`` that says nothing of slow subscribers.

        Raises
        ------
        PortTimeout
            With ``back_pressure``: a subscriber has no room.
        PortError
            The port has no socket, or the context ended.
        TypeError, ValueError
            The tag or the payload is no such thing, or longer than ``max_size``.
        """
        if not self._sent % _LOOK_EVERY:
            self._look_who_subscribed()
        self._transmit(self._frames_of(tag, payload))
        return True

    def send(self, payload: Buffer) -> bool:
        """Publish bytes as ``msg``; see `sendGroup`."""
        return self.sendGroup(b"msg", payload)

    def send_pyobj(self, thing: Any) -> bool:
        """Publish an object as ``msg``, pickled; see `sendGroup`."""
        return self._send_object(thing)

    def subscribers(self) -> int:
        """Return how many subscribers are connected; PortError if there is no socket.

        Each call reads 1000 changes at the most; what came in a flood is counted by the next ones.
        """
        self._look_who_subscribed()
        return self._subscribers

    def wait_ready(self, count: int, timeout: float | None = None) -> None:
        """Wait until so many subscribers will hear what is sent from now on.

        Parameters
        ----------
        count : int
            Subscribers; a member that follows itself is one of them.
        timeout : float or None
            Seconds; None is the longest wait, 10 s.

        Raises
        ------
        PortTimeout
            There are still fewer; the message says how many.
        PortError
            The port has no socket, or the context ended.

        Notes
        -----
        It counts subscriptions to everything, as members make them.
        """
        deadline = time.monotonic() + milliseconds(timeout) / 1000
        while (now := self.subscribers()) < count:
            rest = deadline - time.monotonic()
            if rest <= 0:
                raise PortTimeout(f"{now} of {count} subscribers in time", PortError.EAGAIN)
            self._wait_readable(rest)

    def take(self, timeout: float = 0.0) -> NoReturn:
        """Refuse: a publisher hears nobody."""
        self._refuse("take")

    def getPortNumber(self) -> int | None:
        """Return the TCP port; None if it is not bound."""
        return self._bound

    def closeSocket(self) -> None:
        """Close the socket. Twice is fine."""
        super().closeSocket()
        self._bound, self._subscribers = None, 0

    def _look_who_subscribed(self) -> None:
        option = self._socket_option
        try:
            for _ in range(_LOOK_AT_MOST):
                if not option(_EVENTS) & _POLLIN:
                    break
                frame = self._recv_frame(_NOW, False)
                if not frame.more:
                    change = frame.bytes
                    self._subscribers += (change == _SUBSCRIBED) - (change == _UNSUBSCRIBED)
        except zmq.ZMQError as error:
            raise port_error("send", error) from error

    def _encode(self, tag: bytes, payload: bytes) -> list[bytes]:
        if not self.settings.numbering or self._group_id is None:
            return super()._encode(tag, payload)
        extension = Extension(self._sent + 1, self.member_id, self._group_id)
        return encode_frames(tag, payload, stamp=self.settings.clock(), extension=extension)

    def _port_number(self) -> int | None:
        return self._bound

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        socket.setsockopt(zmq.XPUB_NODROP, int(self.settings.back_pressure))
        self._bound = bind(socket, self.getGlobalIface(), self.settings.port, self._keys)
