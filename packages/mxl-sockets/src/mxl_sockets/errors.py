"""What this package raises beside Python's own errors.

::

    ValueError
    └── wireframe.FrameError
        └── UnexpectedMessage   a driver sent a legal message when none was due
    RuntimeError
    ├── FrozenStepError         a new step was begun before the last was complete
    ├── ForeignProcessError     a hub or driver was used in a forked child
    └── ModelError              a driver's model raised, or returned what cannot be sent
    OSError
    ├── TimeoutError
    │   └── StepTimeout         an array step did not complete in time
    │       └── RanksLate       of ranks of an MPI job (`mxl_sockets.mpi`)
    └── ConnectionError
        ├── HubStopped          an array step on a hub that was stopped
        ├── HubProtocolError    a hub sent its driver something illegal
        ├── CommunicatorBroken  MPI lost a rank and cannot go on (`mxl_sockets.mpi`)
        └── _SocketClosed       the other side closed (`mxl_sockets.compat`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wireframe import FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ForeignProcessError",
    "FrozenStepError",
    "HubProtocolError",
    "HubStopped",
    "ModelError",
    "StepTimeout",
    "UnexpectedMessage",
]


class UnexpectedMessage(FrameError):
    """A driver sent a legal message at a moment when none was due."""


class FrozenStepError(RuntimeError):
    """A step with other fields or molecules is still under way."""


class ForeignProcessError(RuntimeError):
    """A hub or driver was used in a child process that was forked after its creation."""


class HubStopped(ConnectionError):
    """The hub was stopped, before or while a step ran."""


class StepTimeout(TimeoutError):
    """Not every molecule answered before the deadline.

    The step stays frozen: calling again with the same fields goes on waiting
    and asks nobody twice.

    Parameters
    ----------
    late : mapping of int to float
        Molecules that were asked and have not answered, and for how long (s).
    missing : sequence of int
        Molecules that have no driver.

    Attributes
    ----------
    late, missing
        As given.
    """

    def __init__(self, late: Mapping[int, float], missing: Sequence[int]) -> None:
        self.late = dict(late)
        self.missing = list(missing)
        parts = []
        if self.late:
            shown = ", ".join(f"{molecule} for {age:.3g} s" for molecule, age in list(self.late.items())[:8])
            parts.append(f"{len(self.late)} have not answered (molecule {shown})")
        if self.missing:
            shown = ", ".join(map(str, self.missing[:8]))
            parts.append(f"{len(self.missing)} have no driver (molecule {shown})")
        super().__init__("step not complete: " + ("; ".join(parts) or "nobody was asked"))

    def __reduce__(self) -> tuple[type[StepTimeout], tuple[dict[int, float], list[int]]]:
        return type(self), (self.late, self.missing)


class HubProtocolError(ConnectionError):
    """The hub broke the protocol; the connection to it has been closed.

    Parameters
    ----------
    hub : str
        Address of the hub, for a person.
    reason : str
        What it sent.
    excerpt : bytes, optional
        The offending bytes, at most 32.

    Attributes
    ----------
    hub : str
        Address of the hub.
    excerpt : bytes
        The offending bytes.
    """

    def __init__(self, hub: str, reason: str, excerpt: bytes = b"") -> None:
        super().__init__(f"hub {hub} broke the protocol: {reason}")
        self.hub = hub
        self.excerpt = excerpt
        self._reason = reason

    def __reduce__(self) -> tuple[type[HubProtocolError], tuple[str, str, bytes]]:
        return type(self), (self.hub, self._reason, self.excerpt)


class ModelError(RuntimeError):
    """The molecular model failed; its own exception is the ``__cause__``, if it raised one."""
