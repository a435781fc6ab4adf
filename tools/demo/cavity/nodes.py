"""Nodes: bridges, each a process, and their drivers, each a process; a killed bridge is replaced.

A bridge cannot be told to die between a commit and an answer, but it can be
made to wait there: one of its drivers is stopped, so that the others of the
node make their step and the bridge owes its answer, and then it is killed. Its
drivers live on, connect to its replacement, and are given the states from
before the step, or a bit of the trajectory would change.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING, Final

from cavity.drivers import CONNECT_TIMEOUT_S, TWO_LEVEL_MODEL, DriverProcesses, drive_command
from mxl_sockets import get_available_host_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

#: Seconds that drivers look for the replacement of their bridge; so long they outlive a demo that is killed
#: together with its bridges.
RECONNECT_TIMEOUT_S: Final = 30.0


class Nodes(DriverProcesses):
    """The living bridges of one run, with their drivers; a context manager.

    `living` are the bridges alone: it is they who are killed and buried.

    Parameters
    ----------
    directory : Path
        Where sockets and what the processes write are kept; must exist.
    drivers : DriverProcesses
        Takes the drivers.
    model_parameters : mapping
        Passed to the drivers' model.
    sizes : mapping of str to int
        How many molecules each group has, in the order of the molecules.
    """

    def __init__(
        self,
        directory: Path,
        drivers: DriverProcesses,
        model_parameters: Mapping[str, object],
        sizes: Mapping[str, int],
    ) -> None:
        super().__init__(directory, "bridge")
        self._drivers = drivers
        self._hub = ("", 0)
        self._addresses = {group: _address(directory, group) for group in sizes}
        self._bridges: dict[str, subprocess.Popen[bytes]] = {}
        self._first: dict[str, subprocess.Popen[bytes]] = {}
        self._paused: subprocess.Popen[bytes] | None = None
        self._sizes = dict(sizes)
        self._model_parameters = model_parameters

    def populate(self, hub: tuple[str, int]) -> None:
        """Start all bridges and all drivers. They find each other; nothing is waited for.

        Parameters
        ----------
        hub : (str, int)
            Address of the aggregated hub.
        """
        self._hub = hub
        for group, size in self._sizes.items():
            self._start_bridge(group)
            drive = drive_command(
                TWO_LEVEL_MODEL,
                self._addresses[group],
                self._model_parameters,
                reconnect_timeout_s=RECONNECT_TIMEOUT_S,
            )
            self._first[group] = self._drivers.start(drive)
            for _ in range(size - 1):
                self._drivers.start(drive)

    def replace_dead(self) -> None:
        """Start bridges in the place of those that were killed.

        Raises
        ------
        DriverError
            A bridge ended that nobody killed, or a driver ended.
        """
        self._drivers.bury()
        if self.bury():
            for group, bridge in list(self._bridges.items()):
                if bridge not in self.living:
                    self._start_bridge(group)

    def pause(self, process: subprocess.Popen[bytes]) -> None:
        """Stop a driver of this bridge (POSIX only): the bridge will not answer, although others have."""
        group = next(group for group, bridge in self._bridges.items() if bridge is process)
        self._paused = self._first[group]
        self._drivers.pause(self._paused)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a bridge, and let its drivers go on."""
        super().kill(process)
        if self._paused is not None:
            self._paused.send_signal(signal.SIGCONT)
            self._paused = None

    def _start_bridge(self, group: str) -> None:
        host, port = self._hub
        address = self._addresses[group]
        place = ["--unix", address] if isinstance(address, str) else ["--port", str(address[1])]
        # A bridge that loses its hub ends, and its drivers with it.
        patience = ["--connect-timeout", str(CONNECT_TIMEOUT_S), "--reconnect-timeout", "0"]
        hub = ["--hub", f"{host}:{port}", "--group", group]
        bridge = [sys.executable, "-m", "mxl_sockets", "bridge", "--quiet"]
        self._bridges[group] = self.start([*bridge, *hub, *place, *patience])


def _address(directory: Path, group: str) -> str | tuple[str, int]:
    """Where a bridge listens for its drivers; its replacement too."""
    if hasattr(socket, "AF_UNIX"):
        return str(directory / f"{group}.socket")
    return get_available_host_port()
