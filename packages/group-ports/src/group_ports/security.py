"""Who may talk to whom: CURVE key pairs, and the list of those who may connect.

Two layouts::

    per member (``group-ports keygen``)                shared, as the original

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

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import zmq
import zmq.auth

from group_ports._allow_list import DOMAIN, AllowList
from group_ports._z85 import checked_key
from group_ports.errors import PortError

__all__ = ["AllowList", "CurveKeys"]


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
                checked_key(key)
        for public, secret in ((self.public, self.secret), (self.group_public, self.group_secret)):
            if secret is not None and zmq.curve_public(checked_key(secret)) != public:
                raise ValueError("the secret key does not belong to the public one")

    @classmethod
    def generate(cls) -> Self:
        """Make a new pair."""
        public, secret = zmq.curve_keypair()
        return cls(public, secret)

    @classmethod
    def load(cls, directory: Path | str, member: str) -> Self:
        """Read what ``group-ports keygen`` wrote.

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
