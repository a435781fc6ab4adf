"""The life of a port: its socket, made, watched, closed, and left alone in a forked child."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self
from weakref import WeakSet

import zmq

from group_ports._operations import Operations
from group_ports._parent import StandaloneParent
from group_ports._port_settings import PortSettings, milliseconds
from group_ports._socket_options import apply
from group_ports._watch import Watch
from group_ports.errors import PortError, port_error
from group_ports.security import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_ports._parent import Owner, Parent
    from group_ports.port_info import PortInfo

_FOREIGN: Final = "was made in another process; make one in this"


class SocketHolder(Operations):
    """A port as far as its socket goes.

    Parameters
    ----------
    parent : Parent
    name : str
    settings : PortSettings
    """

    _KIND: ClassVar[str]
    _SOCKET: ClassVar[int]

    _socket: zmq.Socket[bytes] | None
    _watch: Watch | None
    _send_frame: Callable[..., Any]
    _recv_frame: Callable[..., Any]
    _socket_option: Callable[..., Any]

    def __init__(self, parent: Parent, name: str, settings: PortSettings) -> None:
        self.parent = parent
        self.name = name
        self.settings = settings
        self._keys = settings.keys or getattr(parent, "keys", None) or keys_of(parent.parent)
        self._host: str | None = None
        self._send_timeout, self._recv_timeout = settings.send_timeout, settings.recv_timeout
        self._recv_wait_s = milliseconds(settings.recv_timeout) / 1000
        self._owner: Owner | None = None
        self._own_parent: StandaloneParent | None = None
        self._past_failures: dict[str, int] = {}
        self._why_closed = "is not set up"
        self._detach()
        _alive.add(self)

    def getInfo(self) -> PortInfo | None:
        """Return what the port is and where; None if it has no socket."""
        raise NotImplementedError

    def getSocket(self) -> zmq.Socket[bytes] | None:
        """Return the ZeroMQ socket, to be polled; None if there is none."""
        return self._socket

    def getGlobalIface(self) -> str:
        """Return the address of the interface; asked of the actor once."""
        if self._host is None:
            self._host = self.parent.parent.getGlobalIface()
        return self._host

    def getLocalIface(self) -> str:
        """Return the address of the interface to this machine; that to others if the actor has none."""
        actor = self.parent.parent
        host: str = getattr(actor, "getLocalIface", actor.getGlobalIface)()
        return host

    # -- how long it waits --------------------------------------------------------------------------

    def get_send_timeout(self) -> float | None:
        """Return the send timeout in seconds; None is the longest wait, 10 s."""
        return self._send_timeout

    def get_recv_timeout(self) -> float | None:
        """Return the receive timeout in seconds; None is the longest wait, 10 s."""
        return self._recv_timeout

    def set_send_timeout(self, timeout: float | None) -> None:
        """Wait so many seconds at the most for room to send; None: 10 s, where the original waits for ever.

        Raises
        ------
        TypeError, ValueError
            Not a number from 0 to 1e6, or None.
        """
        wait_ms = milliseconds(timeout)
        self._send_timeout = timeout
        if self._socket is not None:
            self._socket.setsockopt(zmq.SNDTIMEO, wait_ms)

    def set_recv_timeout(self, timeout: float | None) -> None:
        """Wait so many seconds at the most for a message; None: 10 s, where the original waits for ever.

        Raises
        ------
        TypeError, ValueError
            Not a number from 0 to 1e6, or None.
        """
        wait_ms = milliseconds(timeout)
        self._recv_timeout, self._recv_wait_s = timeout, wait_ms / 1000
        if self._socket is not None:
            self._socket.setsockopt(zmq.RCVTIMEO, wait_ms)

    # -- its life -----------------------------------------------------------------------------------

    def setup(self) -> None:
        """Do nothing, as the original."""

    def activate(self) -> None:
        """Do nothing, as the original."""

    def deactivate(self) -> None:
        """Do nothing, as the original."""

    def terminate(self) -> None:
        """Do nothing, as the original."""

    def reset(self) -> None:
        """Do nothing; subscribers do."""

    def setupSocket(self, owner: Owner | None) -> PortInfo:
        """Make the socket; also after a close.

        Parameters
        ----------
        owner : Owner or None
            Is told by `reset` of a new socket.

        Returns
        -------
        PortInfo
            What `getInfo` returns.

        Raises
        ------
        PortError
            The address cannot be bound, the keys are none, or the context ended.
        """
        if self._socket is None:
            self._owner = owner
            self._open()
        info = self.getInfo()
        return self._not_open() if info is None else info

    def closeSocket(self) -> None:
        """Close the socket. Twice is fine.

        Messages that were sent may still leave, for `PortSettings.linger_s` in the
        background.
        """
        socket, watch = self._socket, self._watch
        if socket is None:
            return
        self._why_closed = "is closed"
        if watch is not None:
            watch.stop()
            self._past_failures = self._handshake_failures()
        self._detach()
        socket.close()
        if isinstance(self.parent, StandaloneParent):
            self.parent.release(self)

    def close(self) -> None:
        """Close the socket and, if the port is standalone, its context. Twice is fine."""
        self.closeSocket()
        parent, self._own_parent = self._own_parent, None
        if parent is not None:
            parent.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # In a forked child it has none, whatever became of that of its parent.
        if getattr(self, "_socket", None) is not None:
            warnings.warn(
                f"unclosed {type(self).__name__} {self.name}", ResourceWarning, stacklevel=2, source=self
            )

    # -- its socket ---------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._why_closed == _FOREIGN:
            self._not_open()
        try:
            socket = self.parent.appContext.socket(self._SOCKET, socket_class=zmq.Socket)
        except zmq.ZMQError as error:
            raise port_error("socket", error) from error
        watch = None
        try:
            apply(socket, self.settings)
            socket.setsockopt(zmq.SNDTIMEO, milliseconds(self._send_timeout))
            socket.setsockopt(zmq.RCVTIMEO, milliseconds(self._recv_timeout))
            watch = Watch(socket, f"{self._KIND} {self.name}")
            self._prepare(socket)
        except BaseException as error:
            if watch is not None:
                watch.stop()
            socket.close(0)
            if isinstance(error, zmq.ZMQError):
                raise port_error("set-up", error) from error
            raise
        self._attach(socket, watch)
        if isinstance(self.parent, StandaloneParent):
            self.parent.adopt(self)

    def _attach(self, socket: zmq.Socket[bytes], watch: Watch) -> None:
        self._socket, self._watch = socket, watch
        # The methods of the compiled class itself: pyzmq's own layer above them
        # costs more than the codec of a short message.
        backend: Any = super(zmq.Socket, socket)
        self._send_frame = backend.send
        self._recv_frame = backend.recv
        self._socket_option = backend.get

    def _detach(self) -> None:
        self._socket = self._watch = None
        self._send_frame = self._recv_frame = self._socket_option = self._not_open

    def _not_open(self, *_: object) -> NoReturn:
        raise PortError(f"port {self.name} {self._why_closed}", PortError.ECLOSED)

    def _handshake_failures(self) -> dict[str, int]:
        failures = dict(self._past_failures)
        if self._watch is not None:
            for cause, count in self._watch.failures().items():
                failures[cause] = failures.get(cause, 0) + count
        return failures

    def _leave_to_parent_process(self) -> None:
        # Kept, so that the child does not close what it does not own.
        self._inherited = (self._socket, self._watch, self._own_parent)
        self._why_closed = _FOREIGN
        self._own_parent = None
        self._detach()

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        """Set the options of the kind, and bind if it binds."""


#: Ports of this process, so that a forked child does not touch their sockets.
_alive: Final[WeakSet[SocketHolder]] = WeakSet()


def _in_forked_child() -> None:
    for port in list(_alive):
        port._leave_to_parent_process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
