"""A two-level molecule that dies at the worst moment: after its commit and before its reply.

From outside a process cannot be killed exactly there, so the model kills
itself, with the signal that nobody can catch. Nothing of the step it has just
made reaches the hub; its replacement must make the same step again from the
last state that the hub received, or a bit of the trajectory would change.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from mxl_sockets.two_level import TwoLevelSystem


class MortalTwoLevelSystem(TwoLevelSystem):
    """The package's example model with an end.

    Parameters
    ----------
    dies_at : int
        Number of the commit, counted from 1, whose reply is never sent.
    **parameters
        As for `mxl_sockets.two_level.TwoLevelSystem`.
    """

    def __init__(self, *, dies_at: int, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._commits_left = dies_at

    def commit(self) -> tuple[tuple[float, float, float], dict[str, list[float]]]:
        """Make the step; the last one is never told to anybody."""
        result = super().commit()
        self._commits_left -= 1
        if self._commits_left == 0:
            # Windows knows no SIGKILL; there SIGTERM ends the process at once.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return result
