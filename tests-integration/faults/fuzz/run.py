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
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
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
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return _fuzz(*asked.child)
    from targets import TARGETS

    unknown = [name for name in [*asked.targets, *(asked.replay or [])[:1]] if name not in TARGETS]
    if unknown:
        print(f"run.py: no target {', '.join(unknown)}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    if asked.replay:
        TARGETS[asked.replay[0]](Path(asked.replay[1]).read_bytes())
        print("nothing is wrong with it")
        return 0
    if find_spec("atheris") is None:
        print(_NO_ATHERIS, file=sys.stderr)
        return 2
    with ThreadPoolExecutor(asked.jobs) as pool:
        found = pool.map(
            lambda name: _watch(name, asked.seconds, asked.crashes.resolve()), asked.targets or TARGETS
        )
        is_good = all(list(found))  # a list, so that all are waited for
    with contextlib.suppress(OSError):
        asked.crashes.rmdir()  # if nothing was found
    return 0 if is_good else 1


def _watch(name: str, seconds: int, crashes: Path) -> bool:
    """Fuzz one target in a process of its own; tell whether nothing was found."""
    began = time.monotonic()
    crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as grown:
        prefix = crashes / f"{name}-"
        command = [sys.executable, __file__, "--child", name, str(seconds), grown, str(prefix)]
        try:
            child = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds + _MARGIN_S,
                check=False,
            )
            output, status = child.stdout.decode(errors="replace"), str(child.returncode)
        except subprocess.TimeoutExpired as error:
            output, status = (error.stdout or b"").decode(errors="replace"), "none in time"
        inputs = re.search(r"stat::number_of_executed_units: (\d+)", output)
        # Names of lines that are reached stand behind `cov:`; the last one counts.
        reached = re.findall(r"cov: (\d+)", output)
        count = int(inputs[1]) if inputs else 0
    taken = time.monotonic() - began
    line = f"{name:<22} {count:>9} inputs, {reached[-1] if reached else 0:>6} places, {taken:5.0f} s"
    if status == "0" and count:
        print(line, flush=True)
        return True
    files = re.findall(r"Test unit written to (\S+)", output)
    replays = [
        f"    replay: python tests-integration/faults/fuzz/run.py --replay {name} {file}" for file in files
    ]
    tail = ["    " + text for text in output.splitlines()[-30:]]
    print("\n".join([f"{line}  FAILED, exit status {status}", *tail, *replays]), flush=True)
    return False


def _fuzz(name: str, seconds: str, grown: str, prefix: str) -> int:
    """Be the process that fuzzes one target; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["wireframe", "mxl_sockets", "udp_multicast", "group_ports"]):
        from targets import TARGETS
    target = TARGETS[name]
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        f"-artifact_prefix={prefix}",
        "-print_final_stats=1",
    ]
    # The first folder is written to.
    atheris.Setup([sys.argv[0], *options, grown, str(HERE / "corpus" / name)], target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
