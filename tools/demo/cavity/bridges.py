"""A run over bridges: two nodes, each a bridge and its drivers, all in processes of their own."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cavity import kills
from cavity.coupling import CouplingError, HubCoupling, group_of
from cavity.drivers import DriverProcesses
from cavity.experiment import Run, parameters_of_model, ring
from cavity.nodes import Nodes
from mxl_sockets import AggregatedSocketHub

if TYPE_CHECKING:
    from collections.abc import Callable

    from cavity import solver

#: Names of the groups; a single molecule needs one only.
GROUPS: Final = ("node-0", "node-1")


def run_over_bridges(
    parameters: solver.Parameters,
    molecules: int,
    steps: int,
    *,
    planned: list[kills.Kill] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> Run:
    """Run with one driver process per molecule behind two bridges and an `AggregatedSocketHub`.

    Parameters
    ----------
    parameters : solver.Parameters
        The physics.
    molecules, steps : int
        How many.
    planned : list of kills.Kill, optional
        Deaths of bridges; every one is replaced by a new process.
    after_step : callable, optional
        Told the number of finished steps.

    Raises
    ------
    drivers.DriverError
        A bridge or a driver ended by itself.
    coupling.CouplingError
        The molecules did not answer in time.
    OSError
        The hub could not be bound.
    """
    planned = planned or []
    groups = GROUPS[:molecules]
    sizes = Counter(group_of(molecule, molecules, groups) for molecule in range(molecules))
    with (
        tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as folder,
        DriverProcesses(Path(folder)) as drivers,
        Nodes(Path(folder), drivers, parameters_of_model(parameters), sizes) as nodes,
        AggregatedSocketHub(host="127.0.0.1", port=0, resume=True) as hub,
    ):
        if not isinstance(hub.address, tuple):
            raise CouplingError("the hub listens nowhere: this is not the first rank of its job")
        nemesis = kills.Nemesis(nodes, planned)

        def recover() -> None:
            nemesis.after_silence()
            nodes.replace_dead()

        nodes.populate(hub.address)
        couple = HubCoupling(hub, molecules, parameters.time_step, groups=groups, recover=recover)
        couple.bind()
        trajectory, rate = ring(parameters, couple, nemesis, steps, after_step)
        return Run(
            molecules, "bridges", trajectory, couple.populations, rate, nodes.buried, len(planned), "bridges"
        )
