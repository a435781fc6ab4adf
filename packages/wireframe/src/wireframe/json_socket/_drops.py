"""Peers a server had to drop: counted, remembered for a while, logged."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger("wireframe.json_socket")

#: How many dropped peers are remembered in detail.
REMEMBERED: Final = 64
#: How many pairs of host and cause are remembered as warned about; a scan from
#: forged addresses must not grow a set without end.
WARNED: Final = 512


@dataclass(frozen=True, slots=True)
class DroppedPeer:
    """A connection that a server closed because of what its peer did.

    Attributes
    ----------
    peer : str
        Address, such as ``"127.0.0.1:52100"``.
    cause : str
        Name of the exception class: ``"BadHeader"``, ``"TimeoutError"``, ...
    reason : str
        The exception's text.
    received : int
        Bytes of the unfinished or offending frame that were held.
    """

    peer: str
    cause: str
    reason: str
    received: int


def text_of(error: Exception) -> str:
    """Return an exception's text, also of one that fails to say it."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - a program's own exceptions may do anything
        return f"(its text cannot be had: {type(failure).__name__})"


class Drops:
    """The count and the latest cases; the exceptions themselves are not kept.

    An exception of the JSON reader holds the whole text it refused.

    Attributes
    ----------
    count : int
    recent : deque of DroppedPeer
        The latest 64.
    """

    def __init__(self) -> None:
        self.count = 0
        self.recent: deque[DroppedPeer] = deque(maxlen=REMEMBERED)
        self._warned: set[tuple[str, str]] = set()

    def add(self, peer: str, error: Exception, received: int = 0) -> None:
        """Record one case: a warning per host and cause, then debug messages."""
        self.count += 1
        self.recent.append(DroppedPeer(peer, type(error).__name__, str(error), received))
        self._log("dropped", peer, peer.rpartition(":")[0], error)

    def note(self, what: str, error: Exception) -> None:
        """Log a trouble that cost no peer its connection, with its traceback."""
        self._log("trouble:", what, what, error, traceback=True)

    def _log(self, verb: str, what: str, host: str, error: Exception, *, traceback: bool = False) -> None:
        cause = type(error).__name__
        level = logging.DEBUG
        if (host, cause) not in self._warned and len(self._warned) < WARNED:
            self._warned.add((host, cause))
            level = logging.WARNING
        text = text_of(error)
        logger.log(level, "%s %s: %s: %s", verb, what, cause, text, exc_info=error if traceback else None)
