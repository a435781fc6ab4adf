"""What becomes of a datagram: a readout, or a number in the statistics. No I/O."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from udp_multicast._quiet_log import MAX_CAUSES, QuietLogger
from wireframe import FrameTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from udp_multicast._losses import LossLedger

__all__ = ["Datagram"]

R = TypeVar("R")
_log = logging.getLogger("udp_multicast.receiver")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram as it came.

    Attributes
    ----------
    data : bytes
        All of it.
    sender : tuple
        Address and port; with IPv6 also flow and interface.
    """

    data: bytes
    sender: tuple[Any, ...]


class Verdict(enum.Enum):
    """Not a readout."""

    REFUSED = "refused"


REFUSED: Final = Verdict.REFUSED


class Intake(Generic[R]):
    """Makes readouts of datagrams, and counts what is none.

    Parameters
    ----------
    from_bytes : callable
        Makes a readout of a datagram, or raises.
    sources : collection of str
        Hosts whose datagrams are taken; empty for all.
    strict : bool
        Let errors of `from_bytes` and `readout_id` out.
    on_broken : callable, optional
        Told about each broken datagram, and the error.
    readout_id : callable, optional
        Returns the number of a readout.
    ledger : LossLedger, optional
        Takes these numbers.
    clock : callable
        Seconds, monotonic.

    Attributes
    ----------
    received, bytes, broken, strangers : int
        See `ReceiverStatistics`.
    has_sources, has_ids : bool
        Whether senders have to be looked at, and readouts to be counted.
    told : set
        Host and kind of error that only have to be counted from now on, so that
        a broken datagram costs no more than a readout. Bounded.
    """

    __slots__ = (
        "_clock",
        "_on_broken",
        "_quiet",
        "_readout_id",
        "_sources",
        "_strict",
        "broken",
        "bytes",
        "from_bytes",
        "has_ids",
        "has_sources",
        "ledger",
        "received",
        "strangers",
        "told",
    )

    def __init__(
        self,
        from_bytes: Callable[[bytes], R],
        *,
        sources: Collection[str],
        strict: bool,
        on_broken: Callable[[Datagram, Exception], object] | None,
        readout_id: Callable[[R], int] | None,
        ledger: LossLedger,
        clock: Callable[[], float],
    ) -> None:
        self.from_bytes = from_bytes
        self._sources = frozenset(sources)
        self._strict = strict
        self._on_broken = on_broken
        # Called only if there is one, see `has_ids`.
        self._readout_id = cast("Callable[[R], int]", readout_id)
        self.ledger = ledger
        self._clock = clock
        self._quiet = QuietLogger(_log)
        self.told: set[tuple[str, type[Exception]]] = set()
        self.has_sources = bool(sources)
        self.has_ids = readout_id is not None
        self.received = 0
        self.bytes = 0
        self.broken = 0
        self.strangers = 0

    def is_stranger(self, sender: tuple[Any, ...]) -> bool:
        """Whether datagrams of this sender are to be left alone."""
        return bool(self._sources) and sender[0].partition("%")[0] not in self._sources

    def take(self, data: bytes, sender: tuple[Any, ...], max_size: int) -> R | Verdict:
        """Judge one datagram, which has been counted as received.

        Returns
        -------
        readout or Verdict
            `REFUSED` if it is none.

        Raises
        ------
        Exception
            Strict, and the class refused it.
        """
        if self.has_sources and self.is_stranger(sender):
            self.strangers += 1
            return REFUSED
        try:
            if len(data) > max_size:
                raise FrameTooLarge("a datagram of bytes", len(data), max_size, data)  # noqa: TRY301 - counted below
            readout = self.from_bytes(data)
            if self.has_ids:
                self.count(sender, readout)
        except Exception as error:  # noqa: BLE001 - the class is the user's; whatever it raises, the datagram is broken
            self.refuse(data, sender, error)
            return REFUSED
        return readout

    def count(self, sender: tuple[Any, ...], readout: R) -> None:
        """Enter the id of a readout, which it has."""
        self.ledger.update(sender, self._readout_id(readout), self._clock())

    def take_all(self, parts: Sequence[bytes], sender: tuple[Any, ...], max_size: int, into: list[R]) -> None:
        """Judge the datagrams of a batch; readouts are added to `into`.

        Raises
        ------
        Exception
            Strict, and the class refused one.
        """
        start = 0
        # The first is the longest of a batch.
        while not (self.has_sources or self.has_ids) and len(parts[0]) <= max_size and start < len(parts):
            before = len(into)
            try:
                # Extended one by one: after an error, `into` tells which one it was.
                into.extend(map(self.from_bytes, parts[start:]))
            except Exception as error:  # noqa: BLE001 - as above
                start += len(into) - before
                self.refuse(parts[start], sender, error)
                start += 1
            else:
                return
        for data in parts[start:]:
            readout = self.take(data, sender, max_size)
            if not isinstance(readout, Verdict):
                into.append(readout)

    def refuse(self, data: bytes, sender: tuple[Any, ...], error: Exception) -> None:
        """Count a broken datagram, tell about it and, if strict, raise the error."""
        self.broken += 1
        if (sender[0], type(error)) in self.told:
            return
        self._quiet.warn(
            str(sender[0]),
            type(error).__name__,
            "datagram of %d bytes from %s is not a readout: %r",
            len(data),
            sender,
            error,
        )
        if self._on_broken is not None:
            self._on_broken(Datagram(data, sender), error)
        if self._strict:
            raise error
        if self._on_broken is None and not _log.isEnabledFor(logging.DEBUG):
            if len(self.told) >= MAX_CAUSES:
                self.told.clear()
            self.told.add((sender[0], type(error)))
