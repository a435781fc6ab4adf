"""mxl-sockets with ASE on the other end, unmodified, over TCP: steps per second in both roles.

ASE never sets TCP_NODELAY and writes each message in pieces, so whoever reads
them must acknowledge each piece at once, or wait some 40 ms for it. Beside
ours stands a bare socket that does so and nothing else (`ase_subject`): what
is left of ASE's own time. Two atoms on springs, one of ASE's ends and one of
ours, both on one core and then free.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import machine
from force_sides import ForceSide
from harness import Figure, Measurement, Verdict, measure_paired
from results import RATE, entry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

#: Steps per second that both roles are to reach.
FEWEST_PER_S: Final = 2000.0

ROUNDS: Final = 9
QUICK_ROUNDS: Final = 4

#: Each role: ours, and the bare end in its place.
ROLES: Final = {"hub": ("hub", "bare-hub"), "driver": ("driver", "bare-driver")}


def ase_side(kind: str, peer_python: str) -> ForceSide:
    """Return one end of ours or a bare one (`ase_subject`), and ASE's opposite."""
    ours = (sys.executable, "ase_subject.py", kind)
    if kind.endswith("driver"):
        return ForceSide((peer_python, "ase_peer.py", "server"), ours)
    return ForceSide(ours, (peer_python, "ase_peer.py", "client"))


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure both roles, show each as it is finished, and give it for the file.

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
        return
    show("steps per second (spread) with ASE over TCP, ours and a bare socket in its place")
    for role in ROLES:
        yield _measure(role, peer_python, quick=options.quick, show=show)


def _measure(role: str, peer_python: str, *, quick: bool, show: Callable[[str], None]) -> dict[str, Any]:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    entries: list[dict[str, Any]] = []
    row: dict[str, Any] = {"entries": entries, "role": role, "fewest_per_s": FEWEST_PER_S}
    with contextlib.ExitStack() as stack:
        sides = {kind: stack.enter_context(ase_side(kind, peer_python)) for kind in ROLES[role]}
        for where, cores in (("one core", machine.one_core()), ("free", machine.all_cores())):
            for side in sides.values():
                side.pin(cores)
            measurement = measure_paired(sides, 1, rounds)
            ours = measurement.steps_per_second(ROLES[role][0])
            verdict = Verdict.of("ours, steps per second", ours, FEWEST_PER_S, at_least=True)
            show(_line(role, where, measurement, verdict))
            row[where] = measurement.as_json()
            core = "one" if where == "one core" else where
            entries.append(entry(f"forces with ASE, our {role}", core, measurement, RATE, [verdict]))
    return row


def _line(role: str, where: str, measurement: Measurement, verdict: Verdict) -> str:
    ours, bare = (measurement.steps_per_second(kind) for kind in ROLES[role])
    share = 1 / measurement.ratio(*ROLES[role], wall=True).median
    figures = "  ".join(f"{name} {_rate(figure)}" for name, figure in (("ours", ours), ("bare", bare)))
    return f"our {role:<7} {where:<9} {figures}  {share:.2f} of bare; {verdict}"


def _rate(figure: Figure) -> str:
    return f"{figure.median:>6.0f} ±{50 * figure.spread:.0f} %"
