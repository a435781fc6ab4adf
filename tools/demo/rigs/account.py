"""What is known of an experiment when it is over, told by the acquisition PC and by the rigs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The rigs: transport, and seconds that each takes for what it is told.
RIGS: Final = {"behaviour": ("udp", 0.10), "video": ("udp", 0.15), "ephys": ("tcp", 0.20)}
#: Seconds that a living end may take to confirm a message, on a computer that has other things to do.
ECHO_S: Final = 10.0
#: Which of them is killed.
MORTAL: Final = "video"


@dataclass(frozen=True, slots=True)
class Round:
    """One operation of `Services`.

    Attributes
    ----------
    name : str
        Its name.
    begin, end : float
        Monotonic seconds.
    asked : sequence of str
        Rigs.
    results : mapping of str to list
        Data of the responses, by rig.
    failures : mapping of str to str
        Why there is no response, by rig; what the error says.
    timings : mapping of str to float
        Seconds from asking a rig to its response.
    """

    name: str
    begin: float
    end: float
    asked: Sequence[str]
    results: Mapping[str, list[Any]]
    failures: Mapping[str, str]
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Change:
    """The heartbeat found a rig in another state at some time (monotonic seconds)."""

    rig: str
    state: str
    at: float


@dataclass(frozen=True, slots=True)
class Rig:
    """What a rig told.

    Attributes
    ----------
    name : str
        Of the rig.
    events : sequence of mapping
        Each event that came: ``name``, ``data`` and ``seconds``, monotonic.
    answers : sequence of mapping
        Each event whose answer the acquisition PC has confirmed: ``name`` and ``seconds``.
    samples : int or None
        What it took while the experiment ran; None if it died before it could tell.
    status : int
        Exit status of the process.
    """

    name: str
    events: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any]]
    samples: int | None
    status: int


@dataclass(frozen=True, slots=True)
class Session:
    """An experiment.

    Attributes
    ----------
    reference : str
        Its name.
    rounds : sequence of Round
        In their order.
    changes : sequence of Change
        What the heartbeat noticed.
    rigs : mapping of str to Rig
        What each rig told.
    killed_at : float
        When `MORTAL` was killed, in monotonic seconds.
    """

    reference: str
    rounds: Sequence[Round]
    changes: Sequence[Change]
    rigs: Mapping[str, Rig]
    killed_at: float

    def round(self, name: str) -> Round:
        """Return the round of that name."""
        return next(one for one in self.rounds if one.name == name)
