"""What a process holds: memory, descriptors, threads."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path


def resident_bytes() -> int:
    """Memory of this process as the system counts it; Linux only."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_descriptors() -> int:
    """How many descriptors this process has open; Linux only."""
    gc.collect()
    # One more is open while the folder is being read.
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1


def running_threads() -> int:
    """How many threads of Python there are."""
    return threading.active_count()
