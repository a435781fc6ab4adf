"""An MPI hub and its drivers: what every rank of a job of the bench runs.

Started by the bench under mpiexec, never imported::

    mpiexec -n RANKS python mpi_subject.py MOLECULES

Rank 0 talks as told in `orders`: first ``{"drivers": [process ids]}``, then
``{"bound": true}``. The drivers' models answer every step with the same array,
as the bridges that `aggregate_load` plays.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI  # type: ignore[import-not-found,import-untyped,unused-ignore]
from orders import follow, say

from mxl_sockets.mpi import MPIDriver, MPIHub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mxl_sockets import Parameters

TIMEOUT_S = 120.0


def canned(molecules: Mapping[int, Parameters]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Make the model of a block."""
    answer = np.zeros((len(molecules), 3))
    answer[:, 2] = 1e-3
    return lambda fields: answer


def lead(molecules: int) -> None:
    """Be the hub: follow the orders of the bench."""
    with MPIHub(timeout=TIMEOUT_S) as hub:
        shared = {"dt_au": 1.0}
        if not hub.wait_until_bound(dict.fromkeys(range(molecules), shared)):
            raise TimeoutError(f"the drivers were not bound in {TIMEOUT_S} s")
        fields = np.random.default_rng(1).normal(size=(molecules, 3))

        def run(steps: int) -> tuple[int, float, float]:
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(steps):
                fields[...] += 1e-6
                hub.step(fields)
            return steps, time.perf_counter() - wall, time.process_time() - cpu

        say(bound=True)
        follow(run)


def main() -> None:
    """Be what this rank is."""
    processes = MPI.COMM_WORLD.gather(os.getpid())
    if MPI.COMM_WORLD.Get_rank():
        MPIDriver(block=canned).run()
    else:
        say(drivers=processes[1:])
        lead(int(sys.argv[1]))


if __name__ == "__main__":
    main()
