"""`SocketHub.forces`: positions out to i-PI programs, energies and forces back.

An evaluation is a step with other contents: it is frozen, asked and collected
by the same rules, so a hub makes one or the other at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, overload

from mxl_sockets._force_wire import atoms_of, encode_force_request, unpack_answer
from mxl_sockets._lifecycle import HubLifecycle
from mxl_sockets._roster import checked_id
from mxl_sockets.errors import FrozenStepError, StepTimeout

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mxl_sockets._barrier import StepResult
    from mxl_sockets._coupling import Coupling
    from mxl_sockets.forces import ForceResult

#: Programs of each kind that an error names.
MOST_NAMED: Final = 8


class ForceCalls(HubLifecycle):
    """What `mxl_sockets.SocketHub` does for atoms."""

    @overload
    def forces(
        self,
        positions: Mapping[int, ArrayLike],
        cell: ArrayLike | Mapping[int, ArrayLike] | None = None,
        timeout: float | None = None,
    ) -> dict[int, ForceResult]: ...

    @overload
    def forces(
        self, positions: ArrayLike, cell: ArrayLike | None = None, timeout: float | None = None
    ) -> ForceResult: ...

    def forces(
        self,
        positions: ArrayLike | Mapping[int, ArrayLike],
        cell: ArrayLike | Mapping[int, ArrayLike] | None = None,
        timeout: float | None = None,
    ) -> ForceResult | dict[int, ForceResult]:
        """Let i-PI programs compute the forces on atoms: LAMMPS ``fix ipi``, ASE, i-PI's drivers, our own.

        Of one set of atoms, or of several at once, such as the beads of a path
        integral or the images of a band: each is a "molecule" of the hub and
        has a program of its own. Programs that are lost are replaced by
        waiting ones within the same call.

        Parameters
        ----------
        positions : array-like, shape (nat, 3), float64, or mapping of int to those
            Bohr. An array is for the only molecule of the last
            `wait_until_bound`; a mapping says whose they are, and molecules
            that have no program yet are given one.
        cell : array-like, shape (3, 3), float64, or mapping of int to those, optional
            Bohr; the rows are the lattice vectors. One for all, or one for
            each. Without it programs are told the unit matrix, as MaxwellLink
            does: give one to every program that has periodic boundaries.
        timeout : float or None
            Seconds; None for the hub's timeout.

        Returns
        -------
        ForceResult or dict of int to ForceResult
            What was asked for, in atomic units; a mapping in the order of
            `positions`. Numbers are what the programs sent, nan and inf too.

        Raises
        ------
        StepTimeout
            Somebody has not answered in time. Its notes name the programs
            that are late, and those that were lost in this call with the
            reason. Calling again with the same atoms goes on with the same
            evaluation.
        FrozenStepError
            An unfinished step has other contents.
        ValueError
            A shape is wrong, a position or a cell is not finite, a cell has no
            volume, or a program that lives has served another number of atoms,
            which none of them can change, or these are several atoms for a
            molecule in a field, one whose parameters have ``"dt_au"``.
            Nothing was sent then.
        TypeError
            An id is not an integer.
        HubStopped
            The hub is stopped, or this rank has none.

        Notes
        -----
        `two_phase` makes no difference: forces commit nobody to anything.
        """
        deadline = self._deadline(timeout)
        systems = positions if isinstance(positions, Mapping) else None
        with self._held():
            coupling = self._insist_on_turn(deadline)
            lost_before = coupling.exchange.losses.count
            try:
                if systems is not None:
                    requests = _encode_all(systems, cell)
                elif len(self._lineup) == 1:
                    requests = {self._lineup[0]: encode_force_request(positions, cell)}  # type: ignore[arg-type]  # no mapping
                else:
                    raise ValueError(
                        f"one array of positions is for one molecule, and there are {len(self._lineup)}: "
                        "give a mapping of ids to positions"
                    )
                ids, messages = tuple(requests), tuple(requests.values())
                barrier = coupling.barrier
                if not requests and not barrier.frozen:
                    return {}
                if not barrier.frozen:
                    self._roster.check_atoms(dict(zip(ids, map(atoms_of, messages), strict=True)))
                    barrier.freeze(ids, b"", messages)
                elif barrier.ids != ids or barrier.requests != messages:
                    raise FrozenStepError("an unfinished step has other contents; repeat it first")
                result = coupling.complete(deadline)
                coupling.exchange.unpause(tuple({*ids, *self._lineup}))
            except StepTimeout as error:
                _name_programs(error, coupling, lost_before)
                raise
            finally:
                coupling.loop.give_turn()
        if self._on_step is not None:
            self._tell_steps()
        answers = _unpack_all(result, messages)
        return answers[ids[0]] if systems is None else answers


def _name_programs(error: StepTimeout, coupling: Coupling, lost_before: int) -> None:
    """Note who is late, and who was lost since there were so many losses."""
    bound, losses = coupling.roster.bound, coupling.exchange.losses
    for molecule_id in [one for one in error.late if one in bound][:MOST_NAMED]:
        error.add_note(f"molecule {molecule_id} waits for {bound[molecule_id].peer}")
    recent = losses.recent()
    for loss in recent[max(0, len(recent) - (losses.count - lost_before)) :][-MOST_NAMED:]:
        error.add_note(f"lost {loss.text}")


def _encode_all(
    systems: Mapping[int, ArrayLike], cell: ArrayLike | Mapping[int, ArrayLike] | None
) -> dict[int, bytes]:
    """Return a request for each; says whose atoms are wrong."""
    requests = {}
    for molecule_id, positions in systems.items():
        try:
            own = cell[molecule_id] if isinstance(cell, Mapping) else cell
            requests[checked_id(molecule_id)] = encode_force_request(positions, own)
        except KeyError as error:
            raise ValueError(f"molecule {molecule_id}: the mapping of cells has none for it") from error
        except ValueError as error:
            raise ValueError(f"molecule {molecule_id}: {error}") from error
    return requests


def _unpack_all(result: StepResult, requests: tuple[bytes, ...]) -> dict[int, ForceResult]:
    answers, rest = {}, memoryview(result.amplitudes)
    for molecule_id, request, extra in zip(result.ids, requests, result.extras, strict=True):
        answers[molecule_id], rest = unpack_answer(rest, atoms_of(request), extra)
    return answers
