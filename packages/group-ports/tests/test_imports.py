"""What importing the package brings along: nothing slow that it does not always need."""

from __future__ import annotations

import subprocess
import sys

#: Slow to import. The discoveries are imported by those who use them.
HEAVY = {
    *("argparse", "asyncio", "ctypes", "email", "group_ports.etcd", "group_ports.zeroconf_discovery"),
    *("http", "importlib.metadata", "logging.handlers", "multiprocessing", "numpy", "shutil", "ssl"),
    *("subprocess", "tempfile", "unittest", "urllib.request", "wireframe.json_socket", "zeroconf"),
}

PROGRAM = """
import sys
import zmq
before = set(sys.modules)
import group_ports
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_package_loads_nothing_heavy():
    """In a fresh interpreter, beside zmq."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "group_ports.errors" in loaded
    assert loaded & HEAVY == set()
