"""Who is connected and who failed to: the events of a socket, read by a thread.

A thread, because libzmq waits until somebody reads: after some thousand
unread events, such as failed handshakes of a stranger, it delivers no message
any more.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import struct
import threading
import time
import uuid
from collections import Counter
from typing import Final

import zmq

from group_ports._quiet_log import QuietLogger
from group_ports.errors import PortError

#: Milliseconds after which the thread looks whether it is to end.
_GLANCE_MS: Final = 1000
_JOIN_S: Final = 5.0
#: Event; a value that nobody here needs comes behind it.
_EVENT: Final = struct.Struct("=H")
_FAILURES: Final = {
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "protocol",
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "refused",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "no detail",
}
_EVENTS: Final = int(
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_MONITOR_STOPPED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

_quiet = QuietLogger(logging.getLogger(__name__))


class Watch:
    """Watches one socket until it is told to stop.

    Parameters
    ----------
    socket : zmq.Socket
        Whose thread makes this object and stops it.
    name : str
        Of the port, for the log.

    Raises
    ------
    PortError
        There is no room for one more thread.
    zmq.ZMQError
        Or for one more socket.

    Notes
    -----
    `connected`, `wait_connected` and `failures` may be used by any thread, and
    read what is there to be read themselves: libzmq tells of a handshake before
    the first message of that peer can be received, so whoever has sent something
    is connected, however late the thread that watches runs.
    """

    def __init__(self, socket: zmq.Socket[bytes], name: str) -> None:
        self._socket = socket
        self._name = name
        self._changed = threading.Condition()
        self._connected: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._stopped = False
        self._ended = False
        # Of a shadow of the context, whose `destroy` would else close it under the thread that reads.
        shadow: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(socket.context.underlying)
        self._events = shadow.socket(zmq.PAIR, socket_class=zmq.Socket)
        try:
            self._events.setsockopt(zmq.LINGER, 0)
            # Not by the number of a file, as pyzmq would name it: those come back while the last one lingers.
            place = f"inproc://group-ports-{uuid.uuid4().hex}"
            socket.monitor(place, _EVENTS)
            # Takes no file and no thread: fails only with the context.
            self._events.connect(place)
            self._file = int(self._events.getsockopt(zmq.FD))
            self._thread = threading.Thread(target=self._watch, name=f"group-ports {name}", daemon=True)
            self._start()
        except BaseException:
            self._events.close()
            raise

    def connected(self) -> frozenset[str]:
        """Return the endpoints, of those that the socket connects to, with a finished handshake."""
        with self._changed:
            self._read_all()
            return frozenset(self._connected)

    def failures(self) -> dict[str, int]:
        """Return how many handshakes failed, by cause."""
        with self._changed:
            self._read_all()
            return dict(self._failures)

    def wait_connected(self, endpoints: set[str], count: int, wait_s: float) -> int:
        """Wait until `count` of these endpoints are connected; return how many are.

        Parameters
        ----------
        endpoints : set of str
        count : int
        wait_s : float
            Seconds, at the most.
        """
        deadline = time.monotonic() + wait_s
        with self._changed:
            self._read_all()
            while (now := len(self._connected & endpoints)) < count:
                rest = deadline - time.monotonic()
                if rest <= 0:
                    break
                self._changed.wait(rest)
            return now

    def forget(self, endpoint: str) -> None:
        """Count an endpoint as not connected: the socket was told to leave it."""
        with self._changed:
            self._connected.discard(endpoint)

    def stop(self) -> None:
        """Stop watching; before the socket is closed, and in its thread."""
        with contextlib.suppress(zmq.ZMQError):
            self._socket.monitor(None, 0)
        # Only now: libzmq waits for its reader, so that must not go first.
        self._stopped = True
        self._thread.join(_JOIN_S)

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            # While the reader is connected: libzmq waits for one for ever.
            self._socket.monitor(None, 0)
            raise PortError(f"port {self._name} cannot be watched: {error}", errno.EAGAIN) from error

    def _watch(self) -> None:
        poller = zmq.Poller()
        # By its file: the socket itself is used by one thread at a time, with the lock.
        poller.register(self._file, zmq.POLLIN)
        try:
            while not self._stopped and not self._ended:
                poller.poll(_GLANCE_MS)
                with self._changed:
                    self._read_all()
        finally:
            with self._changed:
                self._ended = True
                self._events.close()

    def _read_all(self) -> None:
        """Note all that has happened; with the lock. To the end: the file tells of what is new after that."""
        while not self._ended:
            try:
                frames = self._events.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            except zmq.ZMQError:
                # The context ends.
                self._ended = True
                return
            event: int = _EVENT.unpack_from(frames[0])[0]
            if event == zmq.EVENT_MONITOR_STOPPED:
                self._ended = True
            else:
                self._note(event, frames[-1].decode(errors="replace"))

    def _note(self, event: int, endpoint: str) -> None:
        cause = _FAILURES.get(event)
        if cause is not None:
            self._failures[cause] += 1
            _quiet.warn(self._name, cause, "%s: a handshake failed at %s (%s)", self._name, endpoint, cause)
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected.add(endpoint)
        else:
            self._connected.discard(endpoint)
        self._changed.notify_all()
