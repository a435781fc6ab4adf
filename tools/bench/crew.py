"""Processes that elect a leader among them, and what happens when it is killed."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sides import Program, SideError

if TYPE_CHECKING:
    from types import TracebackType

#: Members; two may be missing.
SIZE: Final = 5
#: Seconds for all to start, and to name a leader.
SETTLE_TIMEOUT_S: Final = 60.0


class Crew:
    """Members of one kind; a context manager.

    Parameters
    ----------
    kind : str
        As `crew_member` takes it.
    python : str
        Interpreter.
    """

    def __init__(self, kind: str, python: str) -> None:
        self._kind, self._python = kind, python
        #: Programs and ports, by what the members call themselves.
        self._members: dict[str, tuple[Program, int]] = {}
        #: Whom each of them names, and since when.
        self._leaders: dict[str, tuple[str | None, float]] = {}
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
            self._path = str(Path(folder, "leaders"))
            self._ear = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._ear.bind(self._path)
            stack.callback(self._end_all)
            ports = _free_ports(SIZE) if kind != "ours" else [0] * SIZE
            for port in ports:
                self._start(port, ports)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def settle(self) -> None:
        """Wait until all name one leader."""
        self._named()

    def kill_leader(self) -> None:
        """Kill the leader that all name."""
        self._old, _ = self._named()
        self._killed, self._free_port = self._members.pop(self._old)
        self._began = time.monotonic()
        self._killed.process.kill()

    def elected(self) -> float:
        """Wait for another leader.

        Returns
        -------
        float
            Seconds from the death of the old one until the last of the living names the same new one.
        """
        new, since = self._named(but=self._old)
        if new not in self._members:
            raise SideError(f"they follow {new}, which is none of them")
        return since - self._began

    def replace(self) -> None:
        """Start a member in the place of the one that was killed."""
        self._killed.close()
        self._start(self._free_port, [*(port for _, port in self._members.values()), self._free_port])

    def _start(self, port: int, ports: list[int]) -> None:
        what = (
            ("ours", SIZE, self._path)
            if self._kind == "ours"
            else (self._kind, port, self._path, *(other for other in ports if other != port))
        )
        member = Program(self._python, "crew_member.py", *what)
        try:
            said = json.loads(member.hear())
        except BaseException:
            member.close()
            raise
        if self._kind == "ours":
            member.tell(str(said["port"]))
            for other, other_port in self._members.values():
                member.tell(str(other_port))
                other.tell(str(said["port"]))
        self._members[said["id"]] = member, said["port"]
        # That of pysyncobj has the name of the one before it.
        self._leaders[said["id"]] = None, 0.0

    def _named(self, but: str | None = None) -> tuple[str, float]:
        """Wait until all living members name one leader; return it, and since when."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            self._listen(0.0)
            said = [self._leaders[member] for member in self._members]
            names = {leader for leader, _ in said}
            if len(names) == 1 and (name := names.pop()) not in (None, but):
                return str(name), max(at for _, at in said)
            if time.monotonic() > deadline:
                raise SideError(f"{self._kind}: no leader in {SETTLE_TIMEOUT_S} s, but {said}")
            self._listen(0.1)

    def _listen(self, timeout: float) -> None:
        """Take in what members have said."""
        while select.select([self._ear], [], [], timeout)[0]:
            said = json.loads(self._ear.recv(4096))
            self._leaders[said["id"]] = said["leader"], said["at"]
            timeout = 0.0

    def _end_all(self) -> None:
        for member, _ in self._members.values():
            member.process.kill()  # nobody is to elect once more
        for member, _ in self._members.values():
            member.close()


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]
