"""A side of a comparison as two processes: the one that is measured, and its load."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import machine
from harness import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

HERE: Final = Path(__file__).parent

#: Seconds for a process to say its next line.
ANSWER_TIMEOUT_S: Final = 120.0
#: Seconds for it to leave when its input has ended.
LEAVE_TIMEOUT_S: Final = 15.0


class SideError(RuntimeError):
    """A process of the bench ended or fell silent; says what it wrote."""


class Program:
    """A Python program of this folder that talks in lines; a context manager.

    Parameters
    ----------
    python : str
        Its interpreter.
    script : str
        Its file.
    *arguments : object
        What it is told.
    within : sequence of str
        A command that runs others, in another network say.
    """

    def __init__(self, python: str, script: str, *arguments: object, within: Sequence[str] = ()) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._name = script
        self.process = subprocess.Popen(
            [*within, python, str(HERE / script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C is for the bench, which then ends its programs
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.close()

    def tell(self, line: str) -> None:
        """Write a line to the program.

        Raises
        ------
        SideError
            It has ended.
        """
        try:
            self._input.write(line.encode() + b"\n")
        except OSError as error:
            raise SideError(self._last_words()) from error

    def hear(self) -> str:
        """Wait for the program's next line.

        Raises
        ------
        SideError
            It ended, or said nothing for `ANSWER_TIMEOUT_S`.
        """
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))
            piece = self._output.read(4096) if ready else b""
            if not piece:
                raise SideError(self._last_words())
            line += piece
        return line.decode()

    def close(self) -> None:
        """End the program: first by the end of its input, then by force."""
        try:
            with contextlib.suppress(OSError):
                self._input.close()
            self.process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(LEAVE_TIMEOUT_S)
            self._output.close()
            self._errors.close()

    @property
    def _input(self) -> IO[bytes]:
        if self.process.stdin is None:
            raise SideError("the program was started without a pipe")
        return self.process.stdin

    @property
    def _output(self) -> IO[bytes]:
        if self.process.stdout is None:
            raise SideError("the program was started without a pipe")
        return self.process.stdout

    def _last_words(self) -> str:
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()[-2000:]
        return f"{self._name} ended or fell silent; it wrote:\n{words or '(nothing)'}"


class HubSide:
    """A hub (ours, the peer's, or the bare loop) and the process that plays its drivers.

    Parameters
    ----------
    kind, transport : str
        As `hub_subject` takes them.
    molecules, extra : int
        Connections, and bytes of extra in each reply.
    python : str
        Interpreter of the hub: the one that has the package in question.
    library : str
        `epoll_hub.c` as a shared library: then the drivers are in C, and the hub ``epoll`` is possible.
    """

    def __init__(
        self, kind: str, transport: str, molecules: int, extra: int, python: str, library: str = ""
    ) -> None:
        with contextlib.ExitStack() as stack:
            self._hub = stack.enter_context(
                Program(python, "hub_subject.py", kind, transport, molecules, extra, library)
            )
            address = self._heard("address")
            # Entered last, so left first. The hub stops its drivers, but a peer's hub may not succeed.
            self._load = stack.enter_context(
                Program(sys.executable, "reply_load.py", address, molecules, extra, library)
            )
            self._load.hear()
            self._heard("bound")
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hub.close()
        self._stack.close()

    def pin(self, cores: set[int]) -> None:
        """Keep both processes on these cores."""
        machine.pin(self._hub.process.pid, cores)
        machine.pin(self._load.process.pid, cores)

    def measure(self, steps: int) -> Sample:
        """Make so many steps and tell what they cost the hub's process."""
        self._hub.tell(str(steps))
        told = json.loads(self._hub.hear())
        return Sample(told["steps"], told["wall_s"], told["cpu_s"])

    def _heard(self, key: str) -> Any:
        return json.loads(self._hub.hear())[key]
