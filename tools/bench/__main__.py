"""The bench: what our packages cost, beside their peers and beside bare sockets, in one run.

    python tools/bench [--quick] [--json PATH]

It informs and does not judge the build: the exit status is 0 whatever the
figures are, and 1 only if a program of the bench broke.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aggregate_barrier
import ase_forces
import echo_round_trips
import frames_and_commands
import group_traffic
import hub_barrier
import import_times
import machine
import mpi_barrier
import multicast
from sides import SideError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: One module per package: ``run(options, show)`` returns rows for the file.
BENCHES: Final = {
    "wireframe": frames_and_commands,
    "mxl-sockets": hub_barrier,
    "mxl-sockets-aggregated": aggregate_barrier,
    "mxl-sockets-ase": ase_forces,
    "mxl-sockets-mpi": mpi_barrier,
    "udp-multicast": multicast,
    "echo-rig": echo_round_trips,
    "group-ports": group_traffic,
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
PEERS: Final = ("maxwelllink", "ase", "ipi", "lcm", "iblutil", "Pyro5", "zeromq-pyre")


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
        print(
            "others are at work on this machine: trust the ratios, and those only where the spread is small"
        )
    results: dict[str, object] = {"machine": about}
    begin = time.monotonic()
    try:
        for package in options.packages or BENCHES:
            print(f"\n{package}")
            results[package] = BENCHES[package].run(options, lambda line: print(line, flush=True))
    except SideError as error:
        print(f"the bench broke: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; all programs ended", file=sys.stderr)
        return 130
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\nall samples: {options.json}")
    print(f"{time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
