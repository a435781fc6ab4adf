"""mxl-sockets beside i-PI and ASE over TCP: steps per second of their drivers and of their servers.

``drivers``
    Under the same server, our hub: our driver, i-PI's in Python, ASE's client,
    and a bare socket (`bare_driver`), the floor.
``servers``
    Over the same driver, the bare one: our hub, i-PI's own loop for a driver
    (`ipi_peer`), ASE's calculator, and a bare socket, the floor.

Two atoms on springs, positions out, energy, forces and virial back. Both
programs of a side share one core, and then are free. The CPU time kept beside
is that of the server's process.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from force_sides import ForceSide
from harness import measure_on_cores
from results import RATE, columns, entry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUNDS: Final = 7
QUICK_ROUNDS: Final = 4

#: Script and argument of each program; those of peers need their interpreter.
HUB: Final = ("ase_subject.py", "hub")
BARE: Final = ("bare_driver.py",)
DRIVERS: Final = {
    "ours": ("ase_subject.py", "driver"),
    "i-PI": ("ipi_peer.py", "driver"),
    "ASE": ("ase_peer.py", "client"),
    "bare": BARE,
}
SERVERS: Final = {
    "ours": HUB,
    "i-PI": ("ipi_peer.py", "server"),
    "ASE": ("ase_peer.py", "server"),
    "bare": ("ase_subject.py", "bare-hub"),
}
#: Of the peers: what must be there.
MODULES: Final = {"i-PI": "ipi.interfaces.sockets", "ASE": "ase.calculators.socketio"}


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure both rows, show each as it is finished, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    peer_python: str = options.peer_python or sys.executable
    absent = set()
    for peer, module in MODULES.items():
        if subprocess.run(
            [peer_python, "-c", f"import {module}"], capture_output=True, check=False, timeout=60
        ).returncode:
            show(f"{peer}: skipped, {module} cannot be imported; --peer-python names one that has it")
            absent.add(peer)

    def command(side: str, program: Sequence[str]) -> tuple[str, ...]:
        return (peer_python if side in MODULES else sys.executable, *program)

    drivers = {side: (command("ours", HUB), command(side, own)) for side, own in DRIVERS.items()}
    servers = {side: (command(side, own), command("bare", BARE)) for side, own in SERVERS.items()}
    show("microseconds per step (spread)")
    for name, programs in (
        ("drivers under our hub", drivers),
        ("servers over a bare driver", servers),
    ):
        there = {side: pair for side, pair in programs.items() if side not in absent}
        yield _measure(name, there, QUICK_ROUNDS if options.quick else ROUNDS, show)


def _measure(
    name: str,
    programs: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    rounds: int,
    show: Callable[[str], None],
) -> dict[str, Any]:
    """Measure one row, on one core and free, with the same processes."""
    entries: list[dict[str, Any]] = []
    found: dict[str, Any] = {"entries": entries, "row": name}
    with contextlib.ExitStack() as stack:
        sides = {side: stack.enter_context(ForceSide(*pair)) for side, pair in programs.items()}
        for core, measurement in measure_on_cores(sides, 1, rounds):
            show(f"{name:<27}{core:<5}{columns(measurement, 20, wall=True)}{'  NOISY' * measurement.noisy}")
            entries.append(entry(name, core, measurement, RATE))
            found[core] = measurement.as_json()
    return found
