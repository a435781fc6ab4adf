"""One run of the demo: so many molecules, one transport, disturbed or not.

Everything a run needs lives in its own context, in the order in which it must
end: the hub first, which tells the drivers to stop, then the drivers, then the
folder with their sockets and standard errors.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cavity import kills, solver
from cavity.coupling import AXIS, CouplingError, HubCoupling, Populations
from cavity.drivers import TWO_LEVEL_MODEL, DriverProcesses, drive_command
from mxl_sockets import SocketHub
from mxl_sockets.two_level import TwoLevelSystem

if TYPE_CHECKING:
    from collections.abc import Callable

#: Model of the driver that dies after a given number of commits.
MORTAL_MODEL: Final = "cavity.mortal:MortalTwoLevelSystem"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run produced.

    Attributes
    ----------
    molecules : int
        How many.
    transport : str
        ``unix``, ``tcp``, ``bridges``, ``mpi`` or ``none`` (molecules in this process).
    trajectory : solver.Trajectory
        What the cavity did.
    populations : coupling.Populations
        What the molecules told about themselves.
    steps_per_second : float
        Without the time to start the drivers.
    killed : int
        Processes that were killed and replaced.
    planned_kills : int
        Processes that were to be killed.
    victims : str
        Which processes.
    """

    molecules: int
    transport: str
    trajectory: solver.Trajectory
    populations: Populations
    steps_per_second: float
    killed: int = 0
    planned_kills: int = 0
    victims: str = "drivers"

    @property
    def name(self) -> str:
        """What this run is called beside others of as many molecules."""
        if not self.planned_kills:
            return self.transport
        over = "" if self.victims == self.transport else f"{self.transport}, "
        return f"{over}{self.victims} killed"

    def same_bits_as(self, other: Run) -> bool:
        """Whether both runs gave the same trajectory and populations, bit for bit."""
        return (
            self.trajectory.same_bits_as(other.trajectory)
            and self.populations.total == other.populations.total
        )


def run_with_processes(
    parameters: solver.Parameters,
    molecules: int,
    steps: int,
    transport: str,
    *,
    planned: list[kills.Kill] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> Run:
    """Run with one driver process per molecule behind a `SocketHub`.

    Parameters
    ----------
    parameters : solver.Parameters
        The physics.
    molecules, steps : int
        How many.
    transport : str
        ``unix`` or ``tcp``, always on this machine.
    planned : list of kills.Kill, optional
        Deaths of drivers; every one is replaced by a new process.
    after_step : callable, optional
        Told the number of finished steps.

    Raises
    ------
    drivers.DriverError
        A driver ended by itself.
    coupling.CouplingError
        The molecules did not answer in time.
    OSError
        The hub could not be bound.
    """
    planned = planned or []
    model_parameters = parameters_of_model(parameters)
    with (
        tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as folder,
        DriverProcesses(Path(folder)) as drivers,
        open_hub(transport, Path(folder)) as hub,
    ):
        nemesis = kills.Nemesis(drivers, planned)
        address = hub.address
        if address is None:
            raise CouplingError("the hub listens nowhere: this is not the first rank of its job")

        def start_driver(commits: int | None) -> None:
            if commits is None:
                drivers.start(drive_command(TWO_LEVEL_MODEL, address, model_parameters))
            else:
                mortal = {**model_parameters, "dies_at": commits}
                drivers.start(drive_command(MORTAL_MODEL, address, mortal), may_die=True)

        def recover() -> None:
            nemesis.after_silence()
            for _ in range(drivers.bury()):
                start_driver(nemesis.commits_of_replacement())

        for _ in range(molecules):
            start_driver(None)
        couple = HubCoupling(hub, molecules, parameters.time_step, recover=recover)
        couple.bind()
        trajectory, rate = ring(parameters, couple, nemesis, steps, after_step)
        return Run(molecules, transport, trajectory, couple.populations, rate, drivers.buried, len(planned))


def ring(
    parameters: solver.Parameters,
    couple: HubCoupling,
    nemesis: kills.Nemesis,
    steps: int,
    after_step: Callable[[int], None] | None = None,
) -> tuple[solver.Trajectory, float]:
    """Let the cavity ring while the nemesis kills.

    Returns
    -------
    trajectory : solver.Trajectory
    rate : float
        Steps per second.
    """
    usual_patience_s = couple.patience_s
    step = 0

    def disturbed_couple(field: float) -> list[float]:
        nonlocal step
        step += 1
        nemesis.before_step(step)
        couple.patience_s = nemesis.patience_s or usual_patience_s
        return couple(field)

    begin = time.perf_counter()
    try:
        trajectory = solver.run(parameters, disturbed_couple, steps, after_step=after_step)
    finally:
        nemesis.close()
    return trajectory, steps / (time.perf_counter() - begin)


def parameters_of_model(parameters: solver.Parameters) -> dict[str, object]:
    """Return what a two-level model is made with."""
    return {"orientation": AXIS, "omega": parameters.molecule_frequency, "mu12": parameters.dipole}


def run_in_process(parameters: solver.Parameters, molecules: int, steps: int) -> Run:
    """Run the same molecules without any process or socket: the reference."""
    couple = InProcessCoupling(parameters, molecules)
    begin = time.perf_counter()
    trajectory = solver.run(parameters, couple, steps)
    rate = steps / (time.perf_counter() - begin)
    return Run(molecules, "none", trajectory, couple.populations, rate)


def open_hub(transport: str, folder: Path) -> SocketHub:
    """Open a hub on a free port of the loopback, or on a UNIX socket in `folder`."""
    if transport == "tcp":
        return SocketHub(host="127.0.0.1", port=0, resume=True)
    return SocketHub(unixsocket=str(folder / "hub.socket"), resume=True)


class InProcessCoupling:
    """The ``couple`` of `cavity.solver.run` for molecules in this process.

    Parameters
    ----------
    parameters : solver.Parameters
        Of molecules and time step.
    molecules : int
        How many.

    Attributes
    ----------
    populations : coupling.Populations
        Of the molecules, after each step.
    """

    def __init__(self, parameters: solver.Parameters, molecules: int) -> None:
        self.populations = Populations()
        self._models = [
            TwoLevelSystem(omega=parameters.molecule_frequency, mu12=parameters.dipole, orientation=AXIS)
            for _ in range(molecules)
        ]
        for molecule, model in enumerate(self._models):
            model.initialize(molecule, parameters.time_step, {"dt_au": parameters.time_step})

    def __call__(self, field: float) -> list[float]:
        """Make one step of all molecules; field and amplitudes along z, atomic units."""
        vector = [0.0, 0.0, 0.0]
        vector[AXIS] = field
        amplitudes = []
        for model in self._models:
            model.stage(vector)
            amplitudes.append(model.commit()[0][AXIS])
        self.populations.note([model.state[2] for model in self._models])
        return amplitudes
