"""A ZeroMQ socket that is readable while something waits in the inbox: for pollers."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import zmq

from group_ports.errors import port_error

if TYPE_CHECKING:
    from group_ports._parent import Parent


class Doorbell:
    """A pair of sockets: the worker rings, the user's poller hears.

    Parameters
    ----------
    parent : Parent
        In whose context.

    Raises
    ------
    PortError
        The context has ended.
    """

    def __init__(self, parent: Parent) -> None:
        place = f"inproc://group-ports-{uuid.uuid4().hex}"
        context = parent.appContext
        try:
            self._button: zmq.Socket[bytes] = context.socket(zmq.PAIR, socket_class=zmq.Socket)
            self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR, socket_class=zmq.Socket)
            for socket in (self._button, self.socket):
                socket.setsockopt(zmq.LINGER, 0)
            self._button.bind(place)
            self.socket.connect(place)
        except zmq.ZMQError as error:
            self.close()
            raise port_error("group", error) from error

    def ring(self) -> None:
        """Make the socket readable; in the worker."""
        # No room: it has been ringing for long. Ended: nobody listens.
        with contextlib.suppress(zmq.ZMQError):
            self._button.send(b"", zmq.NOBLOCK)

    def quiet(self) -> None:
        """Make the socket not readable; in the thread that polls it."""
        with contextlib.suppress(zmq.ZMQError):
            while True:
                self.socket.recv(zmq.NOBLOCK)

    def close(self) -> None:
        """Close both; when the worker has ended. Twice is fine."""
        for socket in (getattr(self, "_button", None), getattr(self, "socket", None)):
            if socket is not None:
                socket.close(0)
