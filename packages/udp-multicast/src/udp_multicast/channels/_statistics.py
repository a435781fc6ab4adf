"""What a receiver of channels has seen, as numbers that do not change any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from udp_multicast.channels._message import Address


@dataclass(frozen=True, slots=True)
class SenderStatistics:
    """What one sender sent, and what of it never arrived.

    A sender is a source address and port. Its messages are numbered across all
    its channels, so all of them are counted, wanted or not.

    Attributes
    ----------
    messages : int
        Messages that arrived whole, each once.
    bytes : int
        Their payloads.
    lost : int
        Numbers between its first and its highest that have not arrived: lost
        on the way, incomplete, or still in progress.
    gaps : int
        Times that numbers were left out.
    late : int
        Messages that arrived after a higher number; they are not lost.
    duplicates : int
        Messages that had arrived already; they are dropped.
    restarts : int
        Times that it began anew on the same address.
    silent_s : float
        Seconds since its last datagram.
    """

    messages: int = 0
    bytes: int = 0
    lost: int = 0
    gaps: int = 0
    late: int = 0
    duplicates: int = 0
    restarts: int = 0
    silent_s: float = 0.0

    @property
    def loss(self) -> float:
        """Lost messages as a fraction of those that should have arrived, 0 to 1."""
        return self.lost / (self.messages + self.lost) if self.lost else 0.0


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a receiver of channels has seen.

    Attributes
    ----------
    datagrams : int
        All that arrived.
    foreign : int
        Those of them that are not LCM's.
    broken : int
        Those that began like LCM's and break its rules or our limits.
    strangers : int
        Those of senders that are not among `sources`; in no other number.
    messages, bytes : int
        Messages that arrived whole, and their payloads.
    ignored : int
        Messages on channels that were not asked for.
    unreadable : int
        Messages that the readout class refused.
    incomplete : int
        Messages of which fragments were missing for too long, contradicted
        each other, or had to go for want of memory.
    refused : int
        Fragments of messages that the limit of memory could never hold. Such
        a message has no number here: the next one tells that it is lost.
    late_fragments : int
        Fragments of messages that were whole, or given up, before they came.
    repeated_fragments : int
        Fragments that were here already, of messages in progress.
    lost, gaps, late, duplicates, restarts : int
        Sums over all senders, those that were forgotten included.
    senders : mapping
        `SenderStatistics` by source address, the last one heard at the end.
    forgotten : int
        Senders that are not in `senders` any more, because there were too many.
    kernel_drops : int or None
        Datagrams that the system dropped because the receive buffer was full;
        None where the system does not tell. After `receive_many` a batch that
        was dropped whole counts once; `lost` tells how many messages.
    granted_buffer : int
        Bytes of the receive buffer.

    Notes
    -----
    Up to 16 datagrams are taken from the system in one call, after
    `receive_many` up to 16 batches. Messages among them are in these numbers
    when they are returned, everything else at once.
    """

    datagrams: int = 0
    foreign: int = 0
    broken: int = 0
    strangers: int = 0
    messages: int = 0
    bytes: int = 0
    ignored: int = 0
    unreadable: int = 0
    incomplete: int = 0
    refused: int = 0
    late_fragments: int = 0
    repeated_fragments: int = 0
    lost: int = 0
    gaps: int = 0
    late: int = 0
    duplicates: int = 0
    restarts: int = 0
    senders: Mapping[Address, SenderStatistics] = field(default_factory=dict)
    forgotten: int = 0
    kernel_drops: int | None = None
    granted_buffer: int = 0
