"""Finding the hub: addresses, and connecting until a deadline.

A driver is often started before its hub and may outlive it, so a refused
connection, a missing UNIX path or a name that does not resolve yet is not an
error before the deadline. Attempts are spaced by a growing, jittered delay, so
that a thousand drivers of one hub do not come back in step.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mxl_sockets._listen import DEFAULT_PORT, prepare_tcp, unix_path

if TYPE_CHECKING:
    from mxl_sockets._stop import StopSignal

_log = logging.getLogger(__name__)

#: Where hubs listen when nothing is said.
DEFAULT_HOST: Final = "127.0.0.1"

#: Seconds for one TCP attempt: a silent address must not eat the whole deadline.
ATTEMPT_TIMEOUT_S: Final = 10.0

_IN_PROGRESS: Final = {errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)}


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A TCP address; `host` may be a name, an IPv4 or an IPv6 literal."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """A UNIX socket path."""

    path: str

    def __str__(self) -> str:
        return self.path


Target: TypeAlias = TcpTarget | UnixTarget


def parse_target(address: str | tuple[str, int] | None = None, unixsocket: str | None = None) -> Target:
    """Read the two ways to name a hub.

    Parameters
    ----------
    address : str or (str, int), optional
        ``"HOST:PORT"``, ``"[::1]:PORT"`` or ``(host, port)``.
    unixsocket : str, optional
        A path starting with ``/``, or a name that goes behind `mxl_sockets._listen.UNIX_PREFIX`.

    Returns
    -------
    TcpTarget or UnixTarget
        ``127.0.0.1:31415`` when neither is given.

    Raises
    ------
    ValueError
        Both are given, or one cannot be understood.

    Examples
    --------
    >>> print(parse_target("[::1]:31415"))
    [::1]:31415
    """
    if unixsocket is not None:
        if address is not None:
            raise ValueError(
                f"both a TCP address {address!r} and a UNIX socket {unixsocket!r} are given, want one"
            )
        return UnixTarget(unix_path(unixsocket))
    if address is None:
        return TcpTarget(DEFAULT_HOST, DEFAULT_PORT)
    if isinstance(address, str):
        host, colon, digits = address.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"address {address!r} is ambiguous, write an IPv6 address as [::1]:31415")
        if not colon or not host or not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"address {address!r} is not HOST:PORT")
        port = int(digits)
    else:
        host, port = address
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not between 1 and 65535")
    return TcpTarget(host, port)


class Backoff:
    """Delays between attempts: 0.05 s growing by half up to 1 s, each shortened by up to a half at random."""

    FIRST_S = 0.05
    FACTOR = 1.5
    LARGEST_S = 1.0

    def __init__(self) -> None:
        self._delay = self.FIRST_S

    def reset(self) -> None:
        """Start again from the shortest delay."""
        self._delay = self.FIRST_S

    def next_s(self) -> float:
        """Return the next delay, seconds."""
        delay = self._delay
        self._delay = min(delay * self.FACTOR, self.LARGEST_S)
        return delay * (1 - os.urandom(1)[0] / 512)


def connect(
    target: Target, *, deadline: float, stop: StopSignal, backoff: Backoff, label: str = "hub"
) -> socket.socket | None:
    """Connect, trying again until it works.

    Parameters
    ----------
    target : TcpTarget or UnixTarget
        The hub.
    deadline : float
        When to give up, on the clock of `time.monotonic`. There is always one attempt.
    stop : StopSignal
        Ends the waiting early.
    backoff : Backoff
        The delays; the caller resets it after a connection on which steps were made.
    label : str
        What the target is called in messages.

    Returns
    -------
    socket.socket or None
        Connected, non-blocking; for TCP with NODELAY and keepalive. None if
        `stop` was set.

    Raises
    ------
    TimeoutError
        The deadline passed; the last attempt's error is the cause.
    PermissionError
        The system will never allow it.

    Notes
    -----
    Looking up a name is left to the system and is not interrupted; numbers are
    not looked up.
    """
    started = time.monotonic()
    told = False
    while not stop.is_set:
        try:
            return _attempt(target, deadline, stop)
        except PermissionError:
            raise
        except OSError as error:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                waited = time.monotonic() - started
                raise TimeoutError(
                    f"cannot connect to {label} {target}: gave up after {waited:.1f} s, last error: {error}"
                ) from error
            if not told:
                told = True
                _log.info("no %s at %s yet (%s), trying for %.0f s", label, target, error, remaining)
            stop.wait(min(backoff.next_s(), remaining))
    return None


def _attempt(target: Target, deadline: float, stop: StopSignal) -> socket.socket:
    """Try every address the target stands for, once."""
    if isinstance(target, UnixTarget):
        return _open(socket.AF_UNIX, target.path, deadline, stop)
    last: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        try:
            sock = _open(family, address, deadline, stop)
        except OSError as error:
            last = error
            continue
        # Connecting to a free port of one's own machine can meet itself: the
        # system may pick that very port for this end, and TCP allows it.
        if sock.getsockname() == sock.getpeername():
            sock.close()
            last = ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself, nobody listens")
            continue
        prepare_tcp(sock)
        return sock
    raise last or OSError(f"no address for {target}")


def _open(family: int, address: str | tuple[Any, ...], deadline: float, stop: StopSignal) -> socket.socket:
    """Open one connection; the socket is closed on every other way out."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code in _IN_PROGRESS:
            wait_s = min(ATTEMPT_TIMEOUT_S, deadline - time.monotonic())
            if not stop.wait_writable(sock, wait_s):
                code = errno.ETIMEDOUT
            else:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - the way out closes the socket
    except BaseException:
        sock.close()
        raise
    return sock
