"""How long the hub waits for drivers that owe it something.

Two limits: the answer to a status question has to come within
``handshake_timeout``; a driver that was asked for its amplitude may be given a
``silence_timeout``. No clock in here: time comes in as ``now``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mxl_sockets._barrier import Barrier
    from mxl_sockets._connection import Connection
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

#: Seconds; what `next_due` answers when nothing is due.
LONG: float = 3600.0

#: How often within its limit a silent driver is looked for.
LOOKS: int = 4


class Patience:
    """Deadlines of single drivers.

    Parameters
    ----------
    settings : HubSettings
    """

    def __init__(self, settings: HubSettings) -> None:
        self._handshake_timeout = settings.handshake_timeout
        self._silence_timeout = settings.silence_timeout
        #: Whether drivers that owe an answer are given up on.
        self.limited = settings.silence_timeout is not None
        #: In order of their deadlines: all have the same patience.
        self.handshakes: dict[Connection, float] = {}

    def expect_status(self, connection: Connection, now: float) -> None:
        """Note that a driver was asked for its status."""
        self.handshakes[connection] = now + self._handshake_timeout

    def forget(self, connection: Connection) -> None:
        """Note that a driver has answered its status, or is gone."""
        self.handshakes.pop(connection, None)

    def next_due(self, barrier: Barrier, now: float) -> float:
        """Return seconds until `overdue` may name somebody."""
        wait = next(iter(self.handshakes.values()), now + LONG) - now
        if self._silence_timeout is not None and barrier.frozen:
            wait = min(wait, self._silence_timeout / LOOKS)
        return max(0.0, wait)

    def overdue(
        self, barrier: Barrier, roster: Roster[Connection], now: float
    ) -> Iterator[tuple[Connection, str]]:
        """Yield drivers to give up on, and why; the caller drops each before it asks for the next."""
        while self.handshakes:
            connection, due = next(iter(self.handshakes.items()))
            if due > now:
                break
            del self.handshakes[connection]
            yield connection, f"did not answer STATUS within {self._handshake_timeout:g} s"
        if self._silence_timeout is not None:
            for molecule_id, age in barrier.late(now).items():
                if age >= self._silence_timeout and molecule_id in roster.bound:
                    yield roster.bound[molecule_id], f"did not answer within {self._silence_timeout:g} s"
