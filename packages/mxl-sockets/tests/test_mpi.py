"""Rank and broadcast: from the launcher's variables, from mpi4py, and without either."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from mxl_sockets.mpi import _mpi_comm, am_master, mpi_bcast_from_master, read_launch

LAUNCHER = ("OMPI_", "PMI_", "PMIX_", "MV2_", "SLURM_")

FAKE = """
initialized, finalized = True, False

def Is_initialized():
    return initialized

def Is_finalized():
    return finalized

class COMM_WORLD:
    rank = 0

    @classmethod
    def Get_rank(cls):
        return cls.rank

    @classmethod
    def bcast(cls, value, root):
        return ("from", root, value)
"""


@pytest.fixture(autouse=True)
def plain_process(monkeypatch):
    """No launcher, and nothing imported, whatever runs these tests."""
    for name in list(os.environ):
        if name.startswith(LAUNCHER):
            monkeypatch.delenv(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "mpi4py"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def mpi4py(tmp_path, monkeypatch):
    """An mpi4py that can be imported, but has not been."""
    folder = tmp_path / "mpi4py"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "MPI.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("mpi4py", "mpi4py.MPI"):
        sys.modules.pop(name, None)


@pytest.fixture
def without_mpi4py(monkeypatch):
    """None in sys.modules is how Python says that an import is forbidden."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)


def launch(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, (3, 4)),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, (0, 2)),
        ({"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, (0, 1)),
        # srun --mpi=pmix, and the same for one task of a step.
        ({"PMIX_RANK": "2", "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "9"}, (2, 8)),
        ({"PMIX_RANK": "0", "SLURM_NTASKS": "4"}, (0, 4)),
        # A batch script: a plain process among variables.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, (0, 1)),
        # Only the rank is known.
        ({"PMIX_RANK": "0"}, (0, 1)),
        ({"PMIX_RANK": "5"}, (5, 6)),
        # Nonsense.
        ({"PMI_RANK": "x", "PMI_SIZE": "2"}, (0, 1)),
        ({"PMI_RANK": "-1", "PMI_SIZE": "2"}, (0, 1)),
        ({"PMI_RANK": "0", "PMI_SIZE": ""}, (0, 1)),
    ],
)
def test_the_launchers_variables_are_understood(variables, expected):
    assert read_launch(variables) == expected


@pytest.mark.fault("D6", "mxl-sockets")
@pytest.mark.usefixtures("mpi4py")
def test_a_plain_process_never_imports_mpi4py():
    """Although it could: importing it would start MPI."""
    assert am_master() is True
    assert mpi_bcast_from_master(value := object()) is value
    assert _mpi_comm() is None
    assert not [name for name in sys.modules if name.startswith("mpi4py")]


@pytest.mark.usefixtures("mpi4py")
@pytest.mark.parametrize("rank", [0, 1])
def test_under_a_launcher_the_rank_is_read_without_importing(monkeypatch, rank):
    launch(monkeypatch, OMPI_COMM_WORLD_RANK=rank, OMPI_COMM_WORLD_SIZE=2)
    assert am_master() is (rank == 0)
    assert "mpi4py.MPI" not in sys.modules


@pytest.mark.usefixtures("mpi4py")
def test_under_a_launcher_a_broadcast_imports_mpi4py(monkeypatch):
    launch(monkeypatch, PMI_RANK=1, PMI_SIZE=2)
    assert mpi_bcast_from_master(31415) == ("from", 0, 31415)
    assert _mpi_comm() is sys.modules["mpi4py.MPI"].COMM_WORLD


@pytest.mark.usefixtures("mpi4py")
def test_a_program_that_uses_mpi4py_itself_is_asked(monkeypatch):
    """Its communicator knows better than any variable."""
    mpi = importlib.import_module("mpi4py.MPI")
    assert am_master() is True
    monkeypatch.setattr(mpi.COMM_WORLD, "rank", 1)
    assert am_master() is False
    assert mpi_bcast_from_master("v") == ("from", 0, "v")


@pytest.mark.usefixtures("mpi4py")
@pytest.mark.parametrize(("initialized", "finalized"), [(False, False), (True, True)])
def test_an_mpi4py_that_is_not_running_is_left_alone(monkeypatch, initialized, finalized):
    """Before Init and after Finalize every call would abort the process."""
    mpi = importlib.import_module("mpi4py.MPI")
    monkeypatch.setattr(mpi, "initialized", initialized)
    monkeypatch.setattr(mpi, "finalized", finalized)
    monkeypatch.setattr(mpi.COMM_WORLD, "rank", 1)
    assert am_master() is True
    assert mpi_bcast_from_master("v") == "v"


@pytest.mark.usefixtures("without_mpi4py")
def test_without_mpi4py_everybody_is_master_even_under_a_launcher(monkeypatch):
    launch(monkeypatch, PMI_RANK=1, PMI_SIZE=2)
    assert am_master() is True
    assert mpi_bcast_from_master("v") == "v"
    assert _mpi_comm() is None


def test_an_mpi4py_that_does_not_exist_is_noticed_without_importing(monkeypatch):
    """Nothing in sys.modules, and nothing on the path."""
    launch(monkeypatch, PMI_RANK=1, PMI_SIZE=2)
    monkeypatch.setattr(sys, "path", [])
    assert am_master() is True


@pytest.mark.usefixtures("mpi4py")
def test_an_mpi4py_that_was_imported_without_its_mpi_part_counts_as_installed(monkeypatch):
    importlib.import_module("mpi4py")
    launch(monkeypatch, PMI_RANK=1, PMI_SIZE=2)
    assert am_master() is False
