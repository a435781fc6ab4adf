"""The machine under the bench: what it is, which cores to use, who else is on it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def description() -> dict[str, object]:
    """Tell what the figures were measured on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def versions(python: str, packages: Sequence[str]) -> str:
    """Tell which of these distributions an interpreter has, and their versions."""
    program = (
        "import importlib.metadata as m\n"
        f"for name in {list(packages)!r}:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, check=False, text=True, timeout=60)
    return ", ".join(done.stdout.splitlines())


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
