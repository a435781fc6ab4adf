"""A network of its own for programs that need multicast routes: a namespace with nothing but a loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Self

import pytest

# Seconds; more than any of the programs needs on a busy machine, less than pytest's limit for a test.
LIMIT_S = 40.0

NEEDED = ("unshare", "nsenter", "ip")
SET_UP = "ip link set lo up && ip route add 224.0.0.0/4 dev lo && echo ready && exec cat"

# As root the programs keep their privileges; as anybody else they get a user namespace too.
KINDS = {
    "root": (["--net"], ["--net"]),
    "user": (["--map-root-user", "--net"], ["--user", "--preserve-credentials", "--net"]),
}


class Namespace:
    """Enters commands into a network namespace; it lives as long as a process that holds it."""

    def __init__(self, enter: Sequence[str]) -> None:
        self.enter = list(enter)


@contextlib.contextmanager
def network_namespace() -> Iterator[Namespace]:
    """Make a namespace whose loopback interface has a route for multicast; if that fails, say why."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=path) for name in NEEDED}
    missing = [name for name, where in found.items() if where is None]
    if missing:
        pytest.fail(
            f"LCM needs a network namespace with a multicast route, and {', '.join(missing)} is missing"
            " (Debian: apt-get install iproute2 util-linux)"
        )
    reasons = []
    for kind, (make, enter) in KINDS.items():
        holder = subprocess.Popen(
            [str(found["unshare"]), *make, "sh", "-c", SET_UP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": path},
            text=True,
        )
        with holder:
            try:
                if holder.stdout.readline() == "ready\n":
                    yield Namespace([str(found["nsenter"]), "--target", str(holder.pid), *enter, "--"])
                    return
                reasons.append(f"as {kind}: {holder.stderr.read().strip()}")
            finally:
                holder.stdin.close()
                holder.wait(LIMIT_S)
    pytest.fail(f"LCM needs a network namespace with a multicast route: {'; '.join(reasons)}")


class Program:
    """A process in a namespace that is talked to by lines; it is killed in the end if it still runs."""

    def __init__(self, namespace: Namespace, command: Sequence[str], directory: Path) -> None:
        self._command = list(command)
        self._errors = directory / f"errors-{Path(command[0]).name}-{id(self)}.txt"
        with self._errors.open("wb") as errors:
            # nsenter becomes the command, so signals reach the program itself.
            self._process = subprocess.Popen(
                [*namespace.enter, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=directory,
            )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        self._process.stdin.close()
        self._process.stdout.close()

    def line(self) -> str:
        """What it says next."""
        try:
            return self._lines.get(timeout=LIMIT_S)
        except Empty as error:
            raise AssertionError(f"nothing heard from {self.describe()}") from error

    def tell(self, line: str) -> None:
        """Write it a line."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def interrupt(self) -> int:
        """End it as a user would; return its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        try:
            return self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running: {self.describe()}") from error

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def describe(self) -> str:
        return f"{self._command} -> {self._process.poll()}; it wrote:\n{self.errors[-2000:]}"


def python(*arguments: str) -> list[str]:
    """Command line of a module or script for this Python."""
    return [sys.executable, *arguments]
