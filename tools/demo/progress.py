"""Progress on standard error: a bar on a terminal, one line per finished run elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

#: Characters of the bar.
BAR_WIDTH: Final = 30

#: Seconds between two drawings; more often only costs time.
DRAW_INTERVAL_S: Final = 0.1


#: Packages whose warnings are shown.
PACKAGES: Final = ("mxl_sockets", "udp_multicast", "echo_rig", "group_ports", "wireframe")


class PackageLog(logging.Handler):
    """Show what the packages log, without spoiling the bar."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        self._progress.note(f"{record.name.partition('.')[0]}: {record.getMessage()}")


class Progress:
    """Show how far an act of several runs is; a context manager.

    Warnings of the packages are shown above the bar meanwhile.

    Parameters
    ----------
    total_steps : int
        Steps of all runs together.
    stream : text file, optional
        Standard error unless given.
    unit : str
        What a step is called.
    """

    def __init__(self, total_steps: int, stream: TextIO | None = None, *, unit: str = "step") -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._log = PackageLog(self)
        self._unit = unit
        self._total = total_steps
        self._before = 0
        self._label = ""
        self._steps = 0
        self._begin = self._run_begin = self._drawn = time.monotonic()

    def __enter__(self) -> Self:
        for package in PACKAGES:
            logging.getLogger(package).addHandler(self._log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for package in PACKAGES:
            logging.getLogger(package).removeHandler(self._log)
        self._clear()

    def begin_run(self, label: str, steps: int) -> None:
        """Name the run that starts now."""
        self._label, self._steps, self._run_begin = label, steps, time.monotonic()
        self._draw(0)

    def __call__(self, step: int) -> None:
        """Take note that so many steps of the run are finished."""
        if self._terminal and time.monotonic() - self._drawn > DRAW_INTERVAL_S:
            self._draw(step)

    def end_run(self, outcome: str) -> None:
        """Say what came out; on a terminal the bar goes on below."""
        self._before += self._steps
        self._clear()
        duration = time.monotonic() - self._run_begin
        print(f"{self._label:<28} {duration:5.1f} s  {outcome}", file=self._stream, flush=True)

    def note(self, line: str) -> None:
        """Say something in between, above the bar."""
        self._clear()
        print(f"    {line}", file=self._stream, flush=True)

    def _draw(self, step: int) -> None:
        if not self._terminal:
            return
        self._drawn = time.monotonic()
        done = (self._before + step) / self._total
        filled = round(BAR_WIDTH * done)
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        elapsed = self._drawn - self._begin
        what = f"{self._unit} {step}/{self._steps}" if step else "starting processes"
        self._clear()
        self._stream.write(f"[{bar}] {100 * done:3.0f} %  {elapsed:4.0f} s  {self._label}: {what}")
        self._stream.flush()

    def _clear(self) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
