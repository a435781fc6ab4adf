"""Driver processes: started, killed, replaced, and none left behind.

Every molecule of the demo is a process of its own. This module knows nothing of
physics or of the hub. Whatever ends the demo (a result, a failed check, an
exception, Ctrl-C), leaving the context of `DriverProcesses` ends every
process that it started, and what a driver wrote to its standard error is kept
in a file, so that a failure can say why.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from interrupts import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

#: The example model of the package; `mortal` derives one that dies on purpose.
TWO_LEVEL_MODEL: Final = "mxl_sockets.two_level:TwoLevelSystem"

#: Seconds that drivers get to leave by themselves after the hub's STOP.
LEAVE_TIMEOUT_S: Final = 3.0

#: Seconds that a driver looks for the hub.
CONNECT_TIMEOUT_S: Final = 30.0

#: How much of a dead driver's standard error is shown, in characters.
SHOWN_STDERR: Final = 2000


class DriverError(RuntimeError):
    """Drivers ended although nobody killed them; says what they wrote."""


def drive_command(model: str, address: tuple[str, int] | str, parameters: Mapping[str, object]) -> list[str]:
    """Command line of one driver process.

    Parameters
    ----------
    model : str
        ``module:Class``.
    address : (str, int) or str
        Host and port of a hub, or the path of its UNIX socket.
    parameters : mapping
        Passed to the model.
    """
    place = ["--unix", address] if isinstance(address, str) else ["--address", f"{address[0]}:{address[1]}"]
    given = [part for name, value in parameters.items() for part in ("--param", f"{name}={value!r}")]
    # No reconnecting: a driver that loses its hub ends, so that even a demo that is killed leaves none.
    patience = ["--connect-timeout", str(CONNECT_TIMEOUT_S), "--reconnect-timeout", "0"]
    return [sys.executable, "-m", "mxl_sockets", "drive", model, *place, *patience, *given]


class DriverProcesses:
    """The living driver processes of one run; a context manager.

    Not for use by several threads, except `kill`.

    Parameters
    ----------
    directory : Path
        Where the standard errors of the drivers are kept; must exist.

    Attributes
    ----------
    living : list of subprocess.Popen
        Drivers whose end was not yet noticed, the oldest first.
    started, buried : int
        How many were started, and how many of them were killed and noticed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._doomed: set[int] = set()
        self._errors: dict[int, Path] = {}
        self.living: list[subprocess.Popen[bytes]] = []
        self.started = 0
        self.buried = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(LEAVE_TIMEOUT_S if kind is None else 0.0)

    def start(self, command: Sequence[str], *, may_die: bool = False) -> None:
        """Start one driver. It connects by itself; nothing is waited for.

        Parameters
        ----------
        command : sequence of str
            As from `drive_command`.
        may_die : bool
            The driver will kill itself, and that is no failure.
        """
        here = str(Path(__file__).parent)  # where `mortal` is
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        standard_error = self._directory / f"driver-{self.started}.stderr"
        with standard_error.open("wb") as sink, interrupts_held():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # a Ctrl-C is for the demo, which then ends its drivers
            )
            self.living.append(process)
        self.started += 1
        self._errors[process.pid] = standard_error
        if may_die:
            self._doomed.add(process.pid)

    def pause(self, process: subprocess.Popen[bytes]) -> None:
        """Stop a driver without ending it (POSIX only): it will not answer."""
        process.send_signal(signal.SIGSTOP)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a driver with SIGKILL, whatever it is doing."""
        self._doomed.add(process.pid)
        process.kill()

    def bury(self) -> int:
        """Forget the drivers that were killed and have ended; return how many.

        Raises
        ------
        DriverError
            A driver ended that nobody killed, or not by the kill.
        """
        dead = [process for process in self.living if process.poll() is not None]
        for process in dead:
            killed = process.returncode == -signal.SIGKILL if os.name == "posix" else process.returncode != 0
            if process.pid not in self._doomed or not killed:
                raise DriverError(self._last_words(process))
            self.living.remove(process)
        self.buried += len(dead)
        return len(dead)

    def close(self, timeout_s: float = LEAVE_TIMEOUT_S) -> None:
        """Wait a little for drivers that were told to stop, then kill what is left."""
        try:
            deadline = time.monotonic() + timeout_s
            for process in self.living:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            with interrupts_held():
                for process in self.living:
                    process.kill()
                for process in self.living:
                    process.wait(LEAVE_TIMEOUT_S)

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        words = self._errors[process.pid].read_text(encoding="utf-8", errors="replace").strip()
        return (
            f"a driver ended with status {process.returncode}; it wrote:\n"
            f"{words[-SHOWN_STDERR:] or '(nothing)'}"
        )
