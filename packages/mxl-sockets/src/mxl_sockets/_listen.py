"""Listening sockets: binding TCP and UNIX addresses, and letting go of them.

A UNIX path outlives its process. So a path that exists is probed: a living
listener is left alone, a dead socket is taken over, and anything that is not a
socket is never touched. A path is unlinked only by the process and only as the
very inode (device, number) that it created, so that an old hub cannot remove
the path of its successor.
"""

from __future__ import annotations

import contextlib
import os  # and no pathlib, whose import takes longer than that of socket
import socket
import stat
import sys
import time
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Names of UNIX sockets that are not absolute paths are appended to this.
UNIX_PREFIX: Final = os.sep + "tmp" + os.sep + "socketmxl_"

#: Connections the kernel may hold for us; the system's own limit caps it. A
#: cluster job starts its drivers all at once.
BACKLOG: Final = 16384

#: Seconds a probe waits for a listener that may be dead.
PROBE_TIMEOUT: Final = 0.25

#: Seconds to wait for another hub that is opening a path in the same folder;
#: longer than its probe.
LOCK_TIMEOUT: Final = 1.0

#: Seconds until a silent TCP peer is probed, between probes, and until
#: unacknowledged data ends the connection: a vanished host is noticed within a minute.
KEEPALIVE_IDLE: Final = 30
KEEPALIVE_INTERVAL: Final = 10
KEEPALIVE_COUNT: Final = 3
USER_TIMEOUT_MS: Final = 60_000

MAX_PORT: Final = 65535

#: Where hubs listen unless told otherwise.
DEFAULT_PORT: Final = 31415

Address: TypeAlias = tuple[str, int] | str


def unix_path(name: str) -> str:
    """Return the path of a UNIX socket: absolute as it is, else prefixed.

    Raises
    ------
    ValueError
        The name is empty, holds a NUL, or the path is longer than the system allows.

    Examples
    --------
    >>> unix_path("/run/lab/hub")
    '/run/lab/hub'
    """
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is not a name for a UNIX socket")
    path = name if name.startswith("/") else UNIX_PREFIX + name
    limit = 107 if sys.platform == "linux" else 103
    if len(os.fsencode(path)) > limit:
        raise ValueError(f"UNIX socket path {path!r} is longer than {limit} bytes")
    return path


class Listener:
    """A bound, listening, non-blocking socket that knows how to clean up.

    Parameters
    ----------
    sock : socket.socket
        Bound and listening.
    path : str, optional
        The path that was made for it, if it is a UNIX socket.
    endpoint : int, optional
        The only molecule that connections to it may become.

    Attributes
    ----------
    address : (str, int) or str
        Numeric host and bound port, or the UNIX path.
    """

    def __init__(self, sock: socket.socket, *, path: str | None = None, endpoint: int | None = None) -> None:
        self.sock = sock
        self.endpoint = endpoint
        self.descriptor = sock.fileno()
        self.is_unix = path is not None
        self.address: Address = path if path is not None else sock.getsockname()[:2]
        self._owner = os.getpid()
        self._inode = _inode(path) if path is not None else None
        sock.setblocking(False)

    def close(self) -> None:
        """Stop listening; unlink the path if it is still ours."""
        self.sock.close()
        if self._inode is None or not isinstance(self.address, str) or os.getpid() != self._owner:
            return
        with contextlib.suppress(OSError):
            if _inode(self.address) == self._inode:
                os.unlink(self.address)  # noqa: PTH108 - no pathlib
        self._inode = None

    def close_in_child(self) -> None:
        """Let go of the descriptor in a forked child; the path stays the parent's."""
        self.sock.close()


def _inode(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def adopt(sock: socket.socket) -> Listener:
    """Take over a TCP socket that somebody else made listen.

    Raises
    ------
    ValueError
        It is not a TCP socket, or does not listen.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"only a TCP socket can be adopted as listener, not {sock!r}")
    # Some systems do not tell.
    with contextlib.suppress(AttributeError, OSError):
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError(f"{sock!r} does not listen: call its listen() first")
    return Listener(sock)


def listen_tcp(host: str | None, port: int, *, endpoint: int | None = None) -> Listener:
    """Listen on a TCP address.

    Parameters
    ----------
    host : str or None
        Name, IPv4 or IPv6 literal; None is the loopback address 127.0.0.1,
        the empty string all IPv4 interfaces. A name with addresses of both
        families is its IPv4 address, which every driver can reach.
    port : int
        0 takes a free one.
    endpoint : int, optional
        See `Listener`.

    Raises
    ------
    OSError
        The address cannot be found or bound; the message names it.
    ValueError
        `port` is not a port number.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"a port is an integer, not {port!r}")
    if not 0 <= port <= MAX_PORT:  # the resolver would take it modulo 65536
        raise ValueError(f"a port is a number from 0 to {MAX_PORT}, not {port}")
    wanted = "127.0.0.1" if host is None else host or "0.0.0.0"  # noqa: S104 - asked for by the user
    try:
        found = socket.getaddrinfo(wanted, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise type(error)(error.errno, f"cannot listen on {wanted}: {error.strerror}") from error
    family, kind, proto, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    sock = socket.socket(family, kind, proto)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:  # pragma: no cover - Windows: reuse would let others steal the port
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", 0), 1)
        try:
            sock.bind(address)
        except OSError as error:
            raise type(error)(
                error.errno, f"cannot listen on {wanted} port {port}: {error.strerror}"
            ) from error
        sock.listen(BACKLOG)
        return Listener(sock, endpoint=endpoint)
    except BaseException:
        sock.close()
        raise


def listen_unix(name: str, *, endpoint: int | None = None) -> Listener:
    """Listen on a UNIX socket that only this user can connect to.

    Parameters
    ----------
    name : str
        Absolute path, or a name for `unix_path`.
    endpoint : int, optional
        See `Listener`.

    Raises
    ------
    RuntimeError
        Another process listens there.
    FileExistsError
        Something that is not a socket has the path.
    OSError
        The path cannot be bound, or the system has no UNIX sockets.
    """
    path = unix_path(name)
    if not hasattr(socket, "AF_UNIX"):  # pragma: no cover - Windows
        raise OSError("this system has no UNIX sockets; use TCP on the loopback address")
    with _alone_in(os.path.dirname(path)):  # noqa: PTH120 - no pathlib
        _clear_path(path)
        return Listener(_bind_unix(path), path=path, endpoint=endpoint)


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Keep other hubs that start from opening paths in the same folder.

    Of two that found the same dead socket, the slower one would remove what
    the faster one has just made. The lock is advisory, on the folder itself,
    so nothing is left behind; if somebody sits on it, we go on without.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (ImportError, OSError):  # another system; or bind will say what is wrong with the folder
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(LOCK_TIMEOUT / 100)
        yield
    finally:
        os.close(descriptor)


def _bind_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform == "linux":
            # The mode given to the descriptor is the mode of the path from
            # its first moment on; a chmod afterwards would leave a gap.
            os.fchmod(sock.fileno(), 0o600)
        try:
            sock.bind(path)
        except OSError as error:
            raise type(error)(error.errno, f"cannot listen on {path}: {error.strerror}") from error
        os.chmod(path, 0o600)  # noqa: PTH101 - no pathlib
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _clear_path(path: str) -> None:
    """Make room at `path` if a dead socket is in the way."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket; it is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - no pathlib
            return
        except OSError as error:
            raise RuntimeError(f"UNIX socket {path} may be in use: {error}") from error
    raise RuntimeError(f"UNIX socket {path} is already in use")


def prepare_tcp(connection: socket.socket) -> None:
    """Set what every accepted TCP connection needs: no delay, and notice of dead hosts."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        # Each system has some of them.
        with contextlib.suppress(AttributeError, OSError):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
