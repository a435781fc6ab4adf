"""An independent witness: what Wireshark's tools saw leave one host and come to another.

The hosts are network namespaces. Between them is a switch whose packet filter loses datagrams, or the relay,
which loses, doubles and reorders them, and changes bits if wanted; both count what they do. What the witness
saw has to be what they did, and what our programs have counted. A changed datagram is one that the checksum
of UDP gives away, to the witness as to the system.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import relay
from namespaces import (
    LIMIT_S,
    PATH,
    Namespace,
    Program,
    environment,
    hosts_on_a_switch,
    network_namespaces,
    python,
    until,
)

PORT = 5007
#: The cable of a host, in either kind of network.
DEVICE = relay.DEVICE

# Of what goes to a port of ours or comes from there; nothing else, so that captures end as they should.
_FILTER = f"""
table bridge lab {{
    counter dropped {{}}
    chain loss {{}}
    chain forward {{
        type filter hook forward priority 0
        ip protocol udp udp dport {PORT} jump loss
        ip protocol udp udp sport {PORT} jump loss
    }}
}}
"""
# One in five, at random.
_DROP = "numgen random mod 100 < 20 counter name dropped drop"
# Held back for less time than 511 readouts take, beyond which one is not late but of another life.
_FAULTS = {"loss": 0.1, "duplication": 0.05, "reordering": 0.1, "held_s": 0.002}
_GOOD = {"loss": 0.0, "duplication": 0.0, "reordering": 0.0, "corruption": 0.0}
#: Part of the datagrams of which one bit is changed, by the relay that does so.
_CORRUPTION = 0.1
# Behind all that is held.
_BEHIND_S = 0.05

# Nobody listens there.
_MARK_PORT = 5008
_MARK = f"import socket, sys; socket.socket(2, 2).sendto(sys.argv[1].encode(), (sys.argv[2], {_MARK_PORT}))"


class Capture:
    """What one host sends and gets through its cable."""

    def __init__(self, host: Namespace, path: Path) -> None:
        self._path = path
        self._errors = path.with_suffix(".txt")
        command = ["dumpcap", "-q", "-i", DEVICE, "-f", f"udp port {PORT} or udp port {_MARK_PORT}"]
        with self._errors.open("wb") as errors:
            self._program = subprocess.Popen(
                [*host.enter, *command, "-w", str(path)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                env=environment(),
            )

    def has(self, mark: str) -> bool:
        """Whether a datagram is in the file; skips the test if who runs it may not capture."""
        if self._program.poll() is not None:
            said = self._errors.read_text(errors="replace").strip()
            if "permission" in said:
                pytest.skip(f"who runs this may not capture: {said}")
            raise AssertionError(f"{self._program.args} -> {self._program.returncode}: {said}")
        return self._path.exists() and mark.encode() in self._path.read_bytes()

    def end(self) -> None:
        """Let it complete the file."""
        self._program.send_signal(signal.SIGINT)
        assert self._program.wait(LIMIT_S) == 0, self._errors.read_text()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._program.kill()
        self._program.wait(LIMIT_S)

    def payloads(self, selection: str) -> list[str]:
        """What Wireshark's own decoder finds in the file, in its order; in hexadecimal digits."""
        command = ["tshark", "-n", "-r", str(self._path), "-o", "udp.check_checksum:TRUE", "-Y", selection]
        done = subprocess.run(
            [*command, "-T", "fields", "-e", "udp.payload"],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=environment(),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


class Network:
    """Two hosts, and what is between them."""

    #: What to add to a selection of datagrams that came, so that those are left of which no bit was changed.
    #: Over the relay alone: what goes from one host to another by a switch never gets a checksum.
    intact = ""

    def __init__(self, hosts: Sequence[Namespace], addresses: Sequence[str], directory: Path) -> None:
        self.hosts = hosts
        self.addresses = addresses
        self._directory = directory

    def refused(self) -> list[dict[str, int]]:
        """What the system of each host has refused: changed datagrams, and those for which was no room."""
        return [refused_by(host) for host in self.hosts]

    def set_faults(self, are_on: bool) -> None:
        """Let it be as bad as it can, or good; what comes afterwards does not overtake what came before."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """What it did so far: taken, passed, lost, doubled, corrupted; those that it can tell."""
        raise NotImplementedError

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Capture]]:
        """Capture on both hosts: all that is sent in the block, and all of it that arrives until its end."""
        with contextlib.ExitStack() as stack:
            captures = []
            for host, address in zip(self.hosts, self.addresses, strict=True):
                captures.append(Capture(host, self._directory / f"{address}.pcapng"))
                stack.callback(captures[-1].kill)
            self.settle(captures)
            yield captures
            self.settle(captures)
            for capture in captures:
                capture.end()

    def settle(self, captures: list[Capture]) -> None:
        """Send a datagram both ways until it is in both files: then so is all that was sent before.

        So it has come to the sockets there, too.
        """
        marks = [secrets.token_hex(16) for _ in self.hosts]

        def send() -> None:
            for host, mark, address in zip(self.hosts, marks, reversed(self.addresses), strict=True):
                host.run(*python("-ISc", _MARK, mark, address))

        until(
            lambda: all(capture.has(mark) for capture in captures for mark in marks),
            "the captures have not seen what was sent",
            send,
        )


class SwitchNetwork(Network):
    """A switch that loses; it counts what."""

    def __init__(self, switch: Namespace, hosts: Sequence[Namespace], directory: Path) -> None:
        super().__init__(hosts, ["10.77.0.1", "10.77.0.2"], directory)
        self._switch = switch
        switch.nft(_FILTER)

    def set_faults(self, are_on: bool) -> None:
        """Lose a fifth, or nothing."""
        rule = f"add rule bridge lab loss {_DROP}\n" if are_on else ""
        self._switch.nft(f"flush chain bridge lab loss\n{rule}")

    def counts(self) -> dict[str, int]:
        """Only what was lost."""
        return {"lost": self._switch.counters("bridge lab")["dropped"], "doubled": 0, "corrupted": 0}


class RelayNetwork(Network):
    """The relay; what it takes and passes it counts."""

    # A checksum that became 0 says that there is none; all else is as it was then.
    intact = " && udp.checksum.status in {1, 3}"

    def __init__(
        self,
        hosts: Sequence[Namespace],
        stack: contextlib.ExitStack,
        directory: Path,
        corruption: float,
    ) -> None:
        super().__init__(hosts, relay.ADDRESSES, directory)
        self._corruption = corruption
        command = python(relay.__file__, *(str(host.holder) for host in hosts), "8")
        self._relay = stack.enter_context(Program(Namespace([], 0), command, directory))
        assert self._relay.line() == "ready", self._relay.describe()

    def _tell(self, knobs: dict[str, Any]) -> dict[str, int]:
        self._relay.tell(json.dumps(knobs))
        return {"lost": 0, "doubled": 0, "corrupted": 0, "taken": 0, **json.loads(self._relay.line())}

    def set_faults(self, are_on: bool) -> None:
        """Lose, double, reorder and change, or nothing of these."""
        bad = {**_FAULTS, "corruption": self._corruption, "delay_s": 0.0}
        self._tell(bad if are_on else {**_GOOD, "delay_s": _BEHIND_S})

    def counts(self) -> dict[str, int]:
        """All that it counts."""
        return self._tell({})


KINDS = ["switch", "relay", "relay that changes bits"]


def refused_by(host: Namespace) -> dict[str, int]:
    """What a host's system counts of the datagrams that it gave to no program."""
    names, numbers = (
        line.split()[1:]
        for line in host.run("cat", "/proc/net/snmp").splitlines()
        if line.startswith("Udp: ")
    )
    counts = dict(zip(names, map(int, numbers), strict=True))
    return {"changed": counts["InCsumErrors"], "no room": counts["RcvbufErrors"]}


@contextlib.contextmanager
def made(kind: str, directory: Path) -> Iterator[Network]:
    """Make a network, one of `KINDS`; skips the test where that, or a witness, is not to be had."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are a thing of Linux")
    for program in ("dumpcap", "tshark"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} cannot be found (Debian: apt-get install tshark)")
    with contextlib.ExitStack() as stack:
        if kind == "switch":
            switch, hosts = stack.enter_context(hosts_on_a_switch(2))
            yield SwitchNetwork(switch, hosts, directory)
            return
        if os.geteuid() != 0 or not Path(relay.TUN).exists():
            pytest.skip("TAP devices in other namespaces are for root")
        hosts = stack.enter_context(network_namespaces(2, "true", "this test needs two network namespaces"))
        yield RelayNetwork(hosts, stack, directory, 0.0 if kind == "relay" else _CORRUPTION)


@dataclass
class Account:
    """What came of messages, as the witness saw it."""

    whole: list[int]
    lost: int
    late: int
    repeated: int


def account(messages: Sequence[Sequence[str]], arrivals: Sequence[str]) -> Account:
    """Judge what arrived: which messages came whole, in their order, and which datagrams more than once.

    `messages` are the datagrams that each message was sent in, of which no two are equal.
    """
    owner = {data: number for number, datagrams in enumerate(messages) for data in datagrams}
    assert len(owner) == sum(map(len, messages)), "two datagrams are equal"
    missing = [set(datagrams) for datagrams in messages]
    whole: list[int] = []
    highest, late, repeated = -1, 0, 0
    for data in arrivals:
        number = owner[data]
        if data not in missing[number]:
            repeated += 1
            continue
        missing[number].discard(data)
        if not missing[number]:
            whole.append(number)
            late += number < highest
            highest = max(highest, number)
    return Account(whole, len(messages) - len(whole), late, repeated)
