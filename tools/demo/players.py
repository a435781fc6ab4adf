"""Processes that report while they run: lines of JSON come out, lines of text go in.

A player ends when its standard input is closed, so a demo that is killed
leaves none. `reporting` is the other side.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from processes import LEAVE_TIMEOUT_S, ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: Seconds that a player may take for anything it is asked for.
PATIENCE_S: Final = 60.0

#: Seconds between two looks at the progress while a report is waited for.
LOOK_INTERVAL_S: Final = 0.05


class Player:
    """A process that reports; made by `Players.start`.

    Parameters
    ----------
    name : str
        For messages.
    process : subprocess.Popen
        With pipes.
    last_words : callable
        Says how the process ended, once it has.

    Attributes
    ----------
    reports : list of dict
        All of them, each with its ``kind``, the oldest first. It only grows.
    """

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        last_words: Callable[[subprocess.Popen[bytes]], str],
    ) -> None:
        self.name = name
        self.process = process
        self.reports: list[dict[str, Any]] = []
        self._last_words = last_words
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name=f"reports of {name}")
        self._reader.start()

    def tell(self, word: str) -> None:
        """Send a line.

        Raises
        ------
        ProcessError
            The process has ended.
        """
        stdin = self.process.stdin
        if stdin is None or stdin.closed:
            raise ProcessError(f"{self.name} was told to end and cannot be told {word!r}")
        try:
            stdin.write(word.encode() + b"\n")
            stdin.flush()
        except OSError as error:
            raise self._death() from error

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return the reports of a kind so far."""
        return [report for report in self.reports[:] if report["kind"] == kind]

    def wait_for(
        self, kind: str, count: int = 1, *, watch: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Wait for the report of a kind, and return it.

        Parameters
        ----------
        kind : str
            As it was reported.
        count : int
            Wait for so many of them, and return the last.
        watch : callable, optional
            Called again and again meanwhile.

        Raises
        ------
        ProcessError
            The process ended before, or took longer than `PATIENCE_S`.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with self._news:
                ended = self._ended
                if len(reports := self.all(kind)) >= count:
                    return reports[count - 1]
                if not ended:
                    self._news.wait(LOOK_INTERVAL_S)
            if ended:
                raise self._death()
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} did not report {kind!r} within {PATIENCE_S} s")
            if watch is not None:
                watch()

    def finish(self) -> dict[str, Any]:
        """Tell the process to end, wait for it, and return its report of kind ``end``.

        Raises
        ------
        ProcessError
            It ended without, or not in time.
        """
        self.dismiss()
        end = self.wait_for("end")
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise ProcessError(f"{self.name} reported its end and did not end") from error
        return end

    def dismiss(self) -> None:
        """Tell the process to end; nothing is waited for."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):  # what was not written yet is lost with the process
                self.process.stdin.close()

    def close(self) -> None:
        """Wait for the last report of a process that has ended, which closes the pipe."""
        self._reader.join(LEAVE_TIMEOUT_S)

    def _read(self) -> None:
        try:
            if self.process.stdout is not None:
                with self.process.stdout as lines:
                    for line in lines:
                        self._hear(json.loads(line))
        finally:
            self._hear(None)

    def _hear(self, report: dict[str, Any] | None) -> None:
        with self._news:
            if report is None:
                self._ended = True
            else:
                self.reports.append(report)
            self._news.notify_all()

    def _death(self) -> ProcessError:
        try:
            self.process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return ProcessError(f"{self.name} reports nothing any more")
        return ProcessError(self._last_words(self.process))


class Players(Processes):
    """Processes of which some report; a context manager.

    Parameters
    ----------
    directory : Path
        Where what they write is kept; must exist.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._players: list[Player] = []

    def start(self, name: str, module: str, arguments: Sequence[object]) -> Player:
        """Start a module of the demo as a process that reports.

        Parameters
        ----------
        name : str
            For messages; used once only.
        module : str
            Its name, as for ``python -m``.
        arguments : sequence
            Of its command line.
        """
        command = [sys.executable, "-m", module, *map(str, arguments)]
        player = Player(name, self.launch(name, command, piped=True), self.last_words)
        self._players.append(player)
        return player

    def close(self, timeout_s: float = LEAVE_TIMEOUT_S) -> None:
        """Tell all players to end, end those that do not, and close their pipes."""
        for player in self._players:
            player.dismiss()
        try:
            super().close(timeout_s)
        finally:
            for player in self._players:
                player.close()
