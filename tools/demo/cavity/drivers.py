"""Driver processes: started, killed, replaced, and none left behind.

Every molecule of the act is a process of its own. This module knows nothing of
physics or of the hub.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from processes import ProcessError, Processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: The example model of the package; `cavity.mortal` derives one that dies on purpose.
TWO_LEVEL_MODEL: Final = "mxl_sockets.two_level:TwoLevelSystem"

#: Seconds that a driver looks for the hub.
CONNECT_TIMEOUT_S: Final = 60.0


class DriverError(ProcessError):
    """Drivers ended although nobody killed them; says what they wrote."""


def drive_command(
    model: str,
    address: tuple[str, int] | str,
    parameters: Mapping[str, object],
    *,
    reconnect_timeout_s: float = 0.0,
) -> list[str]:
    """Command line of one driver process.

    Parameters
    ----------
    model : str
        ``module:Class``.
    address : (str, int) or str
        Host and port of a hub, or the path of its UNIX socket.
    parameters : mapping
        Passed to the model.
    reconnect_timeout_s : float
        How long a driver that lost its hub looks for it. With 0 it ends, so
        that even a demo that is killed leaves none.
    """
    place = ["--unix", address] if isinstance(address, str) else ["--hub", f"{address[0]}:{address[1]}"]
    given = [part for name, value in parameters.items() for part in ("--param", f"{name}={value!r}")]
    patience = ["--connect-timeout", str(CONNECT_TIMEOUT_S), "--reconnect-timeout", str(reconnect_timeout_s)]
    return [sys.executable, "-m", "mxl_sockets", "drive", model, *place, *patience, *given]


class DriverProcesses(Processes):
    """The living driver processes of one run; a context manager.

    Not for use by several threads, except `kill`.

    Parameters
    ----------
    directory : Path
        Where what the drivers write is kept; must exist.
    name : str
        What each is called in messages, before its number.

    Attributes
    ----------
    buried : int
        How many drivers were killed and noticed.
    """

    def __init__(self, directory: Path, name: str = "driver") -> None:
        super().__init__(directory)
        self._name = name
        self._doomed: set[int] = set()
        self.buried = 0

    def start(self, command: Sequence[str], *, may_die: bool = False) -> subprocess.Popen[bytes]:
        """Start one driver. It connects by itself; nothing is waited for.

        Parameters
        ----------
        command : sequence of str
            As from `drive_command`.
        may_die : bool
            The driver will kill itself, and that is no failure.
        """
        process = self.launch(f"{self._name}-{self.started}", command)
        if may_die:
            self._doomed.add(process.pid)
        return process

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
                raise DriverError(self.last_words(process))
            self.living.remove(process)
        self.buried += len(dead)
        return len(dead)
