"""Acknowledging at once what a TCP peer has sent so far.

A peer that writes a message in small pieces and leaves Nagle's algorithm on
(ASE does both) sends the second piece only when the first is acknowledged, and
a system that has nothing to send acknowledges after some 40 ms. So whoever has
read a part of a message, or one that is not answered, says so. Linux forgets
the wish soon, so it is repeated each time.
"""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_OPTION: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


def acknowledger(sock: socket.socket) -> Callable[[], None] | None:
    """Return what acknowledges all that was read; None where that is not needed or not known.

    The callable raises nothing: a connection that is broken says so elsewhere.
    """
    if _OPTION is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return functools.partial(_acknowledge, sock, _OPTION)


def _acknowledge(sock: socket.socket, option: int) -> None:
    try:  # noqa: SIM105 - suppress() costs more than the call
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    except OSError:
        pass
