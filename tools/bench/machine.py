"""The machine under the bench: what it is, which cores to use, who else is on it."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def description() -> dict[str, object]:
    """Tell what the figures were measured on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
    }


def pin(process: int, cores: set[int]) -> None:
    """Keep all threads of a process on these cores, those to come too."""
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread may end meanwhile
            os.sched_setaffinity(int(task.name), cores)


def all_cores() -> set[int]:
    """Return the cores that this process may use."""
    return os.sched_getaffinity(0)


def one_core() -> set[int]:
    """Return the last of them: the first one serves most interrupts."""
    return {max(all_cores())}
