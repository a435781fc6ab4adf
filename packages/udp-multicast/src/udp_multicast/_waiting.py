"""Waiting until a datagram is there, so that closing ends it on every system."""

from __future__ import annotations

import math
import select
import time
from typing import TYPE_CHECKING, Final

from udp_multicast import _options

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds at a time. On Linux, shutting a socket down wakes whoever waits for
#: it, and an hour is no more than systems can count; elsewhere the waiter has
#: to look up now and then.
_SLICE_S: Final = 3600.0 if _options.LINUX else 0.05


def wait_readable(descriptor: int, deadline: float, is_over: Callable[[], bool]) -> bool:
    """Wait for a datagram.

    Parameters
    ----------
    descriptor : int
        Of the socket.
    deadline : float
        On the monotonic clock; may be infinite.
    is_over : callable
        Whether to end waiting; asked between slices.

    Returns
    -------
    bool
        True if there is something to receive, an error included; False if the
        deadline passed.
    """
    while not is_over():
        left = deadline - time.monotonic()
        if is_readable(descriptor, min(max(left, 0.0), _SLICE_S)):
            return True
        if left <= 0:
            return False
    return True


def is_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait once, at most `timeout_s` seconds."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    # Rounded up, so that the last fraction of a millisecond is not spun through.
    return bool(poll.poll(math.ceil(timeout_s * 1000)))
