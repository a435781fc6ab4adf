"""Socket options by platform; None where the platform has no such thing.

Python's `socket` module names some of them on some systems only. The numbers
of Linux are part of its binary interface and are written out here. For other
systems nothing is guessed: a number that means membership on one is a time to
live on another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from typing import Final

#: Read at run time, so that type checkers look at all branches.
PLATFORM: Final[str] = str(sys.platform)
LINUX: Final[bool] = PLATFORM == "linux"
WINDOWS: Final[bool] = PLATFORM == "win32"


def _option(name: str, linux: int) -> int | None:
    """Return the number Python knows, or that of Linux on Linux."""
    known: int | None = getattr(socket, name, None)
    return linux if known is None and LINUX else known


def _only_linux(number: int) -> int | None:
    return number if LINUX else None


#: Deliver only groups that this socket joined, on the interface it joined them.
IP_MULTICAST_ALL: Final = _only_linux(49)
IPV6_MULTICAST_ALL: Final = _only_linux(29)
#: Join a group for one source, on an interface given by its address.
IP_ADD_SOURCE_MEMBERSHIP: Final = _only_linux(39)
IP_DROP_SOURCE_MEMBERSHIP: Final = _only_linux(40)
#: The same, for both families, on an interface given by its index.
MCAST_JOIN_SOURCE_GROUP: Final = _only_linux(46)
MCAST_LEAVE_SOURCE_GROUP: Final = _only_linux(47)
#: Bytes the path carries in one frame, of a connected socket.
IP_MTU: Final = _only_linux(14)
IPV6_MTU: Final = _only_linux(24)
#: Nine counters of the socket, see `meminfo`.
SO_MEMINFO: Final = _only_linux(55)
#: A receive buffer beyond the system's limit, for privileged programs.
SO_RCVBUFFORCE: Final = _only_linux(33)
#: One buffer in, many datagrams out, and the reverse. Level IPPROTO_UDP.
UDP_SEGMENT: Final = _only_linux(103)
UDP_GRO: Final = _only_linux(104)
#: Do not wait, for one call, without making the socket non-blocking.
MSG_DONTWAIT: Final = _option("MSG_DONTWAIT", 0x40)

#: Nine native unsigned ints.
_MEMINFO: Final = struct.Struct("@9I")


def meminfo(sock: socket.socket) -> tuple[int, ...] | None:
    """Return the kernel's counters of a socket, or None where there are none.

    Returns
    -------
    tuple of 9 int, or None
        [0] bytes queued, [1] receive buffer granted, [8] datagrams dropped
        since the socket was made.
    """
    if SO_MEMINFO is None:
        return None
    try:
        return _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))
    except (OSError, struct.error):  # a kernel before 4.12
        return None


def share_port(sock: socket.socket) -> None:
    """Let several sockets bind to one group and port; to be called before `bind`.

    SO_REUSEADDR alone is what other software uses, and on Linux the two kinds
    do not mix. On macOS and the BSDs it is SO_REUSEPORT that shares.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port: int | None = getattr(socket, "SO_REUSEPORT", None)
    if port is not None and not LINUX and os.name == "posix":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, port, 1)


def ask_receive_buffer(sock: socket.socket, size: int) -> int:
    """Ask for a receive buffer of `size` bytes and return what was granted.

    Linux grants, and reports, twice what was asked for: half of it is for its
    own book-keeping. Programs with CAP_NET_ADMIN get more than
    ``net.core.rmem_max``.
    """
    # Some systems refuse what is too much instead of granting less.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if SO_RCVBUFFORCE is not None and granted < 2 * size:
        with contextlib.suppress(OSError):  # only the privileged may
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return granted
