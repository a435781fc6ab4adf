"""Asking the drivers of a step, and telling them to commit.

An exception from a signal handler may come between any two calls. So the books
of the barrier are made first, and what is not known after an exception, such
as whether a request had left, costs that driver its connection.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

from mxl_sockets._barrier import Stage
from mxl_sockets._client import Phase
from mxl_sockets._force_wire import atoms_of
from mxl_sockets._lines import INTERRUPTED
from mxl_sockets._links import Links
from wireframe import ipi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mxl_sockets._access import Allowed
    from mxl_sockets._connection import Connection
    from mxl_sockets._poll import Poller
    from mxl_sockets._roster import Roster
    from mxl_sockets._settings import HubSettings

_GETFORCE: Final = ipi.encode_header(ipi.GETFORCE)


class Asking(Links):
    """Connections, and what is sent to them in a step.

    Parameters
    ----------
    poller, roster, settings, allowed
        As for `Links`.
    """

    def __init__(
        self, poller: Poller, roster: Roster[Connection], settings: HubSettings, allowed: Allowed
    ) -> None:
        super().__init__(poller, roster, settings, allowed)
        #: Whether a driver has staged that may not have been noted in the barrier.
        self._somebody_staged = False

    @property
    def lined_up(self) -> bool:
        """Whether the same drivers as in the last `ask` serve the frozen step, so that none is missing."""
        barrier = self.barrier
        return self.lineup.stands(barrier.ids, self.roster.generation, barrier.requests)

    def ask(self, now: float) -> None:
        """Send the frozen step to every molecule that was not asked yet; all are bound."""
        barrier, lineup = self.barrier, self.lineup
        if self._somebody_staged:
            self._commit_staged()  # an exception may have come between
        if self.interrupted:
            return  # the commit has lost a driver, who stands in the line still
        if not self.lined_up:
            lineup.form(barrier.ids, self.roster.bound, self.roster.generation)
            if not barrier.requests:
                for driver in lineup.drivers:
                    driver.expect_atoms(1)
        slots = barrier.unasked()
        if not slots:
            lineup.recount()  # an exception may have come before it was counted
            return
        if barrier.requests:
            # Whoever replaces a lost one may have other parameters than it had.
            self.roster.check_atoms({barrier.ids[slot]: atoms_of(barrier.requests[slot]) for slot in slots})
        sent: list[int] = []
        try:
            barrier.ask(now)
            if barrier.requests:
                lineup.stand_aside()
                self._send_force_requests(slots, sent)
                return
            lineup.requests.fill(barrier.fields)
            if barrier.two_phase:
                for slot in slots:
                    lineup.drivers[slot].phase = Phase.STAGING
            else:
                lineup.expect(slots)
            self._send_requests(slots, sent)
        except BaseException:
            self._take_back(slots, sent)
            raise

    def _send_requests(self, slots: Sequence[int], sent: list[int]) -> None:
        """Send each slot its request, noting in `sent` how many bytes of each have gone or wait to go."""
        lineup, whole = self.lineup, ipi.REQUEST_LENGTH
        requests = lineup.requests.rows
        if not self._backlogged and len(slots) == len(requests):
            try:  # noqa: SIM105 - suppress() costs as much as two replies
                # The loop of the usual step runs in C; `sent` tells how far it came.
                sent.extend(map(operator.call, lineup.sends, requests, lineup.no_waits))
            except OSError:
                pass  # the one after `sent` is tried again below
            if sent.count(whole) == len(slots):
                return
            for index, done in enumerate(sent):
                if done != whole:
                    self.send(lineup.drivers[slots[index]], requests[slots[index]][done:])
                    sent[index] = whole
        for slot in slots[len(sent) :]:
            self.send(lineup.drivers[slot], requests[slot])
            sent.append(whole)

    def _send_force_requests(self, slots: Sequence[int], sent: list[int]) -> None:
        """Send each slot its atoms, noting in `sent` as `_send_requests` does."""
        for slot in slots:
            driver, request = self.lineup.drivers[slot], self.barrier.requests[slot]
            driver.expect_atoms(atoms_of(request))
            driver.phase = Phase.ASKED
            self.send(driver, request)
            sent.append(ipi.REQUEST_LENGTH)

    def _take_back(self, slots: Sequence[int], sent: list[int]) -> None:
        """After an exception: drop who may have got a part of its request, note who was not asked."""
        for index, slot in enumerate(slots):
            driver = self.lineup.drivers[slot]
            if index > len(sent):
                self.barrier.lose(slot)
                if slot < len(self.lineup.sizes):
                    self.lineup.sizes[slot] = -1
                if driver.phase is Phase.STAGING:
                    driver.phase = Phase.IDLE
            elif index == len(sent) or sent[index] != ipi.REQUEST_LENGTH:
                self.drop(driver, INTERRUPTED)

    def _commit_staged(self) -> None:
        """Tell drivers to commit, once all have staged.

        Only after a whole batch of events: what a staged driver had sent
        before it was asked must not pass for its amplitude.
        """
        if not self._somebody_staged:
            return
        barrier, drivers = self.barrier, self.lineup.drivers
        # The books of both sides are compared, not remembered: an exception
        # from a signal handler may have ended us half-way before.
        for slot, driver in enumerate(drivers):
            if driver.phase is Phase.STAGED and barrier.stage_of(slot) is Stage.STAGING:
                barrier.stage(slot)
        barrier.commit()
        for slot, driver in enumerate(drivers):
            if driver.phase is Phase.STAGED and barrier.stage_of(slot) is Stage.ASKED:
                try:
                    self.lineup.expect([slot])
                    self.send(driver, _GETFORCE)
                    if driver.phase is Phase.STAGED:
                        driver.phase = Phase.IDLE  # its reply may take the short way
                except BaseException:
                    self.drop(driver, INTERRUPTED)
                    raise
        self._somebody_staged = False
