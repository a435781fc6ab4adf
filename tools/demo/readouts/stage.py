"""Where a session takes place, and who is there: its processes, ports and files.

Everything stays on the loopback interface: the group needs no route there.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from players import PATIENCE_S, Player, Players
from processes import ProcessError

from readouts.readout import CHANNEL
from udp_multicast import MulticastReceiver, RawBytes

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP: Final = "239.255.47.1"
INTERFACE: Final = "127.0.0.1"
#: Nobody sends there; who binds to a port of it keeps the port from being given to others.
RESERVING_GROUP: Final = "239.255.47.2"


@dataclass(slots=True)
class Stage:
    """A session's processes, ports and files.

    Attributes
    ----------
    players : Players
        Who ends all processes.
    folder : Path
        For all files.
    port, map_port, replay_port : int
        Of the hits, of the maps, and of the maps when they are replayed.
    monitors : dict of str to Player
        Processes that take hits.
    programs : dict of str to subprocess.Popen
        Commands of ``udp-multicast``.
    """

    players: Players
    folder: Path
    port: int
    map_port: int
    replay_port: int
    monitors: dict[str, Player] = field(default_factory=dict)
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The recording."""
        return self.folder / "maps.lcmlog"

    def start_monitor(self, name: str, *extra: object) -> Player:
        """Start a monitor of the hits."""
        place = (GROUP, self.port, self.folder / f"{name}.hits")
        player = self.players.start(name, "readouts.monitor", [*place, *extra])
        self.monitors[name] = player
        return player

    def start_program(self, command: str, port: int, *extra: object) -> None:
        """Start a command of ``udp-multicast``, as one types it."""
        place = ["--group", GROUP, "--port", str(port), "--interface", INTERFACE, "--channel", CHANNEL]
        line = [sys.executable, "-m", "udp_multicast", command, str(self.log), *place, *map(str, extra)]
        self.programs[command] = self.players.launch(command, line)

    def await_words(self, command: str, words: str) -> None:
        """Wait until a command has said something.

        Raises
        ------
        ProcessError
            It ended before, or did not say it in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        program = self.programs[command]
        while words not in self.players.words(program):
            if program.poll() is not None:
                raise ProcessError(self.players.last_words(program))
            if time.monotonic() > deadline:
                raise ProcessError(f"{command} did not say {words!r} within {PATIENCE_S} s")
            time.sleep(0.01)

    def await_end(self, command: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a command has ended; a polite signal helps if it does not.

        Raises
        ------
        ProcessError
            Not even that helped.
        """
        program = self.programs[command]
        try:
            program.wait(patience_s)
        except subprocess.TimeoutExpired:
            program.terminate()
            try:
                program.wait(PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                raise ProcessError(f"{command} does not end") from error


@contextlib.contextmanager
def open_stage() -> Iterator[Stage]:
    """Give a stage; in the end every process that was started there has ended."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(
            cleanup.enter_context(tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True))
        )
        port, map_port, replay_port = (
            cleanup.enter_context(MulticastReceiver(RawBytes, RESERVING_GROUP, 0, interface=INTERFACE)).port
            for _ in range(3)
        )
        yield Stage(cleanup.enter_context(Players(folder)), folder, port, map_port, replay_port)
