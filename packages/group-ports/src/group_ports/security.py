"""Who may talk to whom: CURVE key pairs, and the list of those who may connect.

Two layouts::

    per member (``python -m group_ports keygen``)      shared, as the original

    directory/                                         one pair for everything,
      group.key   group.key_secret                     CurveKeys(public, secret)
      members/
        ann.key   ann.key_secret
        bob.key   bob.key_secret

Per member, a port that binds shows the group's pair, so whoever connects knows
that it found this group; and whoever connects shows its own pair, which must be
on the list of the port that binds. To take a member out, delete its ``.key``
everywhere and restart, or call `AllowList.revoke`; since it has known the
group's secret, make a new group pair when it must not be able to pose as a port
of the group either. Give each machine ``group.key_secret``, its own
``.key_secret`` and all ``.key`` files.

In the shared layout everybody is everybody, and without a list anybody who
knows the *public* key and makes a pair of its own gets in. It is there for
groups with members of the original.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import zmq
import zmq.auth
from zmq.utils import z85

from group_ports._quiet_log import QuietLogger
from group_ports.errors import PortError, port_error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AllowList", "CurveKeys"]

#: Names the ports of this package to the list; others in the context are not its business.
DOMAIN: Final = b"group-ports"
#: Where libzmq asks, by RFC 27 (ZAP).
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_VERSION: Final = b"1.0"
#: Version, request, domain, address, identity, mechanism, key.
_ZAP_FRAMES: Final = 7
_Z85_LENGTH: Final = 40
#: Milliseconds after which the thread of a list looks whether it is to end.
_GLANCE_MS: Final = 100
_JOIN_S: Final = 5.0

_quiet = QuietLogger(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """Keys of one member, each 40 bytes of Z85.

    Parameters
    ----------
    public, secret : bytes
        Its own pair.
    group_public, group_secret : bytes, optional
        The pair that all ports of the group show where they bind. The own pair
        if not given, and then the group shares it.
    allowed : frozenset of bytes, optional
        Public keys that may connect. Ports then let nobody in unless an
        `AllowList` runs in their context. None: whoever knows the public key
        that the port shows.

    Raises
    ------
    ValueError
        Not a key, or half a pair.

    Examples
    --------
    >>> keys = CurveKeys.generate()
    >>> keys.server_public == keys.public, keys.secret.decode() in repr(keys)
    (True, False)
    """

    public: bytes
    secret: bytes = field(repr=False)
    group_public: bytes | None = None
    group_secret: bytes | None = field(default=None, repr=False)
    allowed: frozenset[bytes] | None = None

    def __post_init__(self) -> None:
        if (self.group_public is None) != (self.group_secret is None):
            raise ValueError("half a group pair: give both keys or none")
        for key in (self.public, self.group_public, *(self.allowed or ())):
            if key is not None:
                _checked_key(key)
        for public, secret in ((self.public, self.secret), (self.group_public, self.group_secret)):
            if secret is not None and zmq.curve_public(_checked_key(secret)) != public:
                raise ValueError("the secret key does not belong to the public one")

    @classmethod
    def generate(cls) -> Self:
        """Make a new pair."""
        public, secret = zmq.curve_keypair()
        return cls(public, secret)

    @classmethod
    def load(cls, directory: Path | str, member: str) -> Self:
        """Read what ``python -m group_ports keygen`` wrote.

        Parameters
        ----------
        directory : path
            With ``group.key_secret`` and ``members``.
        member : str
            Whose keys.

        Returns
        -------
        CurveKeys
            All members in the directory are allowed.

        Raises
        ------
        OSError
            A file is missing or cannot be read.
        ValueError
            A file holds no such key.
        """
        directory = Path(directory)
        members = directory / "members"
        public, secret = _pair(members / f"{member}.key_secret")
        group_public, group_secret = _pair(directory / "group.key_secret")
        allowed = frozenset(zmq.auth.load_certificate(path)[0] for path in members.glob("*.key"))
        return cls(public, secret, group_public, group_secret, allowed)

    @property
    def server_public(self) -> bytes:
        """The public key that ports of the group show where they bind."""
        return self.public if self.group_public is None else self.group_public

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let this socket, which is going to bind, show the group's pair and ask the list.

        Parameters
        ----------
        socket : zmq.Socket
        """
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.group_secret or self.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.server_public)
        if self.allowed is not None:
            socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
            # Nobody gets in while nobody is asked.
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def introduce(self, socket: zmq.Socket[bytes], server_key: bytes | None = None) -> None:
        """Let this socket, which is going to connect, show the member's pair.

        Parameters
        ----------
        socket : zmq.Socket
        server_key : bytes, optional
            The key that the other end must show; that of the group if not given.
        """
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server_public if server_key is None else server_key)


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
        self._keys = frozenset(map(_raw_key, keys))
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
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def allow(self, key: bytes) -> None:
        """Admit connections with this public key from now on."""
        with self._lock:
            self._keys |= {_raw_key(key)}

    def revoke(self, key: bytes) -> None:
        """Refuse connections with this public key from now on; those that stand stay."""
        with self._lock:
            self._keys -= {_raw_key(key)}

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


def keys_of(parent: object) -> CurveKeys | None:
    """Return the keys that the parent of a port has in the original's way, if any.

    Parameters
    ----------
    parent : object
        With ``public_key`` and ``private_key``, bytes or None.

    Raises
    ------
    PortError
        They are no pair.
    """
    public, secret = getattr(parent, "public_key", None), getattr(parent, "private_key", None)
    if public is None or secret is None:
        return None
    try:
        return CurveKeys(public, secret)
    except ValueError as error:
        raise PortError(f"the keys of the parent: {error}", PortError.EFAULT) from error


def _pair(path: Path) -> tuple[bytes, bytes]:
    public, secret = zmq.auth.load_certificate(path)
    if secret is None:
        raise ValueError(f"no secret key in {path.name}")
    return public, secret


def _raw_key(key: bytes) -> bytes:
    raw: bytes = z85.decode(_checked_key(key))
    return raw


def _checked_key(key: object) -> bytes:
    """Return a key that ZeroMQ will take; ValueError if it is none."""
    if isinstance(key, bytes) and len(key) == _Z85_LENGTH:
        with contextlib.suppress(KeyError, struct.error):
            z85.decode(key)
            return key
    raise ValueError("a key is 40 characters of Z85, as bytes")
