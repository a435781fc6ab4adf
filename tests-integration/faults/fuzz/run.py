"""Feeds random and changed bytes to the decoders of the tree, guided by the lines they reach (atheris).

    python tests-integration/faults/fuzz/run.py --seconds 15 --jobs 2
    python tests-integration/faults/fuzz/run.py --seconds 600 lenjson zmtp
    python tests-integration/faults/fuzz/run.py --replay lenjson FILE

An input that breaks a promise, takes more than a gigabyte, or more than ten seconds is
kept as a file, and the line that replays it is printed; that needs no atheris. When the
package is mended, the file becomes ``corpus/TARGET/found-<what was wrong>``. Exit status:
0 if nothing was found, 1 if something was, 2 if nothing could be begun.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

HERE = Path(__file__).resolve().parent

RSS_LIMIT_MB = 1024
#: Seconds that one input may take.
TIMEOUT_S = 10
#: Bytes of the longest input that is tried.
MAX_LENGTH = 16384
#: Seconds that a process gets to begin and to end, besides its own, on a busy machine.
_MARGIN_S = 120

_NO_ATHERIS = """\
run.py: atheris is not installed for this Python, so nothing is fuzzed here. It has wheels for Linux on
x86-64, CPython 3.11 and later: python -m pip install atheris. The kept inputs, and changes of them, are
tried without it: python -m pytest tests-integration/faults/fuzz"""


def main() -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=15, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--crashes", type=Path, default=Path("fuzz-crashes"), help="folder for what is found")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"), help="read one input, and stop")
    asked = parser.parse_args()
    can_fuzz = find_spec("atheris") is not None
    if can_fuzz and not asked.replay:
        _instrument()
    from targets import TARGETS

    unknown = [name for name in [*asked.targets, *(asked.replay or [])[:1]] if name not in TARGETS]
    if unknown:
        print(f"run.py: no target {', '.join(unknown)}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    if asked.replay:
        TARGETS[asked.replay[0]](Path(asked.replay[1]).read_bytes())
        print("nothing is wrong with it")
        return 0
    if not can_fuzz:
        print(_NO_ATHERIS, file=sys.stderr)
        return 2
    is_good = _fuzz_all(
        list(dict.fromkeys(asked.targets or TARGETS)), asked.seconds, asked.jobs, asked.crashes.resolve()
    )
    return 0 if is_good else 1


def _instrument() -> None:
    """Import the decoders such that libFuzzer sees which lines are reached."""
    import atheris

    # It names every module, on the standard error output.
    with (
        contextlib.redirect_stderr(io.StringIO()),
        atheris.instrument_imports(include=["wireframe", "mxl_sockets", "udp_multicast", "group_ports"]),
    ):
        import targets  # noqa: F401


@dataclass
class _Run:
    """One target, and the process that fuzzes it."""

    name: str
    process: BaseProcess
    output: Path
    began: float


def _fuzz_all(names: list[str], seconds: int, jobs: int, crashes: Path) -> bool:
    """Fuzz each target in a process of its own, `jobs` at a time; tell whether nothing was found.

    The processes are forks of this one: to instrument the modules takes seconds of a processor.
    """
    crashes.mkdir(parents=True, exist_ok=True)
    to_come = list(reversed(names))
    running: list[_Run] = []
    is_good = True
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        while to_come or running:
            while to_come and len(running) < jobs:
                running.append(_begin(to_come.pop(), seconds, Path(work), crashes))
            wait([run.process.sentinel for run in running], timeout=1)
            for run in list(running):
                if time.monotonic() - run.began > seconds + _MARGIN_S:
                    run.process.kill()
                    run.process.join()
                if not run.process.is_alive():
                    running.remove(run)
                    is_good = _report(run) and is_good
    with contextlib.suppress(OSError):
        crashes.rmdir()  # if nothing was found
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    each = (used.ru_utime + used.ru_stime) / len(names)
    print(f"{each:.1f} s of a processor for each target, on average", flush=True)
    return is_good


def _begin(name: str, seconds: int, work: Path, crashes: Path) -> _Run:
    grown, output = work / name, work / f"{name}.txt"
    grown.mkdir()
    output.touch()
    sys.stdout.flush()
    process = multiprocessing.get_context("fork").Process(
        target=_fuzz, args=(name, seconds, grown, output, f"{crashes / name}-"), daemon=True
    )
    process.start()
    return _Run(name, process, output, time.monotonic())


def _fuzz(name: str, seconds: int, grown: Path, output: Path, prefix: str) -> None:
    """Be the process that fuzzes one target; libFuzzer ends it."""
    import atheris
    from targets import TARGETS

    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        f"-artifact_prefix={prefix}",
        "-print_final_stats=1",
    ]
    # The first folder is written to.
    atheris.Setup([sys.argv[0], *options, str(grown), str(HERE / "corpus" / name)], TARGETS[name])
    try:
        atheris.Fuzz()
    except SystemExit:
        # libFuzzer keeps the input when the C library exits, and a fork of Python's would end without that.
        ctypes.CDLL(None).exit(1)


def _report(run: _Run) -> bool:
    """Print what came of one target; tell whether nothing was found."""
    output = run.output.read_text(encoding="utf-8", errors="replace")
    inputs = re.search(r"stat::number_of_executed_units: (\d+)", output)
    # Names of lines that are reached stand behind `cov:`; the last one counts.
    reached = re.findall(r"cov: (\d+)", output)
    count = int(inputs[1]) if inputs else 0
    taken = time.monotonic() - run.began
    line = f"{run.name:<22} {count:>9} inputs, {reached[-1] if reached else 0:>6} places, {taken:5.0f} s"
    if run.process.exitcode == 0 and count:
        print(line, flush=True)
        return True
    files = re.findall(r"Test unit written to (\S+)", output)
    replays = [
        f"    replay: python tests-integration/faults/fuzz/run.py --replay {run.name} {file}"
        for file in files
    ]
    tail = ["    " + text for text in output.splitlines()[-30:]]
    print("\n".join([f"{line}  FAILED, exit status {run.process.exitcode}", *tail, *replays]), flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
