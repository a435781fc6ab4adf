"""Which process of a parallel job this is, and telling the others.

Importing mpi4py starts MPI: a second or so, and a failure on some login nodes.
So it is imported only in a process that a launcher started as one of several,
and then only to communicate; the rank is read from the launcher's variables.
In a plain process nothing is imported, whether mpi4py is installed or not.

A batch script on a Slurm node sees ``SLURM_PROCID`` and ``SLURM_NTASKS``
although it is a plain process; they count only beside a PMI variable.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["am_master", "mpi_bcast_from_master"]

ValueT = TypeVar("ValueT")

#: (rank, number of processes) as launchers name them: Open MPI; MPICH, Intel
#: MPI and Slurm's PMI; MVAPICH. PMIx gives the rank alone, and Slurm the rest.
_VARIABLES: Final = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
    ("PMIX_RANK", "SLURM_NTASKS"),
)


class Launch(NamedTuple):
    """What a launcher said about this process."""

    rank: int
    size: int


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Read the launcher's variables; (0, 1) for a plain process.

    Examples
    --------
    >>> read_launch({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"})
    Launch(rank=2, size=4)
    >>> read_launch({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})
    Launch(rank=0, size=1)
    """
    for rank_name, size_name in _VARIABLES:
        rank, size = environment.get(rank_name, ""), environment.get(size_name, "")
        if _is_number(rank) and _is_number(size) and int(rank) < int(size):
            return Launch(int(rank), int(size))
    # A rank above 0 proves that there are others, whatever their number.
    for rank_name, _ in _VARIABLES:
        rank = environment.get(rank_name, "")
        if _is_number(rank) and int(rank) > 0:
            return Launch(int(rank), int(rank) + 1)
    return Launch(0, 1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def am_master() -> bool:
    """Whether this process is rank 0 of its job.

    Returns
    -------
    bool
        True in a plain process, and without mpi4py even under a launcher: the
        processes then know nothing of each other.

    Notes
    -----
    If the program has initialised mpi4py, its world communicator is asked;
    otherwise the launcher's variables are read and nothing is imported, so it
    takes microseconds and cannot start MPI by surprise.
    """
    comm = _initialised_comm()
    if comm is not None:
        return int(comm.Get_rank()) == 0
    launch = read_launch(os.environ)
    return launch.size == 1 or launch.rank == 0 or not _is_installed()


def mpi_bcast_from_master(value: ValueT) -> ValueT:
    """Return rank 0's `value` on every rank; collective.

    Parameters
    ----------
    value : object
        Anything mpi4py can pickle; ignored on ranks other than 0.

    Returns
    -------
    object
        `value` itself in a plain process or without mpi4py.

    Raises
    ------
    Exception
        Whatever mpi4py raises when it is installed and cannot start.
    """
    comm = _mpi_comm()
    if comm is None:
        return value
    received: ValueT = comm.bcast(value, root=0)
    return received


def _mpi_comm() -> Any:
    """Return mpi4py's ``COMM_WORLD``, or None in a plain process or without mpi4py.

    It imports mpi4py, and so starts MPI, if a launcher started several processes.
    """
    comm = _initialised_comm()
    if comm is not None:
        return comm
    if read_launch(os.environ).size == 1 or not _is_installed():
        return None
    return importlib.import_module("mpi4py.MPI").COMM_WORLD


def _initialised_comm() -> Any:
    """Return ``COMM_WORLD`` if the program has MPI running, else None."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or not mpi.Is_initialized() or mpi.Is_finalized():
        return None
    return mpi.COMM_WORLD


def _is_installed() -> bool:
    """Whether mpi4py could be imported, without doing so."""
    if "mpi4py" in sys.modules:
        return sys.modules["mpi4py"] is not None  # None forbids the import
    return importlib.util.find_spec("mpi4py") is not None
