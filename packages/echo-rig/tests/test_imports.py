"""What importing the package brings along: nothing slow that it does not always need."""

from __future__ import annotations

import subprocess
import sys

#: Slow to import. asyncio itself is what the package is for.
HEAVY = {
    *("argparse", "ctypes", "email", "http", "importlib.metadata", "logging.handlers"),
    *("multiprocessing", "numpy", "pickle", "shutil", "tempfile", "unittest", "urllib.request"),
    *("uuid", "wireframe.json_socket", "zmq"),
}

PROGRAM = """
import sys
import asyncio
before = set(sys.modules)
import echo_rig
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_package_loads_nothing_heavy():
    """In a fresh interpreter, beside asyncio."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "echo_rig.errors" in loaded
    assert loaded & HEAVY == set()
