"""Connections that ended other than by STOP: counted, remembered, logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mxl_sockets._quiet_log import QuietLogger

logger = logging.getLogger(__name__)


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

    def note(self, peer: str, molecule_id: int | None, reason: str) -> None:
        """Count a loss. Strangers are logged once per host and cause, molecules always."""
        who = peer if molecule_id is None else f"{peer} (molecule {molecule_id})"
        self.count += 1
        self.last = f"{who}: {reason}"
        if molecule_id is None:
            self._quiet.warn(peer.rpartition(":")[0], reason, "dropped %s: %s", who, reason)
        else:
            logger.warning("lost %s: %s", who, reason)
