"""Everything a receiver knows about what came and what did not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from udp_multicast._losses import SenderLosses

__all__ = ["ReceiverStatistics"]

#: Seconds that a rate looks back.
RATE_WINDOW_S: Final = 1.0
#: Samples of a rate within its window, so that frequent questions cost no memory.
_SAMPLES: Final = 16


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """What a receiver counted, at one moment.

    ``sent = received + kernel_drops`` for datagrams that reached this host,
    with the exception that `kernel_drops` tells.

    Attributes
    ----------
    received : int
        Datagrams taken from the socket, good or not.
    bytes : int
        Their payload.
    datagrams_per_s : float
        Datagrams per second over the last second or, if nobody asked in the
        meantime, since the last question.
    broken : int
        Datagrams that the readout class refused, or longer than `max_size`.
    strangers : int
        Datagrams of senders that are not among `sources`.
    gaps : int
        Times that readout ids were left out, over all senders.
    lost : int
        Readout ids that did not arrive.
    duplicates : int
        Readout ids that had arrived before.
    late : int
        Readout ids that arrived after a higher one.
    restarts : int
        Times that a sender began anew.
    kernel_drops : int or None
        Datagrams the kernel dropped because the buffer was full, since the
        receiver was made; None where the system does not tell (not Linux).
        After the first `receive_many`, datagrams that the kernel had put
        together are dropped together and count as one: then it is the least
        there were, and readout ids tell how many. One that was changed on its
        way, which the checksum of UDP tells the kernel, need not be among them.
    granted_buffer : int
        Bytes of receive buffer the system granted. Linux says twice what one
        asks for, and counts some 830 bytes for the smallest datagram.
    queued_bytes : int or None
        Bytes of that in use; None where the system does not tell.
    senders : mapping of tuple to SenderLosses
        The readout ids sender by sender, at most 256 of them.
    """

    received: int = 0
    bytes: int = 0
    datagrams_per_s: float = 0.0
    broken: int = 0
    strangers: int = 0
    gaps: int = 0
    lost: int = 0
    duplicates: int = 0
    late: int = 0
    restarts: int = 0
    kernel_drops: int | None = None
    granted_buffer: int = 0
    queued_bytes: int | None = None
    senders: Mapping[tuple[Any, ...], SenderLosses] = field(default_factory=dict)


class RateMeter:
    """Turns a growing count into a rate; takes `now`, reads no clock.

    Parameters
    ----------
    now : float
        Seconds, when the count was 0.

    Examples
    --------
    >>> meter = RateMeter(now=0.0)
    >>> meter.rate(50, now=0.5), meter.rate(150, now=1.5), meter.rate(150, now=2.5)
    (100.0, 100.0, 0.0)
    """

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def rate(self, count: int, now: float) -> float:
        """Return the rate over the last second, or as far back as is known.

        Parameters
        ----------
        count : int
            So far.
        now : float
            Seconds, not before the last call's.
        """
        # The youngest sample that is a second old, and those after it, stay.
        while len(self._samples) > 1 and now - self._samples[1][0] >= RATE_WINDOW_S:
            self._samples.popleft()
        start, before = self._samples[0]
        elapsed = now - start
        if now - self._samples[-1][0] >= RATE_WINDOW_S / _SAMPLES:
            self._samples.append((now, count))
        return (count - before) / elapsed if elapsed > 0 else 0.0
