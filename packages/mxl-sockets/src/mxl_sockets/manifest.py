"""The manifest of remote bridges: which node stands for which molecules, and where their hub is.

A JSON object, indented, keys sorted, as MaxwellLink 0.5.0 writes it::

    version               1
    hub_host, hub_port    where the aggregated hub listens
    timeout, latency      seconds, of the hub
    unix_prefix           what the names of the UNIX sockets start with
    molecules_per_bridge  most molecules of one bridge
    bridges               [{idx, group_id, unixsocket, n_molecules}]
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from mxl_sockets._listen import MAX_PORT, unix_path
from mxl_sockets.ports import _write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

__all__ = ["BridgeManifest", "HasInitPayload", "RemoteBridgeSpec", "read_manifest", "write_manifest"]

VERSION: Final = 1

#: Bytes; a hundred thousand bridges fit.
MAX_SIZE: Final = 16 << 20


@dataclass(frozen=True)
class RemoteBridgeSpec:
    """One bridge of a manifest.

    Attributes
    ----------
    idx : int
        Its number.
    group_id : str
        The group it stands for.
    unixsocket : str
        Where its drivers connect: a path, or a name behind ``/tmp/socketmxl_``.
    n_molecules : int
        How many drivers it needs.
    """

    idx: int
    group_id: str
    unixsocket: str
    n_molecules: int

    @staticmethod
    def from_dict(payload: Mapping[str, Any]) -> RemoteBridgeSpec:
        """Read what `to_dict` made.

        Raises
        ------
        ValueError
            An entry is missing, or is not what it should be.
        """
        idx, count = _integer(payload, "idx", 0), _integer(payload, "n_molecules", 0)
        group_id, unixsocket = _text(payload, "group_id"), _text(payload, "unixsocket")
        unix_path(unixsocket)
        return RemoteBridgeSpec(idx, group_id, unixsocket, count)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class BridgeManifest:
    """What a manifest says; see the module.

    Attributes
    ----------
    hub_host : str
    hub_port : int
    timeout, latency : float
    unix_prefix : str
    molecules_per_bridge : int
    bridges : list of RemoteBridgeSpec
    """

    hub_host: str
    hub_port: int
    timeout: float
    latency: float
    unix_prefix: str
    molecules_per_bridge: int
    bridges: list[RemoteBridgeSpec] = field(default_factory=list)

    def bridge(self, idx: int) -> RemoteBridgeSpec:
        """Return one bridge.

        Raises
        ------
        IndexError
            There is none of that number.
        """
        for one in self.bridges:
            if one.idx == idx:
                return one
        raise IndexError(f"the manifest has no bridge {idx}, it has {[one.idx for one in self.bridges][:16]}")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {**asdict(self), "version": VERSION}


class HasInitPayload(Protocol):
    """A molecule of a solver: something with INIT parameters."""

    init_payload: dict[str, Any]


def divide_molecules(
    molecules: Iterable[HasInitPayload | dict[str, Any]], molecules_per_bridge: int, unix_prefix: str
) -> list[RemoteBridgeSpec]:
    """Divide molecules among bridges, by putting the group into their INIT parameters.

    Parameters
    ----------
    molecules : iterable
        Objects with an ``init_payload``, or INIT parameters themselves.
    molecules_per_bridge : int
        Most molecules of one bridge.
    unix_prefix : str
        What the names of groups and UNIX sockets start with.

    Raises
    ------
    ValueError
        There are no molecules, or `molecules_per_bridge` is not positive.
    """
    payloads = [one if isinstance(one, dict) else one.init_payload for one in molecules]
    if not payloads:
        raise ValueError("there are no molecules to divide among bridges")
    if molecules_per_bridge < 1:
        raise ValueError(f"molecules_per_bridge is at least 1, not {molecules_per_bridge}")
    specs = []
    for idx, start in enumerate(range(0, len(payloads), molecules_per_bridge)):
        own = payloads[start : start + molecules_per_bridge]
        name = f"{unix_prefix}{idx}"
        unix_path(name)
        for payload in own:
            payload["aggregate_group"] = name
        specs.append(RemoteBridgeSpec(idx, name, name, len(own)))
    return specs


def write_manifest(manifest: BridgeManifest, path: str | os.PathLike[str]) -> None:
    """Write a manifest; readers see either the old file or the whole new one.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    _write_whole(Path(path), json.dumps(manifest.to_dict(), indent=2, sort_keys=True))


def read_manifest(path: str | os.PathLike[str]) -> BridgeManifest:
    """Read a manifest, ours or that of MaxwellLink.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no manifest; the text says what is wrong.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise ValueError(f"{path} is longer than {MAX_SIZE} bytes, it is no manifest")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    try:
        return _manifest_of(said)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _manifest_of(said: Any) -> BridgeManifest:
    if not isinstance(said, dict):
        raise ValueError("a manifest is a JSON object")  # noqa: TRY004 - a file has no wrong types
    if said.get("version") != VERSION:
        raise ValueError(f"version is {said.get('version')!r:.80}, not {VERSION}")
    bridges = said.get("bridges")
    if not isinstance(bridges, list) or not all(isinstance(one, dict) for one in bridges):
        raise ValueError("bridges is no list of objects")
    port = _integer(said, "hub_port", 1)
    if port > MAX_PORT:
        raise ValueError(f"hub_port is {port}, which is no port")
    return BridgeManifest(
        _text(said, "hub_host"),
        port,
        _seconds(said, "timeout"),
        _seconds(said, "latency"),
        str(said.get("unix_prefix", "")),
        _integer(said, "molecules_per_bridge", 1),
        [RemoteBridgeSpec.from_dict(one) for one in bridges],
    )


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is {value!r:.80}, not a name")
    return value.strip()


def _integer(said: Mapping[str, Any], key: str, least: int) -> int:
    value = said.get(key)
    if type(value) is not int or value < least:
        raise ValueError(f"{key} is {value!r:.80}, not a number from {least}")
    return value


def _seconds(said: Mapping[str, Any], key: str) -> float:
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:  # NaN fails too
        raise ValueError(f"{key} is {value!r:.80}, not a time")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{key} is {value!r:.80}, not a time") from error
