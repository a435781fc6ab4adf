"""What an MPI hub or driver raises beside the errors of `mxl_sockets.errors`.

::

    OSError
    ├── mxl_sockets.StepTimeout
    │   └── RanksLate           driver ranks have not answered in time
    └── ConnectionError
        └── CommunicatorBroken  MPI failed, or was left in the middle of a call
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mxl_sockets.errors import StepTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CommunicatorBroken", "RanksLate"]


class RanksLate(StepTimeout):
    """Driver ranks have not answered before the deadline.

    The operation stays under way, and the communicator can carry nothing else
    until it is complete: repeating the call goes on waiting and asks nobody
    twice; `MPIHub.abort` ends the job.

    Parameters
    ----------
    ranks : mapping of int to float
        Ranks in the communicator the hub was made with, and for how long (s)
        each owes its answer. Empty if MPI gives no hint who it is.
    late : mapping of int to float
        The same for their molecules.
    waiting_for : str
        What was to be done.

    Attributes
    ----------
    ranks, late, waiting_for
        As given.
    """

    def __init__(self, ranks: Mapping[int, float], late: Mapping[int, float], waiting_for: str) -> None:
        super().__init__(late, [])
        self.ranks = dict(ranks)
        self.waiting_for = waiting_for
        who = ", ".join(f"rank {rank} for {age:.3g} s" for rank, age in list(self.ranks.items())[:8])
        count = f"{len(self.ranks)} driver ranks" if self.ranks else "driver ranks, nobody knows which,"
        whose = f" with {len(self.late)} molecules" if self.late else ""
        message = (
            f"{waiting_for} is not complete: {count}{whose} "
            f"have not answered{f' ({who})' if who else ''}; "
            "repeat the call to go on waiting, or end the job with abort()"
        )
        self.args = (message,)

    def __reduce__(self) -> tuple[type[RanksLate], tuple[dict[int, float], dict[int, float], str]]:  # type: ignore[override]
        return type(self), (self.ranks, self.late, self.waiting_for)


class CommunicatorBroken(ConnectionError):
    """MPI failed in a way that cannot be repaired here, or no driver is left; only `abort` remains."""
