"""Addresses and TCP sockets: names to numbers, listen, connect, options."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import socket
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

Candidate: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]

#: Connections the kernel completes before `accept`. The original asks for one,
#: so that its fourth simultaneous client waits a second or more.
BACKLOG: Final = 128

#: Seconds, 11 days. Systems count a wait in milliseconds of 32 bits.
LONGEST_WAIT: Final = 1_000_000.0

#: Liveness of a connection on which nothing moves: first probe after 30 s,
#: then every 10 s, dead after three. Names that a system lacks are left out.
_LIVENESS: Final = tuple(
    (getattr(socket, name), value)
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPALIVE", 30),  # what macOS calls TCP_KEEPIDLE
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),  # ms; covers data that nobody acknowledges
    )
    if hasattr(socket, name)
)


def peer_name(address: Sequence[Any]) -> str:
    """Return ``host:port``, with brackets around an IPv6 host."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@lru_cache(maxsize=64)
def _numeric(host: str, port: int) -> Candidate | None:
    """Recognise an address that needs no look-up.

    Looking up a number costs a quarter of a round trip on loopback.
    """
    for family, sockaddr in ((socket.AF_INET, (host, port)), (socket.AF_INET6, (host, port, 0, 0))):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family, sockaddr
    return None


def candidates(host: str, port: int) -> list[Candidate]:
    """Return the addresses of `host`, IPv4 first because the original knows no other.

    The empty name means all interfaces, as for the original.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    number = _numeric(bare or "0.0.0.0", port)  # noqa: S104 - asked for by the caller
    if number is not None:
        return [number]
    found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)
    return sorted(
        ((socket.AddressFamily(family), sockaddr) for family, _, _, _, sockaddr in found),
        key=lambda candidate: candidate[0] != socket.AF_INET,
    )


def tune(sock: socket.socket) -> None:
    """Set what every connection gets: no delay for small frames, liveness probes."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _LIVENESS:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def listen(host: str, port: int) -> socket.socket:
    """Return a non-blocking listening socket.

    Raises
    ------
    OSError
        The address is taken, or not one of this machine.
    """
    family, sockaddr = candidates(host, port)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":  # pragma: no cover
            # Reuse would let a second server take the port over.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        elif os.name == "posix":  # pragma: no branch
            # Connections of a server that ended stay in TIME_WAIT for a minute.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tune(sock)  # what is accepted inherits it
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(host: str, port: int, deadline: float) -> tuple[socket.socket, str]:
    """Return a connected socket and its peer's name.

    Parameters
    ----------
    deadline : float
        On the monotonic clock; may be infinite.

    Raises
    ------
    TimeoutError
        The deadline passed.
    OSError
        No address of `host` took the connection; the error of the last one.
    """
    failure = OSError(f"{host!r} has no address")
    for family, sockaddr in candidates(host, port):
        peer = peer_name(sockaddr)
        try:
            return _connect_one(family, sockaddr, deadline), peer
        except OSError as error:
            error.add_note(f"while connecting to {peer}")
            failure = error
    raise failure


def _connect_one(family: socket.AddressFamily, sockaddr: tuple[Any, ...], deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock)
        sock.settimeout(remaining(deadline))
        sock.connect(sockaddr)
        sock.setblocking(True)  # from now on nobody waits in it, see AT_ONCE
        if _met_itself(sock, sockaddr[1]):
            text = "connected to itself, nobody listens"
            raise ConnectionRefusedError(errno.ECONNREFUSED, text)  # noqa: TRY301 - the way out closes it
    except BaseException:
        sock.close()
        raise
    return sock


def _met_itself(sock: socket.socket, port: int) -> bool:
    """Whether both ends are this socket.

    The system may pick for this end the very port of this machine that it is
    to reach, and TCP allows that; a command would be answered by itself.
    """
    try:
        here = sock.getsockname()
        return bool(here[1] == port and here == sock.getpeername())
    except OSError:  # the peer is gone already, which shows later
        return False


def remaining(deadline: float) -> float | None:
    """Return the seconds left, as `settimeout` wants them.

    A deadline that has just passed leaves a millisecond: zero would mean "do
    not wait at all" and fail on a peer that is there. Callers look at the clock
    themselves before they start to wait again. More than `LONGEST_WAIT` is cut.
    """
    if deadline == math.inf:
        return None
    return min(max(deadline - time.monotonic(), 0.001), LONGEST_WAIT)


def is_allowed(peer: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether `peer`, as `peer_name` writes it, is in one of the networks."""
    host = ipaddress.ip_address(peer.rpartition(":")[0].strip("[]"))
    return any(host in network for network in networks)
