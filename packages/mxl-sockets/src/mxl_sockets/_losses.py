"""Connections that ended other than by STOP: counted, remembered, logged."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from mxl_sockets.status import Loss

if TYPE_CHECKING:
    from mxl_sockets._quiet_log import QuietLogger

logger = logging.getLogger(__name__)

#: Losses that are remembered.
MOST: Final = 16
#: Characters of each.
LONGEST: Final = 300


class Losses:
    """What `SocketHub.status` tells about lost connections.

    Parameters
    ----------
    quiet : QuietLogger

    Attributes
    ----------
    count : int
    last : str or None
        Who and why, of the latest.
    """

    def __init__(self, quiet: QuietLogger) -> None:
        self.count = 0
        self.last: str | None = None
        self._quiet = quiet
        self._recent: deque[tuple[float, str]] = deque(maxlen=MOST)

    def remember(self, text: str) -> None:
        """Count a loss; `text` says who and why."""
        self.count += 1
        self.last = text
        self._recent.append((time.monotonic(), text[:LONGEST]))

    def warn(self, text: str) -> None:
        """Say what goes wrong although nobody was lost by it; the log has it already."""
        self.last = text

    def recent(self) -> list[Loss]:
        """Return the latest losses, the newest last."""
        now = time.monotonic()
        return [Loss(now - when, text) for when, text in self._recent]

    def note(self, peer: str, molecule_id: int | None, reason: str) -> None:
        """Count a loss. Strangers are logged once per host and cause, molecules always."""
        who = peer if molecule_id is None else f"{peer} (molecule {molecule_id})"
        self.remember(f"{who}: {reason}")
        if molecule_id is None:
            self._quiet.warn(peer.rpartition(":")[0], reason, "dropped %s: %s", who, reason)
        else:
            logger.warning("lost %s: %s", who, reason)
