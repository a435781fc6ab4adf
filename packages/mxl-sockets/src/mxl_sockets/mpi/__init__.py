"""One solver and many molecules inside one MPI job.

Rank 0 makes an `MPIHub`, every other rank an `MPIDriver`; molecules are spread
over the drivers in contiguous blocks::

    from mpi4py import MPI
    from mxl_sockets import TwoLevelSystem
    from mxl_sockets.mpi import MPIDriver, MPIHub

    if MPI.COMM_WORLD.rank == 0:
        with MPIHub() as hub:
            hub.wait_until_bound({k: {"dt_au": 1.0} for k in range(1000)})
            for fields in simulation():          # (1000, 3)
                amplitudes = hub.step(fields)    # (1000, 3)
    else:
        MPIDriver(TwoLevelSystem).run()

A step is two collective operations::

    hub ── Iscatterv: header | fields of the block ─────▶ each driver
        ◀── Igatherv: header | amplitudes of the block ──

A message consists of rows of 24 bytes, three native 64-bit words. The first
row is the header, the others hold float64, one molecule each:

==========  ======================================  =========================
word        hub to driver                           driver to hub
==========  ======================================  =========================
0           1 step, 2 initialise, 3 stop            1 done, 2 the model failed
1           number of the step                      the same number
2           bytes of text that follow by Iscatterv  bytes that follow by Send
==========  ======================================  =========================

Importing this module, or `mxl_sockets`, never imports mpi4py. That happens
when an `MPIHub` or `MPIDriver` is made.
"""

from __future__ import annotations

from mxl_sockets.mpi._launch import Launch, _mpi_comm, am_master, mpi_bcast_from_master, read_launch
from mxl_sockets.mpi.driver import MPIDriver, MPIDriverSummary
from mxl_sockets.mpi.errors import CommunicatorBroken, RanksLate
from mxl_sockets.mpi.hub import MPIHub

__all__ = [
    "CommunicatorBroken",
    "Launch",
    "MPIDriver",
    "MPIDriverSummary",
    "MPIHub",
    "RanksLate",
    "_mpi_comm",
    "am_master",
    "mpi_bcast_from_master",
    "read_launch",
]
