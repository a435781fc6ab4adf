"""What ``member`` is told at its start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from group_ports.security import CurveKeys

#: How a member may answer polls.
VOTES: Final = ("yes", "no", "abstain")


class ConfigError(ValueError):
    """The configuration says something else than it should."""


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

    Raises
    ------
    ConfigError
        One of them is something else.
    """

    group: list[str]
    name: str = "member"
    host: str = "127.0.0.1"
    spec: dict[str, Any] = field(default_factory=lambda: {"message": "message", "timed": False})
    min_size: int = 2
    #: With the secret one, which is nobody's to read.
    keys: list[str] | None = field(default=None, repr=False)
    vote: str = "abstain"
    reply: bool = False

    def __post_init__(self) -> None:
        given: object = self.spec
        spec = given if isinstance(given, dict) else {}
        for what, is_so in (
            ("group is [type, instance]", _is_pair(self.group)),
            ("name is a string", isinstance(self.name, str)),
            ("host is a string", isinstance(self.host, str)),
            ("spec is an object", isinstance(given, dict)),
            ("message in spec is a string", isinstance(spec.get("message"), str)),
            ("timed in spec is true or false", isinstance(spec.get("timed"), bool)),
            ("params in spec is an object or null", isinstance(spec.get("params"), (dict, type(None)))),
            ("min_size is a whole number", type(self.min_size) is int),
            ("keys is [public, secret] or null", self.keys is None or _is_pair(self.keys)),
            (f"vote is one of {', '.join(VOTES)}", self.vote in VOTES),
            ("reply is true or false", isinstance(self.reply, bool)),
        ):
            if not is_so:
                raise ConfigError(f"not the configuration of a member: {what}")

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
    ConfigError
        It says something else than it should.
    """
    # What is JSON, and not an object, is no name of a file: an error would quote it, keys and all.
    if not text.lstrip().startswith(("{", "[", '"')):
        text = Path(text).read_text(errors="replace")
    try:
        return MemberConfig(**read_object(text))
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"not the configuration of a member: {error}") from error


def read_object(text: str | bytes) -> dict[str, Any]:
    """Read one JSON object; ValueError if it is none."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for all that is wrong with a line
    return value


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)
