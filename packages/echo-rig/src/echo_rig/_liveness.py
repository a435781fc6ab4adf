"""How a TCP end that vanished without a word is noticed: by probes of the system."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Final

#: Seconds: an end that vanished is noticed after about this long. Both options are needed, one works while
#: data is under way, the other one while nothing is.
KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3
UNANSWERED_MS: Final = 30_000


def watch_liveness(stream: socket.socket) -> None:
    """Ask the system to notice an end that vanished; what a platform lacks is left out."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if sys.platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS),
        ]
    with contextlib.suppress(OSError):
        for level, name, value in options:
            stream.setsockopt(level, name, value)
