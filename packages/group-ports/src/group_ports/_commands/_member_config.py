"""What ``member`` is told at its start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from group_ports.security import CurveKeys

#: How a member may answer polls.
VOTES: Final = ("yes", "no", "abstain")


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """The object CONFIG.

    Parameters
    ----------
    name : str
        For the log.
    host : str
        IPv4 address to bind.
    group : list of str
        Type and instance.
    spec : dict
        As the ``groupSpec`` of `group_ports.Group`.
    min_size : int
    keys : list of str, optional
        Public and secret key, Z85, that the group shares.
    vote : str
        ``yes``, ``no`` or ``abstain``: how it answers polls.
    reply : bool
        As leader, answer each message to the leader with the reversed payload.
    """

    group: list[str]
    name: str = "member"
    host: str = "127.0.0.1"
    spec: dict[str, Any] = field(default_factory=lambda: {"message": "message", "timed": False})
    min_size: int = 2
    keys: list[str] | None = None
    vote: str = "abstain"
    reply: bool = False

    def __post_init__(self) -> None:
        if len(self.group) != 2 or not all(isinstance(part, str) for part in self.group):
            raise ValueError(f"group is [type, instance], not {self.group!r}")
        if self.vote not in VOTES:
            raise ValueError(f"vote is one of {', '.join(VOTES)}, not {self.vote!r}")

    def curve_keys(self) -> CurveKeys | None:
        """Return the keys, if there are any; ValueError if they are none."""
        if self.keys is None:
            return None
        public, secret = self.keys
        return CurveKeys(public.encode(), secret.encode())


def read_config(text: str) -> MemberConfig:
    """Read the object, or the file that holds it.

    Parameters
    ----------
    text : str
        JSON, or a path.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It says something else than it should.
    """
    if not text.lstrip().startswith("{"):
        text = Path(text).read_text()
    config = json.loads(text)
    try:
        return MemberConfig(**config)
    except TypeError as error:
        raise ValueError(f"not the configuration of a member: {error}") from error
