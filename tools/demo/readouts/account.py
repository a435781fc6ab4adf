"""What everybody knew at the end of a session: the ground of all checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wireframe.eventlog import LogEvent

#: A hit as numpy reads it; `readout.Hit` has the layout.
HIT_TYPE: Final = np.dtype(
    [("number", "<u4"), ("time_ns", "<u8"), ("column", "u1"), ("row", "u1"), ("pulse", "<u2")]
)


@dataclass(frozen=True, slots=True)
class Monitor:
    """What a monitor reported.

    Attributes
    ----------
    name : str
        Early, late or slow.
    end : mapping
        Its counts in the end, as in `udp_multicast.ReceiverStatistics`.
    samples : sequence of mapping
        Its counts now and then, with ``seconds``.
    hits : ndarray, shape (received,), HIT_TYPE
        What it received, in the order of arrival.
    """

    name: str
    end: Mapping[str, Any]
    samples: Sequence[Mapping[str, Any]]
    hits: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that was seen. All ``seconds`` are of the monotonic clock.

    Attributes
    ----------
    sent : ndarray, shape (readouts,), HIT_TYPE
        What the DAQ sent.
    exposures : sequence of mapping
        ``begin`` and ``end`` of each, in seconds.
    samples : sequence of mapping
        How many readouts the DAQ had ``sent`` at which ``seconds``.
    sent_maps : sequence of bytes
        Maps that the DAQ sent.
    monitors : sequence of Monitor
        Early, late, slow.
    recorded : sequence of LogEvent
        The recording.
    recorded_s : ndarray, shape (maps,), float64
        When its maps were recorded.
    replayed : sequence of bytes
        What the viewer received.
    replayed_s : ndarray, shape (maps,), float64
        When.
    viewer_end : mapping
        Its counts in the end, as in `udp_multicast.ChannelStatistics`.
    statuses : mapping of str to int
        Exit status of every process.
    """

    sent: NDArray[np.void]
    exposures: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    sent_maps: Sequence[bytes]
    monitors: Sequence[Monitor]
    recorded: Sequence[LogEvent]
    recorded_s: NDArray[np.float64]
    replayed: Sequence[bytes]
    replayed_s: NDArray[np.float64]
    viewer_end: Mapping[str, Any]
    statuses: Mapping[str, int]
