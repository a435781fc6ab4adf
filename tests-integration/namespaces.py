"""Network namespaces as hosts: made without names, held by a process each, gone when it ends.

Nothing of them is seen outside, so any number of runs may go on at once; and since the processes that hold
them end when their standard input does, nothing is left even of a run that was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Self

import pytest

# Seconds; more than any of the programs needs on a busy machine, less than pytest's limit for a test.
LIMIT_S = 100.0

# Programs, and the Debian packages that bring them.
PACKAGES = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"}
# Where these programs are, which is not always on the path of users.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# As root the programs keep their privileges; as anybody else they get a user namespace too.
KINDS = {
    "root": (["--net"], ["--net"]),
    "user": (["--map-root-user", "--net"], ["--user", "--preserve-credentials", "--net"]),
}
# What Ubuntu 24.04 and others need before users may make namespaces.
ADVICE = "run as root, or allow user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0"

# The link between the two hosts, on either of them; or of a host to the switch.
DEVICE = "cable"
# The switch on itself, and the address of what runs there.
SWITCH = "switch"
SWITCH_ADDRESS = "10.77.0.254"


class RefusedError(Exception):
    """The system did not make a namespace, and said why."""


class Namespace:
    """A host: enters commands into a network namespace, which lives as long as a process that holds it."""

    def __init__(self, enter: Sequence[str], holder: int) -> None:
        self.enter = list(enter)
        self.holder = holder

    def run(self, *command: str, script: str = "") -> str:
        """Run a short command to its end and return what it wrote."""
        done = subprocess.run(
            [*self.enter, *command],
            input=script,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=environment(),
            check=False,
        )
        assert done.returncode == 0, f"{command} -> {done.returncode}: {done.stderr}{script}"
        return done.stdout

    def nft(self, script: str) -> None:
        """Tell the packet filter."""
        self.run("nft", "-f", "-", script=script)

    def counters(self, table: str) -> dict[str, int]:
        """Packets that the named counters of a table of the packet filter have seen."""
        listed = self.run("nft", "list", "counters", "table", *table.split())
        found = re.findall(r"counter (\w+) \{\s*packets (\d+) ", listed)
        return {name: int(packets) for name, packets in found}

    def set_link(self, state: str) -> None:
        """Set the link of this host ``up`` or ``down``."""
        self.run("ip", "link", "set", DEVICE, state)

    def unplug(self) -> None:
        """Take the cable and its interfaces away, on both ends."""
        self.run("ip", "link", "delete", DEVICE)

    def add_multicast_route(self) -> None:
        """Send all groups into the cable; goes away with it."""
        self.run("ip", "route", "add", "224.0.0.0/4", "dev", DEVICE)

    def has_carrier(self) -> bool:
        """Whether the link is up on both of its ends, and the system has seen that."""
        return " state UP " in self.run("ip", "-o", "link", "show", DEVICE)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": PATH}


def require(programs: Sequence[str], purpose: str) -> None:
    """Fail with a sentence if a program is missing."""
    missing = [program for program in programs if shutil.which(program, path=PATH) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[program] for program in missing}))
        pytest.fail(
            f"{purpose}, and {' and '.join(missing)} cannot be found (Debian: apt-get install {packages})"
        )


@contextlib.contextmanager
def network_namespaces(count: int, set_up: str, purpose: str) -> Iterator[list[Namespace]]:
    """Make namespaces of one owner with a loopback interface; if that fails, say why.

    `set_up` is what the shell does first in each of them; the sentence of a failure begins with `purpose`.
    """
    require(["unshare", "nsenter", "ip"], purpose)
    reasons = []
    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            try:
                made = [_first(stack, kind, set_up)]
                # From inside the first one, so that they have the same owner and may be linked.
                while len(made) < count:
                    made.append(_held(stack, [*made[0].enter, "unshare", "--net"], kind, set_up))
            except RefusedError as error:
                reasons.append(f"as {kind}: {error}")
            else:
                yield made
                return
    pytest.fail(f"{purpose}: {'; '.join(reasons)} ({ADVICE})")


def _first(stack: contextlib.ExitStack, kind: str, set_up: str) -> Namespace:
    return _held(stack, ["unshare", *KINDS[kind][0]], kind, set_up)


def _held(stack: contextlib.ExitStack, make: Sequence[str], kind: str, set_up: str) -> Namespace:
    """Make a namespace that lasts until the stack is unwound."""
    holder = subprocess.Popen(
        # All of these become the next one, so the process stays the same.
        [*make, "sh", "-c", f"ip link set lo up && {set_up} && echo ready && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    # Closing its standard input ends it; the context of the process waits for that.
    stack.enter_context(holder)
    stack.callback(holder.stdin.close)
    if holder.stdout.readline() != "ready\n":
        raise RefusedError(holder.stderr.read().strip())
    return Namespace(["nsenter", "--target", str(holder.pid), *KINDS[kind][1], "--"], holder.pid)


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Namespace, Namespace]]:
    """Make two hosts, 10.77.0.1 and 10.77.0.2, joined by a cable; both have a packet filter."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are a thing of Linux")
    purpose = "these tests need two network namespaces and a packet filter"
    require(["nft"], purpose)
    with network_namespaces(2, "true", purpose) as hosts:
        connect(*hosts)
        yield hosts[0], hosts[1]


def connect(first: Namespace, second: Namespace) -> None:
    """Join two hosts by a cable, and wait until both see it."""
    peer = ["peer", "name", DEVICE, "netns", str(second.holder)]
    first.run("ip", "link", "add", DEVICE, "type", "veth", *peer)
    for number, host in enumerate((first, second), 1):
        host.run("ip", "addr", "add", f"10.77.0.{number}/24", "dev", DEVICE)
        host.set_link("up")
    for host in (first, second):
        until(host.has_carrier, "the link did not come up")


@contextlib.contextmanager
def hosts_on_a_switch(count: int) -> Iterator[tuple[Namespace, list[Namespace]]]:
    """Make a switch, and hosts with the addresses 10.77.0.1 and so on, each with a cable to it.

    The switch is a host itself, and its packet filter sees what goes from one of the others to another.
    """
    if sys.platform != "linux":
        pytest.skip("network namespaces are a thing of Linux")
    purpose = f"these tests need {count + 1} network namespaces, a bridge and a packet filter"
    require(["nft"], purpose)
    with network_namespaces(count + 1, "true", purpose) as (switch, *hosts):
        switch.run("ip", "link", "add", SWITCH, "type", "bridge")
        switch.run("ip", "addr", "add", f"{SWITCH_ADDRESS}/24", "dev", SWITCH)
        switch.run("ip", "link", "set", SWITCH, "up")
        for number, host in enumerate(hosts, 1):
            plug = f"plug{number}"
            peer = ["peer", "name", DEVICE, "netns", str(host.holder)]
            switch.run("ip", "link", "add", plug, "type", "veth", *peer)
            switch.run("ip", "link", "set", plug, "master", SWITCH, "up")
            host.run("ip", "addr", "add", f"10.77.0.{number}/24", "dev", DEVICE)
            host.set_link("up")
        for host in hosts:
            until(host.has_carrier, "the link to the switch did not come up")
        yield switch, hosts


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
                env=environment(),
            )
        # None stands for the end.
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

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
            line = self._lines.get(timeout=LIMIT_S)
        except Empty as error:
            raise AssertionError(f"nothing heard from {self.describe()}") from error
        if line is None:
            # There is no more, for whoever asks again either.
            self._lines.put(None)
            self.ended()
            raise AssertionError(f"nothing more from {self.describe()}")
        return line

    def has_line(self) -> bool:
        """Whether it has said something that was not asked for yet."""
        return not self._lines.empty()

    def tell(self, line: str) -> None:
        """Write it a line."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def interrupt(self) -> int:
        """End it as a user would; return its exit code."""
        self.signal(signal.SIGINT)
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


def until(condition: Callable[[], bool], what: str, between: Callable[[], object] = lambda: None) -> None:
    """Wait until the condition holds, doing something in between; `what` is wrong if it never does."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        between()
        time.sleep(0.01)
