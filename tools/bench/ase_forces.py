"""mxl-sockets with ASE on the other end, unmodified, over TCP: steps per second in both roles.

ASE never sets TCP_NODELAY and writes each message in pieces, so whoever reads
them must acknowledge each piece at once, or wait some 40 ms for it. Beside
ours stands a bare socket that does so and nothing else (`ase_subject`): what
is left of ASE's own time. Two atoms on springs, one of ASE's ends and one of
ours, both on one core and then free.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, Self

import machine
from harness import Figure, Measurement, Sample, measure_paired
from results import RATE, entry
from sides import Program

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import TracebackType

#: Steps per second that both roles are to reach.
FEWEST_PER_S: Final = 2000.0

ROUNDS: Final = 9
QUICK_ROUNDS: Final = 4

#: Each role: ours, and the bare end in its place.
ROLES: Final = {"hub": ("hub", "bare-hub"), "driver": ("driver", "bare-driver")}


class AseSide:
    """One end of ours or a bare one, and ASE's opposite; whichever is the server is measured.

    Parameters
    ----------
    kind : str
        As `ase_subject` takes it.
    peer_python : str
        Interpreter that has ASE.
    """

    def __init__(self, kind: str, peer_python: str) -> None:
        server = (sys.executable, "ase_subject.py", kind)
        client = (peer_python, "ase_peer.py", "client")
        if kind.endswith("driver"):
            server, client = (peer_python, "ase_peer.py", "server"), (sys.executable, "ase_subject.py", kind)
        with contextlib.ExitStack() as stack:
            self._server = stack.enter_context(Program(*server))
            port = json.loads(self._server.hear())["port"]
            self._client = stack.enter_context(Program(*client, port))
            self._client.hear()
            self._server.hear()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()  # which ends the client
        self._stack.__exit__(kind, error, trace)

    def pin(self, cores: set[int]) -> None:
        """Keep both processes on these cores."""
        for program in (self._server, self._client):
            machine.pin(program.process.pid, cores)

    def measure(self, steps: int) -> Sample:
        """Make so many steps."""
        self._server.tell(str(steps))
        told = json.loads(self._server.hear())
        return Sample(told["steps"], told["wall_s"], told["cpu_s"])


def run(options: argparse.Namespace, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure both roles, show each as it is finished, return them for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    peer_python: str = options.peer_python or sys.executable
    if subprocess.run(
        [peer_python, "-c", "import ase.calculators.socketio"], capture_output=True, check=False, timeout=60
    ).returncode:
        show("skipped, ase cannot be imported; --peer-python names an interpreter that has it")
        return []
    show("steps per second (spread) with ASE over TCP, ours and a bare socket in its place")
    return [_measure(role, peer_python, quick=options.quick, show=show) for role in ROLES]


def _measure(role: str, peer_python: str, *, quick: bool, show: Callable[[str], None]) -> dict[str, Any]:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    entries: list[dict[str, Any]] = []
    row: dict[str, Any] = {"entries": entries, "role": role, "fewest_per_s": FEWEST_PER_S}
    with contextlib.ExitStack() as stack:
        sides = {kind: stack.enter_context(AseSide(kind, peer_python)) for kind in ROLES[role]}
        for where, cores in (("one core", machine.one_core()), ("free", machine.all_cores())):
            for side in sides.values():
                side.pin(cores)
            measurement = measure_paired(sides, 1, rounds)
            show(_line(role, where, measurement))
            row[where] = measurement.as_json()
            core = "one" if where == "one core" else where
            entries.append(entry(f"forces with ASE, our {role}", core, measurement, RATE))
    return row


def _line(role: str, where: str, measurement: Measurement) -> str:
    ours, bare = (measurement.steps_per_second(kind) for kind in ROLES[role])
    share = 1 / measurement.ratio(*ROLES[role], wall=True).median
    figures = "  ".join(f"{name} {_rate(figure)}" for name, figure in (("ours", ours), ("bare", bare)))
    return (
        f"our {role:<7} {where:<9} {figures}  {share:.2f} of bare; >= {FEWEST_PER_S:.0f}/s {_verdict(ours)}"
    )


def _rate(figure: Figure) -> str:
    return f"{figure.median:>6.0f} ±{50 * figure.spread:.0f} %"


def _verdict(figure: Figure) -> str:
    if figure.low >= FEWEST_PER_S:
        return "met"
    return "MISSED" if figure.high < FEWEST_PER_S else "too noisy to say"
