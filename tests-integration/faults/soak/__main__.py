"""All packages for a long time, with peers that die every second: ``python .../faults/soak SECONDS``.

Names of packages behind the seconds play these alone. Each is played in a process of its own, all at the same
time; what is exchanged is checked to the last message. At the end each process tells the slope of its memory
after the warm-up, and descriptors and threads at the beginning and the end. The exit status is 1 if anything
was lost or wrong, if memory grows by more than 1 MiB in the run, or if descriptors or threads do. A run of
less than a minute is over before memory has settled: there its slope is told, and not judged.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# What measures a process is a tool of the faults.
sys.path.insert(0, str(Path(__file__).parents[1]))

from scene import Report, as_words, soak

#: Package: module and class of what is played.
SCENES = {
    "json-socket": ("commands", "Commands"),
    "mxl-sockets": ("couplings", "Drivers"),
    "mxl-aggregated": ("couplings", "Bridges"),
    "udp-multicast": ("readouts", "Readouts"),
    "echo-rig": ("rigs", "Rigs"),
    "group-ports": ("groups", "Members"),
}
MOST_GROWTH_KIB = 1024.0
#: Seconds from which on the memory is judged.
_SETTLED_S = 60.0


def play(package: str, seconds: float) -> Report:
    """Play one package in this process."""
    module, name = SCENES[package]
    # Short: the path of a UNIX socket has 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    # Peers that die are logged, and logging is part of what goes on.
    logging.basicConfig(filename=folder / "log.txt", level=logging.INFO)
    try:
        with getattr(importlib.import_module(module), name)(folder) as scene:
            most = MOST_GROWTH_KIB if seconds >= _SETTLED_S else math.inf
            return soak(package, scene, seconds, most)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play_all(packages: list[str], seconds: float) -> list[Report]:
    """Play packages at the same time, each in a process of its own."""
    # Threads that come and go get memory from one arena of glibc's after the other, each with its own gaps:
    # the sum of all grows for long though nobody holds more. From a single one, what was freed is used again.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    running = {
        package: subprocess.Popen(
            [sys.executable, str(Path(__file__).parent), str(seconds), package, "--json"],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for package in packages
    }
    reports = []
    for package, process in running.items():
        # It ends by itself: each of its steps has a limit.
        said, _ = process.communicate()
        if process.returncode == 0:
            reports.append(Report(**json.loads(said.splitlines()[-1])))
        else:
            why = f"ended with {process.returncode}, see above"
            reports.append(Report(package, 0.0, 0, 0, (0, 0), 0.0, (0, 0), (0, 0), [why]))
    return reports


def main() -> int:
    """Play, report, judge."""
    parser = argparse.ArgumentParser(prog="soak", description="Long runs with peers that come and go.")
    parser.add_argument("seconds", type=float, help="how long; the nightly run takes 600")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(SCENES)}; or all")
    parser.add_argument("--json", action="store_true", help="play one package here, and print its report")
    options = parser.parse_args()
    if unknown := set(options.packages) - SCENES.keys():
        parser.error(f"no such package: {', '.join(sorted(unknown))}")
    if options.json:
        print(json.dumps(dataclasses.asdict(play(options.packages[0], options.seconds))))
        return 0
    reports = play_all(options.packages or list(SCENES), options.seconds)
    for report in reports:
        print(as_words(report))
    return 1 if any(report.failures for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
