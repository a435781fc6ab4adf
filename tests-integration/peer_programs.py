"""Real programs of other projects on the other end: where they meet ours, how they are started and ended.

`Programs` is a context manager: whatever ends a test, no process outlives it, and what a program wrote is
shown when it ended otherwise than it should. Nothing here imports a peer: only the tests marked "peer" do.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from mxl_sockets import SocketHub

HERE = Path(__file__).parent
DEMO = HERE.parent / "tools" / "demo"

# Seconds; more than any of the programs needs on a busy machine, less than pytest's limit for a test.
LIMIT_S = 45.0

TRANSPORTS = ["unix", "tcp"] if hasattr(socket, "AF_UNIX") else ["tcp"]

# In our tests warnings are errors; which deprecated names the peers use is not our affair.
PEERS_MAY_WARN = pytest.mark.filterwarnings(r"ignore:::(ase|ipi|maxwelllink)\.")

# Where programs look for a UNIX socket that is given by name.
MXL_PREFIX = "/tmp/socketmxl_"
IPI_PREFIX = "/tmp/ipi_"

# The peers' scripts are those of the Python that runs the tests.
SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Place:
    """Where two programs meet: the name of a UNIX socket without its prefix, or a port of the loopback."""

    name: str = ""
    port: int = 0

    @classmethod
    def new(cls, transport: str) -> Place:
        """A place that nobody uses, for a server that cannot be asked where it listens."""
        if transport == "unix":
            return cls(name=f"peer-{os.getpid()}-{secrets.token_hex(4)}")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return cls(port=probe.getsockname()[1])

    @contextlib.contextmanager
    def removed_afterwards(self, prefix: str) -> Iterator[None]:
        """Remove the UNIX socket in the end, for a server that may be killed before it does."""
        try:
            yield
        finally:
            if self.name:
                Path(prefix + self.name).unlink(missing_ok=True)

    def ours(self, prefix: str = MXL_PREFIX) -> list[str]:
        """Arguments of ``python -m mxl_sockets drive``."""
        return ["--unix", prefix + self.name] if self.name else ["--hub", f"127.0.0.1:{self.port}"]

    def theirs(self) -> list[str]:
        """Arguments that ``mxl_driver`` and ``i-pi-py_driver`` have in common."""
        return ["-u", "-a", self.name] if self.name else ["-a", "127.0.0.1", "-p", str(self.port)]


@contextlib.contextmanager
def our_hub(transport: str, prefix: str = MXL_PREFIX, **settings) -> Iterator[tuple[SocketHub, Place]]:
    """Our hub on a free place, stopped in the end."""
    settings.setdefault("timeout", LIMIT_S)
    if transport == "tcp":
        with SocketHub(host="127.0.0.1", port=0, **settings) as hub:
            yield hub, Place(port=hub.address[1])
        return
    place = Place.new(transport)
    # Given the bare name, as programs are: hub and programs have to agree on the rest.
    name = place.name if prefix == MXL_PREFIX else prefix + place.name
    with SocketHub(unixsocket=name, **settings) as hub:
        yield hub, place


@contextlib.contextmanager
def mxl_hub(transport: str) -> Iterator[tuple[Any, Place]]:
    """The real hub of the maxwelllink package on a free place, stopped in the end."""
    from maxwelllink.sockets import SocketHub

    place = Place.new(transport)
    where = {"unixsocket": place.name} if place.name else {"host": "127.0.0.1", "port": place.port}
    hub = SocketHub(**where, timeout=LIMIT_S)
    try:
        yield hub, place
    finally:
        hub.stop()


def drive(model: str, place: Place, prefix: str = MXL_PREFIX, **parameters: object) -> list[str]:
    """Command line of our driver."""
    given = [part for name, value in parameters.items() for part in ("--param", f"{name}={value!r}")]
    # It ends with its hub: a test that fails must not wait for it.
    patience = ["--connect-timeout", str(LIMIT_S), "--reconnect-timeout", "0"]
    return [sys.executable, "-m", "mxl_sockets", "drive", model, *place.ours(prefix), *patience, *given]


def mxl_driver(place: Place, model: str, **parameters: object) -> list[str]:
    """Command line of the real ``mxl_driver`` of the maxwelllink package."""
    given = ",".join(f"{name}={value}" for name, value in parameters.items())
    return [
        str(SCRIPTS / "mxl_driver"),
        "--model",
        model,
        *place.theirs(),
        *(["--param", given] * bool(given)),
    ]


def ipi_driver(place: Place, mode: str, parameters: str) -> list[str]:
    """Command line of the real Python driver of the ipi package."""
    # A plain script without a launcher on some systems, so it is given to Python.
    return [sys.executable, str(SCRIPTS / "i-pi-py_driver"), "-m", mode, "-o", parameters, *place.theirs()]


class ProgramEnded(AssertionError):
    """A program ended when it should not have, or not when it should; says what it wrote."""


class Programs:
    """Processes that are ended with the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._outputs: dict[int, Path] = {}
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for program in self.running:
            program.kill()
        for program in self.running:
            program.wait(LIMIT_S)

    def start(
        self, command: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program; it finds the modules beside the tests."""
        output = self._directory / f"program-{len(self._outputs)}.txt"
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        # One thread each: many numeric libraries on few cores only get in each other's way.
        settings = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with output.open("wb") as sink:
            program = subprocess.Popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **settings, **(environment or {})},
            )
        self.running.append(program)
        self._outputs[program.pid] = output
        return program

    def check(self) -> None:
        """Raise if a program has ended: for loops that wait for all of them."""
        if any(program.poll() is not None for program in self.running):
            raise ProgramEnded(self.describe())

    def kill(self, program: subprocess.Popen[bytes]) -> None:
        """Kill a program with SIGKILL, wait until it is gone and forget it."""
        program.kill()
        program.wait(LIMIT_S)
        if os.name == "posix" and program.returncode != -signal.SIGKILL:
            raise ProgramEnded(self.describe())
        self.running.remove(program)

    def statuses(self) -> list[int]:
        """Wait until all programs have ended by themselves; return how."""
        deadline = time.monotonic() + LIMIT_S
        for program in self.running:
            try:
                program.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired as error:
                raise ProgramEnded(self.describe()) from error
        return [program.returncode for program in self.running]

    def output(self, program: subprocess.Popen[bytes]) -> str:
        """What a program wrote, to both of its streams."""
        return self._outputs[program.pid].read_text(encoding="utf-8", errors="replace")

    def describe(self) -> str:
        """All programs: how each ended, if it did, and its last words."""
        return "\n".join(
            f"{program.args} -> {program.poll()}; it wrote:\n{self.output(program)[-2000:]}"
            for program in self.running
        )
