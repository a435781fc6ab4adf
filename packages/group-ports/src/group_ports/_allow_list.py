"""The list of those who may connect, asked by ZeroMQ at each handshake."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from typing import TYPE_CHECKING, Final, Self

import zmq
from zmq.utils import z85

from group_ports._quiet_log import QuietLogger
from group_ports._z85 import raw_key
from group_ports.errors import PortError, port_error

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names the ports of this package to the list; others in the context are not its business.
DOMAIN: Final = b"group-ports"
#: Where libzmq asks, by RFC 27 (ZAP).
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_VERSION: Final = b"1.0"
#: Version, request, domain, address, identity, mechanism, key.
_ZAP_FRAMES: Final = 7
#: Milliseconds after which the thread of a list looks whether it is to end.
_GLANCE_MS: Final = 100
_JOIN_S: Final = 5.0

_quiet = QuietLogger(logging.getLogger(__name__))


class AllowList:
    """Admits those connections to the ports of a context whose key is listed.

    Parameters
    ----------
    context : zmq.Context
        Whose ports; ZeroMQ has room for one list in each context.
    keys : iterable of bytes
        Public keys to begin with, Z85.

    Attributes
    ----------
    admitted, refused : int
        Handshakes so far.

    Raises
    ------
    PortError
        The context has a list already (EADDRINUSE), or has ended.
    ValueError
        Not a key.

    Notes
    -----
    It is the authentication handler of ZeroMQ (ZAP, RFC 27) and runs in a thread
    of its own. CURVE ports of the same context that are not of this package are
    let through, as they would be without it. `allow` and `revoke` may be
    called from any thread.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Iterable[bytes] = ()) -> None:
        self._keys = frozenset(map(raw_key, keys))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.admitted = 0
        self.refused = 0
        if context.closed:
            raise PortError("allow list error: the context has ended", PortError.ETERM)
        try:
            # Of a shadow, because `destroy` of the context would close it under the thread.
            shadow: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(context.underlying)
            self._socket = shadow.socket(zmq.REP, socket_class=zmq.Socket)
        except zmq.ZMQError as error:
            raise port_error("allow list", error) from error
        try:
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.RCVTIMEO, _GLANCE_MS)
            self._socket.bind(_ZAP_ENDPOINT)
        except zmq.ZMQError as error:
            self._socket.close()
            raise port_error("allow list", error) from error
        self._thread = threading.Thread(target=self._serve, name="group-ports allow list", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._socket.close()
            raise PortError(f"allow list error: {error}", errno.EAGAIN) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def allow(self, key: bytes) -> None:
        """Admit connections with this public key from now on."""
        with self._lock:
            self._keys |= {raw_key(key)}

    def revoke(self, key: bytes) -> None:
        """Refuse connections with this public key from now on; those that stand stay."""
        with self._lock:
            self._keys -= {raw_key(key)}

    def close(self) -> None:
        """Admit nobody any more. Twice is fine."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        with contextlib.closing(self._socket) as socket:
            while not self._stop.is_set():
                try:
                    socket.send_multipart(self._answer(socket.recv_multipart()))
                except zmq.Again:
                    continue
                except zmq.ZMQError:
                    # The context ends, and takes the ports with it.
                    return

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """Judge a request, which libzmq wrote but for the address and the key."""
        number = request[1] if len(request) > 1 else b""
        if len(request) != _ZAP_FRAMES or request[0] != _ZAP_VERSION:
            return [_ZAP_VERSION, number, b"500", b"not understood", b"", b""]
        domain, address, mechanism, key = request[2], request[3], request[5], request[6]
        if domain != DOMAIN:
            return [_ZAP_VERSION, number, b"200", b"OK", b"", b""]
        if mechanism == b"CURVE" and key in self._keys:
            self.admitted += 1
            return [_ZAP_VERSION, number, b"200", b"OK", z85.encode(key), b""]
        self.refused += 1
        host = address.decode(errors="replace")
        _quiet.warn(host, "not on the list", "refused %r: its key is not on the list", host)
        return [_ZAP_VERSION, number, b"400", b"not on the list", b"", b""]
