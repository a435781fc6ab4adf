"""The bench: what our packages cost, beside their peers and beside bare sockets, in one run.

    python tools/bench [--quick] [--json PATH]

It informs and does not judge the build: the exit status is 0 whatever the
figures are, and 1 only if a program of the bench broke. Then the other benches
go on, and what was measured is written with a word about what is missing; so
are peers that are not installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aggregate_barrier
import ase_forces
import echo_round_trips
import force_loops
import frames_and_commands
import group_traffic
import hub_barrier
import import_times
import live_elections
import machine
import mpi_barrier
import multicast

if TYPE_CHECKING:
    from collections.abc import Sequence

#: By what is measured: ``run(options, show)`` gives rows for the file, one after the other.
BENCHES: Final = {
    "wireframe": frames_and_commands,
    "mxl-sockets": hub_barrier,
    "mxl-sockets-aggregated": aggregate_barrier,
    "mxl-sockets-ase": ase_forces,
    "mxl-sockets-forces": force_loops,
    "mxl-sockets-mpi": mpi_barrier,
    "udp-multicast": multicast,
    "echo-rig": echo_round_trips,
    "group-ports": group_traffic,
    "group-ports-elections": live_elections,
    "imports": import_times,
}

#: Distributions whose versions are told: what is measured, and what it is measured with.
OURS: Final = (
    "wireframe",
    "mxl-sockets",
    "udp-multicast",
    "echo-rig",
    "group-ports",
    "numpy",
    "pyzmq",
    "mpi4py",
)
PEERS: Final = ("maxwelllink", "ase", "ipi", "lcm", "iblutil", "Pyro5", "zeromq-pyre", "pysyncobj")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python tools/bench", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(BENCHES)}; default all"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="numbers of molecules")
    parser.add_argument("--transports", choices=["tcp", "unix"], nargs="+")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all samples there")
    parser.add_argument(
        "--peer-python", metavar="PATH", help="interpreter that has the peers, if not this one"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.packages) - set(BENCHES)
    if unknown:
        parser.error(f"no bench for {', '.join(sorted(unknown))}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benches; return the exit status."""
    options = parse_arguments(arguments)
    if sys.platform != "linux":
        print("the bench needs Linux: epoll for the bare loop, and processes pinned to cores")
        return 0
    about = machine.description()
    about["versions"] = machine.versions(sys.executable, OURS)
    about["peers"] = machine.versions(options.peer_python or sys.executable, PEERS)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    if float(str(about["load_average"])) > 0.5 * len(machine.all_cores()):
        about["noise"] = "others were at work: ratios can be trusted, and those only whose spread is small"
        print(about["noise"])
    results: dict[str, Any] = {"machine": about}
    broken: list[str] = []
    begin = time.monotonic()
    try:
        for package in options.packages or BENCHES:
            print(f"\n{package}")
            since = time.monotonic()
            results[package] = []
            try:
                for row in BENCHES[package].run(options, lambda line: print(line, flush=True)):
                    results[package].append(row)
            except Exception as error:  # noqa: BLE001 - whatever it was, the other benches can go on
                broken.append(package)
                print(f"the bench of {package} broke: {error}", file=sys.stderr, flush=True)
            print(f"{package}: {time.monotonic() - since:.0f} s", flush=True)
    except KeyboardInterrupt:
        print("interrupted; all programs ended", file=sys.stderr)
        broken.append("the rest, interrupted")
    if broken:
        about["broken"] = ", ".join(broken)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\nall samples: {options.json}")
    print(f"{time.monotonic() - begin:.0f} s" + (f"; broken: {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
