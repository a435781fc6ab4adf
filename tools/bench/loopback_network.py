"""A network of its own with nothing but a loopback interface, which has a route for multicast.

LCM sends where the routing table says, so it cannot be measured without one.
Where the system can, there is another interface, for those who need broadcasts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED: Final = ("unshare", "nsenter", "ip")
#: Where broadcasts can be heard. Its other end is in the same network, so nothing leaves it.
BROADCASTING: Final = "broadcasting"
_BROADCASTING_TOO: Final = (
    f"ip link add {BROADCASTING} type veth peer name elsewhere"
    f" && ip addr add 10.99.0.1/24 brd + dev {BROADCASTING}"
    f" && ip link set {BROADCASTING} up && ip link set elsewhere up"
)
_SET_UP: Final = (
    "ip link set lo up && ip route add 224.0.0.0/4 dev lo"
    f" && {{ {_BROADCASTING_TOO} || true; }} && echo ready && exec cat"
)
#: How to make and to enter it: as root, and as anybody else, who gets a user namespace too.
_KINDS: Final = (
    (["--net"], ["--net"]),
    (["--map-root-user", "--net"], ["--user", "--preserve-credentials", "--net"]),
)
LEAVE_TIMEOUT_S: Final = 15.0


class NoNetworkError(RuntimeError):
    """It could not be made; says why."""


@contextlib.contextmanager
def loopback_network() -> Iterator[list[str]]:
    """Make the network, give the command that runs others in it, end it.

    Raises
    ------
    NoNetworkError
        A program is missing, or the system refused.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=path) for name in _NEEDED}
    if None in found.values():
        missing = ", ".join(name for name, where in found.items() if where is None)
        raise NoNetworkError(f"{missing} not found")
    reasons = []
    for make, enter in _KINDS:
        holder = subprocess.Popen(
            [str(found["unshare"]), *make, "sh", "-c", _SET_UP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": path},
            text=True,
            start_new_session=True,
        )
        with holder:
            if holder.stdout is None or holder.stdin is None or holder.stderr is None:
                raise NoNetworkError("it was started without pipes")
            try:
                if holder.stdout.readline() == "ready\n":
                    yield [str(found["nsenter"]), "--target", str(holder.pid), *enter, "--"]
                    return
                reasons.append(holder.stderr.read().strip())
            finally:
                # `cat` ends with its input.
                holder.stdin.close()
                holder.wait(LEAVE_TIMEOUT_S)
    raise NoNetworkError("; ".join(reasons))
