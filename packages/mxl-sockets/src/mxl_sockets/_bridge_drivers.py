"""The drivers of a bridge: an ordinary hub that can also start its molecules again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mxl_sockets.hub import SocketHub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mxl_sockets._barrier import StepResult

#: How a driver that has its INIT is given another one: on the same connection,
#: or on a new one that it must make itself.
Restart = Literal["init", "reconnect"]


class NodeHub(SocketHub):
    """A `SocketHub` for a bridge: it makes steps of any of its molecules and tells their extras."""

    def _opens_here(self) -> bool:
        """Every rank may be a bridge: a launcher starts one on each node."""
        return True

    def begin_again(
        self, payloads: Mapping[int, Mapping[str, Any]], restart: Restart, *, resume: bool
    ) -> None:
        """Give the drivers of these molecules an INIT, again if they had one; no step is under way.

        Parameters
        ----------
        payloads : mapping of int to mapping
            INIT parameters.
        restart : {"init", "reconnect"}
        resume : bool
            Whether replacements go on from the last state from now on.
        """
        with self._held():
            coupling = self._running()
            if coupling is None:
                return
            roster, exchange = self._roster, coupling.exchange
            roster.remember(payloads)
            roster.resume = True
            # What the drivers sent last may be of a step that is undone by this.
            roster.remember_extras(payloads, [b""] * len(payloads))
            roster.resume = resume
            coupling.loop.look()
            for molecule_id, connection in list(roster.bound.items()):
                if restart == "reconnect":
                    exchange.drop(connection, "is to connect again, to be started again")
                elif molecule_id in payloads:
                    exchange.send(connection, roster.init_message(molecule_id, None))
                else:
                    # Of another hub, or of another run: its driver is wanted for a molecule of this one.
                    exchange.drop(connection, "is to connect again, its molecule is none of the group now")

    def bind(self, ids: Sequence[int], timeout: float) -> bool:
        """Give these molecules drivers; False if somebody is still missing at the end of the time."""
        deadline = self._deadline(timeout)
        with self._held():
            coupling = self._running()
            if coupling is None:
                return False
            coupling.loop.look()
            return coupling.bind(ids, deadline)

    def let_go(self, timeout: float) -> bool:
        """Forget the step under way once nobody owes an answer to it; False at the end of the time.

        Who has not been asked is not asked any more, and who is gone is not replaced.
        """
        deadline = self._deadline(timeout)
        with self._held():
            coupling = self._take_turn(deadline)
            if coupling is None:
                return False
            try:

                def done() -> bool:
                    coupling.exchange.settle()
                    return coupling.stopping or not coupling.barrier.late(0.0)

                coupling.loop.look()
                coupling.loop.run_until(done, deadline)
                coupling.exchange.settle()
                return not coupling.barrier.frozen or coupling.barrier.give_up()
            finally:
                coupling.loop.give_turn()

    def advance(self, ids: tuple[int, ...], fields: bytes, timeout: float) -> StepResult | None:
        """Make a step, or go on with the one under way; None if it is not complete in time.

        Lost drivers are replaced by waiting ones within the same call.

        Parameters
        ----------
        ids : tuple of int
        fields : bytes
            24 bytes for each.
        timeout : float
            Seconds.
        """
        deadline = self._deadline(timeout)
        with self._held():
            coupling = self._take_turn(deadline)
            if coupling is None:
                return None
            try:
                if not coupling.barrier.frozen:
                    coupling.barrier.freeze(ids, fields)
                return coupling.pursue(deadline)
            finally:
                coupling.loop.give_turn()
