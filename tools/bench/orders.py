"""How a program of the bench talks with it: lines on standard input and output.

First it says what the bench has to know. Then each number of steps that it
reads is run, and answered by ``{"steps": ..., "wall_s": ..., "cpu_s": ...}``.
The end of its input ends it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Runs at least so many steps; returns how many, wall time and CPU time of them in seconds.
    Steps = Callable[[int], tuple[int, float, float]]

#: Where the bench listens. What libraries print goes to standard error instead.
_ANSWERS: Final = os.dup(1)
os.dup2(2, 1)


def say(**told: object) -> None:
    """Send one line to the bench."""
    os.write(_ANSWERS, json.dumps(told).encode() + b"\n")


def follow(run: Steps) -> None:
    """Run as many steps as each line of input says, and tell what they cost."""
    for line in sys.stdin:
        steps, wall_s, cpu_s = run(int(line))
        say(steps=steps, wall_s=wall_s, cpu_s=cpu_s)
