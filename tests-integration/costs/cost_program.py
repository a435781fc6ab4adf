"""Runs the scenarios of a module whose system calls are counted, and marks them; started under strace.

::

    python cost_program.py MODULE
"""

from __future__ import annotations

import importlib
import sys

from cost_meters import MOST_CALLS, SYSTEM_CALLS, Marks

if __name__ == "__main__":
    for scenario in importlib.import_module(sys.argv[1]).SCENARIOS:
        if {SYSTEM_CALLS, MOST_CALLS} & set(scenario.units):
            Marks().count(scenario)
