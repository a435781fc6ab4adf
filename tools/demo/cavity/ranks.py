"""The program of every rank of an MPI job: the solver on rank 0, molecules in blocks on all others.

Started by `cavity.job` under mpiexec::

    python -m mpi4py -m cavity.ranks PARAMETERS MOLECULES STEPS SLICES DEMO PROGRESS RESULT

PARAMETERS is JSON, DEMO the id of the process that wants the result. Rank 0
appends a byte to the file PROGRESS after each of so many SLICES of the run, and
writes what came out to the file RESULT.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from cavity import solver
from cavity.coupling import HubCoupling
from cavity.experiment import parameters_of_model
from mxl_sockets.mpi import MPIDriver, MPIHub
from mxl_sockets.two_level import TwoLevelSystem

#: Seconds between two looks whether launcher and demo live.
LOOK_INTERVAL_S: Final = 0.5


def main() -> None:
    """Be the solver or a driver, as the rank says."""
    from mpi4py import MPI

    molecules, steps, slices, demo = map(int, sys.argv[2:6])
    if os.name == "posix":
        end_with(demo)
    parameters = solver.Parameters(**json.loads(sys.argv[1]))
    if MPI.COMM_WORLD.Get_rank():
        given: dict[str, Any] = parameters_of_model(parameters)
        MPIDriver(partial(TwoLevelSystem, **given)).run()
        return
    ring(parameters, molecules, steps, slices, Path(sys.argv[6]), Path(sys.argv[7]))


def ring(
    parameters: solver.Parameters, molecules: int, steps: int, slices: int, progress: Path, result: Path
) -> None:
    """Let the cavity ring, coupled to the molecules of all other ranks."""
    with MPIHub(extras=True) as hub, progress.open("ab", buffering=0) as done:

        def note(step: int) -> None:
            if step * slices // steps > (step - 1) * slices // steps:
                done.write(b".")

        couple = HubCoupling(hub, molecules, parameters.time_step)
        couple.bind()
        begin = time.perf_counter()
        trajectory = solver.run(parameters, couple, steps, after_step=note)
        duration = time.perf_counter() - begin
    np.savez(
        result,
        coordinate=trajectory.coordinate,
        velocity=trajectory.velocity,
        current=trajectory.current,
        populations=np.array(couple.populations.total),
        highest=couple.populations.highest,
        steps_per_second=steps / duration,
    )


def end_with(demo: int) -> None:
    """End this process soon after the demo or the launcher has died; nobody else would (POSIX only)."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher and _lives(demo):
            time.sleep(LOOK_INTERVAL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
