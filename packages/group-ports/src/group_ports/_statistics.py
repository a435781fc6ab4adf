"""What a port counted, at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class PortStatistics:
    """What a port counted since it was made.

    Attributes
    ----------
    sent : int
        Messages handed to ZeroMQ.
    received : int
        Messages handed to the caller.
    dropped : mapping of str to int
        Messages that were not, by cause: ``BadHeader``, ``BadPayload``,
        ``FrameTooLarge``, ``TruncatedFrame`` (as the codec names them), ``unknown
        tag``, ``other group``, ``skipped`` (not what the call was for, such as a
        heartbeat for `recv`), ``object refused``, ``interrupted``.
    lost : int
        Messages that publishers numbered and that did not arrive.
    lost_by_publisher : mapping of bytes to int
        The same for each publisher, at most 256 of them.
    handshake_failures : mapping of str to int
        Connections that failed before a message could pass, by cause:
        ``protocol`` (no such security, damaged), ``refused`` (not on the list),
        ``no detail`` (hung up, or took too long).
    """

    sent: int = 0
    received: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0
    lost_by_publisher: Mapping[bytes, int] = field(default_factory=dict)
    handshake_failures: Mapping[str, int] = field(default_factory=dict)
