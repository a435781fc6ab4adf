"""The choices that make a hub stricter, larger or more careful than its default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # what nobody uses costs import time
class HubSettings:
    """Checked settings of a `SocketHub`; see there for their meaning.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    timeout: float
    latency: float
    two_phase: bool
    handshake: Literal["init", "status", "init+status"]
    handshake_timeout: float
    silence_timeout: float | None
    max_extra: int
    max_waiting: int

    def __post_init__(self) -> None:
        if self.handshake not in ("init", "status", "init+status"):
            raise ValueError(f"handshake is 'init', 'status' or 'init+status', not {self.handshake!r}")
        # Written so that NaN fails too.
        if not (self.timeout >= 0 and 0 <= self.latency < math.inf):
            raise ValueError("timeout and latency are times in seconds; latency is finite")
        if not self.handshake_timeout > 0 or (
            self.silence_timeout is not None and not self.silence_timeout > 0
        ):
            raise ValueError("handshake_timeout and silence_timeout are positive times in seconds")
        if self.max_extra < 0 or self.max_waiting < 1:
            raise ValueError("max_extra is at least 0 and max_waiting at least 1")
