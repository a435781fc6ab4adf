"""What importing the package brings along: nothing slow that it does not always need."""

from __future__ import annotations

import subprocess
import sys

#: Slow to import. An event loop is for those who bring one.
HEAVY = {
    *("argparse", "asyncio", "ctypes", "email", "hashlib", "http", "importlib.metadata"),
    *("logging.handlers", "multiprocessing", "numpy", "pickle", "random", "secrets", "shutil", "ssl"),
    *("subprocess", "tempfile", "unittest", "urllib.request", "uuid", "wireframe.json_socket", "zmq"),
}

PROGRAM = """
import sys
import sys
before = set(sys.modules)
import udp_multicast
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_package_loads_nothing_heavy():
    """In a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "udp_multicast.errors" in loaded
    assert loaded & HEAVY == set()
