"""Processes of an act: started, listened to when they fail, and none left behind.

Whatever ends the act (a result, a failed check, an exception, Ctrl-C), leaving
the context of `Processes` ends every process that it started, and what a
process wrote to its standard error is kept in a file, so that a failure can
say why.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from acts import ActBroke
from interrupts import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

#: Seconds that processes get to leave by themselves after they were told to.
LEAVE_TIMEOUT_S: Final = 20.0

#: How much of a dead process's standard error is shown, in characters.
SHOWN_STDERR: Final = 2000


class ProcessError(ActBroke):
    """A process ended too early, or does not answer; says what it wrote."""


class Processes:
    """The living processes of a run; a context manager.

    Parameters
    ----------
    directory : Path
        Where what they write is kept; must exist.

    Attributes
    ----------
    living : list of subprocess.Popen
        Processes whose end was not yet noticed, the oldest first.
    started : int
        How many were started.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: dict[int, str] = {}
        self.living: list[subprocess.Popen[bytes]] = []
        self.started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(LEAVE_TIMEOUT_S if kind is None else 0.0)

    def launch(self, name: str, command: Sequence[str], *, piped: bool = False) -> subprocess.Popen[bytes]:
        """Start a process; nothing is waited for.

        Parameters
        ----------
        name : str
            For messages, and of the file with what it writes; used once only.
        command : sequence of str
            The program, which finds the modules of the demo.
        piped : bool
            Standard input and output are pipes; otherwise there is no input,
            and the output goes to the file too.
        """
        path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
        with self._written_by(name).open("wb") as sink, interrupts_held():
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else sink,
                stderr=sink,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # a Ctrl-C is for the demo, which then ends its processes
            )
            self.living.append(process)
        self.started += 1
        self._names[process.pid] = name
        return process

    def words(self, process: subprocess.Popen[bytes]) -> str:
        """Return what a process wrote so far."""
        written = self._written_by(self._names[process.pid])
        return written.read_text(encoding="utf-8", errors="replace").strip()

    def last_words(self, process: subprocess.Popen[bytes]) -> str:
        """Return a sentence about how a process ended."""
        return (
            f"{self._names[process.pid]} ended with status {process.returncode}; it wrote:\n"
            f"{self.words(process)[-SHOWN_STDERR:] or '(nothing)'}"
        )

    def close(self, timeout_s: float = LEAVE_TIMEOUT_S) -> None:
        """Wait a little for processes that were told to end, then kill what is left."""
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

    def _written_by(self, name: str) -> Path:
        return self._directory / f"{name}.stderr"
